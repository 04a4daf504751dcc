//! What a process does alike for some time, as its windows show it.
//!
//! Windows in which a call takes as long from hit to hit, and which have as many calls for each pass of
//! the milestone, are of one *regime*. What was called outside of windows is told by the regimes of
//! those on either side: a program that reads a file for a second and computes for another one has two
//! of them, and neither tells how often, or what, is called in the other.

use std::collections::VecDeque;
use std::mem;

use foldhash::HashMap;

use super::reading::{CAREFUL, HitCost, Key, Look, Reading, Span};
use super::rhythm::Step;

/// Own work from one call to the next takes at least so long, in seconds: no interpreter enters and
/// leaves a frame in less. In 3.14 it takes 9 on a processor of 2025.
const LEAST_WORK: f64 = 5e-9;
/// Where nothing tells but the cost of a hit, it is taken to last so long at least: a call of next to
/// nothing takes 10 to 60.
const LIKELY_WORK: f64 = 15e-9;
/// How far the time of a hit is off as a rule, as a part of it: what is left for own work is not
/// known any better.
const BLUR: f64 = 0.05;
/// What windows of earlier intervals count for, as a part of what those of the present one do.
const EARLIER: f64 = 0.5;
/// The processor may be so much slower or quicker outside of windows than in them.
const OTHER_SPEED: f64 = 0.25;
/// So many windows tell how many calls there are for each pass of a milestone, and how far they differ.
const RECENT: usize = 8;
/// A process may have been so much busier outside of windows than in them, by the clock, before that is
/// taken for a change of what it does.
const BUSIER: f64 = 2.0;
/// So many steps from one pass to the next do, if they differ by no more than such a part.
const RECENT_STEPS: usize = 32;
const EVEN: f64 = 0.3;
/// After so many windows without a step there will hardly be one.
const TRIES: usize = 3;
/// Passes of a window that tell without steps.
const HANDFUL: f64 = 5.0;
/// So many steps tell how far they differ. What they tell may be off by such a part at least.
const TELLING_STEPS: f64 = 3.0;
const LEAST_OFF: f64 = 0.01;
/// Hits take as long, and milestones are passed as often, up to these factors.
const ALIKE: f64 = 1.5;
/// In one regime, windows have this part of their calls in common at least.
const COMMON: f64 = 0.5;
/// A function that the windows have less often than this is not called any more.
const GONE: f64 = 0.01;
/// The part of all hits that is no matter: whose they are is not known that well.
const NEGLIGIBLE: f64 = 0.01;
/// Where a hit takes so much of the process's time, in seconds, hardly any of that is the cost of it.
const RARE: f64 = 10e-6;
/// Processor time, in seconds, that tells how often a milestone is passed.
const TELLING: f64 = 0.01;

/// A window, or a part of one.
#[derive(Debug)]
pub(super) struct Window {
    pub(super) span: Span,
    pub(super) hits: f64,
    /// Those of functions that have not lasted.
    pub(super) careful: f64,
    /// Those of functions that have lasted.
    pub(super) functions: Vec<(Key, f64)>,
    /// From one pass of the milestone to the next.
    pub(super) steps: Vec<Step>,
}

impl Window {
    pub(super) fn between(first: &Look, last: &Look) -> Self {
        let functions = last.functions.iter().map(|(key, hits)| {
            let before = first.functions.get(key).copied().unwrap_or(0);
            (*key, hits.saturating_sub(before) as f64)
        });
        Self {
            span: Span::between(&first.reading, &last.reading),
            hits: last.reading.hits.saturating_sub(first.reading.hits) as f64,
            careful: last.reading.careful.saturating_sub(first.reading.careful) as f64,
            functions: functions.filter(|(_, hits)| *hits > 0.0).collect(),
            steps: Vec::new(),
        }
    }

    /// The end of the time in which a process was counted always. The functions are those of all of that
    /// time.
    pub(super) fn since(before: &Reading, last: &Look) -> Self {
        let hits = last.reading.hits.saturating_sub(before.hits) as f64;
        let all: u64 = last.functions.values().sum();
        let part = hits / (all.max(last.reading.hits).max(1) as f64);
        let functions = last.functions.iter();
        Self {
            span: Span::between(before, &last.reading),
            hits,
            careful: last.reading.careful.saturating_sub(before.careful) as f64,
            functions: functions
                .map(|(key, calls)| (*key, *calls as f64 * part))
                .collect(),
            steps: Vec::new(),
        }
    }

    /// Hits whose functions are known, and those where they are not.
    fn known(&self) -> f64 {
        self.functions.iter().map(|(_, hits)| hits).sum()
    }

    fn unknown(&self) -> f64 {
        (self.hits - self.known()).max(0.0)
    }

    fn worked(&self) -> Sample {
        Sample {
            amount: self.span.used,
            number: self.hits,
        }
    }

    fn passed(&self) -> Sample {
        let Span {
            used,
            known,
            passed,
            ..
        } = self.span;
        Sample {
            amount: if known > 0.0 {
                passed * used / known
            } else {
                0.0
            },
            number: self.hits,
        }
    }

    /// The process did much the same in another one.
    pub(super) fn is_like(&self, other: &Self) -> bool {
        have_worked_alike(
            (self.worked(), self.careful),
            (other.worked(), other.careful),
        )
    }
}

/// How often something was seen in an amount of something else.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    amount: f64,
    number: f64,
}

impl Sample {
    /// How much of that there was to how often.
    fn inverse(self) -> Self {
        Self {
            amount: self.number,
            number: self.amount,
        }
    }

    fn add(&mut self, other: Self) {
        self.amount += other.amount;
        self.number += other.number;
    }

    /// There can be as many for each in both.
    fn is_like(&self, known: &Self) -> bool {
        let Self { amount, number } = *self;
        if amount <= 0.0 || known.amount <= 0.0 {
            return number <= 0.0 && known.number <= 0.0;
        }
        let expected = amount * known.number / known.amount;
        let by_chance = 3.0 * expected.max(number).sqrt() + 1.0;
        (number <= expected * ALIKE && expected <= number * ALIKE)
            || (number - expected).abs() <= by_chance
    }
}

/// What the windows of a process say that were alike.
#[derive(Debug, Default)]
pub(super) struct Regime {
    /// Windows of this and, for less, of earlier intervals.
    within: Span,
    /// Hits there.
    hits: f64,
    /// Those of functions that had not lasted.
    careful: f64,
    /// The hits of functions among them, and those of functions that are not known.
    functions: HashMap<Key, f64>,
    unknown: f64,
    /// Hits and processor time of each of the last windows.
    recent: VecDeque<Sample>,
    /// Hits and passes of the milestone there.
    passed: VecDeque<Sample>,
    /// From one pass to the next, likewise.
    steps: VecDeque<Sample>,
    /// The time between two windows of this regime, likewise.
    stayed: Span,
    /// What is told by it: the time outside of windows beside which it was met.
    pub(super) outside: Span,
    /// Calls of that time that were counted although no window has them.
    pub(super) beyond: f64,
    /// Intervals since it was met.
    pub(super) age: u32,
}

impl Regime {
    /// The window is likely to be of this regime.
    pub(super) fn is_of(&self, window: &Window) -> bool {
        let passed = all(&self.passed);
        let is_in_step = window.span.known <= 0.0
            || passed.amount <= 0.0
            || window.passed().inverse().is_like(&passed.inverse());
        is_in_step && self.works_alike(window)
    }

    /// Likewise, however often the milestone is passed.
    pub(super) fn works_alike(&self, window: &Window) -> bool {
        let has_worked_alike = have_worked_alike(
            (window.worked(), window.careful),
            (self.worked(), self.careful),
        );
        has_worked_alike && self.has_functions_of(window)
    }

    fn worked(&self) -> Sample {
        Sample {
            amount: self.within.used,
            number: self.hits,
        }
    }

    /// It is not that other functions are called: those of hits that are not known may be the same.
    fn has_functions_of(&self, window: &Window) -> bool {
        let all = self.unknown + self.functions.values().sum::<f64>();
        let of_window = window.unknown() + window.known();
        if all <= 0.0 || of_window <= 0.0 {
            return true;
        }
        let common = window.functions.iter().map(|(key, hits)| {
            let before = self.functions.get(key).copied().unwrap_or(0.0);
            (hits / of_window).min(before / all)
        });
        common.sum::<f64>() + window.unknown() / of_window + self.unknown / all > COMMON
    }

    /// Has hits of functions that are not known be those of these: each with hits that were not seen with
    /// it, of which such a `part` lies in windows. Those that the regime has are the first; what is left
    /// is of the others, unless it is next to nothing and not known to have been in windows.
    pub(super) fn explain(&mut self, unseen: &HashMap<Key, f64>, part: f64, is_known: bool) {
        let unknown = mem::take(&mut self.unknown);
        let (known, others): (Vec<_>, Vec<_>) = unseen
            .iter()
            .partition(|(key, _)| self.functions.contains_key(key));
        let of_known = sum(&known) * part;
        let all = sum(&others);
        let fit = unknown.min(of_known) / of_known.max(f64::MIN_POSITIVE);
        for (key, hits) in known {
            *self.functions.entry(*key).or_default() += hits * part * fit;
        }
        let left = (unknown - of_known).max(0.0);
        if all > 0.0 && (is_known || left > self.hits * NEGLIGIBLE) {
            for (key, hits) in others {
                self.functions.insert(*key, left * hits / all);
            }
        }
    }

    /// Hits in windows of functions that are not known.
    pub(super) fn unknown(&self) -> f64 {
        self.unknown
    }

    /// Takes in a window, but not how often it passes the milestone.
    pub(super) fn add_out_of_step(&mut self, window: &Window) {
        self.add(&Window {
            span: Span {
                known: 0.0,
                passed: 0.0,
                ..window.span
            },
            functions: window.functions.clone(),
            steps: Vec::new(),
            ..*window
        });
    }

    /// Takes in a window.
    pub(super) fn add(&mut self, window: &Window) {
        self.age = 0;
        self.within.add(&window.span, 1.0);
        self.hits += window.hits;
        self.careful += window.careful;
        for (key, hits) in &window.functions {
            *self.functions.entry(*key).or_default() += hits;
        }
        self.unknown += window.unknown();
        push(&mut self.recent, window.worked(), RECENT);
        if window.span.known > 0.0 {
            push(&mut self.passed, window.passed(), RECENT);
        }
        for step in &window.steps {
            let step = Sample {
                amount: step.passes,
                number: step.hits,
            };
            push(&mut self.steps, step, RECENT_STEPS);
        }
    }

    /// The interval has ended: what was seen counts for less.
    pub(super) fn grow_old(&mut self) {
        self.age += 1;
        self.within = self.within.times(EARLIER);
        self.hits *= EARLIER;
        self.careful *= EARLIER;
        self.stayed = self.stayed.times(EARLIER);
        self.unknown *= EARLIER;
        for hits in self.functions.values_mut() {
            *hits *= EARLIER;
        }
        self.functions.retain(|_, hits| *hits > GONE);
    }

    /// Windows are too short for two passes of the milestone, as far as can be said after so few.
    pub(super) fn wants_step(&self) -> bool {
        (1..=TRIES).contains(&self.passed.len()) && self.steps.is_empty()
    }

    /// Windows hold no step, nor a handful of passes each.
    pub(super) fn has_no_steps(&self) -> bool {
        let passed = all(&self.passed);
        self.passed.len() > TRIES
            && self.steps.is_empty()
            && passed.amount < HANDFUL * self.passed.len() as f64
    }

    /// Passes were of another milestone, or there was none.
    pub(super) fn forget_passes(&mut self) {
        self.passed.clear();
        self.steps.clear();
        self.stayed = Span::default();
        (self.within.passed, self.within.known) = (0.0, 0.0);
    }

    /// The process was as busy in its windows, by the clock, as it was in this time.
    pub(super) fn is_as_busy(&self, time: &Span) -> bool {
        self.within.used * BUSIER >= self.within.elapsed * time.busy()
    }

    /// Whether no milestone tells of the time outside.
    pub(super) fn is_silent(&self) -> bool {
        self.passed.is_empty() || self.outside.all_passes().is_none()
    }

    /// The time between two windows of this regime.
    pub(super) fn stay(&mut self, gap: &Span) {
        self.outside.add(gap, 1.0);
        self.stayed.add(gap, 1.0);
    }

    /// Such a part of the time between two windows, of which the other one is of another regime. How often the
    /// milestone was passed in it, is known by how often that is as a rule.
    pub(super) fn share(&mut self, gap: &Span, part: f64) {
        if part >= 1.0 {
            self.outside.add(gap, part);
            return;
        }
        let mut own = gap.times(part);
        if let Some(pace) = self.pace() {
            own.passed = pace * own.known;
        } else {
            (own.known, own.passed) = (0.0, 0.0);
        }
        self.outside.add(&own, 1.0);
    }

    /// How often the milestone is passed in a second of its processor time outside of windows.
    fn pace(&self) -> Option<f64> {
        if self.stayed.known > TELLING {
            return Some(self.stayed.passed / self.stayed.known);
        }
        let is_rare = self.within.used > self.hits * RARE;
        (is_rare && self.within.known > TELLING).then(|| self.within.passed / self.within.known)
    }

    /// The part of a gap that is of this regime, where the rest is of another one. `None` where nothing
    /// tells.
    pub(super) fn part_of(&self, gap: &Span, other: &Self) -> Option<f64> {
        match (self.is_as_busy(gap), other.is_as_busy(gap)) {
            (true, false) => return Some(1.0),
            (false, true) => return Some(0.0),
            _ => {}
        }
        let (this, other) = (self.pace()?, other.pace()?);
        let all = gap.all_passes()? / gap.used;
        let differ = (this - other).abs() > this.max(other) * (1.0 - ALIKE.recip());
        differ.then(|| ((all - other) / (this - other)).clamp(0.0, 1.0))
    }

    /// What was called outside has been told.
    pub(super) fn end_telling(&mut self) {
        self.outside = Span::default();
        self.beyond = 0.0;
    }

    /// The calls of the time outside that were not counted.
    pub(super) fn calls_outside(&self, cost: HitCost) -> More {
        let outside = &self.outside;
        if self.hits <= 0.0 {
            return More::default();
        }
        let careful = self.careful / self.hits;
        let cost = HitCost {
            seconds: cost.of_hits(1.0, careful),
            ..cost
        };
        // From hit to hit.
        let each = self.within.own(cost) / self.hits;
        let own = outside.own(cost);
        let edges = (self.beyond * each).min(own);
        let rest = own - edges;
        let by_work = self.by_work((rest, outside.elapsed), each, cost);
        let by_milestones = self.by_milestones(outside).filter(|more| {
            more.off < by_work.off.max(by_work.least_off)
                && is_plausible(rest / more.calls, each, cost)
        });
        More {
            edges,
            ..by_milestones.unwrap_or(by_work)
        }
    }

    /// The functions that it calls, and which part of its calls are theirs.
    pub(super) fn parts(&self) -> impl Iterator<Item = (Key, f64)> {
        let all: f64 = self.functions.values().sum();
        self.functions
            .iter()
            .map(move |(key, hits)| (*key, hits / all))
    }

    /// The calls in so many seconds of processor time, and by the clock, by what is left for own work of
    /// the time from hit to hit, which is `each`.
    fn by_work(&self, (rest, elapsed): (f64, f64), each: f64, cost: HitCost) -> More {
        let (work, work_off) = own_work(each, cost);
        let by_work = rest / work;
        // What windows would have taken by the clock without hits.
        let own = self.within.elapsed * work / each;
        let by_clock = self.hits * BUSIER * elapsed / own;
        More {
            calls: by_work.min(by_clock),
            by_milestones: false,
            off: work_off.hypot(spread(&self.recent, each.recip()).unwrap_or(1.0)),
            least_off: if by_work > by_clock { 1.0 } else { 0.0 },
            edges: 0.0,
        }
    }

    /// The calls by the passes of the milestone.
    fn by_milestones(&self, outside: &Span) -> Option<More> {
        let (each, off) = self.calls_of_pass()?;
        Some(More {
            calls: (outside.all_passes()? * each - self.beyond).max(0.0),
            by_milestones: true,
            off,
            ..More::default()
        })
    }

    /// Calls from one pass of the milestone to the next, and how far off that may be, as a part of it.
    fn calls_of_pass(&self) -> Option<(f64, f64)> {
        self.calls_of_step().or_else(|| {
            let Sample { amount, number } = all(&self.passed);
            let each = (amount > 0.0).then(|| number / amount)?;
            let windows = self.passed.len() as f64;
            // Of passes that come at equal distances, a window has one more or less by chance; a single
            // window does not tell whether they do.
            let by_chance = if windows < 2.0 {
                amount.sqrt().recip()
            } else {
                (windows / 6.0).sqrt() / amount
            };
            let spread = spread(&self.passed, each).unwrap_or(0.0);
            Some((each, spread.max(by_chance)))
        })
    }

    /// Likewise, by whole steps, if these are about equally long.
    fn calls_of_step(&self) -> Option<(f64, f64)> {
        let steps = self.steps.len() as f64;
        let Sample { amount, number } = all(&self.steps);
        let each = (amount > 0.0).then(|| number / amount)?;
        let spread = spread(&self.steps, each).filter(|_| steps >= TELLING_STEPS);
        // As a part of a step, that is.
        let is_even = spread.is_none_or(|spread| spread * steps.sqrt() <= EVEN);
        let off = spread.map_or(amount.sqrt().recip(), |spread| spread.max(LEAST_OFF));
        is_even.then_some((each, off))
    }
}

/// The sum of what windows have.
fn all(windows: &VecDeque<Sample>) -> Sample {
    let mut all = Sample::default();
    for window in windows {
        all.add(*window);
    }
    all
}

/// Calls that were not counted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct More {
    pub(super) calls: f64,
    /// The milestone tells.
    pub(super) by_milestones: bool,
    /// How far off they may be, as a part of them.
    pub(super) off: f64,
    /// How far off all calls may be at least, likewise.
    pub(super) least_off: f64,
    /// The processor time outside of windows in which calls were counted, in seconds.
    pub(super) edges: f64,
}

impl More {
    /// They may be off by more than such a part.
    pub(super) fn is_poor(&self, part: f64) -> bool {
        self.off.max(self.least_off) > part
    }
}

/// Hits took as long in both, of which so many were of functions that had not lasted. These take longer,
/// which matters where it is hits that take the time, and not where own work does.
fn have_worked_alike(one: (Sample, f64), other: (Sample, f64)) -> bool {
    let with_care = |(worked, careful): (Sample, f64)| Sample {
        number: worked.number + careful.min(worked.number) * (CAREFUL - 1.0),
        ..worked
    };
    one.0.is_like(&other.0) || with_care(one).is_like(&with_care(other))
}

fn sum(functions: &[(&Key, &f64)]) -> f64 {
    functions.iter().map(|(_, hits)| **hits).sum()
}

fn push(windows: &mut VecDeque<Sample>, window: Sample, most: usize) {
    if windows.len() == most {
        windows.pop_front();
    }
    windows.push_back(window);
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
    let above = (left - LIKELY_WORK) / blur;
    // Softplus: the two sides of a corner, joined by a curve.
    LIKELY_WORK + blur * (above.max(0.0) + (-above.abs()).exp().ln_1p())
}

/// How far the number of all these windows may be off by chance, each of which should have `each` for
/// each of its amount, as a part of it: they are a sample. `None` where there are too few.
fn spread(windows: &VecDeque<Sample>, each: f64) -> Option<f64> {
    let (mut count, mut sum, mut squares) = (0.0, 0.0, 0.0);
    for Sample { amount, number } in windows {
        count += 1.0;
        sum += amount * each;
        squares += (number - amount * each).powi(2);
    }
    (count >= 2.0 && sum > 0.0).then(|| (squares * count / (count - 1.0)).sqrt() / sum)
}
