//! The milestones of the processes that are counted in windows: see [`Gauge`](super::gauge::Gauge) for
//! what they are good for, and [`Search`] for how one is found.
//!
//! Where no place is passed seldom enough to be cheap, and often enough to tell, or one that is has told
//! nothing, a number in the memory of the process may count along, which then is the milestone: see
//! [`tally`](super::tally). A number that stands still may have another one take its place, which is looked for
//! while it is kept.
//!
//! ```text
//!               60 places                 one of them
//!   Resting ───────────────▶ Searching ─────────────────▶ Found ────────┐
//!      ▲                         │ none                                 │
//!      │                         ▼             in windows               │
//!      │                     Comparing ─────▶ Trying ─────▶ Counting ───┤
//!      │                         │ no number      │ none counts along   │
//!      └─────────────────────────┴────────────────┴─────────────────────┘
//!                                             costs too much, or is of no use any more
//! ```

pub(super) mod finding;

use std::mem;
use std::time::{Duration, Instant};

use super::comparing::{Comparing, MemoryReader};
use super::numbers::Numbers;
use super::reading::Passes;
use super::search::Search;
use super::tally::{Side, Tally};
use crate::discover::Memory;
use crate::probe::{Kernel, Probe, ProcessClock, SiteId};
use crate::session::attachments::release;

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

/// The milestone of a process, or the search for one.
pub(super) struct Milestone {
    state: State,
    rest: Duration,
    /// The last one was a place, which was of no use.
    prefers_numbers: bool,
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
    Counting(Box<Counting>),
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
    /// Passes since it was found, and when that was last.
    seen: u64,
    last: Duration,
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
            prefers_numbers: false,
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

    /// One may be searched, should it be its turn.
    pub(super) fn has_rested(&self, now: Instant) -> bool {
        matches!(self.state, State::Resting { until } if until <= now)
    }

    /// The number stands still, and another one may be looked for, should it be its turn.
    pub(super) fn may_begin_anew(&self, now: Instant) -> bool {
        matches!(&self.state, State::Counting(counting)
            if counting.tally.may_be_another()
                && counting.again.is_none()
                && counting.again_from <= now)
    }

    /// There is one.
    pub(super) fn is_found(&self) -> bool {
        matches!(self.state, State::Found(_) | State::Counting(_))
    }

    /// It is a number in the memory of the process.
    pub(super) fn is_number(&self) -> bool {
        matches!(self.state, State::Counting(_))
    }

    /// It is a place. A window has to be long to have several passes of one.
    pub(super) fn is_place(&self) -> bool {
        matches!(self.state, State::Found(_))
    }

    /// Looks in a window have to follow each other soon.
    pub(super) fn wants_looks(&self) -> bool {
        match &self.state {
            State::Trying(_, numbers, _) => numbers.fall(),
            State::Counting(counting) => counting.tally.falls(),
            State::Found(_) => true,
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
            State::Counting(counting) => {
                let Counting { memory, tally, .. } = &mut **counting;
                tally.look(side, &mut MemoryReader { memory, clock });
                return 0;
            }
            State::Searching(searching) => {
                let now = searching.passes(kernel).iter().sum();
                (&mut searching.seen, now)
            }
            State::Found(found) => {
                found.used = used;
                let (now, last) = kernel.last_pass(found.counter);
                found.last = last;
                (&mut found.seen, now)
            }
        };
        let new = now.saturating_sub(mem::replace(seen, now));
        self.passes += new;
        new
    }

    /// In so much processor time of a window, in seconds, there were so many hits.
    pub(super) fn learn(&mut self, hits: f64, seconds: f64) {
        if let State::Counting(counting) = &mut self.state {
            counting.tally.learn(hits, seconds);
        }
    }

    /// How often it has been passed as of the last look, if it is there.
    pub(super) fn passed(&self) -> Option<Passes> {
        match &self.state {
            State::Found(found) => Some(Passes {
                count: found.seen as f64,
                known: found.used,
                last: (found.seen > 0).then_some(found.last),
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
    /// should, or is not passed any more although something may be called. `allowed` is the part of its
    /// time that the process may lose, `pass` what a pass takes.
    pub(super) fn judge(&mut self, now: Instant, used: Duration, pass: f64, allowed: f64) {
        let (passes, pass, judged, is_idle) = match &mut self.state {
            State::Found(found) => (found.seen as f64, pass, &mut found.judged, false),
            State::Counting(counting) => {
                let Counting { tally, judged, .. } = &mut **counting;
                (tally.passes().count, 0.0, judged, tally.is_idle())
            }
            _ => return,
        };
        let before = mem::replace(judged, Judged { passes, used });
        let took = used.saturating_sub(before.used).as_secs_f64();
        let new = passes - before.passes;
        let is_passed = new > 0.0 || took < PASSED_IN || is_idle;
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
        self.prefers_numbers = matches!(self.state, State::Found(_));
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

impl Counting {
    /// No other number was found.
    fn rest(&mut self, least: Duration) {
        self.again_from = Instant::now() + self.rest.max(least);
        self.rest = (self.rest * 2).min(REST.1);
    }
}

impl Searching {
    /// Passes of each place since the beginning of this look.
    fn passes(&self, kernel: &Kernel) -> Vec<u64> {
        let counters = (self.first..).map(SiteId).take(self.search.places().len());
        counters.map(|counter| kernel.passes(counter)).collect()
    }
}
