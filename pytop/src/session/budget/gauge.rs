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
//! Few passes tell little by their number; how many hits lie from one to the next tells more: see
//! [`rhythm`](super::rhythm). A milestone is believed where it is steadier than the other estimate is
//! certain, and does not contradict it: what is passed by the clock, and not by the calls, is passed too often
//! in windows.
//!
//! All that holds as long as a process does much the same. So the windows are sorted: those that are
//! alike are of one [`Regime`], and each gap between two windows is told by the regimes on its two
//! sides. How much of it is of which one, the pace of the milestone tells, if it differs; or the process
//! was far busier in the gap than in one of them; otherwise it is half of each.
//!
//! ```text
//!   reading a file                        computing                        asleep, mostly
//!   ├ window ┤├──── gap ────┤├ window ┤├──── gap ────┤├ window ┤├──── gap ────┤├── window ──┤
//!        A       all by A        A      half A, half B     B        all by B          C
//! ```
//!
//! A regime knows the functions of its windows, and what it tells is told as calls of these. An
//! interval that ends within a gap has it told by the regime before.
//!
//! The time before a process is found out, in which it was counted always, is no window: what it did
//! then, its start perhaps, tells little of what it does from then on. Its calls count as they are. The
//! end of that time tells of the first gap where no window does.
//!
//! A window has blurred edges: the probes are placed, and go, some time while the kernel is asked
//! for it. So the time that a hit takes, own work and all, is measured between two looks within the
//! window, and the time in which the process was counted is the number of all hits times that.

use std::mem;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

use foldhash::HashMap;

use super::reading::{HitCost, Key, Look, Reading, Span};
use super::regime::{More, Regime, Window};
use super::rhythm::Rhythm;

/// What is made of an interval that was not counted as a whole.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Estimated {
    /// Calls made besides those that were counted.
    pub(super) besides: HashMap<Key, f64>,
    /// The part of the processor time in which the process was counted.
    pub(super) share: f64,
    /// How far off all its calls may be, as a part of what is told.
    pub(super) uncertainty: f64,
}

/// What is known no better waits for a milestone that is searched.
const POOR: f64 = 0.15;
/// It waits so long at most, in seconds by the clock.
const PATIENCE: f64 = 4.0;
/// A window that has lasted so long, in seconds of the process's processor time or by the clock, ends when
/// the process does something else.
const LONG: (f64, f64) = (0.025, 0.1);
/// In less processor time, in seconds, a window does not show a regime of its own, unless it has lasted.
const SHORT: f64 = 0.001;
/// Regimes that are remembered.
const REMEMBERED: usize = 4;
/// Intervals after which one is forgotten that was not met again.
const FORGOTTEN: u32 = 30;

/// What was seen of a process in one interval, and the regimes that it is known to have.
#[derive(Debug, Default)]
pub(super) struct Gauge {
    /// The processor time of the process at the beginning.
    began: Duration,
    /// The beginning and the last look of the window that is open, if one is.
    window: Option<[Look; 2]>,
    /// That is no window: the process was counted always.
    is_whole: bool,
    /// When the last one closed.
    closed: Option<Reading>,
    /// From there to the next window.
    gap: Span,
    /// The process was counted always before it.
    is_first_gap: bool,
    /// The passes of the milestone in the window that is open.
    rhythm: Rhythm,
    /// The last window did not agree with what is known, but for one thing: how often the milestone was passed.
    is_out_of_step: bool,
    /// The one that was met last is the last.
    regimes: Vec<Regime>,
    /// What it did when it was found out: better than nothing.
    at_first: Regime,
    /// Functions that had lasted before the first window of the interval. Those hits of them that no look
    /// shows were before it, too.
    lasted: Arc<HashMap<Key, u64>>,
    /// The last look but one while it was counted always.
    always: [Reading; 2],
    /// Processor time and hits in windows.
    within: (f64, f64),
    /// Those of functions that had lasted, of each.
    shown: HashMap<Key, f64>,
    /// Likewise of the time in which the process was counted always.
    whole: (f64, f64),
    /// Estimates in a row that were not made by the milestone although there was one.
    doubts: u32,
}

impl Gauge {
    /// Of a process that is counted from now on.
    pub(super) fn counting(now: Reading) -> Self {
        Self {
            began: now.used,
            window: Some([Look::first(now), Look::first(now)]),
            is_whole: true,
            ..Self::default()
        }
    }

    /// The probes are in place.
    pub(super) fn open(&mut self, now: Look) {
        self.rhythm.open(&now.reading);
        self.go_on_outside(now.reading);
        self.closed = None;
        self.window = Some([now.clone(), now]);
        self.is_whole = false;
    }

    /// A look at the process. In a window that has lasted, what it does now may be something else.
    pub(super) fn look(&mut self, now: Look) {
        let Some([first, last]) = &mut self.window else {
            return;
        };
        self.rhythm.look(&now.reading);
        let before = mem::replace(last, now);
        let so_far = Window::between(first, &before);
        let is_long = so_far.span.used >= LONG.0 || so_far.span.elapsed >= LONG.1;
        if is_long && !self.is_whole && !Window::between(&before, last).is_like(&so_far) {
            *first = before;
            self.end_window(so_far);
        }
    }

    /// A look at a process that is counted always.
    pub(super) fn look_always(&mut self, now: Reading) {
        let [_, last] = self.always;
        self.always = [last, now];
    }

    /// The probes are about to go.
    pub(super) fn close(&mut self, now: Look) {
        self.closed = Some(now.reading);
        if self.is_whole {
            self.is_first_gap = true;
            let [before, _] = self.always;
            self.at_first = Regime::default();
            self.at_first.add(&Window::since(&before, &now));
            if self.within.0 <= 0.0 {
                self.lasted = Arc::clone(&now.functions);
            }
        }
        self.look(now);
        if let Some([first, last]) = self.window.take() {
            self.end_window(Window::between(&first, &last));
        }
    }

    /// The window stays open: the process is counted always from now on.
    pub(super) fn settle(&mut self, now: Look) {
        self.look(now);
        if let Some([first, last]) = self.window.take() {
            self.end_window(Window::between(&first, &last));
            self.window = Some([last.clone(), last]);
            self.is_whole = true;
        }
    }

    fn end_window(&mut self, mut window: Window) {
        window.steps = self.rhythm.take();
        let sum = if self.is_whole {
            &mut self.whole
        } else {
            &mut self.within
        };
        sum.0 += window.span.used;
        sum.1 += window.hits;
        if !self.is_whole {
            for (key, hits) in &window.functions {
                *self.shown.entry(*key).or_default() += hits;
            }
            let met = self.meet(&window);
            self.end_gap(met);
        }
    }

    /// Takes in a window, and says whether the process is in another regime than before. `None` where
    /// the window tells of none.
    fn meet(&mut self, window: &Window) -> Option<bool> {
        let is_short = window.span.used < SHORT && window.span.elapsed < LONG.1;
        if is_short && window.hits <= 0.0 {
            return None;
        }
        let last = self.regimes.len().checked_sub(1);
        let known = self.regimes.iter().rposition(|regime| regime.is_of(window));
        let works_alike = |regime: &Regime| regime.works_alike(window);
        let alike = self.regimes.iter().rposition(works_alike);
        // A milestone may be misread once. Nothing else says that this is another regime.
        let was_out_of_step = self.is_out_of_step;
        self.is_out_of_step = known.is_none() && alike.is_some();
        if self.is_out_of_step && !was_out_of_step {
            let number = alike?;
            let mut regime = self.regimes.remove(number);
            regime.add_out_of_step(window);
            self.regimes.push(regime);
            return Some(Some(number) != last);
        }
        let number = if is_short { known.or(last) } else { known };
        let mut regime = number.map_or_else(Regime::default, |number| self.regimes.remove(number));
        regime.add(window);
        self.regimes.push(regime);
        Some(number != last)
    }

    /// Has the gap before a window, if there was one, be told by the regimes on its two sides.
    /// `is_other` says whether the second of them is another one than the first, or that there is
    /// none.
    fn end_gap(&mut self, is_other: Option<bool>) {
        let gap = mem::take(&mut self.gap);
        let is_first = self.is_first_gap;
        self.is_first_gap &= is_other.is_none();
        let (before, after, part) = match (self.regimes.as_mut_slice(), is_other) {
            // What a program did at its start tells little of what follows.
            ([.., after], Some(_)) if is_first => (&mut self.at_first, after, 0.0),
            ([.., before, after], Some(true)) => (before, after, 0.5),
            ([.., only], _) if !is_first => {
                only.stay(&gap);
                return;
            }
            _ => {
                self.at_first.outside.add(&gap, 1.0);
                return;
            }
        };
        let part = before.part_of(&gap, after).unwrap_or(part);
        before.share(&gap, part);
        after.share(&gap, 1.0 - part);
    }

    /// Time has gone by outside of windows, if none is open.
    pub(super) fn go_on_outside(&mut self, now: Reading) {
        if let Some(closed) = &mut self.closed {
            self.gap.add(&Span::between(closed, &now), 1.0);
            *closed = now;
        }
    }

    /// There is a milestone from now on, or another one, and no window is open.
    pub(super) fn start_passing(&mut self, now: Reading) {
        self.go_on_outside(Reading {
            passed: None,
            ..now
        });
        if let Some(closed) = &mut self.closed {
            *closed = now;
        }
        self.regimes.iter_mut().for_each(Regime::forget_passes);
        self.at_first.forget_passes();
        self.doubts = 0;
    }

    /// Windows have been too short for two passes of the milestone, and so is the one that is open so far.
    pub(super) fn wants_step(&self) -> bool {
        !self.rhythm.has_step() && self.regimes.last().is_some_and(Regime::wants_step)
    }

    /// Windows do not tell how many calls there are to a pass of the milestone.
    pub(super) fn has_no_steps(&self) -> bool {
        self.regimes.last().is_some_and(Regime::has_no_steps)
    }

    /// Estimates in a row that were not made by the milestone although there was one.
    pub(super) fn doubts(&self) -> u32 {
        self.doubts
    }

    /// Ends the interval, in which so many calls were `counted`, and begins the next, in which
    /// hits are seen from 0 again. `None` when all of it was counted. What is known poorly may wait for a
    /// milestone where one `may_come`.
    pub(super) fn end_interval(
        &mut self,
        now: Look,
        counted: &HashMap<Key, u64>,
        cost: HitCost,
        may_come: bool,
    ) -> Option<Estimated> {
        let reading = now.reading;
        let unseen = unseen(&now, counted);
        self.look(now);
        if let Some([first, last]) = self.window.take() {
            self.end_window(Window::between(&first, &last));
            let again = Look::first(reading.anew());
            self.rhythm.open(&again.reading);
            self.window = Some([again.clone(), again]);
            self.always = self.always.map(Reading::anew);
        }
        // What it did when it was found out tells little, so that the first window is waited for as well.
        let has_window = self.within.0 > 0.0;
        let waits_for_window =
            may_come && self.is_first_gap && !has_window && self.gap.elapsed < PATIENCE;
        if self.closed.is_some() {
            self.go_on_outside(reading);
            if !waits_for_window {
                self.end_gap(None);
            }
        }
        let all = reading.used.saturating_sub(self.began).as_secs_f64();
        self.began = reading.used;
        let unseen = self.part_unseen(unseen, counted);
        let counted: u64 = counted.values().sum();
        let (within, whole) = (mem::take(&mut self.within), mem::take(&mut self.whole));
        let outside = self.outside();
        // What is hit while probes come and go is in no window.
        let beyond = (counted as f64 - whole.1 - within.1).max(0.0);
        let is_partial = outside > 0.0 || self.gap.used > 0.0;
        let told = is_partial.then(|| {
            let (in_windows, before) = unseen;
            // Where there was nothing but windows, it is known that they were all there.
            let is_known = whole.1 <= 0.0;
            explain(&mut self.regimes, &in_windows, is_known);
            explain(slice::from_mut(&mut self.at_first), &before, false);
            self.tell(beyond, cost, may_come && has_window)
        });
        self.grow_old();
        told.map(|told| {
            let counted_time = within.0 + whole.0 + told.edges;
            let off = told.off / (counted as f64 + told.calls).max(1.0);
            let least_off = if has_window || told.is_by_milestones {
                told.least_off
            } else {
                1.0
            };
            Estimated {
                besides: told.besides,
                share: (counted_time / all.max(f64::MIN_POSITIVE)).min(1.0),
                uncertainty: off.max(least_off),
            }
        })
    }

    /// Parts hits before functions had lasted, of each, in those in windows and all others. A function
    /// has its share of the hits in windows, as far as it is not seen there.
    fn part_unseen(
        &mut self,
        unseen: HashMap<Key, f64>,
        counted: &HashMap<Key, u64>,
    ) -> (HashMap<Key, f64>, HashMap<Key, f64>) {
        let (lasted, shown) = (mem::take(&mut self.lasted), mem::take(&mut self.shown));
        let all: u64 = counted.values().sum();
        let share = self.within.1 / all.max(1) as f64;
        let mut before = unseen;
        let mut within = HashMap::default();
        for (key, hits) in &mut before {
            if !lasted.contains_key(key) {
                let calls = counted.get(key).copied().unwrap_or(0) as f64;
                let shown = shown.get(key).copied().unwrap_or(0.0);
                let part = (calls * share - shown).clamp(0.0, *hits);
                *hits -= part;
                within.insert(*key, part);
            }
        }
        (within, before)
    }

    /// Nothing is outside of windows: all of this interval was counted so far.
    pub(super) fn is_exact(&self) -> bool {
        self.closed.is_none() && self.gap.used <= 0.0 && self.outside() <= 0.0
    }

    /// The processor time outside of windows that regimes have to tell of.
    fn outside(&self) -> f64 {
        let regimes = self.regimes.iter().chain([&self.at_first]);
        regimes.map(|regime| regime.outside.used).sum()
    }

    /// Tells what was called outside of windows. What is not known well may wait for a milestone.
    fn tell(&mut self, beyond: f64, cost: HitCost, waits: bool) -> Told {
        let mut told = Told {
            is_by_milestones: true,
            ..Told::default()
        };
        let outside = self.outside().max(f64::MIN_POSITIVE);
        let last = self.regimes.len().checked_sub(1);
        let regimes = self.regimes.iter_mut().chain([&mut self.at_first]);
        for (number, regime) in regimes.enumerate() {
            if regime.outside.used <= 0.0 {
                continue;
            }
            regime.beyond += beyond * regime.outside.used / outside;
            let more = regime.calls_outside(cost);
            if Some(number) == last
                && waits
                && more.is_poor(POOR)
                && (regime.is_silent() || regime.wants_step())
                && regime.outside.elapsed < PATIENCE
            {
                told.wait(&more);
                continue;
            }
            if regime.outside.known > 0.0 {
                self.doubts = if more.by_milestones {
                    0
                } else {
                    self.doubts + 1
                };
            }
            told.add(&more, regime);
            regime.end_telling();
        }
        told
    }

    fn grow_old(&mut self) {
        self.at_first.grow_old();
        self.regimes.iter_mut().for_each(Regime::grow_old);
        let many = self.regimes.len().saturating_sub(REMEMBERED);
        self.regimes.drain(..many);
        // Which it is in now, it is in.
        let last = self.regimes.pop();
        self.regimes.retain(|regime| regime.age < FORGOTTEN);
        self.regimes.extend(last);
    }
}

/// Hits of the interval before a function had lasted, of each.
fn unseen(now: &Look, counted: &HashMap<Key, u64>) -> HashMap<Key, f64> {
    let unseen = |(key, calls): (&Key, &u64)| {
        let seen = now.functions.get(key).copied();
        calls.saturating_sub(seen.unwrap_or(0)) as f64
    };
    // Some were hit after the last look, of whatever function.
    let all: u64 = counted.values().sum();
    let late = counted.iter().map(unseen).sum::<f64>() - now.reading.careful as f64;
    let part = late.max(0.0) / all.max(1) as f64;
    let careful = counted.iter().map(|(key, calls)| {
        let careful = unseen((key, calls)) - *calls as f64 * part;
        (*key, careful)
    });
    careful.filter(|(_, hits)| *hits >= 1.0).collect()
}

/// Has hits in windows whose functions are not known be some of those that were not seen. `is_known` says that
/// these were all in windows.
fn explain(regimes: &mut [Regime], unseen: &HashMap<Key, f64>, is_known: bool) {
    let unknown: f64 = regimes.iter().map(Regime::unknown).sum();
    if unknown <= 0.0 {
        return;
    }
    let part = unknown / unseen.values().sum::<f64>().max(unknown);
    for regime in regimes {
        regime.explain(unseen, part, is_known);
    }
}

/// What is told of the time outside of windows.
#[derive(Default)]
struct Told {
    besides: HashMap<Key, f64>,
    /// All of these.
    calls: f64,
    /// So many more or less may have been made.
    off: f64,
    /// How far off all calls of the interval may be at least, as a part of them.
    least_off: f64,
    /// Processor time outside of windows in which the process was counted, in seconds.
    edges: f64,
    /// Milestones tell all of it.
    is_by_milestones: bool,
}

impl Told {
    fn add(&mut self, more: &More, regime: &Regime) {
        self.is_by_milestones &= more.by_milestones;
        for (key, part) in regime.parts() {
            *self.besides.entry(key).or_default() += more.calls * part;
        }
        self.calls += more.calls;
        self.off += more.calls * more.off;
        self.least_off = self.least_off.max(more.least_off);
        self.edges += more.edges;
    }

    /// These are told later.
    fn wait(&mut self, more: &More) {
        self.is_by_milestones = false;
        self.off += more.calls;
        self.least_off = 1.0;
        self.edges += more.edges;
    }
}
