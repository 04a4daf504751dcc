//! The milestones of the processes that are counted in windows: see [`Gauge`](super::gauge::Gauge) for
//! what they are good for, and [`Search`] for how one is found.
//!
//! Where no place is passed seldom enough to be cheap, and often enough to tell, a number in the memory of
//! the process may count along, which then is the milestone: see [`tally`](super::tally). If none does, it
//! is the place that is passed too rarely, if there is one.
//!
//! ```text
//!               60 places                 one of them
//!   Resting ───────────────▶ Searching ─────────────────▶ Found ────────┐
//!      ▲                         │ none, or hardly                      │
//!      │                         ▼             in windows               │
//!      │                     Comparing ─────▶ Trying ─────▶ Counting ───┤
//!      │                         │ no number      │ none counts along   │
//!      └─────────────────────────┴────────────────┴─────────────────────┘
//!                                             costs too much, or is of no use any more
//! ```

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pytop_common::count::MILESTONES;

use super::comparing::{self, Comparing, MemoryReader};
use super::numbers::Numbers;
use super::reading::Passes;
use super::search::{Outcome, Price, Search};
use super::tally::{Side, Tally};
use crate::cpython::find_milestones;
use crate::discover::{FileId, Memory, ProcRoot};
use crate::probe::{Busiest, Kernel, Place, Probe, ProcessClock, SiteId, Target};
use crate::session::attachments::{File, release};

/// Counters for the places among which one is searched; there is one search at a time. They take turns
/// with as many others, as those that are left out may be passed some more times until they are gone.
const SEARCHED: u16 = 64;

/// The part of what is allowed that passing the milestone should take, and what it may take at most.
const SHARE: (f64, f64) = (0.3, 0.6);
/// One that takes more than so much of what is allowed is given up: the process does something else now.
const TOO_MUCH: f64 = 0.9;
/// One that takes so many times what is allowed, in so much processor time in seconds, is given up at once.
const FAR_TOO_MUCH: f64 = 3.0;
const WATCHED: f64 = 0.005;
/// One that is not passed in so much processor time, in seconds, is given up likewise.
const PASSED_IN: f64 = 0.1;
/// After a search without a result, or a milestone that was given up, the next search waits so long, and
/// twice as long each time.
const REST: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(2));
/// So many comparisons follow each other at once where loops end before windows have told of their numbers.
const TRIES: u32 = 4;
/// Where a number that stands still was not found to go on as another one, that is tried again after such a
/// rest, which doubles likewise.
const AGAIN: Duration = Duration::from_millis(100);
/// Between two comparisons in a process lies so many times what the first of them took.
const SELDOM: u32 = 20;
/// A search takes so long at most: the process may hardly run.
const PATIENCE: Duration = Duration::from_secs(3);
/// No look at a search follows another one sooner, or later.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));

/// A process, as a search takes it.
#[derive(Clone, Copy)]
pub(super) struct Searched<'a> {
    pub(super) pid: u32,
    /// The interpreter that it runs.
    pub(super) file: &'a File,
    /// Its processor time.
    pub(super) used: Duration,
}

/// What is known of the files of processes, and whose turn it is.
pub(super) struct Milestones {
    /// Where each file can have some.
    places: HashMap<FileId, Arc<[u64]>>,
    /// Whose is searched.
    searching: Option<u32>,
    root: Option<ProcRoot>,
}

/// The milestone of a process, or the search for one.
pub(super) struct Milestone {
    state: State,
    rest: Duration,
    /// A number was of no use any more, or none can be looked for.
    prefers_places: bool,
    /// Comparisons in a row whose numbers had stopped before one could be chosen.
    tries: u32,
    /// Passes of this interval, of all places.
    passes: u64,
}

enum State {
    Resting {
        until: Instant,
    },
    Searching(Searching),
    Found(Found),
    Comparing(Comparing, Option<Chosen>),
    /// Numbers that have an even pace outside of windows.
    Trying(Memory, Numbers, Option<Chosen>),
    Counting(Counting),
}

/// A place, and the thread whose passes count.
#[derive(Clone, Copy)]
struct Chosen {
    place: u64,
    thread: Option<u32>,
}

struct Searching {
    search: Search,
    probes: Vec<Probe>,
    /// The thread whose passes count, if not all do: what others do, by the clock perhaps, is not in
    /// step with the calls of the one that makes them.
    thread: Option<u32>,
    /// There is no other thread that does anything. What a number in memory is depends on all of them.
    is_alone: bool,
    /// The first of its counters.
    first: u16,
    /// The processor time of the process at the beginning of this look.
    began: Duration,
    /// Passes since then.
    seen: u64,
    due: Instant,
    until: Instant,
}

struct Found {
    probes: Vec<Probe>,
    counter: SiteId,
    /// Passes since it was found.
    seen: u64,
    /// The processor time of the process at the last look.
    used: Duration,
    judged: Judged,
}

/// A number in the memory of the process is its milestone.
struct Counting {
    memory: Memory,
    tally: Tally,
    judged: Judged,
    /// It stands still, and another one is looked for; and when one may be.
    again: Option<Comparing>,
    again_from: Instant,
    /// How long that rests after it was in vain.
    rest: Duration,
}

/// Passes at the end of the last interval, and the processor time of the process then.
#[derive(Clone, Copy)]
struct Judged {
    passes: f64,
    used: Duration,
}

impl Milestone {
    /// None yet.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            state: State::Resting { until: now },
            rest: REST.0,
            prefers_places: false,
            tries: 0,
            passes: 0,
        }
    }

    /// When to look at the search, if there is one.
    pub(super) fn due(&self) -> Option<Instant> {
        match &self.state {
            State::Searching(searching) => Some(searching.due),
            State::Comparing(comparing, _) => Some(comparing.due()),
            State::Counting(counting) => counting.again.as_ref().map(Comparing::due),
            State::Resting { .. } | State::Found(_) | State::Trying(..) => None,
        }
    }

    /// One is searched, in the time between windows.
    pub(super) fn is_searched(&self) -> bool {
        match &self.state {
            State::Searching(_) | State::Comparing(..) => true,
            State::Counting(counting) => counting.again.is_some(),
            State::Resting { .. } | State::Found(_) | State::Trying(..) => false,
        }
    }

    /// Windows have told which numbers count along.
    pub(super) fn is_tried(&self) -> bool {
        matches!(&self.state, State::Trying(_, numbers, _) if numbers.are_known())
    }

    /// There is one.
    pub(super) fn is_found(&self) -> bool {
        matches!(self.state, State::Found(_) | State::Counting(_))
    }

    /// It is a number in the memory of the process.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.state, State::Counting(_))
    }

    /// A window has to be long to have several passes.
    pub(super) fn wants_long_windows(&self) -> bool {
        matches!(self.state, State::Found(_))
    }

    /// Looks in a window have to follow each other soon.
    pub(super) fn wants_looks(&self) -> bool {
        match &self.state {
            State::Trying(_, numbers, _) => numbers.fall(),
            State::Counting(counting) => counting.tally.falls(),
            _ => false,
        }
    }

    /// There is one or may be soon: it is searched, or is about to be for the first time.
    pub(super) fn may_come(&self) -> bool {
        match self.state {
            State::Resting { .. } => self.rest == REST.0,
            _ => true,
        }
    }

    /// Takes in how often it was passed, and says how often the process was stopped for that since the
    /// last look: all places that are counted. It has used so much by now.
    pub(super) fn look(
        &mut self,
        used: Duration,
        clock: &mut ProcessClock,
        side: Side,
        kernel: &Kernel,
    ) -> u64 {
        let (seen, now) = match &mut self.state {
            State::Resting { .. } | State::Comparing(..) => return 0,
            State::Trying(memory, numbers, _) => {
                numbers.look(side, &mut MemoryReader { memory, clock });
                return 0;
            }
            State::Counting(Counting { memory, tally, .. }) => {
                tally.look(side, &mut MemoryReader { memory, clock });
                return 0;
            }
            State::Searching(searching) => {
                let now = searching.passes(kernel).iter().sum();
                (&mut searching.seen, now)
            }
            State::Found(found) => {
                found.used = used;
                let now = kernel.passes(found.counter);
                (&mut found.seen, now)
            }
        };
        let new = now.saturating_sub(mem::replace(seen, now));
        self.passes += new;
        new
    }

    /// In a part of a window, the process has called something, or not.
    pub(super) fn learn(&mut self, is_called: bool) {
        if let State::Counting(counting) = &mut self.state {
            counting.tally.learn(is_called);
        }
    }

    /// How often it has been passed as of the last look, if it is there.
    pub(super) fn passed(&self) -> Option<Passes> {
        match &self.state {
            State::Found(found) => Some(Passes {
                count: found.seen as f64,
                known: found.used,
                is_free: false,
            }),
            State::Counting(counting) => Some(counting.tally.passes()),
            _ => None,
        }
    }

    /// Passes that the process was stopped for since the last time that this was asked for.
    pub(super) fn take_passes(&mut self) -> u64 {
        mem::take(&mut self.passes)
    }

    /// Gives up a milestone at once of which the last passes took so much of so much processor time, in
    /// seconds, if that is far more than `allowed` of it, or that is another number: the process does
    /// something else now.
    pub(super) fn watch(&mut self, now: Instant, (spent, used): (f64, f64), allowed: f64) {
        let is_far_too_much = used >= WATCHED && spent > used * allowed * FAR_TOO_MUCH;
        let is_lost = matches!(&self.state, State::Counting(counting) if counting.tally.is_lost());
        if (self.is_found() && is_far_too_much) || is_lost {
            self.give_up(now);
        }
    }

    /// An interval has ended, at this time of the process: gives up a milestone that costs more than it
    /// should, or is not passed any more. `allowed` is the part of its time that the process may lose,
    /// `pass` what a pass takes.
    pub(super) fn judge(&mut self, now: Instant, used: Duration, pass: f64, allowed: f64) {
        let (passes, pass, judged) = match &mut self.state {
            State::Found(found) => (found.seen as f64, pass, &mut found.judged),
            State::Counting(counting) => (counting.tally.passes().count, 0.0, &mut counting.judged),
            _ => return,
        };
        let before = mem::replace(judged, Judged { passes, used });
        let took = used.saturating_sub(before.used).as_secs_f64();
        let new = passes - before.passes;
        let is_passed = new > 0.0 || took < PASSED_IN;
        let is_dear = new * pass > took * allowed * TOO_MUCH;
        if !is_passed || is_dear {
            self.give_up(now);
        }
    }

    /// Gives up what there is: the process is counted always.
    pub(super) fn settle(&mut self, now: Instant) {
        release(self.take_probes());
        let passes = self.passes;
        *self = Self {
            passes,
            ..Self::new(now)
        };
    }

    /// Gives up what there is, for some time.
    pub(super) fn give_up(&mut self, now: Instant) {
        release(self.take_probes());
        self.prefers_places |= matches!(self.state, State::Counting(_));
        let until = now + self.rest;
        self.state = State::Resting { until };
        self.rest = (self.rest * 2).min(REST.1);
    }

    /// Ends what there is, and returns the probes.
    pub(super) fn take_probes(&mut self) -> Vec<Probe> {
        match &mut self.state {
            State::Searching(searching) => mem::take(&mut searching.probes),
            State::Found(found) => mem::take(&mut found.probes),
            _ => Vec::new(),
        }
    }
}

impl Searching {
    /// Passes of each place since the beginning of this look.
    fn passes(&self, kernel: &Kernel) -> Vec<u64> {
        let counters = (self.first..).map(SiteId).take(self.search.places().len());
        counters.map(|counter| kernel.passes(counter)).collect()
    }
}

impl Milestones {
    pub(super) fn new() -> Self {
        Self {
            places: HashMap::new(),
            searching: None,
            root: ProcRoot::host().ok(),
        }
    }

    /// Whether it is this process's turn to search, should it rest no more.
    pub(super) fn may_search(&self, milestone: &Milestone, now: Instant) -> bool {
        let rested = matches!(&milestone.state, State::Resting { until } if *until <= now);
        rested && self.searching.is_none()
    }

    /// Begins a search among what a thread passes, or all do. The process rests again where there is
    /// nothing to be searched.
    pub(super) fn begin(
        &mut self,
        process: Searched<'_>,
        busiest: Busiest,
        milestone: &mut Milestone,
        kernel: &mut Kernel,
    ) {
        let places = self.places.entry(process.file.id).or_insert_with(|| {
            let places = find_milestones(&process.file.file, &process.file.path);
            let mut places = places.unwrap_or_default();
            places.truncate(SEARCHED.into());
            places.into()
        });
        let search = Search::new(places.to_vec());
        let until = Instant::now() + PATIENCE;
        self.searching = Some(process.pid);
        let searching = Searching {
            search,
            probes: Vec::new(),
            thread: match busiest {
                Busiest::Thread(thread) | Busiest::Only(thread) => Some(thread),
                Busiest::Nobody | Busiest::Unknown => None,
            },
            is_alone: matches!(busiest, Busiest::Only(_)),
            first: 0,
            began: process.used,
            seen: 0,
            due: until,
            until,
        };
        self.count(process, milestone, searching, kernel);
    }

    /// Counts the places of a search from now on.
    fn count(
        &mut self,
        process: Searched<'_>,
        milestone: &mut Milestone,
        mut searching: Searching,
        kernel: &mut Kernel,
    ) {
        let places = searching.search.places().iter().copied();
        let places: Vec<_> = places.zip((searching.first..).map(SiteId)).collect();
        searching.probes = place(process, &places, searching.thread, kernel);
        let now = Instant::now();
        if searching.probes.is_empty() {
            self.compare(process, milestone, None, searching.is_alone);
            return;
        }
        searching.began = process.used;
        searching.seen = 0;
        searching.due = now + LOOKS.0;
        milestone.state = State::Searching(searching);
    }

    /// Goes on with a search. `counter` is the number of one that nobody has.
    pub(super) fn go_on(
        &mut self,
        process: Searched<'_>,
        milestone: &mut Milestone,
        clock: &mut ProcessClock,
        (counter, price): (SiteId, Price),
        kernel: &mut Kernel,
    ) {
        let until = Instant::now();
        match mem::replace(&mut milestone.state, State::Resting { until }) {
            State::Searching(searching) => {
                self.go_on_among_places(process, milestone, searching, (counter, price), kernel);
            }
            State::Comparing(comparing, seldom) => match comparing.go_on(process.used, clock) {
                comparing::Outcome::GoOn(comparing) => {
                    milestone.state = State::Comparing(comparing, seldom);
                }
                comparing::Outcome::Found(memory, numbers, _) => {
                    self.end(process.pid);
                    milestone.state = State::Trying(memory, numbers, seldom);
                }
            },
            State::Counting(counting) => {
                milestone.state = State::Counting(counting);
                self.go_on_anew(process, milestone, clock);
            }
            State::Trying(memory, numbers, seldom) => match (numbers.choose(), seldom) {
                (Some(tally), _) => {
                    let judged = Judged {
                        passes: tally.passes().count,
                        used: process.used,
                    };
                    milestone.tries = 0;
                    milestone.state = State::Counting(Counting {
                        memory,
                        tally,
                        judged,
                        again: None,
                        again_from: until,
                        rest: AGAIN,
                    });
                }
                (None, seldom) if numbers.have_stopped() && milestone.tries < TRIES => {
                    milestone.tries += 1;
                    self.compare(process, milestone, seldom, true);
                }
                (None, Some(seldom)) => take_place(process, milestone, seldom, counter, kernel),
                (None, None) => milestone.give_up(until),
            },
            other => milestone.state = other,
        }
    }

    fn go_on_among_places(
        &mut self,
        process: Searched<'_>,
        milestone: &mut Milestone,
        mut searching: Searching,
        (counter, price): (SiteId, Price),
        kernel: &mut Kernel,
    ) {
        let now = Instant::now();
        let passes = searching.passes(kernel);
        let took = process.used.saturating_sub(searching.began).as_secs_f64();
        let outcome = searching.search.take(took, &passes, price);
        if outcome == Outcome::GoOn && now < searching.until {
            let spent = passes.iter().sum::<u64>() as f64 * price.pass;
            let left = (price.look - spent).max(0.0) * took / spent.max(price.pass);
            let left = Duration::try_from_secs_f64(left).unwrap_or(LOOKS.1);
            searching.due = now + left.clamp(LOOKS.0, LOOKS.1);
            milestone.state = State::Searching(searching);
            return;
        }
        // They go only after the next ones have come, as these may be among them.
        let probes = mem::take(&mut searching.probes);
        match outcome {
            Outcome::Narrow => {
                searching.first = SEARCHED - searching.first;
                self.count(process, milestone, searching, kernel);
            }
            Outcome::Found(place) | Outcome::Seldom(place) => {
                let chosen = Chosen {
                    place,
                    thread: searching.thread,
                };
                let is_often = matches!(outcome, Outcome::Found(_));
                if is_often || milestone.prefers_places || !searching.is_alone {
                    self.end(process.pid);
                    take_place(process, milestone, chosen, counter, kernel);
                } else {
                    self.compare(process, milestone, Some(chosen), searching.is_alone);
                }
            }
            Outcome::Nothing | Outcome::GoOn => {
                self.compare(process, milestone, None, searching.is_alone);
            }
        }
        release(probes);
    }

    /// Begins to search for a number that counts along, if a thread is alone. Without one, it is that place.
    fn compare(
        &mut self,
        process: Searched<'_>,
        milestone: &mut Milestone,
        seldom: Option<Chosen>,
        is_alone: bool,
    ) {
        let root = self.root.as_ref().filter(|_| is_alone);
        let comparing = root.and_then(|root| Comparing::begin(root, process.pid, process.used));
        if let Some(comparing) = comparing {
            self.searching = Some(process.pid);
            milestone.state = State::Comparing(comparing, seldom);
        } else {
            self.end(process.pid);
            milestone.give_up(Instant::now());
            milestone.prefers_places = true;
        }
    }

    /// Begins to look for the number that has taken the place of one that stands still, if that may be.
    pub(super) fn begin_anew(
        &mut self,
        process: Searched<'_>,
        milestone: &mut Milestone,
        now: Instant,
    ) {
        let State::Counting(counting) = &mut milestone.state else {
            return;
        };
        let is_wanted = counting.tally.may_be_another() && counting.again.is_none();
        if !is_wanted || counting.again_from > now || self.searching.is_some() {
            return;
        }
        let root = self.root.as_ref();
        counting.again = root.and_then(|root| Comparing::begin(root, process.pid, process.used));
        self.searching = counting.again.is_some().then_some(process.pid);
    }

    fn go_on_anew(
        &mut self,
        process: Searched<'_>,
        milestone: &mut Milestone,
        clock: &mut ProcessClock,
    ) {
        let State::Counting(counting) = &mut milestone.state else {
            return;
        };
        let Some(comparing) = counting.again.take() else {
            return;
        };
        // It may have stood still for a moment only.
        if !counting.tally.may_be_another() {
            self.end(process.pid);
            return;
        }
        match comparing.go_on(process.used, clock) {
            comparing::Outcome::GoOn(comparing) => counting.again = Some(comparing),
            comparing::Outcome::Found(memory, numbers, took) => {
                self.end(process.pid);
                let now = Instant::now();
                if let Some(tally) = numbers.choose_like(counting.tally.pace()) {
                    counting.memory = memory;
                    counting.tally.go_on_as(tally);
                    counting.again_from = now + took * SELDOM;
                    counting.rest = AGAIN;
                } else {
                    counting.again_from = now + counting.rest.max(took * SELDOM);
                    counting.rest = (counting.rest * 2).min(REST.1);
                }
            }
        }
    }

    /// Ends the search of a process that does not search any more.
    pub(super) fn end_unless(&mut self, searches: impl FnOnce(u32) -> bool) {
        self.searching = self.searching.filter(|pid| searches(*pid));
    }

    /// A process searches no more.
    pub(super) fn end(&mut self, pid: u32) {
        if self.searching == Some(pid) {
            self.searching = None;
        }
    }
}

/// A counter that none of these has.
pub(super) fn free_counter<'a>(milestones: impl Iterator<Item = &'a Milestone>) -> Option<SiteId> {
    let mut taken: Vec<u16> = milestones
        .filter_map(|milestone| match &milestone.state {
            State::Found(found) => Some(found.counter.0),
            _ => None,
        })
        .collect();
    taken.sort_unstable();
    let mut taken = taken.into_iter().peekable();
    let mut free = 2 * SEARCHED;
    while taken.next_if_eq(&free).is_some() {
        free += 1;
    }
    (usize::from(free) < MILESTONES).then_some(SiteId(free))
}

/// What a search may cost where so much of its time may be taken from a process, in windows of such a
/// price.
pub(super) fn price(allowed: f64, window: f64, pass: f64) -> Price {
    Price {
        pass,
        look: window,
        share: (allowed * SHARE.0, allowed * SHARE.1),
    }
}

/// Has this place be the milestone of a process from now on.
fn take_place(
    process: Searched<'_>,
    milestone: &mut Milestone,
    Chosen {
        place: offset,
        thread,
    }: Chosen,
    counter: SiteId,
    kernel: &mut Kernel,
) {
    let probes = place(process, &[(offset, counter)], thread, kernel);
    if probes.is_empty() {
        milestone.give_up(Instant::now());
        return;
    }
    milestone.state = State::Found(Found {
        probes,
        counter,
        seen: 0,
        used: process.used,
        judged: Judged {
            passes: 0.0,
            used: process.used,
        },
    });
}

/// Places milestones in a process, each with its counter, which begins at 0. None where that is not
/// possible.
fn place(
    process: Searched<'_>,
    places: &[(u64, SiteId)],
    thread: Option<u32>,
    kernel: &mut Kernel,
) -> Vec<Probe> {
    let places = places.iter().map(|(offset, site)| Place {
        offset: *offset,
        semaphore_offset: None,
        site: *site,
    });
    let places: Vec<_> = places.collect();
    for place in &places {
        kernel.count_passes_of(place.site, thread);
    }
    let target = Target {
        file: &process.file.file,
        path: &process.file.path,
        pid: Some(process.pid),
    };
    // What goes wrong here would go wrong with probes that count calls, which tell of it.
    kernel
        .place_milestones(&target, &places)
        .unwrap_or_default()
}
