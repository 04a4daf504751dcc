//! The table: a line or two of summary, then the rows in columns.
//!
//! Without a width, as for a file or a pipe, nothing is cut, so that nothing is lost to grep: a
//! long name pushes what follows it out of its column. With a width, the filename gives way first,
//! at its head, then the function's name at its tail.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::{self, Write};

use unicode_width::UnicodeWidthChar as _;

use crate::model::text::visible;
use crate::model::{Coverage, Entry, GroupBy, Snapshot, SortKey, Text, View};

/// How wide a table may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// In terminal cells; `None` for no limit.
    width: Option<usize>,
}

impl Layout {
    /// Without a limit, columns are this wide at most. Longer text is not cut.
    const COLUMN_MAX: usize = 100;
    /// With a limit, text has this much, whatever the limit: filename and function together.
    const TEXT_MIN: usize = 20;
    /// What stands for a part that was cut.
    const CUT: &str = "...";

    /// As wide as it takes.
    #[must_use]
    pub fn unlimited() -> Self {
        Self { width: None }
    }

    /// A number of terminal cells.
    #[must_use]
    pub fn of_width(cells: usize) -> Self {
        Self { width: Some(cells) }
    }

    /// As ps(1) does: the value of `COLUMNS` where it is set, or else the terminal's width, or else
    /// no limit.
    #[must_use]
    pub fn detect(columns: Option<&str>, terminal_width: Option<u16>) -> Self {
        let columns = columns.and_then(|columns| columns.trim().parse().ok());
        let cells = columns.or_else(|| terminal_width.map(usize::from));
        Self {
            width: cells.filter(|cells| *cells > 0),
        }
    }

    /// The cells for text that is behind others, [`Layout::TEXT_MIN`] at least; `None` for no limit.
    pub(super) fn room_after(self, others: usize) -> Option<usize> {
        let width = self.width?;
        Some(width.saturating_sub(others).max(Self::TEXT_MIN))
    }
}

pub(super) fn write(
    output: &mut impl Write,
    layout: Layout,
    view: &View,
    snapshot: &Snapshot,
    entries: &[Entry],
) -> io::Result<()> {
    write_summary(output, view, snapshot, entries)?;
    if entries.is_empty() {
        return write_reasons(output, snapshot);
    }
    let with_total = view.sort == SortKey::Total;
    let durations = if view.durations {
        SortKey::durations_within(layout.width.unwrap_or(usize::MAX), view.sort)
    } else {
        Vec::new()
    };
    let lines: Vec<_> = entries
        .iter()
        .map(|entry| Printed::of(entry, with_total, &durations))
        .collect();
    let header = Printed::header(with_total, &durations);
    Columns::fit(layout, &header, &lines).write(output, &header, &lines)
}

fn write_summary(
    output: &mut impl Write,
    view: &View,
    snapshot: &Snapshot,
    entries: &[Entry],
) -> io::Result<()> {
    let counted = snapshot
        .processes
        .iter()
        .filter(|process| process.coverage.method().is_some());
    let counted = counted.count();
    let about = if snapshot.is_estimated() { "~" } else { "" };
    write!(
        output,
        "pytop {}: {about}{} in {:.3} s, {about}{:.0}/s, {}",
        humantime::format_rfc3339_seconds(snapshot.time),
        plural(snapshot.total_calls(), "call"),
        snapshot.interval.as_secs_f64(),
        snapshot.calls_per_second(),
        plural(snapshot.rows.len() as u64, "function"),
    )?;
    if view.group_by == GroupBy::Function && entries.len() < snapshot.rows.len() {
        write!(output, " ({} shown)", entries.len())?;
    }
    let processes = match counted {
        1 => "1 process".to_owned(),
        _ => format!("{counted} processes"),
    };
    write!(output, "; {processes} counted")?;
    let incomplete = snapshot
        .processes
        .iter()
        .filter(|process| matches!(process.coverage, Coverage::Incomplete(..)));
    match incomplete.count() {
        0 => {}
        some => write!(output, " ({some} incompletely)")?,
    }
    let estimated = snapshot.processes.iter();
    match estimated
        .filter(|process| process.estimate.is_some())
        .count()
    {
        0 => {}
        some => write!(output, ", {some} by estimate (~)")?,
    }
    match snapshot.processes.len() - counted {
        0 => {}
        others => write!(output, ", {others} not countable")?,
    }
    match snapshot.probe_cost() {
        Some(share) if counted > 0 => {
            writeln!(output, "; counting took {:.1} % of a CPU", share * 100.0)?;
        }
        _ => writeln!(output)?,
    }
    let mut separator = "uncounted: ";
    for (reason, hits) in snapshot.uncounted.reasons() {
        write!(output, "{separator}{} ({reason})", plural(hits, "call"))?;
        separator = ", ";
    }
    if snapshot.uncounted.total() > 0 {
        writeln!(output)?;
    }
    let untimed = snapshot.untimed.unwrap_or_default();
    let mut separator = "not timed: ";
    for (reason, calls) in untimed.reasons() {
        write!(output, "{separator}{} ({reason})", plural(calls, "call"))?;
        separator = ", ";
    }
    if untimed.total() > 0 {
        writeln!(output)?;
    }
    Ok(())
}

fn about(is_estimate: bool, calls: u64) -> String {
    let sign = if is_estimate { "~" } else { "" };
    format!("{sign}{calls}")
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// Says what is there instead of rows.
fn write_reasons(output: &mut impl Write, snapshot: &Snapshot) -> io::Result<()> {
    /// Processes that are named for each reason.
    const EXAMPLES: usize = 3;

    if !snapshot.rows.is_empty() {
        return writeln!(output, "no function matches the filter");
    }
    if snapshot.processes.is_empty() {
        return writeln!(output, "no CPython process; waiting for one to start");
    }
    if snapshot
        .processes
        .iter()
        .any(|process| process.estimate.is_some())
    {
        return writeln!(
            output,
            "no call was seen: what is counted in windows had none in this interval"
        );
    }
    let mut reasons: BTreeMap<&str, Vec<u32>> = BTreeMap::new();
    for process in &snapshot.processes {
        match &process.coverage {
            Coverage::Counted(_) | Coverage::Incomplete(..) => {
                return writeln!(output, "no Python function was called");
            }
            Coverage::NotCounted(reason) => reasons.entry(reason).or_default().push(process.pid),
        }
    }
    writeln!(output, "no CPython process that can be counted:")?;
    for (reason, pids) in reasons {
        let named: Vec<_> = pids
            .iter()
            .take(EXAMPLES)
            .map(ToString::to_string)
            .collect();
        write!(
            output,
            "  {} (pid {}",
            visible(reason.as_bytes()),
            named.join(", ")
        )?;
        match pids.len() - named.len() {
            0 => writeln!(output, ")")?,
            more => writeln!(output, ", and {more} more)")?,
        }
    }
    Ok(())
}

/// One row as text.
struct Printed<'a> {
    pid: String,
    filename: Cow<'a, str>,
    line: String,
    function: Cow<'a, str>,
    calls: String,
    /// Empty when it is no column.
    total: String,
    durations: Vec<String>,
}

impl<'a> Printed<'a> {
    fn of(entry: &'a Entry, with_total: bool, durations: &[SortKey]) -> Self {
        let number = |value: Option<u32>| value.map_or("-".to_owned(), |value| value.to_string());
        let text = |value: Option<&'a Text>| match value {
            Some(value) if !value.is_empty() => value.visible(),
            _ => "-".into(),
        };
        Self {
            pid: number(super::pid(entry)),
            filename: text(entry.filename()),
            line: number(entry.line()),
            function: text(entry.name()),
            calls: about(entry.estimated.is_some(), entry.calls),
            total: if with_total {
                about(entry.is_total_estimated, entry.total)
            } else {
                String::new()
            },
            durations: super::durations::cells(durations, entry.durations.as_deref()),
        }
    }

    fn header(with_total: bool, durations: &[SortKey]) -> Self {
        Self {
            pid: "PID".to_owned(),
            filename: "FILENAME".into(),
            line: "LINE".to_owned(),
            function: "FUNCTION".into(),
            calls: "CALLS".to_owned(),
            total: if with_total {
                "TOTAL".to_owned()
            } else {
                String::new()
            },
            durations: super::durations::titles(durations),
        }
    }
}

/// The width of a column of durations, in terminal cells.
const DURATION: usize = 7;

/// The width of each column, in terminal cells.
#[derive(Debug, PartialEq, Eq)]
struct Columns {
    pid: usize,
    filename: usize,
    line: usize,
    function: usize,
    calls: usize,
    total: usize,
    durations: usize,
    /// Longer text is cut.
    cut: bool,
}

impl Columns {
    /// As narrow as the text allows; the filename and the function no wider than there is room.
    fn fit(layout: Layout, header: &Printed<'_>, lines: &[Printed<'_>]) -> Self {
        let widest = |width: &dyn Fn(&Printed<'_>) -> usize| {
            lines.iter().map(width).fold(width(header), usize::max)
        };
        let mut columns = Self {
            // A kernel's pids have seven digits at most: rows of later snapshots align.
            pid: widest(&|line| line.pid.len()).max(7),
            filename: widest(&|line| cells(&line.filename)),
            line: widest(&|line| line.line.len()).max(5),
            function: widest(&|line| cells(&line.function)),
            calls: widest(&|line| line.calls.len()).max(10),
            total: widest(&|line| line.total.len()),
            durations: header.durations.len() * (DURATION + 1),
            cut: false,
        };
        match layout.width {
            None => {
                columns.filename = columns.filename.min(Layout::COLUMN_MAX);
                columns.function = columns.function.min(Layout::COLUMN_MAX);
            }
            Some(width) => {
                let gaps = if columns.total > 0 { 5 } else { 4 };
                let numbers =
                    columns.pid + columns.line + columns.calls + columns.total + columns.durations;
                let room = width.saturating_sub(numbers + gaps).max(Layout::TEXT_MIN);
                columns.cut = true;
                columns.filename = columns
                    .filename
                    .min(room.saturating_sub(columns.function).max(room * 2 / 3));
                columns.function = columns.function.min(room - columns.filename);
            }
        }
        columns
    }

    fn write(
        &self,
        output: &mut impl Write,
        header: &Printed<'_>,
        lines: &[Printed<'_>],
    ) -> io::Result<()> {
        for line in std::iter::once(header).chain(lines) {
            write!(output, "{:>1$} ", line.pid, self.pid)?;
            let filename = self.cut_head(&line.filename);
            write!(
                output,
                "{filename}{:1$} ",
                "",
                self.filename.saturating_sub(cells(&filename))
            )?;
            write!(output, "{:>1$} ", line.line, self.line)?;
            let function = self.cut_tail(&line.function);
            write!(
                output,
                "{function}{:1$} ",
                "",
                self.function.saturating_sub(cells(&function))
            )?;
            write!(output, "{:>1$}", line.calls, self.calls)?;
            if self.total > 0 {
                write!(output, " {:>1$}", line.total, self.total)?;
            }
            for duration in &line.durations {
                write!(output, " {duration:>DURATION$}")?;
            }
            writeln!(output)?;
        }
        Ok(())
    }

    /// The file's name is at the end of its path.
    fn cut_head<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.cut || cells(text) <= self.filename {
            return Cow::Borrowed(text);
        }
        let mut room = self.filename.saturating_sub(Layout::CUT.len());
        let kept = text
            .char_indices()
            .rev()
            .take_while(|(_, character)| take(&mut room, *character));
        let start = kept.last().map_or(text.len(), |(start, _)| start);
        let kept = text.get(start..).unwrap_or_default();
        // A mark that combines with the letter before it would change the dots.
        let kept = kept.trim_start_matches(|character| width(character) == 0);
        Cow::Owned(format!("{}{kept}", Layout::CUT))
    }

    fn cut_tail<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if !self.cut || cells(text) <= self.function {
            return Cow::Borrowed(text);
        }
        let mut room = self.function.saturating_sub(Layout::CUT.len());
        let mut kept: String = text
            .chars()
            .take_while(|character| take(&mut room, *character))
            .collect();
        kept.push_str(Layout::CUT);
        Cow::Owned(kept)
    }
}

/// Takes the character's width from `room`, if there is enough.
fn take(room: &mut usize, character: char) -> bool {
    match room.checked_sub(width(character)) {
        Some(rest) => {
            *room = rest;
            true
        }
        None => false,
    }
}

/// Terminal cells of a text: 2 for each East Asian wide character, 0 for a combining mark.
pub(super) fn cells(text: &str) -> usize {
    if text.is_ascii() {
        text.len()
    } else {
        text.chars().map(width).sum()
    }
}

fn width(character: char) -> usize {
    character.width().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hostile, print, print_at, row, snapshot, two};
    use super::*;
    use crate::cli::Format;
    use crate::model::Method;

    fn table(view: View, snapshots: &[Snapshot]) -> String {
        print(Format::Table, view, snapshots)
    }

    #[test]
    fn summary_columns_and_a_blank_line_between() {
        let mut second = snapshot(vec![row(4_194_304, "/srv/app.py", 0, "h", 1)]);
        second.uncounted.table_full = 7;
        second.uncounted.unreadable_name = 1;
        assert_eq!(
            table(View::default(), &[snapshot(two()), second]),
            "\
pytop 2026-11-22T18:00:01Z: 2002 calls in 1.000 s, 2001/s, 2 functions; 1 process counted, 1 not countable; counting took 0.1 % of a CPU
    PID FILENAME     LINE FUNCTION      CALLS
    812 /srv/app.py     2 f              2000
    812 /srv/app.py     3 g                 2

pytop 2026-11-22T18:00:01Z: 9 calls in 1.000 s, 9/s, 1 function; 1 process counted, 1 not countable; counting took 0.1 % of a CPU
uncounted: 7 calls (table full), 1 call (name unreadable)
    PID FILENAME     LINE FUNCTION      CALLS
4194304 /srv/app.py     - h                 1
"
        );
    }

    #[test]
    fn rows_that_are_not_shown_are_mentioned() {
        let printed = table(
            View {
                top: Some(1),
                ..View::default()
            },
            &[snapshot(two())],
        );
        assert!(printed.contains(", 2 functions (1 shown); "), "{printed}");
        assert_eq!(printed.lines().count(), 3);
    }

    #[test]
    fn groups_have_dashes_for_what_does_not_apply() {
        for (group_by, expected) in [
            (
                GroupBy::File,
                "      - /srv/app.py     - -              2002",
            ),
            (
                GroupBy::Process,
                "    812 /usr/bin/python3.9     - -              2002",
            ),
        ] {
            let printed = table(
                View {
                    group_by,
                    ..View::default()
                },
                &[snapshot(two())],
            );
            assert_eq!(printed.lines().nth(2).unwrap(), expected);
        }
    }

    #[test]
    fn sorting_by_total_shows_it() {
        let view = View {
            sort: SortKey::Total,
            ..View::default()
        };
        let printed = table(view, &[snapshot(two()), snapshot(two())]);
        let second: Vec<_> = printed.lines().skip(6).collect();
        assert_eq!(
            second,
            [
                "    PID FILENAME     LINE FUNCTION      CALLS TOTAL",
                "    812 /srv/app.py     2 f              2000  4000",
                "    812 /srv/app.py     3 g                 2     4",
            ]
        );
    }

    #[test]
    fn no_rows_are_explained() {
        let first = |view: View, snapshot: &Snapshot| {
            table(view, std::slice::from_ref(snapshot))
                .lines()
                .skip(1)
                .collect::<Vec<_>>()
                .join("\n")
        };
        let mut snapshot = snapshot(Vec::new());
        assert_eq!(
            first(View::default(), &snapshot),
            "no Python function was called"
        );
        let mut not = snapshot.processes.pop().unwrap();
        snapshot.processes.clear();
        assert_eq!(
            first(View::default(), &snapshot),
            "no CPython process; waiting for one to start"
        );
        for pid in [5, 6, 7, 8, 9] {
            not.pid = pid;
            snapshot.processes.push(not.clone());
        }
        not.pid = 10;
        not.coverage = Coverage::NotCounted("3.5 is \x1b[31mtoo old".into());
        snapshot.processes.push(not);
        assert_eq!(
            first(View::default(), &snapshot),
            "no CPython process that can be counted:\n\
             \x20 3.5 is \\x1b[31mtoo old (pid 10)\n\
             \x20 its marker is compiled in, but dead (pid 5, 6, 7, and 2 more)"
        );
        snapshot.rows = two();
        let view = View {
            filter: Some("nothing".parse().unwrap()),
            ..View::default()
        };
        assert_eq!(first(view, &snapshot), "no function matches the filter");
    }

    fn rows_at(width: usize, rows: Vec<crate::model::Row>) -> Vec<String> {
        let layout = Layout::of_width(width);
        let printed = print_at(layout, Format::Table, View::default(), &[snapshot(rows)]);
        printed.lines().skip(1).map(str::to_owned).collect()
    }

    #[test]
    fn paths_lose_their_head_and_functions_their_tail() {
        let path = "/usr/lib/python3/dist-packages/package/module.py";
        let rows = vec![
            row(1, path, 10, "function_with_a_long_name", 5),
            row(1, "a.py", 1, "f", 4),
        ];
        assert_eq!(
            rows_at(60, rows),
            [
                "    PID FILENAME                LINE FUNCTION          CALLS",
                "      1 ...s/package/module.py    10 function_...          5",
                "      1 a.py                       1 f                     4",
            ]
        );
    }

    #[test]
    fn wide_characters_stay_in_their_columns() {
        let rows = vec![
            row(1, "/srv/应用/模块.py", 10, "函数", 5),
            row(1, "/e\u{301}/x.py", 1, "f", 4),
        ];
        for width in [0, 40, 41, 42, 43, 44, 45, 60, 200] {
            let lines = rows_at(width, rows.clone());
            let widths: Vec<_> = lines.iter().map(|line| cells(line)).collect();
            assert!(
                widths.iter().all(|it| *it == widths[0]),
                "{width}: {lines:#?}"
            );
        }
    }

    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let rows: Vec<_> = hostile()
            .into_iter()
            .map(|name| row(7, &name, 1, &name, 1))
            .collect();
        let all = rows.len() + 1;
        for width in [60, 61, 80, 132, 250] {
            let printed = print_at(
                Layout::of_width(width),
                Format::Table,
                View {
                    top: None,
                    ..View::default()
                },
                &[snapshot(rows.clone())],
            );
            let lines: Vec<_> = printed.lines().skip(1).collect();
            assert_eq!(lines.len(), all);
            for line in lines {
                assert!(cells(line) <= width, "{width}: {line}");
            }
        }
    }

    #[test]
    fn without_a_width_nothing_is_cut() {
        let long = "x".repeat(5_000);
        let printed = table(
            View::default(),
            &[snapshot(vec![
                row(1, &long, 1, &long, 1),
                row(2, "a.py", 1, "f", 1),
            ])],
        );
        assert_eq!(printed.matches(&long).count(), 2);
        let short = printed.lines().find(|line| line.contains("a.py")).unwrap();
        assert!(short.len() < 300, "padding: {}", short.len());
    }

    #[test]
    fn width_is_found_as_ps_does() {
        for (columns, terminal, width) in [
            (None, None, None),
            (None, Some(80), Some(80)),
            (Some("132"), Some(80), Some(132)),
            (Some("132"), None, Some(132)),
            (Some("x"), Some(80), Some(80)),
            (Some("0"), Some(80), None),
            (Some("-5"), None, None),
            (None, Some(0), None),
        ] {
            assert_eq!(
                Layout::detect(columns, terminal).width,
                width,
                "{columns:?} {terminal:?}"
            );
        }
    }

    #[test]
    fn incomplete_processes_are_told() {
        let mut incomplete = snapshot(two());
        let reason = "its just-in-time compiler is at work".into();
        incomplete.processes[0].coverage = Coverage::Incomplete(Method::Resume, reason);
        let printed = table(View::default(), &[incomplete]);
        let first = printed.lines().next().unwrap();
        assert!(
            first.contains("; 1 process counted (1 incompletely), 1 not countable;"),
            "{first}"
        );
    }
}
