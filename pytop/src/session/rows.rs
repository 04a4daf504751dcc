//! From what the kernel counted to rows.
//!
//! The same functions are called in one interval after another, so they are kept: a function whose
//! calls are counted again is found by its number, and costs no look at its names.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use crate::model::{Durations, Function, Row};
use crate::probe::{Ended, Frame, Names};

/// Intervals for which a function is kept that is not called.
const KEPT: u64 = 60;

/// What tells a function apart: the process, the hash of the names, and the line.
pub(super) type Key = (u32, u64, Option<u32>);

/// The functions that were called lately, in the order in which they came.
#[derive(Default)]
pub(super) struct Functions {
    called: Vec<Called>,
    numbers: HashMap<Key, usize>,
    interval: u64,
}

struct Called {
    key: Key,
    function: Arc<Function>,
    /// Calls in this interval.
    calls: u64,
    /// Those that have ended in it.
    durations: Option<Box<Durations>>,
    /// The last interval in which it was called.
    last: u64,
}

impl Functions {
    /// The rows of an interval, and the calls of each process.
    ///
    /// A function can have been counted in several places: under each of several copies of its
    /// names, and again after its names had moved. Its row has all of them.
    pub(super) fn rows(
        &mut self,
        frames: &[Frame],
        ended: &[Ended],
        is_member: impl Fn(u32) -> bool,
        names: impl Fn(u64) -> Names,
    ) -> (Vec<Row>, HashMap<u32, u64>) {
        self.interval += 1;
        // One process has many functions: the answer stays the same for a while.
        let mut last = None;
        let mut is_member = |pid| match last {
            Some((of, answer)) if of == pid => answer,
            _ => last.insert((pid, is_member(pid))).1,
        };
        let mut number_of_rows = 0;
        for frame in frames {
            if !is_member(frame.pid) {
                continue;
            }
            let key = (frame.pid, frame.text, line(frame.line));
            let interval = self.interval;
            if let Some(called) = self.of(key, &names) {
                number_of_rows += usize::from(called.last != interval);
                called.last = interval;
                called.calls += frame.calls;
            }
        }
        for ended in ended {
            if !is_member(ended.pid) {
                continue;
            }
            let key = (ended.pid, ended.text, line(ended.line));
            let interval = self.interval;
            if let Some(called) = self.of(key, &names) {
                number_of_rows += usize::from(called.last != interval);
                called.last = interval;
                let durations = called.durations.get_or_insert_default();
                durations.add(&ended.finished);
            }
        }
        self.take_rows(number_of_rows)
    }

    /// The functions that were called lately.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Key, &Arc<Function>)> {
        self.called
            .iter()
            .map(|called| (&called.key, &called.function))
    }

    fn of(&mut self, key: Key, names: impl Fn(u64) -> Names) -> Option<&mut Called> {
        let called = &mut self.called;
        let number = *self.numbers.entry(key).or_insert_with(|| {
            let names = names(key.1);
            let function = Function::new(key.0, names.filename, key.2, names.function);
            called.push(Called {
                key,
                function: Arc::new(function),
                calls: 0,
                durations: None,
                last: 0,
            });
            called.len() - 1
        });
        self.called.get_mut(number)
    }

    fn take_rows(&mut self, number: usize) -> (Vec<Row>, HashMap<u32, u64>) {
        let mut rows = Vec::with_capacity(number);
        let mut of_processes = HashMap::new();
        let mut old = 0;
        for called in &mut self.called {
            if called.last == self.interval {
                let calls = std::mem::take(&mut called.calls);
                *of_processes.entry(called.key.0).or_default() += calls;
                let function = Arc::clone(&called.function);
                let mut durations = called.durations.take();
                if let Some(durations) = &mut durations {
                    durations.settle();
                }
                rows.push(Row {
                    function,
                    calls,
                    durations: durations.map(|durations| Arc::new(*durations)),
                });
            } else if called.last + KEPT < self.interval {
                old += 1;
            }
        }
        // All others get new numbers, so let it be rare.
        if old > self.called.len() / 4 {
            let oldest = self.interval.saturating_sub(KEPT);
            self.called.retain(|called| called.last >= oldest);
            let keys = self.called.iter().map(|called| called.key);
            self.numbers = keys.zip(0..).collect();
        }
        (rows, of_processes)
    }
}

/// A marker's line below 1 is unknown.
pub(super) fn line(line: i32) -> Option<u32> {
    u32::try_from(line).ok().filter(|line| *line > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Text;

    fn frame(pid: u32, text: u64, line: i32, calls: u64) -> Frame {
        Frame {
            pid,
            line,
            text,
            calls,
        }
    }

    fn names(text: u64) -> Names {
        Names {
            filename: Text::from(format!("/srv/{text}.py").as_str()),
            function: Text::from("f"),
        }
    }

    fn seen(rows: &[Row]) -> Vec<(u32, String, Option<u32>, u64)> {
        let seen = rows.iter().map(|row| {
            let function = &row.function;
            let filename = function.filename.to_string();
            (function.pid, filename, function.line, row.calls)
        });
        seen.collect()
    }

    #[test]
    fn places_of_one_function_make_one_row() {
        let frames = vec![
            frame(8, 1, 2, 3),
            frame(7, 1, 2, 5),
            frame(8, 1, 2, 7),
            frame(9, 1, 2, 19),
            frame(8, 1, 3, 11),
            frame(8, 2, -1, 13),
            frame(8, 2, 0, 17),
        ];
        let mut functions = Functions::default();
        for _ in 0..2 {
            let (rows, calls) = functions.rows(&frames, &[], |pid| pid != 9, names);
            assert_eq!(
                seen(&rows),
                [
                    (8, "/srv/1.py".to_owned(), Some(2), 10),
                    (7, "/srv/1.py".to_owned(), Some(2), 5),
                    (8, "/srv/1.py".to_owned(), Some(3), 11),
                    (8, "/srv/2.py".to_owned(), None, 30)
                ]
            );
            assert_eq!(calls, HashMap::from_iter([(7, 5), (8, 51)]));
        }
    }

    #[test]
    fn functions_that_are_called_no_more_are_forgotten() {
        let mut functions = Functions::default();
        for interval in 1..1000 {
            let frames = [frame(7, 1, 2, 1), frame(7, 1_000 + interval, 2, 2)];
            let (rows, calls) = functions.rows(&frames, &[], |_| true, names);
            assert_eq!(rows.len(), 2);
            assert_eq!(seen(&rows)[0].1, "/srv/1.py");
            assert_eq!(seen(&rows)[1].1, format!("/srv/{}.py", 1_000 + interval));
            assert_eq!(calls.get(&7), Some(&3));
            assert_eq!(functions.called.len(), functions.numbers.len());
            assert!((functions.called.len() as u64) < 2 * KEPT);
        }
        // One that comes back is a new one.
        let (rows, _) = functions.rows(&[frame(7, 1_001, 2, 5)], &[], |_| true, names);
        assert_eq!(seen(&rows), [(7, "/srv/1001.py".to_owned(), Some(2), 5)]);
    }
}
