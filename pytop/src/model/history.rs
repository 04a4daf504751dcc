//! Calls per second over the last intervals.

use std::collections::VecDeque;

/// Calls per second, one sample an interval, of the last [`History::CAPACITY`] intervals.
///
/// Intervals without a call cost nothing: they are filled in when the next call comes, or when
/// the history is read.
#[derive(Clone, Debug, Default)]
pub struct History {
    samples: VecDeque<f32>,
    /// The interval of the last sample.
    tick: u64,
}

impl History {
    /// Intervals that are remembered.
    pub const CAPACITY: usize = 120;

    /// Adds a sample for interval number `tick`, which must not be before the last.
    pub fn record(&mut self, tick: u64, rate: f32) {
        let gap = tick.saturating_sub(self.tick);
        if gap == 0
            && let Some(last) = self.samples.back_mut()
        {
            *last += rate;
            return;
        }
        if usize::try_from(gap).is_ok_and(|gap| gap < Self::CAPACITY) {
            if !self.samples.is_empty() {
                for _ in 1..gap {
                    self.push(0.0);
                }
            }
        } else {
            self.samples.clear();
        }
        self.push(rate);
        self.tick = tick;
    }

    /// The interval of the last sample.
    #[must_use]
    pub fn last_tick(&self) -> u64 {
        self.tick
    }

    /// Adds the samples of the intervals up to `tick` to `sums`, whose last element stands for
    /// interval `tick`.
    pub fn add_to(&self, tick: u64, sums: &mut [f32]) {
        let Ok(quiet) = usize::try_from(tick.saturating_sub(self.tick)) else {
            return;
        };
        let sums = sums.iter_mut().rev().skip(quiet);
        for (sum, sample) in sums.zip(self.samples.iter().rev()) {
            *sum += sample;
        }
    }

    fn push(&mut self, rate: f32) {
        if self.samples.len() == Self::CAPACITY {
            self.samples.pop_front();
        }
        self.samples.push_back(rate);
    }
}

#[cfg(test)]
#[expect(clippy::float_cmp, reason = "small whole numbers are exact")]
mod tests {
    use super::*;

    fn read(history: &History, tick: u64) -> [f32; 5] {
        let mut sums = [0.0; 5];
        history.add_to(tick, &mut sums);
        sums
    }

    #[test]
    fn quiet_intervals_are_zeros() {
        let mut history = History::default();
        history.record(10, 1.0);
        history.record(11, 2.0);
        history.record(13, 3.0);
        assert_eq!(read(&history, 13), [0.0, 1.0, 2.0, 0.0, 3.0]);
        assert_eq!(read(&history, 15), [2.0, 0.0, 3.0, 0.0, 0.0]);
        assert_eq!(read(&history, 1_000_000), [0.0; 5]);
    }

    #[test]
    fn the_oldest_samples_go() {
        let mut history = History::default();
        for tick in 1..=1000 {
            history.record(tick, 1.0);
        }
        assert_eq!(history.samples.len(), History::CAPACITY);
        history.record(5000, 7.0);
        assert_eq!(history.samples, [7.0]);
    }
}
