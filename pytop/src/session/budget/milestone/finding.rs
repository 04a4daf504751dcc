//! Finding milestones: one process after another searches among the places of its interpreter, and each looks
//! for a number in its memory.

use std::collections::HashMap;
use std::mem;
use std::sync::Arc;
use std::time::{Duration, Instant};

use pytop_common::count::MILESTONES;

use super::{Chosen, Counting, Found, Judged, Milestone, Searching, State};
use crate::cpython::find_milestones;
use crate::discover::{FileId, ProcRoot};
use crate::probe::{Busiest, Kernel, Place, Probe, ProcessClock, SiteId, Target};
use crate::session::attachments::{File, release};
use crate::session::budget::comparing::{self, Comparing};
use crate::session::budget::search::{Outcome, Price, Search};

/// Counters for the places among which one is searched; there is one search at a time. They take turns
/// with as many others, as those that are left out may be passed some more times until they are gone.
const SEARCHED: u16 = 64;
/// The part of what is allowed that passing the milestone should take, and what it may take at most.
const SHARE: (f64, f64) = (0.3, 0.6);
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
pub(in crate::session::budget) struct Searched<'a> {
    pub(in crate::session::budget) pid: u32,
    /// The interpreter that it runs.
    pub(in crate::session::budget) file: &'a File,
    /// Its processor time.
    pub(in crate::session::budget) used: Duration,
}

/// What is known of the files of processes.
pub(in crate::session::budget) struct Milestones {
    /// Where each file can have some.
    places: HashMap<FileId, Arc<[u64]>>,
    root: Option<ProcRoot>,
}

impl Milestones {
    pub(in crate::session::budget) fn new() -> Self {
        Self {
            places: HashMap::new(),
            root: ProcRoot::host().ok(),
        }
    }

    /// Begins a search among what a thread passes, or all do, while no other process searches. The process
    /// rests again where there is nothing to be searched.
    pub(in crate::session::budget) fn begin(
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
    pub(in crate::session::budget) fn go_on(
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
            State::Comparing(comparing, place) => match comparing.go_on(process.used, clock) {
                comparing::Outcome::GoOn(comparing) => {
                    milestone.state = State::Comparing(comparing, place);
                }
                comparing::Outcome::Found(memory, numbers, _) => {
                    milestone.state = State::Trying(memory, numbers, place);
                }
            },
            State::Counting(counting) => {
                milestone.state = State::Counting(counting);
                go_on_anew(process, milestone, clock);
            }
            State::Trying(memory, numbers, place) => match (numbers.choose(), place) {
                (Some(tally), _) => {
                    let judged = Judged {
                        passes: tally.passes().count,
                        used: process.used,
                    };
                    milestone.tries = 0;
                    milestone.state = State::Counting(Box::new(Counting {
                        memory,
                        tally,
                        judged,
                        again: None,
                        again_from: until,
                        rest: AGAIN,
                    }));
                }
                (None, place) if numbers.have_stopped() && milestone.tries < TRIES => {
                    milestone.tries += 1;
                    self.compare(process, milestone, place, true);
                }
                (None, Some(place)) => take_place(process, milestone, place, counter, kernel),
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
            Outcome::Found(place) => {
                let chosen = Chosen {
                    place,
                    thread: searching.thread,
                };
                if milestone.prefers_numbers && searching.is_alone {
                    self.compare(process, milestone, Some(chosen), searching.is_alone);
                } else {
                    take_place(process, milestone, chosen, counter, kernel);
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
        place: Option<Chosen>,
        is_alone: bool,
    ) {
        let root = self.root.as_ref().filter(|_| is_alone);
        let comparing = root.and_then(|root| Comparing::begin(root, process.pid, process.used));
        if let Some(comparing) = comparing {
            milestone.state = State::Comparing(comparing, place);
        } else {
            milestone.give_up(Instant::now());
        }
    }

    /// Begins to look for the number that has taken the place of one that stands still.
    pub(in crate::session::budget) fn begin_anew(
        &self,
        process: Searched<'_>,
        milestone: &mut Milestone,
    ) {
        if let State::Counting(counting) = &mut milestone.state {
            let root = self.root.as_ref();
            counting.again =
                root.and_then(|root| Comparing::begin(root, process.pid, process.used));
            if counting.again.is_none() {
                counting.rest(Duration::ZERO);
            }
        }
    }
}

/// Goes on to look for the number that has taken the place of one that stands still.
fn go_on_anew(process: Searched<'_>, milestone: &mut Milestone, clock: &mut ProcessClock) {
    let State::Counting(counting) = &mut milestone.state else {
        return;
    };
    // It may have stood still for a moment only.
    let comparing = counting.again.take();
    let Some(comparing) = comparing.filter(|_| counting.tally.may_be_another()) else {
        return;
    };
    match comparing.go_on(process.used, clock) {
        comparing::Outcome::GoOn(comparing) => counting.again = Some(comparing),
        comparing::Outcome::Found(memory, numbers, took) => {
            if let Some(tally) = numbers.choose_like(&counting.tally) {
                counting.memory = memory;
                counting.tally.go_on_as(tally);
                counting.again_from = Instant::now() + took * SELDOM;
                counting.rest = AGAIN;
            } else {
                counting.rest(took * SELDOM);
            }
        }
    }
}

/// A counter that none of these has.
pub(in crate::session::budget) fn free_counter<'a>(
    milestones: impl Iterator<Item = &'a Milestone>,
) -> Option<SiteId> {
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
pub(in crate::session::budget) fn price(allowed: f64, window: f64, pass: f64) -> Price {
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
        last: Duration::ZERO,
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
