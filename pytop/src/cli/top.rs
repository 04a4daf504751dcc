//! The options of the top, which is what pytop does unless a subcommand is named.

use std::ffi::OsString;
use std::time::Duration;

use clap::builder::PossibleValue;
use clap::{Args, ValueEnum};

use super::overhead::{MaxOverhead, max_overhead};
use super::pid::pid;
use crate::model::{Filter, GroupBy, Method, SortKey, View};

/// Rows that are printed unless the user says otherwise.
const TOP: usize = 20;
/// Seconds.
const SHORTEST_INTERVAL: f64 = 0.1;
/// Seconds.
const LONGEST_INTERVAL: f64 = 3600.0;

// A comment that documents would be taken for the help of the whole command.
#[expect(missing_docs, reason = "see above; these are the options of the top")]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is an option of its own"
)]
#[derive(Debug, Args)]
pub struct Top {
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

    /// Sort by this; most calls and longest durations first, all else smallest first
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
    /// "estimated" in JSON. All others are counted exactly, as without the option; a process that
    /// uses less than a twentieth of a CPU is taken to use that much. PERCENT is from 0.1 to 90.
    #[arg(long, value_name = "PERCENT|auto", value_parser = max_overhead,
        allow_negative_numbers = true, conflicts_with = "durations")]
    pub max_overhead: Option<MaxOverhead>,

    /// Measure how long calls take, too
    ///
    /// Adds for each function the time in it (recursion counts once), its own time without the
    /// functions that it calls, and the mean, the median (p50), p99 and maximum of its calls. It is
    /// wall-clock time, waiting included. A second probe is hit when a call ends, so a call costs
    /// about twice as much.
    #[arg(long)]
    pub durations: bool,

    /// Functions that can be counted in one interval [default: as many as needed]
    ///
    /// There is room for 131072 at first, and for more as soon as half of it is needed, up to
    /// 1048576: each takes 240 bytes of the kernel's memory. Calls of functions without room are
    /// counted as `table_full`.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub table_size: Option<u32>,

    /// Run an empty program at each probe, to measure what the probe itself costs.
    #[arg(long, hide = true)]
    pub count_nothing: bool,

    /// Start this, count it from its first bytecode, and end when it ends, with its exit status
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

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

impl Top {
    /// Checks what options mean together, and puts them in order. `arguments` are those of the
    /// whole command line.
    pub(super) fn check(&mut self, arguments: &[OsString]) -> Result<(), &'static str> {
        let has_command = !self.command.is_empty();
        if !self.pids.is_empty() && has_command {
            return Err("'--pid' cannot be used with a command: the command is what is counted");
        }
        if self.children && self.pids.is_empty() && !has_command {
            return Err(
                "'--children' needs '--pid' or a command; without them every process is counted \
                 anyway",
            );
        }
        if !has_command && arguments.iter().skip(1).any(|argument| argument == "--") {
            return Err("there is no command after '--'");
        }
        if self.sort.is_of_durations() && !self.durations {
            return Err("to sort by durations, they have to be measured: '--durations'");
        }
        self.pids.sort_unstable();
        self.pids.dedup();
        Ok(())
    }

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
            durations: self.durations,
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

pub(super) fn filter(text: &str) -> Result<Filter, String> {
    text.parse::<Filter>()
        .map_err(|error| format!("not a regular expression: {}", error.reason))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Stop, parse};

    fn read(line: &str) -> Result<Top, Stop> {
        let words = line.split(' ').filter(|word| !word.is_empty());
        parse(["pytop"].into_iter().chain(words).map(OsString::from)).map(|cli| cli.top)
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
        type Check = fn(&Top) -> bool;
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
            ("--durations", |cli| cli.durations && cli.view().durations),
            ("--durations -s p99", |cli| cli.view().sort == SortKey::P99),
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
