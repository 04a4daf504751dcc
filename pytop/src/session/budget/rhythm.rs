//! How far a process gets in a window from one pass of its milestone to the next.
//!
//! A window has a handful of passes, and none where a loop takes longer than that: their number alone says
//! within a fifth, or not at all, how many calls there are to each. But a loop that passes its milestone
//! outside of windows every so often tells where between two passes a window begins, and where it ends:
//!
//! ```text
//! passes        │    │    │    │               │               │    │    │    │
//! process       ├─── quick ────┼──┤├───────── slow, in a window ─────────┤├──┼────
//!                       before ┘  └ opened                        closed ┘   └ after
//!                              ├──┤ 0.7 of a pass                        ├───┤ 0.9 of one
//!
//! 4 passes from before to after - 0.7 - 0.9 = 2.4 passes with the hits of the window
//! ```
//!
//! A loop that takes now longer and now less is told wrongly by that; then the number of passes is better, and
//! what windows say by this differs by more. Nothing here knows a clock or a process.

use std::time::Duration;

use super::reading::Reading;

/// Passes that say how long it takes from one to the next.
const ENOUGH: f64 = 3.0;
/// The pass after a window is waited for so long.
const PATIENCE: Duration = Duration::from_millis(25);
/// Around a window the process may have been off its processor for such a part of the time from pass to pass,
/// or so many seconds.
const OFF: (f64, f64) = (0.1, 50e-6);

/// The passes of a window, in parts of them, and the hits that go with them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Progress {
    pub(super) passes: f64,
    pub(super) hits: f64,
}

/// A window and the pass before it.
#[derive(Debug)]
struct Crossed {
    /// Passes up to the one before it.
    before: f64,
    /// Seconds outside of the window from one pass to the next.
    each: f64,
    /// Seconds from the pass before until the probes were in place.
    ahead: f64,
    /// Hits from then on, until the window opened.
    early: f64,
    opened: Reading,
    closed: Option<Reading>,
}

/// The passes of a milestone around windows.
#[derive(Debug, Default)]
pub(super) struct Rhythm {
    /// A look after the last window, after the first pass.
    from: Option<Reading>,
    crossed: Option<Crossed>,
}

impl Rhythm {
    /// A pass is waited for.
    pub(super) fn waits(&self) -> bool {
        self.crossed
            .as_ref()
            .is_some_and(|crossed| crossed.closed.is_some())
    }

    /// The window, or what it was open for, is none that could be told.
    pub(super) fn forget_window(&mut self) {
        self.crossed = None;
    }

    /// A window opens. `before` is the look before that.
    pub(super) fn open(&mut self, before: &Reading, now: &Reading) {
        self.crossed = self.cross(before, now);
        self.from = None;
    }

    fn cross(&self, before: &Reading, now: &Reading) -> Option<Crossed> {
        let from = self.from.as_ref()?;
        let (first, begun) = last_pass(from)?;
        let (count, last) = last_pass(now)?;
        let took = seconds(begun, last) * busy(from, before);
        let each = (count - first >= ENOUGH).then(|| took / (count - first))?;
        let since = seconds(last, now.at);
        let early = now.hits.saturating_sub(before.hits) as f64;
        is_on(before, now, each).then_some(Crossed {
            before: count,
            each,
            ahead: since,
            early,
            opened: *now,
            closed: None,
        })
    }

    /// The window closes.
    pub(super) fn close(&mut self, now: &Reading) {
        if let Some(crossed) = &mut self.crossed {
            crossed.closed = Some(*now);
        }
    }

    /// A look outside of windows; and what it says of the last one.
    pub(super) fn look(&mut self, before: &Reading, now: &Reading) -> Option<Progress> {
        let (count, at) = last_pass(now)?;
        let Some(closed) = self.crossed.as_ref().and_then(|crossed| crossed.closed) else {
            self.from.get_or_insert(*now);
            return None;
        };
        if last_pass(&closed).is_some_and(|(passed, _)| count <= passed) {
            if now.at.saturating_sub(closed.at) > PATIENCE {
                self.crossed = None;
            }
            return None;
        }
        self.from = Some(*now);
        let crossed = self.crossed.take()?;
        if !is_on(before, now, crossed.each) {
            return None;
        }
        let within = closed.hits.saturating_sub(crossed.opened.hits) as f64;
        let slow = seconds(crossed.opened.at, closed.at) / within;
        // Hits after a pass, while probes came or went: the process was as slow as in the window.
        let edge = |all: f64, time: f64| all.min(time / slow);
        let behind = seconds(closed.at, at);
        let early = edge(crossed.early, crossed.ahead);
        let late = edge(now.hits.saturating_sub(closed.hits) as f64, behind);
        let quick = crossed.ahead + behind - (early + late) * slow;
        let progress = Progress {
            passes: count - crossed.before - quick / crossed.each,
            hits: within + early + late,
        };
        (within > 0.0 && progress.passes > 0.0).then_some(progress)
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

/// The part of the time between that the process ran.
fn busy(first: &Reading, last: &Reading) -> f64 {
    let elapsed = seconds(first.at, last.at);
    if elapsed > 0.0 {
        (seconds(first.used, last.used) / elapsed).min(1.0)
    } else {
        1.0
    }
}

/// The process has run all the time between, but for too little to matter.
fn is_on(first: &Reading, last: &Reading, each: f64) -> bool {
    let off = seconds(first.at, last.at) - seconds(first.used, last.used);
    let (part, least) = OFF;
    off <= (each * part).max(least)
}
