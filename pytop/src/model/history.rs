//! Calls per second over the last intervals.

use std::collections::VecDeque;

/// Calls per second of every remembered function in the last [`History::CAPACITY`] intervals.
///
/// It is kept interval by interval, not function by function: an interval then writes one piece of
/// memory from its beginning to its end, and not one place for each of a hundred thousand functions.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The rates of an interval, by the number of the function; oldest interval first. Functions
    /// beyond the end were not known then.
    intervals: VecDeque<Vec<f32>>,
}

impl History {
    /// Intervals that are remembered.
    pub const CAPACITY: usize = 120;

    /// Begins an interval, in which each of so many functions had no call yet.
    pub(super) fn begin(&mut self, functions: usize) {
        let mut rates = if self.intervals.len() == Self::CAPACITY {
            self.intervals.pop_front().unwrap_or_default()
        } else {
            Vec::new()
        };
        rates.clear();
        rates.resize(functions, 0.0);
        self.intervals.push_back(rates);
    }

    /// Adds to the rate of a function in the interval that began last.
    pub(super) fn record(&mut self, function: usize, rate: f32) {
        let Some(rates) = self.intervals.back_mut() else {
            return;
        };
        if function >= rates.len() {
            rates.resize(function + 1, 0.0);
        }
        if let Some(sum) = rates.get_mut(function) {
            *sum += rate;
        }
    }

    /// Adds the rates of a function to `sums`, whose last element stands for the last interval.
    pub(super) fn add_to(&self, function: usize, sums: &mut [f32]) {
        for (sum, rates) in sums.iter_mut().rev().zip(self.intervals.iter().rev()) {
            *sum += rates.get(function).unwrap_or(&0.0);
        }
    }

    /// Drops the functions that `kept` does not name, and gives the others new numbers in their
    /// order.
    pub(super) fn keep(&mut self, kept: &[usize]) {
        for rates in &mut self.intervals {
            let known = kept.iter().map_while(|function| rates.get(*function));
            *rates = known.copied().collect();
        }
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small whole numbers are exact")]
mod tests {
    use super::*;

    fn read(history: &History, function: usize) -> [f32; 5] {
        let mut sums = [0.0; 5];
        history.add_to(function, &mut sums);
        sums
    }

    #[test]
    fn quiet_intervals_are_zeros() {
        let mut history = History::default();
        for rate in [1.0, 2.0, 0.0, 3.0] {
            history.begin(2);
            history.record(1, rate);
        }
        assert_eq!(read(&history, 1), [0.0, 1.0, 2.0, 0.0, 3.0]);
        assert_eq!(read(&history, 0), [0.0; 5]);
        history.begin(2);
        history.record(7, 4.0);
        assert_eq!(read(&history, 1), [1.0, 2.0, 0.0, 3.0, 0.0]);
        assert_eq!(read(&history, 7), [0.0, 0.0, 0.0, 0.0, 4.0]);
    }

    #[test]
    fn the_oldest_samples_go() {
        let mut history = History::default();
        for _ in 1..=1000 {
            history.begin(1);
            history.record(0, 1.0);
        }
        let mut sums = [0.0; 2 * History::CAPACITY];
        history.add_to(0, &mut sums);
        assert_eq!(sums.iter().sum::<f32>(), History::CAPACITY as f32);
    }

    #[test]
    fn those_that_stay_keep_their_rates() {
        let mut history = History::default();
        for functions in [2, 4] {
            history.begin(functions);
            for function in 0..functions {
                history.record(function, function as f32);
            }
        }
        history.keep(&[1, 3]);
        assert_eq!(read(&history, 0), [0.0, 0.0, 0.0, 1.0, 1.0]);
        assert_eq!(read(&history, 1), [0.0, 0.0, 0.0, 0.0, 3.0]);
    }
}
