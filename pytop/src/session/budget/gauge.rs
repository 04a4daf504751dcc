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
//! The cost of a hit is not known well enough where a function takes less. A *milestone*, which is
//! passed in step with the calls and counted in windows and outside alike, knows nothing of it:
//!
//! ```text
//! passes               ├───────── 3,000 ─────────┤├── 12 ──┤├──────── 2,500 ────────┤
//! estimate             = counted x (1 + passes outside / passes in windows)
//! ```
//!
//! It is believed where it is steadier than the other estimate is certain, and does not contradict
//! it: what is passed by the clock, and not by the calls, is passed too often in windows.
//!
//! All that holds for a process that does much the same all the time. One that was busy outside and hardly
//! runs in the window does not call by its processor time, so what the time by the clock says is a limit
//! as well.
//!
//! The time before a process is found out, in which it was counted always, is no window: what it did
//! then, its start perhaps, tells little of what it does from then on. Its calls count as they are.
//!
//! A window has blurred edges: the probes are placed, and go, some time while the kernel is asked
//! for it. So the time that a hit takes, own work and all, is measured between two looks within the
//! window, and the time in which the process was counted is the number of all hits times that.

use std::collections::VecDeque;
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
    /// How often it has passed its milestone, if it has one.
    pub(super) passed: Option<u64>,
}

/// What lies between two looks, or the sum of that.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Span {
    /// Seconds of the process's processor time.
    used: f64,
    /// Seconds by the clock.
    elapsed: f64,
    /// Seconds of its processor time in which it had a milestone.
    known: f64,
    /// How often it passed it then.
    passed: f64,
}

impl Span {
    fn between(first: &Reading, last: &Reading) -> Self {
        let used = last.used.saturating_sub(first.used).as_secs_f64();
        let passed = last.passed.zip(first.passed);
        Self {
            used,
            elapsed: last.at.saturating_sub(first.at).as_secs_f64(),
            known: passed.map_or(0.0, |_| used),
            passed: passed.map_or(0.0, |(last, first)| last.saturating_sub(first) as f64),
        }
    }

    fn add(&mut self, other: &Self) {
        self.used += other.used;
        self.elapsed += other.elapsed;
        self.known += other.known;
        self.passed += other.passed;
    }

    /// Its processor time without that of passing milestones.
    fn own(&self, cost: HitCost) -> f64 {
        (self.used - self.passed * cost.pass).max(0.0)
    }

    /// How often the milestone would have been passed in all of it. `None` where too little is known.
    fn all_passes(&self) -> Option<f64> {
        let is_enough = self.known >= self.used * LEAST_KNOWN && self.passed > 0.0;
        is_enough.then(|| self.passed * self.used / self.known)
    }
}

/// The cost of a hit, in seconds of processor time.
#[derive(Clone, Copy, Debug)]
pub(super) struct HitCost {
    pub(super) seconds: f64,
    /// How far off it may be, as a part of it.
    pub(super) uncertainty: f64,
    /// That of passing a milestone.
    pub(super) pass: f64,
}

/// What is made of an interval that was not counted as a whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Estimated {
    /// Calls made for each one that was counted.
    pub(super) factor: f64,
    /// Calls besides, of which no window tells whose they were.
    pub(super) besides: f64,
    /// There was a window.
    pub(super) has_window: bool,
    /// The part of the processor time in which the process was counted.
    pub(super) share: f64,
    /// How far off the factor may be, as a part of it.
    pub(super) uncertainty: f64,
}

/// What follows an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another one.
    Interval,
    /// Another one, and perhaps a milestone by then.
    Milestone,
    /// Nothing: the run or the process has ended.
    Nothing,
}

/// Own work from one call to the next takes at least so long, in seconds: no interpreter enters and
/// leaves a frame in less. In 3.14 it takes 9 on a processor of 2025.
const LEAST_WORK: f64 = 5e-9;
/// How far the time of a hit is off as a rule, as a part of it: what is left for own work is not
/// known any better.
const BLUR: f64 = 0.05;
/// What windows of earlier intervals count for, as a part of what those of the present one do.
const EARLIER: f64 = 0.5;
/// The processor may be so much slower or quicker outside of windows than in them.
const OTHER_SPEED: f64 = 0.25;
/// The least part of a time with a milestone that stands for all of it.
const LEAST_KNOWN: f64 = 0.1;
/// What is known no better waits for a milestone that is searched.
const POOR: f64 = 0.15;
/// It waits so long at most, in seconds by the clock.
const PATIENCE: f64 = 4.0;
/// So many windows tell how many calls there are for each pass of a milestone.
const RECENT: usize = 8;
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
    /// What lies between the first and the last look of each window, and the hits there.
    within: Vec<(Span, f64)>,
    /// Processor time and hits of the time in which the process was counted always.
    whole: (f64, f64),
    /// From closing a window to opening the next.
    outside: Span,
    /// The same of earlier intervals in which nothing was counted that would tell what it means.
    owed: Span,
    /// Processor time and hits in windows of this and, for less, of earlier intervals.
    recent: (f64, f64),
    /// Hits and passes of the milestone in the last windows.
    passed: VecDeque<(f64, f64)>,
    /// Estimates in a row that were not made by the milestone although there was one.
    doubts: u32,
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
            self.outside.add(&Span::between(&closed, &now));
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
                self.within.push((span, hits));
            }
        }
    }

    /// There is a milestone from now on, or another one, and no window is open.
    pub(super) fn start_passing(&mut self, now: Reading) {
        if let Some(closed) = &mut self.closed {
            let before = Reading {
                passed: None,
                ..now
            };
            self.outside.add(&Span::between(closed, &before));
            *closed = now;
        }
        self.passed.clear();
        self.doubts = 0;
    }

    /// Estimates in a row that were not made by the milestone although there was one.
    pub(super) fn doubts(&self) -> u32 {
        self.doubts
    }

    /// Ends the interval, in which `counted` calls were counted, and begins the next, in which
    /// hits are seen from 0 again. `None` when all of it was counted. What is not known, or poorly, waits
    /// for what is `next`.
    pub(super) fn end_interval(
        &mut self,
        now: Reading,
        counted: u64,
        cost: HitCost,
        next: Next,
    ) -> Option<Estimated> {
        let is_open = self.window.is_some();
        self.end_window(now);
        if let Some(closed) = &mut self.closed {
            self.outside.add(&Span::between(closed, &now));
            *closed = now;
        }
        let all = now.used.saturating_sub(self.began).as_secs_f64();
        let within = std::mem::take(&mut self.within);
        let whole = std::mem::take(&mut self.whole);
        let mut outside = std::mem::take(&mut self.outside);
        let owed = std::mem::take(&mut self.owed);
        self.began = now.used;
        if is_open {
            self.window = Some(Reading { hits: 0, ..now });
            self.is_whole = true;
        }
        if outside.used <= 0.0 {
            // What is owed has been called all the same.
            self.owed = owed;
            return None;
        }
        outside.add(&owed);
        let mut windows = Windows::of(&within, cost);
        // What is hit after the last look is not seen, but has its part in all.
        let all_counted = counted as f64;
        let unseen = (all_counted / now.hits.max(1) as f64).max(1.0);
        windows.hits = all_counted.min(windows.hits * unseen);
        let told_later = Estimated {
            factor: 1.0,
            besides: 0.0,
            has_window: windows.used > 0.0,
            share: ((windows.used + whole.0) / all.max(f64::MIN_POSITIVE)).min(1.0),
            uncertainty: 1.0,
        };
        if windows.hits <= 0.0 || windows.used <= 0.0 {
            if windows.used > 0.0 {
                return Some(told_later);
            }
            // There was no window. The next ones tell, or those before.
            if next != Next::Nothing {
                self.owed = outside;
                return Some(told_later);
            }
            let counted = (all_counted - whole.1 * unseen).max(0.0);
            return Some(Estimated {
                besides: (self.as_before(&outside, cost) - counted).max(0.0),
                ..told_later
            });
        }
        for (window, hits) in within.iter().filter(|(window, _)| window.known > 0.0) {
            if self.passed.len() == RECENT {
                self.passed.pop_front();
            }
            self.passed.push_back((hits * unseen, window.passed));
        }
        let (earlier_used, earlier_hits) = self.recent;
        self.recent = (
            windows.used + earlier_used * EARLIER,
            windows.hits + earlier_hits * EARLIER,
        );
        let each = self.recent.0 / self.recent.1;
        // What the edges of windows have of the time outside was counted.
        let edges = (windows.hits * each - windows.used).clamp(0.0, outside.used);
        let rest = (outside.own(cost) - edges).max(0.0);
        let by_work = windows.by_work(rest, outside.elapsed, each, cost);
        let beyond = (all_counted - whole.1 * unseen - windows.hits).max(0.0);
        let by_milestones = self.by_milestones(&outside, beyond).filter(|more| {
            more.off < by_work.off.max(by_work.least_off)
                && is_plausible(rest / more.calls, each, cost)
        });
        let is_poor = by_work.off.max(by_work.least_off) > POOR;
        let is_silent = self.passed.is_empty() || outside.all_passes().is_none();
        if is_poor && next == Next::Milestone && is_silent && outside.elapsed < PATIENCE {
            self.owed = outside;
            return Some(told_later);
        }
        self.doubts = match by_milestones {
            None if outside.known > 0.0 => self.doubts + 1,
            _ => 0,
        };
        let more = by_milestones.unwrap_or(by_work);
        let factor = 1.0 + more.calls / all_counted;
        let used = windows.used + whole.0 + edges;
        Some(Estimated {
            factor,
            besides: 0.0,
            has_window: true,
            share: (used / (used + rest)).min(1.0),
            uncertainty: ((factor - 1.0) / factor * more.off).max(more.least_off),
        })
    }

    /// The calls outside of windows, by the passes of the milestone there. `beyond` were counted that no
    /// window has.
    fn by_milestones(&self, outside: &Span, beyond: f64) -> Option<More> {
        let each = self.for_each_pass()?;
        let windows = self.passed.len() as f64;
        let passes: f64 = self.passed.iter().map(|(_, passes)| passes).sum();
        // Of passes that come at equal distances, a window has one more or less by chance; a single
        // window does not tell whether they do.
        let by_chance = if windows < 2.0 {
            passes.sqrt().recip()
        } else {
            (windows / 6.0).sqrt() / passes
        };
        Some(More {
            calls: (outside.all_passes()? * each - beyond).max(0.0),
            off: spread(self.passed.iter().copied(), each)
                .unwrap_or(0.0)
                .max(by_chance),
            least_off: 0.0,
        })
    }

    /// Calls for each pass of the milestone, in the last windows.
    fn for_each_pass(&self) -> Option<f64> {
        let (hits, passes) = self.passed.iter().fold((0.0, 0.0), |sum, window| {
            (sum.0 + window.0, sum.1 + window.1)
        });
        (passes > 0.0).then(|| hits / passes)
    }

    /// The calls outside of windows, if they were as they are known to be from earlier intervals.
    fn as_before(&self, outside: &Span, cost: HitCost) -> f64 {
        let by_milestone = outside.all_passes().zip(self.for_each_pass());
        let (used, hits) = self.recent;
        match by_milestone {
            Some((passes, each)) => passes * each,
            None if hits > 0.0 => outside.own(cost) / own_work(used / hits, cost).0,
            None => 0.0,
        }
    }
}

/// The windows of an interval.
struct Windows<'a> {
    each: &'a [(Span, f64)],
    /// Processor time of all, without that of passing milestones.
    used: f64,
    /// Time of all by the clock, in seconds.
    elapsed: f64,
    hits: f64,
}

impl<'a> Windows<'a> {
    fn of(each: &'a [(Span, f64)], cost: HitCost) -> Self {
        // The sum of nothing is a negative zero.
        Self {
            each,
            used: 0.0 + each.iter().map(|(span, _)| span.own(cost)).sum::<f64>(),
            elapsed: each.iter().map(|(span, _)| span.elapsed).sum(),
            hits: each.iter().map(|(_, hits)| hits).sum(),
        }
    }

    /// The calls outside in `rest` seconds of processor time and `elapsed` by the clock, by what is
    /// left for own work of the time from hit to hit, which is `each`.
    fn by_work(&self, rest: f64, elapsed: f64, each: f64, cost: HitCost) -> More {
        let (work, work_off) = own_work(each, cost);
        let by_work = rest / work;
        // What windows would have taken by the clock without hits.
        let own = self.elapsed * work / each;
        let by_clock = self.hits * BUSIER * elapsed / own;
        let times = self.each.iter().map(|(span, hits)| (span.own(cost), *hits));
        More {
            calls: by_work.min(by_clock),
            off: work_off.hypot(spread(times, each).unwrap_or(1.0)),
            least_off: if by_work > by_clock { 1.0 } else { 0.0 },
        }
    }
}

/// Calls that were not counted.
struct More {
    calls: f64,
    /// How far off they may be, as a part of them.
    off: f64,
    /// How far off all calls may be at least, likewise.
    least_off: f64,
}

/// Whether a process can have taken so much of its own time for a call, if in windows it took `each`
/// with the hit.
fn is_plausible(work: f64, each: f64, cost: HitCost) -> bool {
    // Where a hit is taken to cost more than all that was used, what it costs is not known that well.
    let likely = (each - cost.seconds).max(LEAST_WORK);
    let off = 3.0 * cost.uncertainty * cost.seconds + OTHER_SPEED * likely;
    work >= (likely - off).max(LEAST_WORK) && work <= likely + off
}

/// Own work from one hit to the next in seconds, and how far off it may be, as a part of it: what
/// takes the time from hit to hit but the hit.
fn own_work(each: f64, cost: HitCost) -> (f64, f64) {
    let work = positive(each - cost.seconds, cost);
    let off = cost.seconds * cost.uncertainty;
    // Calls go as one by the work: they may be more by a larger part than they may be less, unless it
    // seems to be as little as can be.
    let more = work / (work - off).max(LEAST_WORK) - 1.0;
    let less = off / (work + off);
    (work, more.max(less))
}

/// What own work is taken to be when so much is left for it: as much, but where that is little, or
/// nothing, the mean of what it may be.
fn positive(left: f64, cost: HitCost) -> f64 {
    let blur = cost.seconds * BLUR;
    let above = (left - LEAST_WORK) / blur;
    // Softplus: the two sides of a corner, joined by a curve.
    LEAST_WORK + blur * (above.max(0.0) + (-above.abs()).exp().ln_1p())
}

/// How far a sum may be off by chance that is `each` times another one, as a part of it: windows, of
/// which these are the two numbers, are a sample. `None` where there are too few.
fn spread(windows: impl Iterator<Item = (f64, f64)>, each: f64) -> Option<f64> {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for (number, other) in windows {
        count += 1.0;
        sum += other * each;
        squares += (number - other * each).powi(2);
    }
    (count >= 2.0 && sum > 0.0).then(|| (squares * count / (count - 1.0)).sqrt() / sum)
}
