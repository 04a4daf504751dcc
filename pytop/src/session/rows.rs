//! From what the kernel counted to rows.

use foldhash::{HashMap, HashMapExt as _};

use crate::model::Row;
use crate::probe::Frame;

/// The rows of an interval, and the calls of each process.
///
/// A function can have been counted in several places: under each of several copies of its names,
/// and again after its names had moved. Its row has all of them.
pub(super) fn rows(
    mut frames: Vec<Frame>,
    counted: impl Fn(u32) -> bool,
) -> (Vec<Row>, HashMap<u32, u64>) {
    frames.retain(|frame| counted(frame.pid));
    frames.sort_unstable_by_key(|frame| (frame.pid, frame.text, line(frame)));
    let mut calls = HashMap::new();
    let mut rows: Vec<Row> = Vec::with_capacity(frames.len());
    let mut last = None;
    for frame in frames {
        *calls.entry(frame.pid).or_default() += frame.calls;
        let key = (frame.pid, frame.text, line(&frame));
        match rows.last_mut() {
            Some(row) if last == Some(key) => row.calls += frame.calls,
            _ => rows.push(Row {
                pid: frame.pid,
                line: key.2,
                filename: frame.names.filename,
                function: frame.names.function,
                calls: frame.calls,
            }),
        }
        last = Some(key);
    }
    (rows, calls)
}

/// A marker's line below 1 is unknown.
fn line(frame: &Frame) -> Option<u32> {
    u32::try_from(frame.line).ok().filter(|line| *line > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Text;
    use crate::probe::Names;

    fn frame(pid: u32, text: u64, line: i32, calls: u64) -> Frame {
        let names = Names {
            filename: Text::from(format!("/srv/{text}.py").as_str()),
            function: Text::from("f"),
        };
        Frame {
            pid,
            line,
            text,
            names,
            calls,
        }
    }

    #[test]
    fn places_of_one_function_make_one_row() {
        let frames = vec![
            frame(8, 1, 2, 3),
            frame(7, 1, 2, 5),
            frame(8, 1, 2, 7),
            frame(8, 1, 3, 11),
            frame(8, 2, -1, 13),
            frame(8, 2, 0, 17),
            frame(9, 1, 2, 19),
        ];
        let (rows, calls) = rows(frames, |pid| pid != 9);
        let seen: Vec<_> = rows
            .iter()
            .map(|row| (row.pid, row.line, row.calls))
            .collect();
        assert_eq!(
            seen,
            [
                (7, Some(2), 5),
                (8, Some(2), 10),
                (8, Some(3), 11),
                (8, None, 30)
            ]
        );
        assert_eq!(calls, HashMap::from_iter([(7, 5), (8, 51)]));
    }
}
