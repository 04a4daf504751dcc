//! CSV: a header line, then one line a row. Text is [`Text::visible`], so that a row is one line.

use std::borrow::Cow;
use std::io::{self, Write};

use super::durations::{FIELDS, fields};
use crate::model::{Entry, Snapshot, Text};

const HEADER: [&str; 6] = ["time", "pid", "filename", "line", "function", "calls"];

/// A field of its own where calls may be estimates; empty for those that are not.
const COUNTED_SHARE: &str = "counted_share";

pub(super) fn write(
    output: &mut impl Write,
    snapshot: &Snapshot,
    entries: &[Entry],
    with_header: bool,
) -> io::Result<()> {
    let with_durations = snapshot.untimed.is_some();
    let shares = snapshot.bounded.then_some(COUNTED_SHARE);
    let mut lines = csv::Writer::from_writer(output);
    if with_header {
        let header = HEADER.into_iter();
        let header = header.chain(shares);
        let header = header.chain(FIELDS.into_iter().filter(|_| with_durations));
        lines.write_record(header).map_err(plain)?;
    }
    let time = humantime::format_rfc3339_millis(snapshot.time).to_string();
    for entry in entries {
        let (pid, line, calls) = (super::pid(entry), entry.line(), Some(entry.calls));
        let record = [
            &*time,
            &number(pid),
            &text(entry.filename()),
            &number(line),
            &text(entry.name()),
            &number(calls),
        ];
        for field in record {
            lines.write_field(field).map_err(plain)?;
        }
        if snapshot.bounded {
            let share = entry.estimated.map(|share| format!("{share:.6}"));
            lines.write_field(number(share)).map_err(plain)?;
        }
        if with_durations {
            for field in fields(entry.durations.as_deref()) {
                lines.write_field(field).map_err(plain)?;
            }
        }
        lines.write_record(None::<&[u8]>).map_err(plain)?;
    }
    lines.flush()
}

fn number(value: Option<impl ToString>) -> String {
    value.map(|value| value.to_string()).unwrap_or_default()
}

fn text(value: Option<&Text>) -> Cow<'_, str> {
    value.map(Text::visible).unwrap_or_default()
}

/// The output's own error, by which its end is recognised.
fn plain(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("not a CSV record: {other:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{hostile, print, row, snapshot, two};
    use super::*;
    use crate::cli::Format;
    use crate::model::{Estimate, GroupBy, View};

    #[test]
    fn one_header_then_rows() {
        let snapshots = [
            snapshot(two()),
            snapshot(Vec::new()),
            snapshot(vec![row(9, "/a,b/\"c\".py", 0, "h", u64::MAX)]),
        ];
        assert_eq!(
            print(Format::Csv, View::default(), &snapshots),
            "time,pid,filename,line,function,calls\n\
             2026-11-22T18:00:01.250Z,812,/srv/app.py,2,f,2000\n\
             2026-11-22T18:00:01.250Z,812,/srv/app.py,3,g,2\n\
             2026-11-22T18:00:01.250Z,9,\"/a,b/\"\"c\"\".py\",,h,18446744073709551615\n"
        );
        assert_eq!(
            print(Format::Csv, View::default(), &[snapshot(Vec::new())]),
            "time,pid,filename,line,function,calls\n"
        );
    }

    #[test]
    fn estimates_have_a_share() {
        let mut snapshot = snapshot(two());
        snapshot.bounded = true;
        let print = |snapshot: &Snapshot| {
            let printed = print(Format::Csv, View::default(), std::slice::from_ref(snapshot));
            printed
                .lines()
                .take(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let [header, row] = <[String; 2]>::try_from(print(&snapshot)).unwrap();
        assert_eq!(
            header,
            "time,pid,filename,line,function,calls,counted_share"
        );
        assert!(row.ends_with(",f,2000,"), "{row}");
        snapshot.processes[0].estimate = Some(Estimate {
            counted: 0.125,
            uncertainty: 0.5,
        });
        let row = &print(&snapshot)[1];
        assert!(row.ends_with(",f,2000,0.125000"), "{row}");
    }

    #[test]
    fn fields_that_do_not_apply_to_a_group_are_empty() {
        for (group_by, expected) in [
            (GroupBy::File, ",/srv/app.py,,,2002"),
            (GroupBy::Process, "812,/usr/bin/python3.9,,,2002"),
        ] {
            let view = View {
                group_by,
                ..View::default()
            };
            let printed = print(Format::Csv, view, &[snapshot(two())]);
            let row = printed.lines().nth(1).unwrap();
            assert_eq!(row, format!("2026-11-22T18:00:01.250Z,{expected}"));
        }
    }

    #[test]
    fn every_row_is_one_line_and_parses_back() {
        let names = hostile();
        let rows: Vec<_> = names.iter().map(|name| row(1, name, 1, name, 1)).collect();
        let mut expected: Vec<_> = rows
            .iter()
            .map(|row| row.function.name.to_string())
            .collect();
        let view = View {
            top: None,
            ..View::default()
        };
        let printed = print(Format::Csv, view, &[snapshot(rows)]);
        assert_eq!(printed.lines().count(), names.len() + 1);
        let mut reader = csv::Reader::from_reader(printed.as_bytes());
        let mut read = Vec::new();
        for record in reader.records() {
            let record = record.unwrap();
            assert_eq!(record.len(), HEADER.len());
            assert_eq!(record[2], record[4]);
            read.push(record[4].to_owned());
        }
        expected.sort();
        read.sort();
        assert_eq!(read, expected);
    }
}
