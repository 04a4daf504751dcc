//! The command line: options, their defaults and limits, and what is said of wrong ones.

use std::ffi::OsString;
use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Parser, ValueEnum};

use crate::model::text::visible;
use crate::model::{Filter, GroupBy, Method, SortKey, View};

/// Exit status of wrong usage, as of most commands.
const WRONG_USAGE: u8 = 2;
/// The kernel gives no process a number above this (include/linux/threads.h, `PID_MAX_LIMIT`).
const PID_MAX: u32 = 4 * 1024 * 1024;
/// Rows that are printed unless the user says otherwise.
const TOP: usize = 20;
/// Seconds.
const SHORTEST_INTERVAL: f64 = 0.1;
/// Seconds.
const LONGEST_INTERVAL: f64 = 3600.0;
/// Percent.
const LEAST_OVERHEAD: f64 = 0.1;
/// Percent.
const MOST_OVERHEAD: f64 = 90.0;

/// A live top for Python function calls
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
#[derive(Debug, Parser)]
#[command(
    name = "pytop",
    version,
    max_term_width = 100,
    args_override_self = true,
    override_usage = "pytop [OPTIONS]\n       pytop [OPTIONS] -- COMMAND [ARG]...",
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
    /// Count only these processes
    ///
    /// May be given more than once, and with several ids at once. pytop ends when the last of them
    /// has ended. Without it, every CPython process is counted, and those that are started
    /// meanwhile.
    #[arg(short, long = "pid", value_name = "PID[,PID]...", value_delimiter = ',', value_parser = pid,
        allow_negative_numbers = true)]
    pub pids: Vec<u32>,

    /// Count the descendants of --pid or of the command too
    #[arg(long)]
    pub children: bool,

    /// Print one snapshot after one interval, and end
    #[arg(long, conflicts_with = "count")]
    pub once: bool,

    /// Print snapshots as plain text, without a screen
    #[arg(short, long)]
    pub batch: bool,

    /// End after N snapshots; a command is ended too
    #[arg(short = 'n', long, value_name = "N", value_parser = count, allow_negative_numbers = true)]
    pub count: Option<u64>,

    /// Time between snapshots: 0.1 to 3600, fractions allowed
    #[arg(short = 'd', long, visible_alias = "delay", value_name = "SECONDS", default_value = "1",
        value_parser = interval, allow_negative_numbers = true)]
    pub interval: Duration,

    /// Rows of a snapshot; 0 for all [default: 20; the screen has all]
    #[arg(short, long, value_name = "N", value_parser = top, allow_negative_numbers = true)]
    pub top: Option<usize>,

    /// Sort by this; most calls first, all else smallest first
    #[arg(short, long, value_name = "KEY", value_enum, default_value_t)]
    pub sort: SortKey,

    /// Reverse the order
    #[arg(short, long)]
    pub reverse: bool,

    /// Add rows up, over a file or a process
    #[arg(short, long, value_name = "KEY", value_enum, default_value_t)]
    pub group_by: GroupBy,

    /// Show only rows whose 'FILENAME:LINE FUNCTION' matches
    ///
    /// The syntax is that of Rust's regex crate, close to Perl's without look-around and
    /// back-references. It matches anywhere unless anchored by ^ or $. Calls that are not shown
    /// are still in the totals.
    #[arg(short, long, value_name = "REGEX", value_parser = filter)]
    pub filter: Option<Filter>,

    /// How to print snapshots
    #[arg(long, value_name = "FORMAT", value_enum, default_value_t)]
    pub format: Format,

    /// How calls are counted; for comparing, and for finding faults
    #[arg(long, value_name = "METHOD", value_enum, default_value_t)]
    pub method: MethodChoice,

    /// Bound what counting takes of each process's CPU time, in percent; auto is 5
    ///
    /// A process that calls so much that counting all of it would cost more is counted during a
    /// part of the time only, and its calls are estimates: marked by a ~ in tables and by
    /// "estimated" in JSON. All others are counted exactly, as without the option.
    #[arg(long, value_name = "PERCENT|auto", value_parser = max_overhead,
        allow_negative_numbers = true)]
    pub max_overhead: Option<MaxOverhead>,

    /// Entries of the kernel's table of counts.
    #[arg(long, value_name = "N", hide = true, value_parser = clap::value_parser!(u32).range(1..))]
    pub table_size: Option<u32>,

    /// Run an empty program at each probe, to measure what the probe itself costs.
    #[arg(long, hide = true)]
    pub count_nothing: bool,

    /// Start this, count it from its first bytecode, and end when it ends, with its exit status
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
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

Exit status:
  0  done
  1  it could not do what was asked
  2  wrong usage
  With a command: the status of the command, or 128 and the signal that ended it; 127 when there
  is no such command, 126 when it cannot be run.

pytop needs root, or the capabilities CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH.";

/// How snapshots are printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns, for reading
    #[default]
    Table,
    /// One object a line a snapshot
    Json,
    /// A header line, then one line a row
    Csv,
}

/// What counting may take of the processor time of a process, in percent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaxOverhead(f64);

impl MaxOverhead {
    /// For production, unless the user knows better.
    const AUTO: Self = Self(5.0);

    /// As a part of the processor time.
    #[must_use]
    pub fn share(self) -> f64 {
        self.0 / 100.0
    }
}

/// Which method the user wants for interpreters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MethodChoice {
    /// The best that the interpreter allows.
    #[default]
    Auto,
    /// This one; an interpreter that does not allow it is not counted.
    Only(Method),
}

impl ValueEnum for MethodChoice {
    fn value_variants<'a>() -> &'a [Self] {
        &[
            Self::Auto,
            Self::Only(Method::Marker),
            Self::Only(Method::Eval),
            Self::Only(Method::Resume),
        ]
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        let (name, help) = match self {
            Self::Auto => ("auto", "The best that an interpreter allows"),
            Self::Only(Method::Marker) => ("marker", "Its function__entry marker"),
            Self::Only(Method::Eval) => ("eval", "Its frame evaluation function, 3.6 to 3.10"),
            Self::Only(Method::Resume) => ("resume", "Its RESUME bytecodes, 3.11 and later"),
        };
        Some(PossibleValue::new(name).help(help))
    }
}

impl Cli {
    /// Whether to draw a screen.
    #[must_use]
    pub fn is_interactive(&self, stdout_is_terminal: bool) -> bool {
        stdout_is_terminal && !self.once && !self.batch && self.format == Format::Table
    }

    /// The number of snapshots after which to end.
    #[must_use]
    pub fn snapshots(&self) -> Option<u64> {
        if self.once { Some(1) } else { self.count }
    }

    /// The rows that are asked for.
    #[must_use]
    pub fn view(&self) -> View {
        View {
            sort: self.sort,
            reverse: self.reverse,
            group_by: self.group_by,
            filter: self.filter.clone(),
            top: Some(self.top.unwrap_or(TOP)).filter(|top| *top != 0),
            ..View::default()
        }
    }

    /// The same for the screen, which scrolls, and needs no limit that nobody asked for.
    #[must_use]
    pub fn screen_view(&self) -> View {
        View {
            top: self.top.filter(|top| *top != 0),
            ..self.view()
        }
    }
}

/// Why there is nothing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Help or version was asked for.
    Shown(String),
    /// The options are wrong.
    Usage(String),
}

impl Stop {
    /// Prints it where it belongs, and returns the exit status.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // A closed output is no reason to fail here: nothing else was to be done.
        match self {
            Self::Shown(text) => {
                let _ = std::io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Self::Usage(message) => {
                let _ = writeln!(std::io::stderr(), "pytop: {message}\ntry 'pytop --help'");
                WRONG_USAGE.into()
            }
        }
    }
}

/// Reads the arguments, the first of which is the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Cli, Stop> {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let mut cli = Cli::try_parse_from(&arguments).map_err(|error| match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            Stop::Shown(error.render().to_string())
        }
        _ => Stop::Usage(explain(&error)),
    })?;
    let wrong = if !cli.pids.is_empty() && !cli.command.is_empty() {
        "'--pid' cannot be used with a command: the command is what is counted"
    } else if cli.children && cli.pids.is_empty() && cli.command.is_empty() {
        "'--children' needs '--pid' or a command; without them every process is counted anyway"
    } else if cli.command.is_empty() && arguments.iter().skip(1).any(|argument| argument == "--") {
        "there is no command after '--'"
    } else {
        cli.pids.sort_unstable();
        cli.pids.dedup();
        return Ok(cli);
    };
    Err(Stop::Usage(wrong.to_owned()))
}

/// What is wrong, in one line, and another with what to do where clap knows.
fn explain(error: &clap::Error) -> String {
    let rendered = error.render().to_string();
    let text = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty() && !line.starts_with("tip:"));
    let mut message = String::new();
    for line in lines {
        if !message.is_empty() {
            message.push(' ');
        }
        message.push_str(&visible(line.as_bytes()));
    }
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && !argument.starts_with('-')
    {
        message.push_str("; a command to start comes after '--'");
    }
    if let Some(meant) = suggestion(error) {
        message.push_str("\n  ");
        message.push_str(&meant);
    }
    message
}

/// What was probably meant.
fn suggestion(error: &clap::Error) -> Option<String> {
    let suggested = [ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| error.get(kind))?;
    match suggested {
        ContextValue::String(one) => Some(format!("did you mean '{one}'?")),
        ContextValue::Strings(several) => {
            Some(format!("did you mean '{}'?", several.join("' or '")))
        }
        _ => None,
    }
}

fn pid(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|pid| (1..=PID_MAX).contains(pid))
        .ok_or_else(|| format!("must be a process id, from 1 to {PID_MAX}"))
}

fn count(text: &str) -> Result<u64, &'static str> {
    text.parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or("must be a whole number from 1")
}

fn top(text: &str) -> Result<usize, &'static str> {
    text.parse()
        .map_err(|_| "must be a whole number, or 0 for all")
}

fn interval(text: &str) -> Result<Duration, String> {
    text.parse()
        .ok()
        // No NaN is in a range.
        .filter(|seconds| (SHORTEST_INTERVAL..=LONGEST_INTERVAL).contains(seconds))
        .map(Duration::from_secs_f64)
        .ok_or_else(|| format!("must be from {SHORTEST_INTERVAL} to {LONGEST_INTERVAL}"))
}

fn max_overhead(text: &str) -> Result<MaxOverhead, String> {
    if text == "auto" {
        return Ok(MaxOverhead::AUTO);
    }
    text.parse()
        .ok()
        .filter(|percent| (LEAST_OVERHEAD..=MOST_OVERHEAD).contains(percent))
        .map(MaxOverhead)
        .ok_or_else(|| {
            format!("must be a percentage from {LEAST_OVERHEAD} to {MOST_OVERHEAD}, or auto")
        })
}

fn filter(text: &str) -> Result<Filter, String> {
    text.parse::<Filter>()
        .map_err(|error| format!("not a regular expression: {}", error.reason))
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt as _;

    use super::*;

    fn read(line: &str) -> Result<Cli, Stop> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        parse(["pytop"].into_iter().chain(words).map(OsString::from))
    }

    #[test]
    fn the_definition_is_consistent() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn defaults() {
        let cli = read("").unwrap();
        assert!(cli.pids.is_empty());
        assert!(cli.command.is_empty());
        assert!(!cli.children && !cli.once && !cli.batch && !cli.reverse);
        assert_eq!(cli.snapshots(), None);
        assert_eq!(cli.interval, Duration::from_secs(1));
        assert_eq!(
            (cli.sort, cli.group_by),
            (SortKey::Calls, GroupBy::Function)
        );
        assert_eq!(
            (cli.format, cli.method),
            (Format::Table, MethodChoice::Auto)
        );
        assert_eq!(cli.table_size, None);
        assert_eq!(cli.max_overhead, None);
        assert_eq!(
            cli.view(),
            View {
                top: Some(20),
                ..View::default()
            }
        );
    }

    #[test]
    fn options_are_read() {
        type Check = fn(&Cli) -> bool;
        let table: &[(&str, Check)] = &[
            ("-p 812", |cli| cli.pids == [812]),
            ("--pid 3 --pid=1,2 -p3 -p 4194304", |cli| {
                cli.pids == [1, 2, 3, 4_194_304]
            }),
            ("-p 1 --children", |cli| cli.children),
            ("--children -- a", |cli| cli.children),
            ("--once", |cli| cli.snapshots() == Some(1)),
            ("--once --batch", |cli| cli.once && cli.batch),
            ("-b", |cli| cli.batch),
            ("-n 1", |cli| cli.snapshots() == Some(1)),
            ("--count 18446744073709551615", |cli| {
                cli.snapshots() == Some(u64::MAX)
            }),
            ("-n 1 -n 2", |cli| cli.snapshots() == Some(2)),
            ("-d 0.1", |cli| cli.interval == Duration::from_millis(100)),
            ("-d.25", |cli| cli.interval == Duration::from_millis(250)),
            ("--interval 3600", |cli| {
                cli.interval == Duration::from_hours(1)
            }),
            ("--delay=2e0", |cli| cli.interval == Duration::from_secs(2)),
            ("-t 0", |cli| cli.view().top.is_none()),
            ("--top 7", |cli| cli.view().top == Some(7)),
            ("-s total", |cli| cli.view().sort == SortKey::Total),
            ("--sort calls", |cli| cli.view().sort == SortKey::Calls),
            ("-s pid", |cli| cli.view().sort == SortKey::Pid),
            ("-s filename", |cli| cli.view().sort == SortKey::Filename),
            ("-s line", |cli| cli.view().sort == SortKey::Line),
            ("-s function", |cli| cli.view().sort == SortKey::Function),
            ("-r", |cli| cli.view().reverse),
            ("--reverse", |cli| cli.view().reverse),
            ("-g file", |cli| cli.view().group_by == GroupBy::File),
            ("--group-by process", |cli| {
                cli.view().group_by == GroupBy::Process
            }),
            ("-g function", |cli| {
                cli.view().group_by == GroupBy::Function
            }),
            ("-f ^/srv/.*:1", |cli| {
                cli.view().filter.unwrap().pattern() == "^/srv/.*:1"
            }),
            ("--format json", |cli| cli.format == Format::Json),
            ("--format csv", |cli| cli.format == Format::Csv),
            ("--format table", |cli| cli.format == Format::Table),
            ("--method auto", |cli| cli.method == MethodChoice::Auto),
            ("--method marker", |cli| {
                cli.method == MethodChoice::Only(Method::Marker)
            }),
            ("--method eval", |cli| {
                cli.method == MethodChoice::Only(Method::Eval)
            }),
            ("--method resume", |cli| {
                cli.method == MethodChoice::Only(Method::Resume)
            }),
            ("--max-overhead auto", |cli| {
                cli.max_overhead == Some(MaxOverhead(5.0))
            }),
            ("--max-overhead=0.5", |cli| {
                cli.max_overhead.map(MaxOverhead::share) == Some(0.005)
            }),
            ("--table-size 64", |cli| cli.table_size == Some(64)),
            ("-b -- python3 -c pass --once", |cli| {
                !cli.once && cli.command == ["python3", "-c", "pass", "--once"]
            }),
            ("-- a -- b", |cli| cli.command == ["a", "--", "b"]),
            ("-b -n 5 -d 0.5 -p 812", |cli| {
                cli.batch
                    && cli.snapshots() == Some(5)
                    && cli.interval == Duration::from_millis(500)
                    && cli.pids == [812]
            }),
        ];
        for (line, holds) in table {
            let cli = read(line).unwrap_or_else(|stop| panic!("{line}: {stop:?}"));
            assert!(holds(&cli), "{line}: {cli:?}");
        }
    }

    #[test]
    fn wrong_usage_is_explained() {
        let pid = "for '--pid <PID[,PID]...>': must be a process id, from 1 to 4194304";
        let count = "for '--count <N>': must be a whole number from 1";
        let interval = "for '--interval <SECONDS>': must be from 0.1 to 3600";
        let overhead = "for '--max-overhead <PERCENT|auto>': must be a percentage from 0.1 to 90, \
            or auto";
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
            ("--max-overhead 0", format!("invalid value '0' {overhead}")),
            ("--max-overhead 91", format!("invalid value '91' {overhead}")),
            ("--max-overhead -5", format!("invalid value '-5' {overhead}")),
            ("--max-overhead nan", format!("invalid value 'nan' {overhead}")),
            ("--max-overhead 5%", format!("invalid value '5%' {overhead}")),
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
                 filename, line, function]\n  did you mean 'calls'?"
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
            assert_eq!(read(line).unwrap_err(), Stop::Usage(message), "{line}");
        }
        let hostile = ["pytop".into(), OsString::from_vec(b"-s\xff".to_vec())];
        let Stop::Usage(message) = parse(hostile).unwrap_err() else {
            panic!("no usage error")
        };
        assert!(message.starts_with("invalid value '\u{fffd}' for '--sort <KEY>'"));
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
            let hidden = ["table-size", "count-nothing"].contains(&option);
            assert_eq!(shown, !hidden, "{option}");
        }
        assert!(help.contains("\nExamples:\n") && help.contains("\nExit status:\n"));
        let Stop::Shown(short) = read("-h").unwrap_err() else {
            panic!("no help")
        };
        assert!(short.lines().count() < 50, "{short}");
    }

    #[test]
    fn a_screen_is_for_terminals() {
        for (line, interactive) in [
            ("", true),
            ("-n 5", true),
            ("-p 1 -d 5 -r", true),
            ("-- true", true),
            ("--once", false),
            ("--batch", false),
            ("--format json", false),
            ("--format csv", false),
            ("--format table", true),
        ] {
            let cli = read(line).unwrap();
            assert_eq!(cli.is_interactive(true), interactive, "{line}");
            assert!(!cli.is_interactive(false), "{line}");
        }
    }
}
