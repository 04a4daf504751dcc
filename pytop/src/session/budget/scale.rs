//! From what was counted of a process to its rows.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::gauge::Estimated;
use crate::model::{Function, Row};

/// A function, and how many calls of it were counted in an interval.
pub(super) type Called = (Arc<Function>, u64);

/// What is made of the counted calls of a process.
pub(super) struct Scale {
    factor: f64,
    is_of_windows: bool,
    /// Calls of which it is not known whose they were, and what was called before, as they are taken to
    /// be the same.
    besides: f64,
    before: Vec<Called>,
    /// Calls of the rows that were scaled.
    told: u64,
}

impl Scale {
    /// An estimate, and what was counted in the last interval that had a window, if it was before this
    /// one.
    pub(super) fn of(estimated: &Estimated, before: Vec<Called>) -> Self {
        Self {
            factor: estimated.factor,
            is_of_windows: estimated.has_window,
            besides: estimated.besides,
            before,
            told: 0,
        }
    }

    /// Whether the rows of this interval are from windows.
    pub(super) fn is_of_windows(&self) -> bool {
        self.is_of_windows
    }

    /// The calls of a row of the process.
    pub(super) fn scaled(&mut self, row: &Row) -> u64 {
        let calls = rounded(row.calls as f64 * self.factor);
        self.told += calls;
        calls
    }

    /// Adds what is not in the rows yet, and returns the calls of the process.
    pub(super) fn finish(mut self, rows: &mut Vec<Row>) -> u64 {
        let all: u64 = self.before.iter().map(|(_, calls)| calls).sum();
        if self.besides <= 0.0 || all == 0 {
            return self.told;
        }
        let each = self.besides / all as f64;
        let mut places: HashMap<Arc<Function>, usize> = HashMap::new();
        let known = rows.iter().enumerate();
        places.extend(known.map(|(place, row)| (Arc::clone(&row.function), place)));
        for (function, calls) in self.before {
            let calls = rounded(calls as f64 * each);
            self.told += calls;
            match places.get(&function).and_then(|place| rows.get_mut(*place)) {
                Some(row) => row.calls += calls,
                None => rows.push(Row {
                    function,
                    calls,
                    durations: None,
                }),
            }
        }
        self.told
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

    fn row(line: u32, calls: u64) -> Row {
        Row::new(7, "app.py", Some(line), "f", calls)
    }

    fn estimated(factor: f64, besides: f64) -> Estimated {
        Estimated {
            factor,
            besides,
            has_window: besides <= 0.0,
            share: 0.1,
            uncertainty: 0.1,
        }
    }

    #[test]
    fn rows_are_scaled_and_their_sum_is_that_of_the_process() {
        let mut scale = Scale::of(&estimated(10.0, 0.0), Vec::new());
        let calls = [3, 5].map(|calls| scale.scaled(&row(1, calls)));
        assert_eq!(calls, [30, 50]);
        let mut rows = Vec::new();
        assert_eq!(scale.finish(&mut rows), 80);
        assert_eq!(rows, []);
    }

    #[test]
    fn what_nothing_tells_of_is_as_it_was() {
        let before = [row(1, 300), row(2, 100)];
        let before = before.map(|row| (row.function, row.calls)).into();
        let mut scale = Scale::of(&estimated(1.0, 2_000.0), before);
        let mut rows = vec![row(2, 3), row(9, 1)];
        let kept: u64 = rows.iter().map(|row| scale.scaled(row)).sum();
        assert_eq!(scale.finish(&mut rows), 2_000 + kept);
        assert_eq!(rows, [row(2, 503), row(9, 1), row(1, 1_500)]);
    }
}
