//! Keeping the cost of counting within bounds.
//!
//! Probes are for everyone as long as nobody loses more to them than is allowed. As soon as some
//! process does, probes are for a list of processes, which that one is taken from and comes back to in
//! windows; see [`Gate`](crate::probe::Gate) for how no call of the others is lost by that. This is the
//! edge between what decides and what is: it reads how much processor time processes have used and
//! how often they ran into their probes, asks [`Pace`] what to do, does it, and has [`Gauge`] make
//! estimates of what was counted, with the help of a [`Milestone`] if there is one.

pub(super) mod arrivals;
mod besides;
mod comparing;
mod gauge;
mod milestone;
mod numbers;
mod pace;
mod reading;
mod regime;
mod rhythm;
mod search;
mod tally;
#[cfg(test)]
mod tests;
mod watched;

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::{HashMap, HashMapExt as _};
use nix::time::{ClockId, clock_gettime};

use self::arrivals::Arrivals;
use self::besides::Index;
use self::milestone::finding::{Milestones, Searched, free_counter, price};
use self::pace::Step;
use self::reading::Reading;
use self::watched::{UNMEASURED, Watched};
use super::attachments::{Attachments, File, release};
use super::cost::CostMeter;
use super::rows::Functions;
use crate::discover::ProcessEvent;
use crate::model::{Estimate, Method, ProcessStatus, Row};
use crate::probe::{Busiest, Kernel, Probe};

/// How often all processes are looked at that are counted always.
const ROUND: Duration = Duration::from_millis(50);

/// So soon after breakpoints came or went, others can go without a wait.
const HASTY: Duration = Duration::from_millis(4);

/// Windows are long where an interval is to have some of them.
const LONG_INTERVAL: Duration = Duration::from_millis(500);
/// The processes that are counted, and when.
pub(super) struct Budget {
    /// The part of its processor time that counting may take from a process.
    allowed: f64,
    watched: HashMap<u32, Watched>,
    arrivals: Arrivals,
    milestones: Milestones,
    /// When the interval began, and how long the one before was.
    interval: (Instant, Duration),
    /// When to look next at those that are counted always.
    round: Instant,
    /// When breakpoints came or went last.
    moved: Instant,
}

impl Budget {
    pub(super) fn new(allowed: f64) -> Self {
        let now = Instant::now();
        Self {
            allowed,
            watched: HashMap::new(),
            arrivals: Arrivals::new(),
            milestones: Milestones::new(),
            interval: (now, LONG_INTERVAL),
            round: now + ROUND,
            moved: now,
        }
    }

    /// A process that is counted was heard of: sees to it that it has probes.
    pub(super) fn arrived(&mut self, pid: u32, attachments: &mut Attachments) -> io::Result<()> {
        if self.arrivals.has_to_be_listed(pid) && !self.is_hot(pid) {
            attachments.admit(pid, true)?;
            self.arrivals.list(pid, monotonic());
        }
        Ok(())
    }

    pub(super) fn on_event(&mut self, event: &ProcessEvent) {
        // Other threads have no events that could be inherited.
        if let ProcessEvent::Fork {
            parent,
            child,
            thread,
            at,
        } = *event
            && thread == parent
        {
            self.arrivals.forked(parent, child, at);
        }
    }

    /// Takes in which processes have started, and returns those that have ended before they got
    /// probes. `is_known` says so of processes that are listed or run.
    pub(super) fn take_doors(
        &mut self,
        passed: Vec<(u32, Duration)>,
        is_known: impl Fn(u32) -> bool,
    ) -> Vec<u32> {
        for (pid, at) in passed {
            self.arrivals.passed(pid, at);
        }
        self.arrivals.take_missed(monotonic(), is_known)
    }

    /// Why the calls of a process are not complete, if they are not.
    pub(super) fn reason(&self, pid: u32) -> Option<Arc<str>> {
        self.arrivals.reason(pid)
    }

    /// Takes up a process whose probes have just been placed. One that is known stays as it is.
    pub(super) fn take_up(
        &mut self,
        pid: u32,
        method: Method,
        file: Option<Arc<File>>,
        kernel: &Kernel,
    ) {
        if let Some(watched) = self.watched.get_mut(&pid) {
            watched.method = method;
            watched.file = file;
            return;
        }
        if let Some(watched) = Watched::of(pid, method, file, self.allowed, kernel) {
            self.watched.insert(pid, watched);
        }
    }

    /// When there is something to do next.
    pub(super) fn due(&self) -> Option<Instant> {
        let hot = self.watched.values().filter(|watched| watched.is_hot);
        let hot = hot.flat_map(|watched| [Some(watched.pace.due()), watched.milestone.due()]);
        let hot = hot.flatten();
        (!self.watched.is_empty()).then(|| hot.fold(self.round, Instant::min))
    }

    /// Looks at the processes that it is time to look at, and opens and closes windows. `others` are
    /// all processes that are to have probes, but for those that are counted in windows.
    pub(super) fn look(
        &mut self,
        attachments: &mut Attachments,
        kernel: &mut Kernel,
        cost: &mut CostMeter,
        others: impl FnOnce() -> Vec<u32>,
    ) -> io::Result<()> {
        let now = Instant::now();
        if self.due().is_none_or(|due| due > now) {
            return Ok(());
        }
        if self.has_window() {
            self.hasten_gates(now, cost);
        }
        self.read_hits(kernel, false);
        let is_round = self.round <= now;
        if is_round {
            self.round = now + ROUND;
        }
        let (began, length) = self.interval;
        let left = (began + length).checked_duration_since(now);
        let mut opened = Vec::new();
        let mut is_other = false;
        for (pid, watched) in &mut self.watched {
            let is_due = if watched.is_hot {
                let search = watched.milestone.due();
                watched.pace.due() <= now || search.is_some_and(|due| due <= now)
            } else {
                is_round
            };
            if !is_due {
                continue;
            }
            match watched.look(now, cost, kernel) {
                Step::Stay => {}
                // What a search counts would be counted in the window, too.
                Step::Open if watched.milestone.is_searched() => watched.pace.put_off(now),
                // The interval would end before it has shown what it goes on for.
                Step::Open if watched.pace.lacks_room(left) => watched.pace.put_off(now),
                Step::Open => opened.push(*pid),
                Step::Close => is_other |= watched.close(attachments, kernel),
                Step::Settle => {
                    watched.settle();
                    is_other = true;
                }
            }
        }
        if is_other {
            self.hasten_gates(Instant::now(), cost);
            self.choose(attachments, others())?;
        }
        if !opened.is_empty() {
            self.open(&opened, attachments, kernel)?;
        }
        self.search(now, cost, kernel);
        Ok(())
    }

    /// Breakpoints may be about to go: no process should have to wait for that.
    fn hasten_gates(&mut self, now: Instant, cost: &mut CostMeter) {
        let mut all = self.watched.values();
        if let Some(watched) = all.find(|watched| watched.is_hot)
            && now.saturating_duration_since(self.moved) >= HASTY
        {
            cost.hasten_gates(watched.pid);
            self.moved = Instant::now();
        }
    }

    /// Looks for milestones of processes that are counted in windows, while no window is open.
    fn search(&mut self, now: Instant, cost: &CostMeter, kernel: &mut Kernel) {
        let counter = free_counter(self.watched.values().map(|it| &it.milestone));
        let (Some(counter), milestones) = (counter, &mut self.milestones) else {
            return;
        };
        let mut all = self.watched.values();
        let mut is_free = !all.any(|watched| watched.milestone.is_searched());
        for (pid, watched) in &mut self.watched {
            let Some(file) = &watched.file else { continue };
            let found = &mut watched.milestone;
            let is_between = watched.is_hot && !watched.pace.is_open();
            let is_due =
                found.due().is_some_and(|due| due <= now) || (found.is_tried() && is_between);
            let process = Searched {
                pid: *pid,
                file,
                used: watched.seen.reading.used,
            };
            if is_due {
                let pass = cost.of_pass(*pid).unwrap_or(UNMEASURED);
                let price = price(self.allowed, watched.pace.price(), pass);
                let clock = &mut watched.clock;
                let was_found = found.is_found();
                milestones.go_on(process, found, clock, (counter, price), kernel);
                if found.is_found() && !was_found {
                    watched.gauge.start_passing(Reading {
                        used: watched.clock.read().unwrap_or(watched.seen.reading.used),
                        at: monotonic(),
                        passed: found.passed(),
                        ..watched.seen.reading
                    });
                }
            } else if is_between && is_free && found.has_rested(now) {
                let busiest = watched.clock.busiest();
                if busiest != Busiest::Unknown {
                    milestones.begin(process, busiest, found, kernel);
                    is_free = !found.is_searched();
                }
            } else if is_between && is_free && found.may_begin_anew(now) {
                milestones.begin_anew(process, found);
                is_free = !found.is_searched();
            }
            let is_long = found.is_place() && self.interval.1 >= LONG_INTERVAL;
            watched.pace.lengthen(is_long);
            watched
                .pace
                .be_patient(is_long && watched.gauge.wants_step());
        }
    }

    /// Gives probes to everyone or, as long as some are counted in windows, to all others.
    fn choose(&mut self, attachments: &mut Attachments, others: Vec<u32>) -> io::Result<()> {
        if !self.watched.values().any(|watched| watched.is_hot) {
            attachments.restrict(None)?;
            self.arrivals.free(monotonic());
            return Ok(());
        }
        let mut pids = others;
        pids.retain(|pid| !self.is_hot(*pid));
        let open = self.watched.iter();
        let open = open.filter(|(_, watched)| watched.is_hot && watched.pace.is_open());
        pids.extend(open.map(|(pid, _)| *pid));
        let began = monotonic();
        attachments.restrict(Some(&pids))?;
        self.arrivals.restrict(&pids, began, monotonic());
        Ok(())
    }

    /// A window is open.
    pub(super) fn has_window(&self) -> bool {
        let mut watched = self.watched.values();
        watched.any(|watched| watched.is_hot && watched.pace.is_open())
    }

    fn is_hot(&self, pid: u32) -> bool {
        self.watched.get(&pid).is_some_and(|watched| watched.is_hot)
    }

    /// Opens windows.
    fn open(
        &mut self,
        pids: &[u32],
        attachments: &mut Attachments,
        kernel: &Kernel,
    ) -> io::Result<()> {
        for pid in pids {
            match attachments.admit(*pid, false) {
                // It has ended, which the session will hear of.
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                admitted => admitted?,
            }
        }
        self.read_hits(kernel, false);
        let at = Instant::now();
        self.moved = at;
        for pid in pids {
            if let Some(watched) = self.watched.get_mut(pid) {
                watched.open(at, kernel);
            }
        }
        Ok(())
    }

    /// The interval is about to end: whatever waits for the kernel from here on must not make
    /// windows longer.
    pub(super) fn end_interval(
        &mut self,
        attachments: &mut Attachments,
        kernel: &Kernel,
        cost: &mut CostMeter,
        others: impl FnOnce() -> Vec<u32>,
    ) -> io::Result<()> {
        if self.has_window() {
            self.hasten_gates(Instant::now(), cost);
        }
        self.read_hits(kernel, true);
        let now = Instant::now();
        let mut is_other = false;
        for watched in self.watched.values_mut() {
            let decided = watched.look(now, cost, kernel);
            let step = match decided {
                // There is none to be opened now.
                Step::Open => {
                    watched.pace.put_off(now);
                    Step::Stay
                }
                Step::Stay => watched.pace.interrupt(now),
                Step::Close | Step::Settle => decided,
            };
            match step {
                Step::Stay | Step::Open => {}
                Step::Close => is_other |= watched.close(attachments, kernel),
                Step::Settle => {
                    watched.settle();
                    is_other = true;
                }
            }
        }
        if is_other {
            self.hasten_gates(Instant::now(), cost);
            self.choose(attachments, others())?;
        }
        Ok(())
    }

    /// Makes estimates of what was counted in the interval that has ended, where it was not
    /// everything. To be called before the calls are told and after they were charged for. In the
    /// last interval of a run nothing waits for the next one.
    pub(super) fn estimate(
        &mut self,
        processes: &mut [ProcessStatus],
        rows: &mut Vec<Row>,
        functions: &Functions,
        cost: &CostMeter,
        is_last: bool,
    ) {
        let now = Instant::now();
        self.interval = (now, now - self.interval.0);
        let estimated = self.watched.values().filter(|it| !it.gauge.is_exact());
        let estimated = estimated.map(|watched| watched.pid).collect();
        let index = Index::of(functions, &estimated);
        let counted = index.counted(rows);
        let nothing = HashMap::new();
        for process in processes {
            let Some(watched) = self.watched.get_mut(&process.pid) else {
                continue;
            };
            let is_last = is_last || process.ended;
            let counted = counted.get(&process.pid).unwrap_or(&nothing);
            if let Some(estimated) = watched.end_interval(counted, cost, is_last) {
                process.estimate = Some(Estimate {
                    counted: estimated.share,
                    uncertainty: estimated.uncertainty,
                });
                process.calls = index.add(rows, process.pid, estimated.besides);
            }
        }
    }

    /// How often a process has passed milestones since this was asked for last.
    pub(super) fn take_passes(&mut self, pid: u32) -> u64 {
        let watched = self.watched.get_mut(&pid);
        watched.map_or(0, |watched| watched.milestone.take_passes())
    }

    /// The probes of milestones, to be taken out together with others.
    pub(super) fn take_probes(&mut self) -> Vec<Probe> {
        let watched = self.watched.values_mut();
        watched
            .flat_map(|watched| watched.milestone.take_probes())
            .collect()
    }

    /// Processes that have ended.
    pub(super) fn forget(&mut self, pids: &[u32]) {
        for pid in pids {
            if let Some(mut watched) = self.watched.remove(pid) {
                release(watched.milestone.take_probes());
            }
            self.arrivals.forget(*pid);
        }
    }

    /// Reads the hits of this interval. Functions are told apart where a window is open, and at its end.
    fn read_hits(&mut self, kernel: &Kernel, is_end: bool) {
        for watched in self.watched.values_mut() {
            watched.begin_reading(kernel);
        }
        let all = &mut self.watched;
        kernel.visit_hits(|frame| {
            if let Some(watched) = all.get_mut(&frame.pid) {
                watched.hits += frame.calls;
                if watched.is_hot && (is_end || watched.pace.is_open()) {
                    watched.see(&frame);
                }
            }
        });
    }
}

/// The time, by the clock that the kernel's programs read as well (`bpf_ktime_get_ns`).
fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}
