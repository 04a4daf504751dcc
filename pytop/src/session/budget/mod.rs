//! Keeping the cost of counting within bounds.
//!
//! With a bound, each process has probes of its own from the start, so that one can be left alone
//! without the others. This is the edge between what decides and what is: it reads how much
//! processor time processes have used and how often they ran into their probes, asks [`Pace`] what to
//! do, does it, and has [`Gauge`] make estimates of what was counted.

mod arrivals;
mod gauge;
mod pace;
#[cfg(test)]
mod tests;
mod work;

use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};

use self::arrivals::Arrivals;
use self::gauge::{Estimated, Gauge, HitCost, Reading};
use self::pace::{Look, Pace, Step};
use self::work::Work;
use super::attachments::{Attachments, Placed};
use super::cost::CostMeter;
use crate::model::{Estimate, Method, ProcessStatus, Row};
use crate::probe::{Kernel, ProcessClock, ProcessSampler, Sample};

/// What a hit is taken to cost where it cannot be measured, in seconds: more than it does.
const UNMEASURED: f64 = 2e-6;
/// How far off the cost of a hit is, as a part of it (`tests/cost.rs`).
const UNCERTAINTY: f64 = 0.2;

/// The processes that are counted, and when.
pub(super) struct Budget {
    /// The part of its processor time that counting may take from a process.
    allowed: f64,
    watched: HashMap<u32, Watched>,
    /// The hits of this interval that were seen last, by process.
    hits: HashMap<u32, u64>,
    arrivals: Arrivals,
}

struct Watched {
    method: Method,
    clock: ProcessClock,
    /// Once it has been counted in windows.
    samples: Option<Samples>,
    pace: Pace,
    gauge: Gauge,
    /// As of the last look.
    seen: Reading,
    /// How many calls there were in the interval before for each one that was seen while it went on.
    unseen: f64,
}

impl Budget {
    pub(super) fn new(allowed: f64) -> Self {
        Self {
            allowed,
            watched: HashMap::new(),
            hits: HashMap::new(),
            arrivals: Arrivals::new(),
        }
    }

    /// A process that has started since pytop has got its probes. `age` is what it has lived at
    /// most, or nothing for one that was held back until they were in place.
    pub(super) fn arrived(&mut self, placed: &Placed, age: Option<Duration>) {
        match age.filter(|_| !placed.has_doors) {
            Some(age) => self
                .arrivals
                .probed_without_door(placed.pid, placed.at, age),
            None => self.arrivals.probed(placed.pid, placed.at),
        }
    }

    /// Takes in which processes have started, and returns those that have ended before they got
    /// probes. `is_alive` says so of processes that are known.
    pub(super) fn take_doors(
        &mut self,
        passed: Vec<(u32, Duration)>,
        is_alive: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        for (pid, at) in passed {
            self.arrivals.passed(pid, at);
        }
        self.arrivals.take_missed(is_alive)
    }

    /// Why the calls of a process are not complete, if they are not.
    pub(super) fn reason(&self, pid: u32) -> Option<Arc<str>> {
        self.arrivals.reason(pid)
    }

    /// Takes up a process whose probes have just been placed. One that is known stays as it is.
    pub(super) fn take_up(&mut self, pid: u32, method: Method) {
        if let Some(watched) = self.watched.get_mut(&pid) {
            watched.method = method;
            return;
        }
        let Some(mut clock) = ProcessClock::of(pid) else {
            return;
        };
        let Some(used) = clock.read() else { return };
        let now = Instant::now();
        let seen = Reading { used, hits: 0 };
        let watched = Watched {
            method,
            clock,
            samples: None,
            pace: Pace::new(self.allowed, now, seed(pid)),
            gauge: Gauge::counting(seen),
            seen,
            unseen: 1.0,
        };
        self.watched.insert(pid, watched);
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        self.watched
            .values()
            .map(|watched| watched.pace.due())
            .min()
    }

    /// Looks at the processes that it is time to look at, and opens and closes windows.
    pub(super) fn look(
        &mut self,
        attachments: &mut Attachments,
        kernel: &mut Kernel,
        cost: &CostMeter,
    ) {
        let now = Instant::now();
        if self.due().is_none_or(|due| due > now) {
            return;
        }
        self.read_hits(kernel);
        let mut opened = Vec::new();
        for (pid, watched) in &mut self.watched {
            if watched.pace.due() > now {
                continue;
            }
            let hits = self.hits.get(pid).copied().unwrap_or(0);
            match watched.look(now, hits, cost) {
                Step::Stay => {}
                Step::Open => opened.push(*pid),
                Step::Close => watched.close(*pid, attachments),
            }
        }
        if !opened.is_empty() {
            for pid in &opened {
                attachments.resume(kernel, *pid);
            }
            self.read_hits(kernel);
            let at = Instant::now();
            for pid in opened {
                let hits = self.hits.get(&pid).copied().unwrap_or(0);
                if let Some(watched) = self.watched.get_mut(&pid)
                    && let Some(used) = watched.clock.read()
                {
                    if let Some(samples) = &mut watched.samples {
                        samples.turn(used, true);
                    }
                    watched.gauge.open(Reading { used, hits });
                    watched.pace.opened(at);
                }
            }
        }
    }

    /// The interval is about to end: whatever waits for the kernel from here on must not make
    /// windows longer.
    pub(super) fn end_interval(
        &mut self,
        attachments: &mut Attachments,
        kernel: &Kernel,
        cost: &CostMeter,
    ) {
        self.read_hits(kernel);
        let now = Instant::now();
        for (pid, watched) in &mut self.watched {
            let hits = self.hits.get(pid).copied().unwrap_or(0);
            let decided = watched.look(now, hits, cost);
            let step = match decided {
                // There is none to be opened now.
                Step::Open => {
                    watched.pace.put_off(now);
                    Step::Stay
                }
                Step::Stay => watched.pace.interrupt(now),
                Step::Close => Step::Close,
            };
            if step == Step::Close {
                watched.close(*pid, attachments);
            }
        }
    }

    /// Makes estimates of what was counted in the interval that has ended, where it was not
    /// everything. To be called before the calls are told and after they were charged for.
    pub(super) fn estimate(
        &mut self,
        processes: &mut [ProcessStatus],
        rows: &mut [Row],
        cost: &CostMeter,
    ) {
        let mut factors: HashMap<u32, (f64, u64)> = HashMap::new();
        for process in processes.iter_mut() {
            let Some(watched) = self.watched.get_mut(&process.pid) else {
                continue;
            };
            if let Some(estimated) = watched.end_interval(process.calls, cost) {
                factors.insert(process.pid, (estimated.factor, 0));
                process.estimate = Some(Estimate {
                    counted: estimated.share,
                    uncertainty: estimated.uncertainty,
                });
            }
        }
        if factors.is_empty() {
            return;
        }
        for row in rows {
            if let Some((factor, calls)) = factors.get_mut(&row.function.pid) {
                row.calls = scaled(row.calls, *factor);
                *calls += row.calls;
            }
        }
        for process in processes {
            if let Some((_, calls)) = factors.get(&process.pid) {
                process.calls = *calls;
            }
        }
    }

    /// Processes that have ended.
    pub(super) fn forget(&mut self, pids: &[u32]) {
        for pid in pids {
            self.watched.remove(pid);
            self.arrivals.forget(*pid);
        }
    }

    fn read_hits(&mut self, kernel: &Kernel) {
        self.hits.clear();
        let hits = &mut self.hits;
        kernel.visit_hits(|pid, calls| *hits.entry(pid).or_default() += calls);
    }
}

impl Watched {
    /// Takes in what has become of the process.
    fn look(&mut self, now: Instant, hits: u64, cost: &CostMeter) -> Step {
        // One that has ended uses no more.
        let used = self.clock.read().unwrap_or(self.seen.used);
        let each = cost.of_hit(self.method).unwrap_or(UNMEASURED);
        let new = hits.saturating_sub(self.seen.hits) as f64 * self.unseen;
        let look = Look {
            at: now,
            used: used.saturating_sub(self.seen.used),
            spent: new * each,
        };
        self.seen = Reading { used, hits };
        self.pace.take(&look)
    }

    fn close(&mut self, pid: u32, attachments: &mut Attachments) {
        self.gauge.close(self.seen);
        if let Some(samples) = &mut self.samples {
            samples.turn(self.seen.used, false);
        }
        attachments.pause(pid);
        self.clock.sharpen();
        if self.samples.is_none() {
            self.samples = Some(Samples {
                sampler: ProcessSampler::of(pid),
                work: Work::default(),
                since: self.seen.used,
                often: false,
            });
        }
    }

    fn end_interval(&mut self, counted: u64, cost: &CostMeter) -> Option<Estimated> {
        let each = HitCost {
            seconds: cost.of_hit(self.method).unwrap_or(UNMEASURED),
            uncertainty: UNCERTAINTY,
        };
        if self.seen.hits > 0 {
            self.unseen = (counted as f64 / self.seen.hits as f64).clamp(1.0, 10.0);
        }
        let samples = self.samples.as_mut();
        let share = samples.as_ref().and_then(|samples| samples.work.share());
        let estimated = self.gauge.end_interval(self.seen, counted, each, share);
        if let Some(samples) = samples {
            samples.work.fade();
        }
        self.seen.hits = 0;
        estimated
    }
}

/// Where a process spends its time, in windows and outside.
struct Samples {
    sampler: Option<ProcessSampler>,
    work: Work,
    /// The processor time of the process when it was last turned, and how it is sampled since.
    since: Duration,
    often: bool,
}

impl Samples {
    /// Takes in the samples since the last time, and samples often from now on, or seldom.
    fn turn(&mut self, used: Duration, often: bool) {
        let Some(sampler) = &mut self.sampler else {
            return;
        };
        let mut addresses = Vec::new();
        let mut is_lost = false;
        sampler.take(|sample| match sample {
            Sample::At(address) => addresses.push(address),
            Sample::Lost => is_lost = true,
        });
        sampler.set_often(often);
        let time = used.saturating_sub(self.since).as_secs_f64();
        let expected = time / ProcessSampler::period(self.often).as_secs_f64();
        if !is_lost && self.often {
            self.work.add_time(0.0, expected);
            addresses
                .iter()
                .for_each(|address| self.work.inside(*address));
        } else if !is_lost {
            self.work.add_time(expected, 0.0);
            addresses
                .iter()
                .for_each(|address| self.work.outside(*address));
        }
        (self.since, self.often) = (used, often);
    }
}

fn scaled(calls: u64, factor: f64) -> u64 {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a cast from float to integer saturates, and calls are not negative"
    )]
    let scaled = (calls as f64 * factor).round() as u64;
    scaled
}

/// Different for each process and run, so that windows of one are not those of another.
fn seed(pid: u32) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(pid)
}
