//! What a process called, from what it was counted to call in windows.
//!
//! In a window the process is slower, up to tenfold, so that the windows' share of the time says
//! little. What stays the same is the number of calls in a time in which the process gets on with
//! its own work: its processor time without what counting takes.
//!
//! ```text
//! processor time       ├──────── outside ────────┤├─ window ─┤├─────── outside ────────┤
//!                                                  ▕▕▕▕▕▕▕▕▕▕  hits: each costs as much
//! own work in windows  = time in windows - hits x cost of a hit
//! estimate             = counted x (1 + time outside / own work in windows)
//! ```
//!
//! That holds for a process that does much the same all the time. One that was busy outside and hardly
//! runs in the window does not call by its processor time, so what the time by the clock says is a limit
//! as well.
//!
//! The time before a process is found out, in which it was counted always, is no window: what it did
//! then, its start perhaps, tells little of what it does from then on. Its calls count as they are.
//!
//! A window has blurred edges: the probes are placed, and go, some time while the kernel is asked
//! for it. So the time that a hit takes, own work and all, is measured between two looks within the
//! window, and the time in which the process was counted is the number of all hits times that.

use std::time::Duration;

/// A look at what a process has used and hit so far.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Reading {
    /// Its processor time.
    pub(super) used: Duration,
    /// Its hits in this interval, as far as they can be seen while it goes on.
    pub(super) hits: u64,
    /// When, by any clock.
    pub(super) at: Duration,
}

/// How long something took, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Span {
    /// By the process's processor time.
    used: f64,
    /// By the clock.
    elapsed: f64,
}

impl Span {
    fn between(first: &Reading, last: &Reading) -> Self {
        Self {
            used: last.used.saturating_sub(first.used).as_secs_f64(),
            elapsed: last.at.saturating_sub(first.at).as_secs_f64(),
        }
    }

    fn add(&mut self, other: Self) {
        self.used += other.used;
        self.elapsed += other.elapsed;
    }
}

/// The cost of a hit, in seconds of processor time.
#[derive(Clone, Copy, Debug)]
pub(super) struct HitCost {
    pub(super) seconds: f64,
    /// How far off it may be, as a part of it.
    pub(super) uncertainty: f64,
}

/// What is made of an interval that was not counted as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimated {
    /// Calls made for each one that was counted.
    pub(super) factor: f64,
    /// The part of the processor time in which the process was counted.
    pub(super) share: f64,
    /// How far off the factor may be, as a part of it.
    pub(super) uncertainty: f64,
}

/// Own work from one call to the next takes at least so long, in seconds: no interpreter enters and
/// leaves a frame in less.
const LEAST_WORK: f64 = 15e-9;
/// How far the time of a hit is off as a rule, as a part of it: what is left for own work is not
/// known any better.
const BLUR: f64 = 0.05;
/// What windows of earlier intervals count for, as a part of what those of the present one do.
const EARLIER: f64 = 0.5;
/// A process may have been so much busier outside of windows than in them, by the clock, before that is
/// taken for a change of what it does.
const BUSIER: f64 = 2.0;

/// What was seen of a process in one interval.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// The processor time of the process at the beginning.
    began: Duration,
    /// The beginning of the window that is open, if one is.
    window: Option<Reading>,
    /// That is no window: the process was counted always.
    is_whole: bool,
    /// When the last one closed, by the processor time of the process.
    closed: Option<Reading>,
    /// Time and hits between the first and the last look of each window.
    within: Vec<(f64, f64)>,
    /// The same of the time in which the process was counted always.
    whole: (f64, f64),
    /// The time by the clock of all of them, in seconds.
    windows: f64,
    /// From closing a window to opening the next.
    outside: Span,
    /// The same of earlier intervals in which nothing was counted that would tell what it means.
    owed: Span,
    /// Time and hits in windows of this and, for less, of earlier intervals.
    recent: (f64, f64),
}

impl Gauge {
    /// Of a process that is counted from now on.
    pub(super) fn counting(now: Reading) -> Self {
        Self {
            began: now.used,
            window: Some(now),
            is_whole: true,
            ..Self::default()
        }
    }

    /// The probes are in place.
    pub(super) fn open(&mut self, now: Reading) {
        if let Some(closed) = self.closed.take() {
            self.outside.add(Span::between(&closed, &now));
        }
        self.window = Some(now);
        self.is_whole = false;
    }

    /// The probes are about to go.
    pub(super) fn close(&mut self, now: Reading) {
        self.end_window(now);
        self.closed = Some(now);
    }

    fn end_window(&mut self, now: Reading) {
        if let Some(first) = self.window.take() {
            let span = Span::between(&first, &now);
            let hits = now.hits.saturating_sub(first.hits) as f64;
            if self.is_whole {
                self.whole.0 += span.used;
                self.whole.1 += hits;
            } else {
                self.within.push((span.used, hits));
                self.windows += span.elapsed;
            }
        }
    }

    /// Ends the interval, in which `counted` calls were counted, and begins the next, in which
    /// hits are seen from 0 again. `None` when all of it was counted.
    pub(super) fn end_interval(
        &mut self,
        now: Reading,
        counted: u64,
        cost: HitCost,
    ) -> Option<Estimated> {
        let is_open = self.window.is_some();
        self.end_window(now);
        if let Some(closed) = &mut self.closed {
            self.outside.add(Span::between(closed, &now));
            *closed = now;
        }
        let all = now.used.saturating_sub(self.began).as_secs_f64();
        let within = std::mem::take(&mut self.within);
        let whole = std::mem::take(&mut self.whole);
        let windows = std::mem::take(&mut self.windows);
        let mut outside = std::mem::take(&mut self.outside);
        let owed = std::mem::take(&mut self.owed);
        self.began = now.used;
        if is_open {
            self.window = Some(Reading { hits: 0, ..now });
            self.is_whole = true;
        }
        if outside.used <= 0.0 {
            return None;
        }
        outside.add(owed);
        // The sum of nothing is a negative zero.
        let used = 0.0 + within.iter().map(|(used, _)| used).sum::<f64>();
        let seen: f64 = within.iter().map(|(_, hits)| hits).sum();
        let all_counted = counted as f64;
        // What is hit after the last look is not seen, but has its part in all.
        let unseen = (all_counted / now.hits.max(1) as f64).max(1.0);
        let counted = all_counted.min(seen * unseen);
        if seen <= 0.0 || counted <= 0.0 || used <= 0.0 {
            if used <= 0.0 {
                // There was no window: the next ones tell.
                self.owed = outside;
            }
            let used = used + whole.0;
            return Some(Estimated {
                factor: 1.0,
                share: if all > 0.0 {
                    (used / all).min(1.0)
                } else {
                    0.0
                },
                uncertainty: 1.0,
            });
        }
        let (earlier_used, earlier_hits) = self.recent;
        self.recent = (
            used + earlier_used * EARLIER,
            counted + earlier_hits * EARLIER,
        );
        let each = self.recent.0 / self.recent.1;
        let (work, work_off) = own_work(each, cost);
        // What the edges of windows have of the time outside was counted.
        let edges = (counted * each - used).clamp(0.0, outside.used);
        let rest = outside.used - edges;
        let by_work = rest / work;
        // What windows would have taken by the clock without hits.
        let own = windows * work / each;
        let by_clock = counted * BUSIER * outside.elapsed / own;
        let factor = 1.0 + by_work.min(by_clock) / all_counted;
        let part = (factor - 1.0) / factor;
        let off = part * work_off.hypot(spread(&within, each));
        let used = used + whole.0 + edges;
        Some(Estimated {
            factor,
            share: (used / (used + rest)).min(1.0),
            uncertainty: if by_work > by_clock {
                off.max(1.0)
            } else {
                off
            },
        })
    }
}

/// Own work from one hit to the next in seconds, and how far off it may be, as a part of it: what
/// takes the time from hit to hit but the hit.
fn own_work(each: f64, cost: HitCost) -> (f64, f64) {
    let work = positive(each - cost.seconds, cost);
    // Calls go as one by the work: they may be more by a larger part than they may be less.
    let least = (work - cost.seconds * cost.uncertainty).max(LEAST_WORK);
    (work, (work / least - 1.0).max(0.0))
}

/// What own work is taken to be when so much is left for it: as much, but where that is little, or
/// nothing, the mean of what it may be.
fn positive(left: f64, cost: HitCost) -> f64 {
    let blur = cost.seconds * BLUR;
    let above = (left - LEAST_WORK) / blur;
    // Softplus: the two sides of a corner, joined by a curve.
    LEAST_WORK + blur * (above.max(0.0) + (-above.abs()).exp().ln_1p())
}

/// How far the mean of the windows may be off by chance, as a part of it: they are a sample.
fn spread(within: &[(f64, f64)], each: f64) -> f64 {
    let windows = within.len();
    let hits: f64 = within.iter().map(|(_, hits)| hits).sum();
    if windows < 2 || hits <= 0.0 {
        return 1.0;
    }
    let squares: f64 = within
        .iter()
        .map(|(used, hits)| (used - hits * each).powi(2))
        .sum();
    let mean = hits * each;
    (squares * windows as f64 / (windows - 1) as f64).sqrt() / mean
}
