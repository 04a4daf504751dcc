//! The command line: options, their defaults and limits, and what is said of wrong ones.
//!
//! Without a subcommand pytop is a top. Each subcommand has a file of its own, and so has the top.

mod doctor;
mod overhead;
mod pid;
mod probes;
mod top;
mod trace;
mod usage;

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{Parser, Subcommand, ValueEnum};

pub use doctor::Doctor;
pub use overhead::MaxOverhead;
pub use probes::Probes;
pub use top::{Format, MethodChoice, Top};
pub use trace::{Trace, TraceFormat, Weight};
pub use usage::Stop;

/// A live top for Python function calls
#[derive(Debug, Parser)]
#[command(
    name = "pytop",
    version,
    max_term_width = 100,
    args_override_self = true,
    override_usage = "pytop [OPTIONS]\n       pytop [OPTIONS] -- COMMAND [ARG]...\n       \
        pytop SUBCOMMAND [OPTIONS]",
    args_conflicts_with_subcommands = true,
    subcommand_help_heading = "Subcommands",
    subcommand_value_name = "SUBCOMMAND",
    long_about = "A live top for Python function calls.\n\n\
        Shows which Python functions are entered most, across every CPython process of the \
        machine. Calls are counted in the kernel, each of them: pytop does not sample. Processes \
        are neither changed nor restarted; one that cannot be counted exactly is listed with the \
        reason.\n\n\
        On a terminal pytop draws a screen; press ? there for its keys. Otherwise, and with \
        --once, --batch, or a --format other than table, it prints one snapshot after another.",
    after_help = "See 'pytop --help' for examples and exit status.",
    after_long_help = AFTER_HELP
)]
pub struct Cli {
    /// The options of the top.
    #[command(flatten)]
    pub top: Top,
    /// What to do instead of a top.
    #[command(subcommand)]
    pub task: Option<Task>,
}

/// What pytop does besides being a top.
#[derive(Debug, Subcommand)]
#[expect(
    missing_docs,
    reason = "the help of each is the comment of its options, which one here would replace"
)]
pub enum Task {
    Trace(Box<Trace>),
    Probes(Probes),
    Doctor(Doctor),
}

/// How the answer of a subcommand is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum AnswerFormat {
    /// For reading
    #[default]
    Table,
    /// One object
    Json,
}

const AFTER_HELP: &str = "\
Examples:
  pytop                           the whole machine, on a screen
  pytop -p 812 --children         one process and its workers
  pytop -- python3 app.py         a program, from its first bytecode
  pytop -b -n 5 -d 0.5 -p 812     five snapshots as text, twice a second
  pytop --once -t 0 -s total      every function that was called within one second
  pytop -f '^/srv/'               only code below /srv
  pytop -g process                which processes call most
  pytop --format json | jq -c '.rows[]'
  pytop trace -- python3 app.py   not how often, but who calls whom
  pytop probes                    which markers interpreters have, and how each is counted
  pytop doctor                    whether pytop can count here, and what is missing

Exit status:
  0  done
  1  it could not do what was asked
  2  wrong usage
  With a command: the status of the command, or 128 and the signal that ended it; 127 when there
  is no such command, 126 when it cannot be run.

pytop needs root, or the capabilities CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.";

/// Reads the arguments, the first of which is the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Stop> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let named = arguments.get(1).and_then(|word| word.to_str());
    let task = named.filter(|word| Task::has_subcommand(word));
    let wrong = |message| Stop::Usage {
        message,
        help: match task {
            Some(task) => format!("pytop {task} --help"),
            None => "pytop --help".to_owned(),
        },
    };
    let mut cli = Cli::try_parse_from(&arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Stop::Shown(error.render().to_string())
        }
        _ => wrong(usage::explain(&error, task)),
    })?;
    let checked = match &mut cli.task {
        None => cli.top.check(&arguments),
        Some(Task::Probes(probes)) => {
            probes.tidy();
            Ok(())
        }
        Some(Task::Trace(trace)) => trace.check(arguments.iter().any(|word| word == "--")),
        Some(Task::Doctor(_)) => Ok(()),
    };
    checked.map_err(|reason| wrong(reason.to_owned()))?;
    Ok(cli)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn read(line: &str) -> Result<Cli, Stop> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        parse(["pytop"].into_iter().chain(words).map(OsString::from))
    }

    fn usage(message: String) -> Stop {
        Stop::Usage {
            message,
            help: "pytop --help".to_owned(),
        }
    }

    #[test]
    fn the_definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn wrong_usage_is_explained() {
        let pid = "for '--pid <PID[,PID]...>': must be a process id, from 1 to 4194304";
        let count = "for '--count <N>': must be a whole number from 1";
        let interval = "for '--interval <SECONDS>': must be from 0.1 to 3600";
        let top = "for '--top <N>': must be a whole number, or 0 for all";
        let needs = "'--children' needs '--pid' or a command; \
            without them every process is counted anyway";
        let with = "'--pid' cannot be used with a command: the command is what is counted";
        for (line, message) in [
            ("-p 0", format!("invalid value '0' {pid}")),
            ("-p 4194305", format!("invalid value '4194305' {pid}")),
            ("-p -1", format!("invalid value '-1' {pid}")),
            ("-p x", format!("invalid value 'x' {pid}")),
            ("-p 1,,2", format!("invalid value '' {pid}")),
            (
                "-p 99999999999999999999",
                format!("invalid value '99999999999999999999' {pid}"),
            ),
            ("-n 0", format!("invalid value '0' {count}")),
            ("-n -3", format!("invalid value '-3' {count}")),
            ("-n 1.5", format!("invalid value '1.5' {count}")),
            ("-d 0", format!("invalid value '0' {interval}")),
            ("-d 0.0999", format!("invalid value '0.0999' {interval}")),
            ("-d 3600.1", format!("invalid value '3600.1' {interval}")),
            ("-d -1", format!("invalid value '-1' {interval}")),
            ("-d nan", format!("invalid value 'nan' {interval}")),
            ("-d inf", format!("invalid value 'inf' {interval}")),
            ("-d 1e999", format!("invalid value '1e999' {interval}")),
            ("--delay 1s", format!("invalid value '1s' {interval}")),
            ("-t -1", format!("invalid value '-1' {top}")),
            ("-t many", format!("invalid value 'many' {top}")),
            (
                "-f (",
                "invalid value '(' for '--filter <REGEX>': not a regular expression: \
                 unclosed group"
                    .to_owned(),
            ),
            (
                "-s cals",
                "invalid value 'cals' for '--sort <KEY>' [possible values: calls, total, pid, \
                 filename, line, function, time, own, mean, p50, p99, max]\n  did you mean 'calls'?"
                    .to_owned(),
            ),
            (
                "-g 2",
                "invalid value '2' for '--group-by <KEY>' [possible values: function, file, \
                 process]"
                    .to_owned(),
            ),
            (
                "--format xml",
                "invalid value 'xml' for '--format <FORMAT>' [possible values: table, json, csv]"
                    .to_owned(),
            ),
            (
                "--method best",
                "invalid value 'best' for '--method <METHOD>' [possible values: auto, marker, \
                 eval, resume]"
                    .to_owned(),
            ),
            (
                "--once -n 2",
                "the argument '--once' cannot be used with '--count <N>'".to_owned(),
            ),
            ("--children", needs.to_owned()),
            ("-p 1 -- true", with.to_owned()),
            ("--", "there is no command after '--'".to_owned()),
            (
                "true",
                "unexpected argument 'true' found; a command to start comes after '--'".to_owned(),
            ),
            (
                "--intervall 1",
                "unexpected argument '--intervall' found\n  did you mean '--interval'?".to_owned(),
            ),
            (
                "-d 5 probes",
                "unexpected argument 'probes' found; a subcommand comes first, and has options of \
                 its own"
                    .to_owned(),
            ),
            ("-x", "unexpected argument '-x' found".to_owned()),
            (
                "-n",
                "a value is required for '--count <N>' but none was supplied".to_owned(),
            ),
            (
                "-d \u{202e}1",
                format!("invalid value '\\u{{202e}}1' {interval}"),
            ),
        ] {
            assert_eq!(read(line).unwrap_err(), usage(message), "{line}");
        }
        let hostile = ["pytop".into(), OsString::from_vec(b"-s\xff".to_vec())];
        let Stop::Usage { message, .. } = parse(hostile).unwrap_err() else {
            panic!("no usage error")
        };
        assert!(message.starts_with("invalid value '\u{fffd}' for '--sort <KEY>'"));
    }

    #[test]
    fn subcommands_have_options_of_their_own() {
        let task = |line| read(line).unwrap().task;
        assert!(task("").is_none());
        assert!(task("-- probes").is_none());
        assert!(task("-f doctor").is_none());
        let Some(Task::Probes(probes)) = task("probes -p 3,1 --pid 3 --format json") else {
            panic!("no probes")
        };
        assert_eq!(
            (&*probes.pids, probes.format),
            (&[1, 3][..], AnswerFormat::Json)
        );
        let Some(Task::Probes(probes)) = task("probes /bin/a b") else {
            panic!("no probes")
        };
        assert_eq!(probes.files, ["/bin/a", "b"].map(std::path::PathBuf::from));
        assert!(matches!(
            task("doctor --format table --format json"),
            Some(Task::Doctor(Doctor {
                format: AnswerFormat::Json
            }))
        ));
        for (line, message, help) in [
            (
                "probes /bin/a -p 1",
                "the argument '[FILE]...' cannot be used with '--pid <PID[,PID]...>'",
                "pytop probes --help",
            ),
            (
                "probes --format csv",
                "invalid value 'csv' for '--format <FORMAT>' [possible values: table, json]",
                "pytop probes --help",
            ),
            (
                "doctor --once",
                "unexpected argument '--once' found",
                "pytop doctor --help",
            ),
            (
                "doctor 812",
                "unexpected argument '812' found",
                "pytop doctor --help",
            ),
        ] {
            let (message, help) = (message.to_owned(), help.to_owned());
            assert_eq!(read(line).unwrap_err(), Stop::Usage { message, help });
        }
        for line in ["help probes", "probes --help"] {
            let Stop::Shown(help) = read(line).unwrap_err() else {
                panic!("no help")
            };
            assert!(help.starts_with("Show what can be probed in interpreters and other files."));
            assert!(help.contains("\nExamples:\n") && help.contains("\nExit status:\n"));
        }
    }

    #[test]
    fn help_and_version_are_no_errors() {
        let version = format!("pytop {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!(read("--version").unwrap_err(), Stop::Shown(version.clone()));
        assert_eq!(read("-V").unwrap_err(), Stop::Shown(version));
        let Stop::Shown(help) = read("--help").unwrap_err() else {
            panic!("no help")
        };
        for command in <Cli as clap::CommandFactory>::command().get_arguments() {
            let Some(option) = command.get_long() else {
                continue;
            };
            let shown = help.contains(&format!("--{option}"));
            let hidden = option == "count-nothing";
            assert_eq!(shown, !hidden, "{option}");
        }
        assert!(help.contains("\nExamples:\n") && help.contains("\nExit status:\n"));
        let Stop::Shown(short) = read("-h").unwrap_err() else {
            panic!("no help")
        };
        assert!(short.lines().count() < 50, "{short}");
    }
}
