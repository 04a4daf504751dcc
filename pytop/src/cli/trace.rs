//! The options of `pytop trace`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::MethodChoice;
use super::pid::pid;
use super::top::filter;
use crate::model::Filter;
use crate::probe::Room;

/// Bytes of the ring of events unless the user says otherwise, in MiB.
const RING: u32 = 16;
/// Seconds.
const SHORTEST: f64 = 0.001;
/// Seconds: a year.
const LONGEST: f64 = 31_536_000.0;

/// Show the calls of Python functions one by one, as they happen
#[derive(Clone, Debug, Args)]
#[command(
    args_override_self = true,
    max_term_width = 100,
    override_usage = "pytop trace [OPTIONS]\n       pytop trace [OPTIONS] -- COMMAND [ARG]...",
    after_help = "See 'pytop trace --help' for examples.",
    after_long_help = AFTER_HELP
)]
pub struct Trace {
    /// Trace only these processes
    ///
    /// May be given more than once, and with several ids at once. The trace ends when the last of
    /// them has ended. Without it, every CPython process is traced.
    #[arg(short, long = "pid", value_name = "PID[,PID]...", value_delimiter = ',', value_parser = pid,
        allow_negative_numbers = true)]
    pub pids: Vec<u32>,

    /// Trace the descendants of --pid or of the command too
    #[arg(long)]
    pub children: bool,

    /// Show only functions whose 'FILENAME:LINE FUNCTION' matches
    #[arg(short, long, value_name = "REGEX", value_parser = filter)]
    pub filter: Option<Filter>,

    /// Show what matches together with everything that it calls
    #[arg(long, requires = "filter")]
    pub subtree: bool,

    /// Show no function that has N others or more around it
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_depth: Option<u32>,

    /// End after this time; a command is ended too
    #[arg(long, value_name = "SECONDS", value_parser = duration, allow_negative_numbers = true)]
    pub duration: Option<Duration>,

    /// How to print what happens
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: TraceFormat,

    /// What a stack of --format folded weighs: time, unless calls are asked for
    #[arg(long, value_name = "WEIGHT", value_enum)]
    pub weight: Option<Weight>,

    /// Print to this file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,

    /// Memory for events that are not printed yet, in MiB: 1 to 1024, a power of two
    ///
    /// What happens while it is full is lost, and said to be.
    #[arg(long, value_name = "MIB", default_value_t = RING, value_parser = ring)]
    pub buffer: u32,

    /// How calls are followed; for comparing, and for finding faults
    #[arg(long, value_name = "METHOD", value_enum, default_value_t)]
    pub method: MethodChoice,

    /// Start this, trace it from its first bytecode, and end when it ends, with its exit status
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

const AFTER_HELP: &str = "\
A line is the time in microseconds since the start, the program and its process id (and, where it
is another, the thread's), and what happened, indented by the depth of the call:
  =>  the function was entered        !>  it was entered by throw() or close() of its generator
  <=  it returned, yielded or raised  <~  it was left, and this was seen only now
  <+  it made a generator, which did not run yet
  ... 1,203 events lost ...           so many came when there was no room for them

Examples:
  pytop trace -- python3 app.py             every call, from the first bytecode
  pytop trace -p 812 --duration 5           five seconds of a process
  pytop trace -p 812 -f ' handle$' --subtree   what handle() does
  pytop trace --format folded -o out -- python3 app.py   for flamegraph.pl and speedscope

It needs what pytop needs, and ends with the same exit statuses.";

/// How a trace is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum TraceFormat {
    /// A line an entry or return, for reading
    #[default]
    Text,
    /// One object a line an entry or return
    Json,
    /// One line a stack, at the end, for flame graphs
    Folded,
}

/// What a stack weighs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Weight {
    /// Microseconds in its innermost function itself
    #[default]
    Time,
    /// Calls
    Calls,
}

impl Trace {
    /// How much room a trace has.
    #[must_use]
    pub fn room(&self) -> Room {
        Room {
            ring: self.buffer.saturating_mul(1 << 20),
            max_depth: self.max_depth.unwrap_or(u32::MAX),
        }
    }

    /// What is wrong with the options together.
    pub(super) fn check(&mut self, has_dashes: bool) -> Result<(), &'static str> {
        if !self.pids.is_empty() && !self.command.is_empty() {
            return Err("'--pid' cannot be used with a command: the command is what is traced");
        }
        if self.children && self.pids.is_empty() && self.command.is_empty() {
            return Err(
                "'--children' needs '--pid' or a command; without them every process is traced \
                 anyway",
            );
        }
        if self.weight.is_some() && self.format != TraceFormat::Folded {
            return Err("'--weight' needs '--format folded': nothing else has weights");
        }
        if self.command.is_empty() && has_dashes {
            return Err("there is no command after '--'");
        }
        self.pids.sort_unstable();
        self.pids.dedup();
        Ok(())
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        .filter(|seconds| (SHORTEST..=LONGEST).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("must be a number of seconds from {SHORTEST}"))
}

fn ring(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .ok()
        .filter(|size: &u32| (1..=1024).contains(size) && size.is_power_of_two())
        .ok_or("must be a power of two from 1 to 1024")
}

#[cfg(test)]
mod tests {
    use super::super::{Stop, Task, parse};
    use super::*;

    fn read(line: &str) -> Result<Trace, Stop> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        let words = ["pytop", "trace"].into_iter().chain(words);
        match parse(words.map(OsString::from))?.task {
            Some(Task::Trace(arguments)) => Ok(*arguments),
            other => panic!("{other:?} is no trace"),
        }
    }

    #[test]
    fn defaults() {
        let arguments = read("").unwrap();
        assert!(arguments.pids.is_empty() && arguments.command.is_empty());
        assert_eq!(arguments.format, TraceFormat::Text);
        assert_eq!(arguments.weight, None);
        let room = Room {
            ring: 16 << 20,
            max_depth: u32::MAX,
        };
        assert_eq!(arguments.room(), room);
    }

    #[test]
    fn options_are_read() {
        type Check = fn(&Trace) -> bool;
        let table: &[(&str, Check)] = &[
            ("-p 3 --pid 2,3", |trace| trace.pids == [2, 3]),
            ("--children -- a --b", |trace| {
                trace.children && trace.command == ["a", "--b"]
            }),
            ("-f x --subtree", |trace| trace.subtree),
            ("--max-depth 3 --buffer 2", |trace| {
                let room = trace.room();
                (room.ring, room.max_depth) == (2 << 20, 3)
            }),
            ("--duration 1.5", |trace| {
                trace.duration == Some(Duration::from_millis(1500))
            }),
            ("--format folded --weight calls -o x", |trace| {
                trace.format == TraceFormat::Folded
                    && trace.weight == Some(Weight::Calls)
                    && trace.output.is_some()
            }),
        ];
        for (line, check) in table {
            assert!(check(&read(line).unwrap()), "{line}");
        }
    }

    #[test]
    fn wrong_usage_is_explained() {
        for (line, message) in [
            ("-p 1 -- a", "'--pid' cannot be used with a command"),
            ("--children", "'--children' needs '--pid' or a command"),
            ("--", "there is no command after '--'"),
            ("--subtree", "--filter"),
            ("--weight calls", "'--weight' needs '--format folded'"),
            ("--max-depth 0", "'--max-depth <N>'"),
            ("--duration 0", "must be a number of seconds from 0.001"),
            ("--buffer 3", "must be a power of two from 1 to 1024"),
            ("--format table", "'--format <FORMAT>'"),
        ] {
            let Err(Stop::Usage { message: said, .. }) = read(line) else {
                panic!("{line} is accepted");
            };
            assert!(said.contains(message), "{line}: {said}");
        }
    }

    #[test]
    fn help_tells_of_every_sign() {
        let Err(Stop::Shown(help)) = read("--help") else {
            panic!("no help");
        };
        for sign in ["=>", "!>", "<=", "<~", "<+", "events lost"] {
            assert!(help.contains(sign), "{sign}");
        }
    }
}
