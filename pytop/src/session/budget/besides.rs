//! From calls besides those that were counted to the rows of a process.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _, HashSet};

use super::reading::Key;
use crate::model::{Function, Row};
use crate::session::rows::Functions;

/// The functions of some processes.
pub(super) struct Index<'a> {
    keys: HashMap<*const Function, (u32, Key)>,
    functions: HashMap<(u32, Key), &'a Arc<Function>>,
}

impl<'a> Index<'a> {
    pub(super) fn of(functions: &'a Functions, pids: &HashSet<u32>) -> Self {
        let mut index = Self {
            keys: HashMap::new(),
            functions: HashMap::new(),
        };
        if !pids.is_empty() {
            for (&(pid, text, line), function) in functions.all() {
                if pids.contains(&pid) {
                    let key = (pid, (text, line));
                    index.keys.insert(Arc::as_ptr(function), key);
                    index.functions.insert(key, function);
                }
            }
        }
        index
    }

    /// What was counted of each process.
    pub(super) fn counted(&self, rows: &[Row]) -> HashMap<u32, HashMap<Key, u64>> {
        let mut counted: HashMap<u32, HashMap<Key, u64>> = HashMap::new();
        for row in rows {
            if let Some((pid, key)) = self.keys.get(&Arc::as_ptr(&row.function)) {
                counted.entry(*pid).or_default().insert(*key, row.calls);
            }
        }
        counted
    }

    /// Adds calls of a process to its rows, and returns how many there are now.
    pub(super) fn add(&self, rows: &mut Vec<Row>, pid: u32, besides: HashMap<Key, f64>) -> u64 {
        let mut besides = besides;
        let mut told = 0;
        for row in rows.iter_mut().filter(|row| row.function.pid == pid) {
            let key = self.keys.get(&Arc::as_ptr(&row.function));
            let more = key.and_then(|(_, key)| besides.remove(key));
            row.calls += rounded(more.unwrap_or(0.0));
            told += row.calls;
        }
        for (key, calls) in besides {
            let calls = rounded(calls);
            if calls > 0
                && let Some(function) = self.functions.get(&(pid, key))
            {
                told += calls;
                rows.push(Row {
                    function: Arc::clone(function),
                    calls,
                    durations: None,
                });
            }
        }
        told
    }
}

fn rounded(calls: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from float to integer saturates, and calls are not negative"
    )]
    let calls = calls.round() as u64;
    calls
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Text;
    use crate::probe::{Frame, Names};

    fn rows(functions: &mut Functions, counted: &[(u32, u64, u64)]) -> Vec<Row> {
        let frames: Vec<_> = counted
            .iter()
            .map(|&(pid, text, calls)| Frame {
                pid,
                line: 1,
                text,
                calls,
            })
            .collect();
        let names = |text: u64| Names {
            filename: Text::from("app.py"),
            function: Text::from(text.to_string().as_str()),
        };
        functions.rows(&frames, &[], |_| true, names).0
    }

    #[test]
    fn calls_are_added_to_those_that_were_counted() {
        let mut functions = Functions::default();
        rows(&mut functions, &[(7, 1, 1)]);
        let mut rows = rows(&mut functions, &[(7, 2, 3), (8, 2, 11), (7, 9, 1)]);
        let index = Index::of(&functions, &HashSet::from_iter([7]));
        let key = |text| (text, Some(1));
        let counted = HashMap::from_iter([(key(2), 3), (key(9), 1)]);
        assert_eq!(index.counted(&rows), HashMap::from_iter([(7, counted)]));
        // Of one in this interval, of one in an earlier one, and of one that is not known.
        let besides = [(key(2), 500.0), (key(1), 1_500.4), (key(5), 7.0)];
        let told = index.add(&mut rows, 7, besides.into_iter().collect());
        assert_eq!(told, 2_004);
        let told = rows.iter().map(|row| (row.function.pid, row.calls));
        let told: Vec<_> = told.collect();
        assert_eq!(told, [(7, 503), (8, 11), (7, 1), (7, 1_500)]);
    }
}
