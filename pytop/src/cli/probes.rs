//! The options of `pytop probes`.

use std::path::PathBuf;

use clap::Args;

use super::AnswerFormat;
use super::pid::pid;

/// Show what can be probed in interpreters and other files
#[derive(Debug, Args)]
#[command(
    args_override_self = true,
    max_term_width = 100,
    override_usage = "pytop probes [OPTIONS]\n       \
        pytop probes [OPTIONS] FILE...\n       \
        pytop probes [OPTIONS] --pid PID[,PID]...",
    long_about = "Show what can be probed in interpreters and other files.\n\n\
        Lists every marker of a file (SystemTap SDT note) with its provider, name, address, \
        semaphore and arguments, as 'readelf -n' does. Of a CPython interpreter it tells whether \
        its function__entry marker fires at every call, which method counts it, and why, or why \
        it cannot be counted. Nothing is probed.\n\n\
        Without FILE and --pid it shows the interpreters of all running processes, and the value \
        of each semaphore in each of them: 0, unless somebody uses the marker just now.",
    after_long_help = AFTER_HELP
)]
pub struct Probes {
    /// Programs and shared libraries to look at, whether they hold an interpreter or not
    #[arg(value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Look at the interpreters of these processes, and read the values of their semaphores
    #[arg(short, long = "pid", value_name = "PID[,PID]...", value_delimiter = ',', value_parser = pid,
        allow_negative_numbers = true, conflicts_with = "files")]
    pub pids: Vec<u32>,

    /// How to print them
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: AnswerFormat,
}

const AFTER_HELP: &str = "\
Examples:
  pytop probes /usr/bin/python3        one interpreter
  pytop probes /usr/lib/x86_64-linux-gnu/libstdc++.so.6
                                       a library that has markers, but no interpreter
  pytop probes -p 812                  what process 812 runs
  pytop probes --format json | jq -c '.files[] | [.path, .method, .reason]'

Exit status:
  0  done, whether there are markers or not
  1  a file or process could not be looked at
  2  wrong usage

Files need the right to read them. Other users' processes need root, or the capabilities
CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.";

impl Probes {
    pub(super) fn tidy(&mut self) {
        self.pids.sort_unstable();
        self.pids.dedup();
    }
}
