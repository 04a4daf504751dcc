//! Snapshots as text: a table for reading, JSON and CSV for programs.
//!
//! All three print the same entries, those of a [`View`]. Their fields are the pid, the filename,
//! the line, the function and the calls. One that does not apply is `-` in a table, `null` in JSON
//! and empty in CSV:
//!
//! ```text
//! --group-by    pid    filename          line     function    calls
//! function      its    the code's        if known its         its
//! file          -      the code's        -        -           of all processes
//! process       its    the executable's  -        -           of all functions
//! ```

mod columns;
mod csv;
mod doctor;
mod durations;
mod json;
mod probes;
mod table;
mod trace;

use std::io::{self, BufWriter, Write};

pub use doctor::write as write_diagnosis;
pub use probes::write as write_probes;
pub use table::Layout;
pub use trace::{Missing, TraceReport};

use crate::cli::Format;
use crate::model::{Entry, EntryKey, Snapshot, Totals, View};
use crate::os_error::describe;

/// Prints snapshots one after another.
#[derive(Debug)]
pub struct Report<W: Write> {
    output: BufWriter<W>,
    view: View,
    style: Style,
    /// Snapshots printed.
    printed: u64,
}

#[derive(Debug)]
enum Style {
    Table(Layout),
    Json,
    Csv,
}

/// Why a snapshot was not printed.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// The reader has gone, as in `pytop -b | head`. The run is over, and nobody wants to hear why.
    #[error("standard output was closed")]
    Closed,
    /// It could not be written.
    #[error("cannot write to standard output: {}", describe(.0))]
    Failed(#[source] io::Error),
}

impl From<io::Error> for ReportError {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::Closed
        } else {
            Self::Failed(error)
        }
    }
}

impl<W: Write> Report<W> {
    /// A report of the entries of `view`; `layout` is for tables.
    pub fn new(format: Format, view: View, layout: Layout, output: W) -> Self {
        let style = match format {
            Format::Table => Style::Table(layout),
            Format::Json => Style::Json,
            Format::Csv => Style::Csv,
        };
        // A row is some 100 bytes, and a snapshot may have any number of them.
        Self {
            output: BufWriter::with_capacity(1 << 16, output),
            view,
            style,
            printed: 0,
        }
    }

    /// Prints a snapshot, which `totals` has recorded already, and flushes the output.
    pub fn write(&mut self, snapshot: &Snapshot, totals: &Totals) -> Result<(), ReportError> {
        let entries = self.view.entries(snapshot, totals);
        let first = self.printed == 0;
        match &self.style {
            Style::Table(layout) => {
                if !first {
                    writeln!(self.output)?;
                }
                table::write(&mut self.output, *layout, &self.view, snapshot, &entries)?;
            }
            Style::Json => json::write(&mut self.output, snapshot, &entries)?,
            Style::Csv => csv::write(&mut self.output, snapshot, &entries, first)?,
        }
        self.output.flush()?;
        self.printed += 1;
        Ok(())
    }
}

/// The process of an entry. A file has none: that only one process has run it in this interval says
/// nothing of the next.
fn pid(entry: &Entry) -> Option<u32> {
    match entry.key {
        EntryKey::File(_) => None,
        EntryKey::Function(_) | EntryKey::Process(_) => entry.pid,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::model::{
        Collections, Coverage, Method, ProcessStatus, Row, Runtime, Text, Uncounted,
    };

    /// 2026-11-22T18:00:01.250Z.
    pub(super) fn time() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_millis(1_795_370_401_250)
    }

    pub(super) fn row(
        pid: u32,
        filename: impl AsRef<[u8]>,
        line: u32,
        function: impl AsRef<[u8]>,
        calls: u64,
    ) -> Row {
        let line = (line > 0).then_some(line);
        Row::new(pid, filename.as_ref(), line, function.as_ref(), calls)
    }

    pub(super) fn process(pid: u32, exe: &str, coverage: Coverage) -> ProcessStatus {
        ProcessStatus {
            pid,
            comm: "python3.9".into(),
            exe: exe.into(),
            interpreter: exe.into(),
            python: Some("3.9.2".into()),
            user: "app".into(),
            container: None,
            coverage,
            calls: 0,
            probe_cost: None,
            runtime: Runtime::default(),
            estimate: None,
            ended: false,
        }
    }

    pub(super) fn snapshot(rows: Vec<Row>) -> Snapshot {
        let mut counted = process(812, "/usr/bin/python3.9", Coverage::Counted(Method::Marker));
        counted.calls = rows.iter().map(|row| row.calls).sum();
        counted.probe_cost = Some(0.0012);
        counted.runtime = Runtime {
            gc: Some(Collections {
                count: 7,
                pause: Duration::from_micros(12_500),
                longest: Duration::from_millis(4),
            }),
            imports: Some(3),
        };
        let reason: Arc<str> = "its marker is compiled in, but dead".into();
        let mut silent = process(900, "/opt/py/bin/python3.12", Coverage::NotCounted(reason));
        silent.container = Some("3f2a".into());
        silent.python = None;
        silent.ended = true;
        Snapshot {
            time: time(),
            interval: Duration::from_micros(1_000_300),
            drain: Duration::from_millis(20),
            rows,
            uncounted: Uncounted::default(),
            untimed: None,
            bounded: false,
            processes: vec![counted, silent],
        }
    }

    pub(super) fn two() -> Vec<Row> {
        vec![
            row(812, "/srv/app.py", 3, "g", 2),
            row(812, "/srv/app.py", 2, "f", 2000),
        ]
    }

    pub(super) fn print(format: Format, view: View, snapshots: &[Snapshot]) -> String {
        print_at(Layout::unlimited(), format, view, snapshots)
    }

    pub(super) fn print_at(
        layout: Layout,
        format: Format,
        view: View,
        snapshots: &[Snapshot],
    ) -> String {
        let mut printed = Vec::new();
        let mut totals = Totals::default();
        let mut report = Report::new(format, view, layout, &mut printed);
        for snapshot in snapshots {
            totals.record(snapshot);
            report.write(snapshot, &totals).unwrap();
        }
        drop(report);
        String::from_utf8(printed).unwrap()
    }

    /// Names that would drive a terminal, break a line or a quotation, or are no text.
    pub(super) fn hostile() -> Vec<Vec<u8>> {
        let mut names: Vec<Vec<u8>> = [
            b"\x1b[31mred\x1b[0m".as_slice(),
            b"\x1b]0;title\x07\x9b31m",
            b"a\nb\rc\td",
            b"quote\"comma,semi;apostrophe'",
            b"\"\"\"",
            b"back\\slash\\x41\\u0041",
            b"=1+1",
            b"\xff\xfe\xc3\x28\xed\xa0\x80",
            b"\x00",
            b"",
            b" ",
            "\u{202e}evil\u{2066}\u{200b}\u{feff}\u{ad}".as_bytes(),
            "\u{e0041}\u{85}\u{2028}\u{7f}".as_bytes(),
            "naïve 函数 🐍 e\u{301}".as_bytes(),
        ]
        .map(<[u8]>::to_vec)
        .into();
        names.push(vec![b'x'; 10_000]);
        names.push("\u{202e}".repeat(3_000).into_bytes());
        // Every byte on its own, and pairs that a simple generator chooses.
        names.extend((0..=u8::MAX).map(|byte| vec![b'<', byte, b'>']));
        let mut state = 1_u32;
        names.extend((0..500).map(|length| {
            (0..length % 23)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_be_bytes()[0]
                })
                .collect()
        }));
        names
    }

    /// Nothing but the newlines at the ends of lines can drive a terminal.
    pub(super) fn assert_harmless(printed: &str) {
        for line in printed.lines() {
            if let Some(character) = line.chars().find(|it| crate::model::text::is_hidden(*it)) {
                panic!("{character:?} in {line:?}");
            }
        }
    }

    #[test]
    fn hostile_names_reach_no_format_raw() {
        let names = hostile();
        let rows = names
            .iter()
            .map(|name| row(812, name, 1, name, 1))
            .collect();
        let mut snapshot = snapshot(rows);
        let names: Vec<Text> = names.iter().map(|name| name.as_slice().into()).collect();
        for name in &names {
            let reason = format!("it is {}", String::from_utf8_lossy(name.as_bytes()));
            let mut process = process(1, "", Coverage::NotCounted(reason.into()));
            (process.exe, process.comm) = (name.clone(), name.clone());
            snapshot.processes.push(process);
        }
        for format in [Format::Table, Format::Json, Format::Csv] {
            let printed = print(format, View::default(), std::slice::from_ref(&snapshot));
            assert_harmless(&printed);
            let narrow = Layout::of_width(60);
            let printed = print_at(
                narrow,
                format,
                View::default(),
                std::slice::from_ref(&snapshot),
            );
            assert_harmless(&printed);
            snapshot.rows.clear();
            assert_harmless(&print(
                format,
                View::default(),
                std::slice::from_ref(&snapshot),
            ));
            snapshot.rows = names
                .iter()
                .map(|name| Row::new(1, name.clone(), None, name.clone(), 1))
                .collect();
        }
    }

    struct Broken(i32);

    impl Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::Error::from_raw_os_error(self.0))
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_closed_output_is_told_from_a_failing_one() {
        let many = (0..10_000)
            .map(|line| row(1, "a.py", line, "f", 1))
            .collect();
        for rows in [two(), many] {
            let snapshot = snapshot(rows);
            for format in [Format::Table, Format::Json, Format::Csv] {
                let attempt = |error| {
                    let view = View::default();
                    Report::new(format, view, Layout::unlimited(), Broken(error))
                        .write(&snapshot, &Totals::default())
                        .unwrap_err()
                };
                assert!(
                    matches!(attempt(libc::EPIPE), ReportError::Closed),
                    "{format:?}"
                );
                let full = attempt(libc::ENOSPC);
                assert!(matches!(full, ReportError::Failed(_)), "{format:?}");
                assert_eq!(
                    full.to_string(),
                    "cannot write to standard output: No space left on device"
                );
            }
        }
    }

    #[test]
    fn a_hundred_thousand_rows_are_printed() {
        let rows = (0..100_000)
            .map(|line| row(1, "/srv/app/module.py", line, "f", 1))
            .collect();
        let snapshot = snapshot(rows);
        for (format, lines) in [
            (Format::Table, 100_002),
            (Format::Json, 1),
            (Format::Csv, 100_001),
        ] {
            let printed = print(format, View::default(), std::slice::from_ref(&snapshot));
            assert_eq!(printed.lines().count(), lines, "{format:?}");
        }
    }
}
