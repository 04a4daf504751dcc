//! One process: what is read of it, and what is decided.

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::HashMap;

use super::gauge::{Estimated, Gauge};
use super::milestone::Milestone;
use super::pace::{self, Pace, Step};
use super::reading::{HitCost, Key, Look, Reading};
use super::tally::Side;
use super::{HASTY, monotonic};
use crate::model::Method;
use crate::probe::{Busiest, Frame, Kernel, ProcessClock};
use crate::session::attachments::{Attachments, File};
use crate::session::cost::CostMeter;
use crate::session::rows::line;

/// What a hit is taken to cost where it cannot be measured, in seconds: more than it does.
pub(super) const UNMEASURED: f64 = 2e-6;
/// What a hit costs in a window, where little of the way to the program and back is in the caches, in
/// hits where they never end: by windows of functions that take 20 ns to 5 us, by marker and resume
/// (`cargo xtask bench --only bound`).
const IN_WINDOW: f64 = 1.04;
/// How far off the cost of a hit is, as a part of it (`tests/cost.rs`).
const UNCERTAINTY: f64 = 0.2;

/// Hits, passes and processor time are of one moment if no more than this lies between them. pytop may have
/// to wait for a processor meanwhile.
const AT_ONCE: Duration = Duration::from_micros(300);

/// A milestone that was of no use for so many intervals is given up.
const DOUBTS: u32 = 5;

/// A process that is counted.
pub(super) struct Watched {
    pub(super) pid: u32,
    pub(super) method: Method,
    /// The interpreter that it runs.
    pub(super) file: Option<Arc<File>>,
    /// It is counted in windows.
    pub(super) is_hot: bool,
    /// Its hits since the start that are not in slots; and at the beginning of the interval.
    pub(super) careful: u64,
    careful_before: u64,
    pub(super) clock: ProcessClock,
    pub(super) pace: Pace,
    pub(super) gauge: Gauge,
    pub(super) milestone: Milestone,
    /// Its hits in this interval, and when these were about to be read, by the monotonic clock.
    pub(super) hits: u64,
    read_at: Duration,
    /// As of the last look. Functions are told apart only where there are windows.
    pub(super) seen: Look,
}

impl Watched {
    /// One that is counted from now on, unless it has ended.
    pub(super) fn of(
        pid: u32,
        method: Method,
        file: Option<Arc<File>>,
        allowed: f64,
        kernel: &Kernel,
    ) -> Option<Self> {
        let mut clock = ProcessClock::of(pid)?;
        let used = clock.read()?;
        let now = Instant::now();
        let careful = kernel.careful_hits(pid);
        let seen = Reading {
            used,
            at: monotonic(),
            ..Reading::default()
        };
        Some(Self {
            pid,
            method,
            file,
            is_hot: false,
            careful,
            careful_before: careful,
            clock,
            pace: Pace::new(allowed, now, seed(pid)),
            gauge: Gauge::counting(seen),
            milestone: Milestone::new(now),
            hits: 0,
            read_at: seen.at,
            seen: Look::first(seen),
        })
    }

    /// Its probes are in place: a window is open.
    pub(super) fn open(&mut self, at: Instant, kernel: &Kernel) {
        let (used, _) = self.read(Side::Opening, kernel);
        let reading = Reading {
            used,
            hits: self.hits,
            careful: self.careful_hits(),
            at: monotonic(),
            passed: self.milestone.passed(),
        };
        self.gauge.open(Look {
            reading,
            functions: self.seen.functions.clone(),
        });
        self.pace.opened(at);
        self.hasten(at);
    }

    /// Its processor time, and how often it was stopped by milestones since this was asked for last: as of
    /// the moment in which its hits were read, which are read again if that is too long ago.
    fn read(&mut self, side: Side, kernel: &Kernel) -> (Duration, u64) {
        let (used, passes) = self.read_once(side, kernel);
        let is_late = monotonic().saturating_sub(self.read_at) > AT_ONCE;
        if side == Side::Outside || !self.milestone.is_place() || !is_late {
            return (used, passes);
        }
        self.read_hits(kernel);
        let (used, more) = self.read_once(side, kernel);
        (used, passes + more)
    }

    fn read_once(&mut self, side: Side, kernel: &Kernel) -> (Duration, u64) {
        // One that has ended uses no more.
        let used = self.clock.read().unwrap_or(self.seen.reading.used);
        let clock = &mut self.clock;
        (used, self.milestone.look(used, clock, side, kernel))
    }

    /// Reads its hits in this interval, and tells its functions apart.
    fn read_hits(&mut self, kernel: &Kernel) {
        self.begin_reading(kernel);
        kernel.visit_hits(|frame| {
            if frame.pid == self.pid {
                self.hits += frame.calls;
                self.see(&frame);
            }
        });
    }

    /// Its hits are about to be read: those that are in slots follow.
    pub(super) fn begin_reading(&mut self, kernel: &Kernel) {
        self.read_at = monotonic();
        self.careful = kernel.careful_hits(self.pid);
        self.hits = self.careful_hits();
        self.seen.functions = Arc::default();
    }

    /// Its hits in this interval that are not in slots.
    pub(super) fn careful_hits(&self) -> u64 {
        self.careful.saturating_sub(self.careful_before)
    }

    /// Takes in the calls of a function in this interval.
    pub(super) fn see(&mut self, frame: &Frame) {
        if frame.text != 0 && frame.calls != 0 {
            let key = (frame.text, line(frame.line));
            let functions = Arc::make_mut(&mut self.seen.functions);
            *functions.entry(key).or_default() += frame.calls;
        }
    }

    /// Takes in what has become of the process.
    pub(super) fn look(&mut self, now: Instant, cost: &CostMeter, kernel: &Kernel) -> Step {
        let before = self.seen.reading;
        let is_within = self.is_hot && self.pace.is_open();
        let side = if is_within {
            Side::Within
        } else {
            Side::Outside
        };
        let (used, passes) = self.read(side, kernel);
        let hits = self.hits.saturating_sub(before.hits) as f64;
        let careful = self.careful_hits().saturating_sub(before.careful) as f64;
        let each = self.cost(cost);
        let look = pace::Look {
            at: now,
            used: used.saturating_sub(before.used),
            spent: each.of_hits(hits, careful) + passes as f64 * each.pass,
        };
        let taken = (passes as f64 * each.pass, look.used.as_secs_f64());
        self.milestone.watch(now, taken, self.pace.allowed());
        self.seen.reading = Reading {
            used,
            hits: self.hits,
            careful: self.careful_hits(),
            at: monotonic(),
            passed: self.milestone.passed(),
        };
        if !self.is_hot {
            self.gauge.look_always(self.seen.reading);
        } else if is_within {
            self.milestone.learn(hits, look.used.as_secs_f64());
            self.gauge.look(self.seen.clone());
        } else {
            self.gauge.go_on_outside(self.seen.reading);
        }
        let step = self.pace.take(&look);
        self.hasten(now);
        step
    }

    /// Has the next look come soon if a window is open.
    fn hasten(&mut self, now: Instant) {
        if self.is_hot && self.pace.is_open() {
            let is_wanted = self.milestone.wants_looks();
            let within = if is_wanted { Duration::ZERO } else { HASTY };
            self.pace.hasten(now, within);
        }
    }

    /// Ends a window, or the time in which it was counted always; says whether it was the latter.
    pub(super) fn close(&mut self, attachments: &mut Attachments, kernel: &Kernel) -> bool {
        if !self.is_hot {
            kernel.visit_hits(|frame| {
                if frame.pid == self.pid {
                    self.see(&frame);
                }
            });
        }
        self.gauge.close(self.seen.clone());
        attachments.dismiss(self.pid);
        self.clock.sharpen();
        !std::mem::replace(&mut self.is_hot, true)
    }

    /// It is counted always from now on.
    pub(super) fn settle(&mut self) {
        self.is_hot = false;
        self.gauge.settle(self.seen.clone());
        self.milestone.settle(Instant::now());
    }

    fn cost(&self, cost: &CostMeter) -> HitCost {
        HitCost {
            seconds: cost.of_hit(self.pid, self.method).unwrap_or(UNMEASURED) * IN_WINDOW,
            uncertainty: UNCERTAINTY,
            pass: cost.of_pass(self.pid).unwrap_or(UNMEASURED),
        }
    }

    pub(super) fn end_interval(
        &mut self,
        counted: &HashMap<Key, u64>,
        cost: &CostMeter,
        is_last: bool,
    ) -> Option<Estimated> {
        let cost = self.cost(cost);
        let may_come = !is_last && self.is_hot && self.milestone.may_come();
        let may_come = may_come && self.file.is_some();
        let look = self.seen.clone();
        let estimated = self.gauge.end_interval(look, counted, cost, may_come);
        self.seen.reading = self.seen.reading.anew();
        self.careful_before = self.careful;
        let used = self.seen.reading.used;
        let now = Instant::now();
        self.milestone
            .judge(now, used, cost.pass, self.pace.allowed());
        // What a number in memory is depends on what all threads do.
        let misleads = self.milestone.is_number() && self.clock.busiest() == Busiest::Nobody;
        let is_doubted = self.milestone.is_found() && self.gauge.doubts() >= DOUBTS;
        let is_rare = self.milestone.is_place() && self.gauge.has_no_steps();
        if misleads || is_doubted || is_rare {
            self.milestone.give_up(now);
        }
        estimated
    }
}

/// Different for each process and run, so that windows of one are not those of another.
fn seed(pid: u32) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(pid)
}
