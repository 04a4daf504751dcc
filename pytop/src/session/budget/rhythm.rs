//! How many calls a window has from one pass of the milestone to the next.
//!
//! A window has a handful of passes: by their number alone, calls are told to a fifth. It begins and ends
//! somewhere between two passes. From its first one to its last one it has whole steps:
//!
//! ```text
//! hits in a window      0      2,100          8,105         14,098     16,500
//!                       ├────────┬──────────────┬──────────────┬─────────┤
//! passes                         1              2              3
//!                                └── 6,005 ─────┴── 5,993 ─────┘     2 steps: 5,999 calls each
//!                       └───────── 16,500 for 3 passes: 5,500 calls each ┘
//! ```
//!
//! When the milestone was passed, the kernel notes; how many hits there were by then, two looks say between
//! which that lies. Steps that are now long and now short are not told by this: a window has more of the
//! short ones. Nothing here knows a clock or a process.

use std::time::Duration;

use super::reading::Reading;

/// Hits from one pass to a later one, and how many passes later that was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Step {
    pub(super) passes: f64,
    pub(super) hits: f64,
}

/// The passes of a window.
#[derive(Debug, Default)]
pub(super) struct Rhythm {
    /// The last look.
    seen: Option<Reading>,
    /// The last pass in the window: passes and hits up to then.
    last: Option<Step>,
    steps: Vec<Step>,
}

impl Rhythm {
    /// A window opens.
    pub(super) fn open(&mut self, now: &Reading) {
        *self = Self {
            seen: Some(*now),
            ..Self::default()
        };
    }

    /// A look at a window.
    pub(super) fn look(&mut self, now: &Reading) {
        let Some(before) = self.seen.replace(*now) else {
            return;
        };
        let Some((passes, at)) = last_pass(now) else {
            return;
        };
        let is_new = last_pass(&before).is_none_or(|(passed, _)| passed < passes);
        if !is_new || at < before.at {
            return;
        }
        let part = seconds(before.at, at) / seconds(before.at, now.at).max(f64::MIN_POSITIVE);
        let between = now.hits.saturating_sub(before.hits) as f64;
        let pass = Step {
            passes,
            hits: before.hits as f64 + between * part.min(1.0),
        };
        if let Some(last) = self.last.replace(pass) {
            self.steps.push(Step {
                passes: pass.passes - last.passes,
                hits: pass.hits - last.hits,
            });
        }
    }

    /// There was one so far.
    pub(super) fn has_step(&self) -> bool {
        !self.steps.is_empty()
    }

    /// The steps so far.
    pub(super) fn take(&mut self) -> Vec<Step> {
        std::mem::take(&mut self.steps)
    }
}

/// How often the milestone has been passed, and when that was last.
fn last_pass(reading: &Reading) -> Option<(f64, Duration)> {
    let passed = reading.passed?;
    Some((passed.count, passed.last?))
}

fn seconds(from: Duration, to: Duration) -> f64 {
    to.saturating_sub(from).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::budget::reading::Passes;

    /// A process with such hits, and passes of which the last was then, in milliseconds.
    fn reading(at: u64, hits: u64, passes: f64, last: u64) -> Reading {
        Reading {
            at: Duration::from_millis(at),
            hits,
            passed: Some(Passes {
                count: passes,
                last: Some(Duration::from_millis(last)),
                ..Passes::default()
            }),
            ..Reading::default()
        }
    }

    #[test]
    fn steps_are_from_pass_to_pass() {
        let mut rhythm = Rhythm::default();
        rhythm.open(&reading(100, 50, 7.0, 99));
        assert!(!rhythm.has_step());
        // In bursts of two; a thousand hits a millisecond.
        rhythm.look(&reading(102, 2_050, 7.0, 99));
        rhythm.look(&reading(104, 4_050, 9.0, 103));
        assert!(!rhythm.has_step());
        rhythm.look(&reading(108, 8_050, 9.0, 103));
        rhythm.look(&reading(112, 12_050, 11.0, 110));
        // Two bursts between two looks.
        rhythm.look(&reading(126, 26_050, 15.0, 124));
        let step = |passes, hits| Step { passes, hits };
        assert!(rhythm.has_step());
        assert_eq!(rhythm.take(), [step(2.0, 7_000.0), step(4.0, 14_000.0)]);
        assert!(!rhythm.has_step());
        // Another part of the window goes on from there.
        rhythm.look(&reading(133, 33_050, 17.0, 131));
        assert_eq!(rhythm.take(), [step(2.0, 7_000.0)]);
        // What was passed before a window is none of its steps.
        rhythm.open(&reading(200, 33_050, 40.0, 199));
        rhythm.look(&reading(201, 34_050, 42.0, 199));
        rhythm.look(&reading(205, 38_050, 44.0, 203));
        assert!(rhythm.take().is_empty());
    }

    #[test]
    fn without_times_there_are_no_steps() {
        let mut rhythm = Rhythm::default();
        let without = Reading {
            passed: Some(Passes::default()),
            ..reading(0, 0, 0.0, 0)
        };
        rhythm.open(&without);
        rhythm.look(&without);
        rhythm.look(&reading(1, 10, 3.0, 0));
        rhythm.look(&Reading::default());
        assert!(rhythm.take().is_empty());
    }
}
