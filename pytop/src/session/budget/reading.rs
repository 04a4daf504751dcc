//! What is read of a process: the time that it has used, its hits, and how often it passed its milestone.

use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;

/// What a hit of a function that has not lasted costs, whose names are looked at each time, in others: by
/// marker, resume and eval.
pub(super) const CAREFUL: f64 = 2.4;
/// The least part of a time with a milestone that stands for all of it.
const LEAST_KNOWN: f64 = 0.1;

/// How often a process has passed its milestone, since some time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Passes {
    pub(super) count: f64,
    /// Its processor time in which it is known how often it was passed, from any time on.
    pub(super) known: Duration,
    /// When it was passed last, by the clock of [`Reading::at`], if that is known.
    pub(super) last: Option<Duration>,
    /// To pass it takes nothing from the process.
    pub(super) is_free: bool,
}

/// A look at what a process has used and hit so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// Its processor time.
    pub(super) used: Duration,
    /// Its hits in this interval, as far as they can be seen while it goes on.
    pub(super) hits: u64,
    /// Those of functions that have not lasted, likewise.
    pub(super) careful: u64,
    /// When, by any clock.
    pub(super) at: Duration,
    /// How often it has passed its milestone, if it has one.
    pub(super) passed: Option<Passes>,
}

impl Reading {
    /// As of the beginning of the next interval.
    pub(super) fn anew(self) -> Self {
        Self {
            hits: 0,
            careful: 0,
            ..self
        }
    }
}

/// What tells the functions of a process apart: the hash of the names, and the line.
pub(super) type Key = (u64, Option<u32>);

/// A look at a process that tells its functions apart, too.
#[derive(Clone, Debug, Default)]
pub(super) struct Look {
    pub(super) reading: Reading,
    /// Hits in this interval of functions that have lasted. Others have some as well.
    pub(super) functions: Arc<HashMap<Key, u64>>,
}

impl Look {
    /// Nothing was hit yet.
    pub(super) fn first(reading: Reading) -> Self {
        Self {
            reading,
            functions: Arc::default(),
        }
    }
}

/// What lies between two looks, or the sum of that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Span {
    /// Seconds of the process's processor time.
    pub(super) used: f64,
    /// Seconds by the clock.
    pub(super) elapsed: f64,
    /// Seconds of its processor time in which it had a milestone.
    pub(super) known: f64,
    /// How often it passed it then.
    pub(super) passed: f64,
    /// How often it was stopped by that.
    pub(super) stopped: f64,
}

impl Span {
    pub(super) fn between(first: &Reading, last: &Reading) -> Self {
        let used = last.used.saturating_sub(first.used).as_secs_f64();
        let passed = last.passed.zip(first.passed);
        let known = passed.map_or(Duration::ZERO, |(last, first)| {
            last.known.saturating_sub(first.known)
        });
        let count = passed.map_or(0.0, |(last, first)| (last.count - first.count).max(0.0));
        let is_free = passed.is_some_and(|(last, _)| last.is_free);
        Self {
            used,
            elapsed: last.at.saturating_sub(first.at).as_secs_f64(),
            known: known.as_secs_f64(),
            passed: count,
            stopped: if is_free { 0.0 } else { count },
        }
    }

    /// Adds such a part of another one.
    pub(super) fn add(&mut self, other: &Self, part: f64) {
        self.used += other.used * part;
        self.elapsed += other.elapsed * part;
        self.known += other.known * part;
        self.passed += other.passed * part;
        self.stopped += other.stopped * part;
    }

    /// Such a part of it.
    pub(super) fn times(&self, part: f64) -> Self {
        let mut sum = Self::default();
        sum.add(self, part);
        sum
    }

    /// Its processor time without that of passing milestones.
    pub(super) fn own(&self, cost: HitCost) -> f64 {
        (self.used - self.stopped * cost.pass).max(0.0)
    }

    /// How often the milestone would have been passed in all of it. `None` where too little is known.
    pub(super) fn all_passes(&self) -> Option<f64> {
        let is_enough = self.known >= self.used * LEAST_KNOWN && self.passed > 0.0;
        is_enough.then(|| self.passed * self.used / self.known)
    }

    /// The part of a processor that it takes.
    pub(super) fn busy(&self) -> f64 {
        self.used / self.elapsed.max(f64::MIN_POSITIVE)
    }
}

/// The cost of a hit, in seconds of processor time.
#[derive(Clone, Copy, Debug)]
pub(super) struct HitCost {
    /// That of functions that have lasted.
    pub(super) seconds: f64,
    /// How far off it may be, as a part of it.
    pub(super) uncertainty: f64,
    /// That of passing a milestone.
    pub(super) pass: f64,
}

impl HitCost {
    /// What so many hits cost, some of which are of functions that have not lasted.
    pub(super) fn of_hits(&self, hits: f64, careful: f64) -> f64 {
        self.seconds * (hits + careful.min(hits) * (CAREFUL - 1.0))
    }
}
