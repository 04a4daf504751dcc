//! A run: finds processes, places probes, and tells what was counted, interval by interval.
//!
//! Everything that happens comes together in one loop, which owns all state:
//!
//! ```text
//! kernel's process events ─┐                       ┌─ a snapshot at the end of each interval
//! a sweep every second ────┤                       │
//! the end of an interval ──┼─▶ Session ─ Update ──▶┤  the screen, or a report
//! events of a trace ───────┤                       │
//! the command's stops ─────┤      ▲                │
//! signals, process ends ───┘      └── Command ─────┘
//! ```
//!
//! The loop blocks while probes are placed and counts are drained, so it runs in a thread of its
//! own, see [`Session::spawn`].

mod attachments;
mod audience;
mod bounded;
mod budget;
mod code_cache;
mod command;
mod cost;
mod durations;
mod ending;
pub(crate) mod environment;
mod family;
mod methods;
mod options;
mod roster;
mod rows;
mod runtime;
mod scope;
mod tracing;
mod wake;

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use self::code_cache::fuzzing;

use std::process::ExitStatus;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::{Receiver, Sender};

use self::attachments::{Attachments, Reach};
use self::audience::Audience;
use self::budget::Budget;
use self::command::Running;
use self::cost::CostMeter;
pub use self::ending::Ending;
pub(crate) use self::methods::{Planner, Purpose};
pub use self::options::{Options, Target, Tracing};
use self::roster::Roster;
use self::rows::Functions;
use self::scope::Members;
use self::tracing::Trace;
pub(crate) use self::tracing::now;
use self::wake::{Signals, Wake, every, next_event, ready, until};
use crate::cpython::{self, Interpreter};
use crate::discover::{Attention, Finder, Found, Installed, ProcRoot, ProcessEvent};
use crate::model::{Snapshot, Uncounted};
use crate::os_error::describe;
use crate::probe::launch::{Event, Stage};
use crate::probe::sideband::Sideband;
use crate::probe::{Kernel, LoadError, Outstanding, Program};
use crate::updates::{Command, Update};

/// How often processes are looked for, besides what the kernel tells of them.
const SWEEP: Duration = Duration::from_secs(1);

/// Interpreters that get their probes before anyone runs them. On kernels without `uprobe_multi`
/// links, pytop waits some 100 ms for each of their probes when it ends.
const MOST_AWAITED: usize = 8;

/// How long a command has to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);

/// What there is to say of a run that is over.
#[derive(Debug)]
pub struct Closing {
    /// How it has ended.
    pub ending: Result<Ending>,
    /// All updates have been dealt with, or there were none.
    pub is_heard: bool,
}

impl Closing {
    /// Of a run that has told nothing.
    fn of_failure(error: anyhow::Error) -> Self {
        Self {
            ending: Err(error),
            is_heard: true,
        }
    }
}

/// A run.
pub struct Session {
    kernel: Kernel,
    finder: Finder<Interpreter>,
    sideband: Option<Sideband>,
    attachments: Attachments,
    roster: Roster,
    functions: Functions,
    members: Members,
    cost: CostMeter,
    /// What counting may cost, if that is bounded.
    budget: Option<Budget>,
    /// To be counted from the first bytecode of their first process.
    installed: Option<Installed>,
    running: Option<Running>,
    /// What is known of a trace, if that was asked for.
    trace: Option<Trace>,
    options: Options,
    last: Instant,
    /// To be told when all probes are in place.
    notices: Vec<String>,
    announced: bool,
    taken: u64,
}

impl Session {
    /// Starts a run in a thread of its own, which ends when nobody can send commands any more, or
    /// when a signal has asked for the end and the updates are not taken.
    pub fn spawn(
        options: Options,
        updates: Sender<Update>,
        commands: Receiver<Command>,
    ) -> Result<thread::JoinHandle<Closing>> {
        environment::allow_many_files(matches!(options.target, Target::Command { .. }))?;
        let outstanding = Outstanding::new();
        thread::Builder::new()
            .name("pytop-session".to_owned())
            .spawn(move || {
                // Until the session has been dropped, with its probes.
                let _outstanding = outstanding;
                let audience = Audience::new(updates, commands);
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .context("cannot start the runtime");
                match runtime {
                    Ok(runtime) => runtime.block_on(Self::live(options, audience)),
                    Err(error) => Closing::of_failure(error),
                }
            })
            .context("cannot start a thread")
    }

    /// A run from its start to its end.
    async fn live(options: Options, mut audience: Audience) -> Closing {
        let started = Self::start(options).and_then(|session| Ok((session, Signals::listen()?)));
        let (mut session, mut signals) = match started {
            Ok(started) => started,
            Err(error) => return Closing::of_failure(error),
        };
        let mut was_asked_to_end = false;
        let ending = match session.run(&mut audience, &mut signals).await {
            Ok(ending) => {
                was_asked_to_end = matches!(ending, Ending::Interrupted | Ending::Terminated);
                session.finish(ending, &mut audience).await
            }
            Err(error) => Err(error),
        };
        // Whoever is slow to hear the rest must not slow down the programs that were counted.
        drop(session);
        let is_heard = audience.hear_out(&mut signals, was_asked_to_end).await;
        Closing { ending, is_heard }
    }

    /// Loads the programs, finds the processes, and places all probes.
    fn start(options: Options) -> Result<Self> {
        environment::check()?;
        // Processes that start from here on are told by the kernel, those from before are found.
        let sideband = Sideband::open();
        let mut finder = Finder::new(
            ProcRoot::host().context("cannot open /proc")?,
            Box::new(|file, path| cpython::examine(file, path).map_err(Into::into)),
        );
        finder.rely_on_events(sideband.is_ok());
        let capacity = options.capacity;
        let room = options.trace.map(|tracing| tracing.room);
        let is_bounded = options.max_overhead.is_some();
        let durations = options.durations;
        let purpose = match (room, durations) {
            (Some(_), _) => Purpose::Tracing,
            (None, true) => Purpose::Durations,
            (None, false) => Purpose::Counting,
        };
        let mut planner = Planner::new(options.method, purpose);
        let (kernel, scanned) = thread::scope(|scope| {
            let kernel = thread::Builder::new()
                .spawn_scoped(scope, move || {
                    let mut kernel = match room {
                        Some(room) => Kernel::load_for_trace(room)?,
                        None if is_bounded => Kernel::load_with_gates(capacity)?,
                        None if durations => Kernel::load_for_durations(capacity)?,
                        None => Kernel::load(capacity)?,
                    };
                    let meter = room.is_none().then(|| kernel.meter()).flatten();
                    Ok::<_, LoadError>((kernel, meter))
                })
                .context("cannot start a thread");
            let scanned = matches!(options.target, Target::Machine).then(|| finder.scan());
            if let Some(Ok(scan)) = &scanned {
                planner.plan_all(&scan.interpreters);
            }
            let loaded = kernel.and_then(|kernel| {
                let failed = |_| anyhow::anyhow!("loading the eBPF programs failed");
                Ok(kernel.join().map_err(failed)??)
            });
            (loaded, scanned)
        });
        let (kernel, meter) = kernel?;
        let program = options.count_nothing.then_some(Program::Empty);
        let mut session = Self {
            kernel,
            finder,
            sideband: sideband.ok(),
            attachments: Attachments::new(program, planner, is_bounded),
            roster: Roster::default(),
            functions: Functions::default(),
            members: Members::new(&options.target)?,
            cost: CostMeter::new(meter, durations),
            budget: options.max_overhead.map(Budget::new),
            installed: None,
            running: None,
            trace: options.trace.map(Trace::new),
            options,
            last: Instant::now(),
            notices: Vec::new(),
            announced: false,
            taken: 0,
        };
        if is_bounded {
            session.cost.measure();
        }
        if let Some(scan) = scanned {
            let scan = scan.context("cannot list the processes in /proc")?;
            session.notices = environment::passed_over(&scan);
            session.take_up(&scan.processes);
        }
        session.members.take_up_named(
            &mut session.finder,
            &mut session.roster,
            &mut session.attachments,
            &mut session.kernel,
        )?;
        if !matches!(session.options.target, Target::Machine) {
            session.attachments.place_runtime(&mut session.kernel);
        }
        session.watch_counted();
        session.running = Running::start(&mut session.options.target)?;
        if let Some(running) = &session.running {
            session.members.add_root(running.pid());
        }
        Ok(session)
    }

    async fn run(&mut self, audience: &mut Audience, signals: &mut Signals) -> Result<Ending> {
        let ends = self.members.ends()?;
        let named = matches!(self.options.target, Target::Processes { .. });
        let mut interval = every(self.options.interval);
        let mut sweep = every(SWEEP);
        let mut measure = every(cost::PERIOD);
        let mut trace_due = every(tracing::PERIOD);
        let end_of_trace = tracing::end(self.options.trace);
        tokio::pin!(end_of_trace);
        self.last = Instant::now();
        if self.running.is_none() {
            self.announce(audience);
            // Everything that runs already is counted by now, so that this makes nobody wait.
            if self.members.with_descendants() {
                let search_path = std::env::var_os("PATH").unwrap_or_default();
                self.installed = Some(Installed::on(&search_path));
                self.await_installed();
            }
        }
        loop {
            self.attachments.place_runtime(&mut self.kernel);
            let is_behind = audience.is_behind();
            let due = self.budget.as_ref().and_then(Budget::due);
            let wake = tokio::select! {
                biased;
                ending = signals.next() => Wake::Signal(ending),
                event = next_event(&mut self.running) => Wake::Command(event),
                () = ready(&mut self.sideband) => Wake::Events,
                () = scope::all_ended(&ends, named) => Wake::ProcessesEnded,
                wake = audience.next() => wake,
                () = until(due) => Wake::Budget,
                // While nobody takes what was told, the interval goes on.
                _ = interval.tick(), if !is_behind && self.trace.is_none() => Wake::IntervalEnded,
                _ = trace_due.tick(), if !is_behind && self.trace.is_some() => Wake::TraceDue,
                () = &mut end_of_trace => Wake::TraceEnded,
                _ = sweep.tick() => Wake::Sweep,
                // A trace has nothing to tell of it.
                _ = measure.tick(), if self.trace.is_none() => Wake::Measure,
            };
            match wake {
                Wake::Signal(ending) => return Ok(ending),
                Wake::Taken => {}
                Wake::Asked(None | Some(Command::Quit)) => return Ok(Ending::Dismissed),
                Wake::Asked(Some(Command::SetInterval(length))) => interval = every(length),
                Wake::Events => self.take_in_events(),
                Wake::Sweep => {
                    self.sweep();
                    if !is_behind {
                        self.tell_troubles(audience)?;
                    }
                }
                Wake::Budget => self.keep_budget(),
                Wake::Measure => self.measure_cost(),
                Wake::ProcessesEnded => return Ok(Ending::ProcessesEnded),
                Wake::TraceDue => self.tell_events(audience),
                Wake::TraceEnded => return Ok(Ending::Complete),
                Wake::Command(event) => {
                    if let Some(status) = self.on_command(event, audience) {
                        return Ok(Ending::CommandEnded(status));
                    }
                }
                Wake::IntervalEnded => {
                    self.taken += 1;
                    let is_last = self.options.snapshots == Some(self.taken);
                    self.tell_snapshot(audience, is_last)?;
                    if is_last {
                        return Ok(Ending::Complete);
                    }
                }
            }
        }
    }

    /// Ends the command, tells what is left, and says how the run has ended.
    async fn finish(&mut self, ending: Ending, audience: &mut Audience) -> Result<Ending> {
        let ending = self.end_command(ending).await;
        if self.trace.is_some() {
            self.tell_rest(audience)?;
        } else if ending != Ending::Complete && ending != Ending::Dismissed {
            self.tell_snapshot(audience, true)?;
        }
        if matches!(ending, Ending::CommandEnded(_)) {
            if !self.announced {
                audience.tell(Update::Notice(self.nothing_counted()));
            } else if let Some(spent) = self.cost.spent() {
                let notice = format!("counting took some {spent:.3} s of the command's time");
                audience.tell(Update::Notice(notice));
            }
        }
        audience.tell(Update::Ended(ending.told()));
        Ok(ending)
    }

    /// Ends the command if it still runs. One that was interrupted together with pytop, from the
    /// terminal, gets the time to end by itself; its status is then that of the run.
    async fn end_command(&mut self, ending: Ending) -> Ending {
        let Some(running) = &mut self.running else {
            return ending;
        };
        match ending {
            Ending::CommandEnded(_) => ending,
            Ending::Interrupted => {
                let status = match running.end_within(GRACE).await {
                    Some(status) => Some(status),
                    None => running.terminate(GRACE).await,
                };
                status.map_or(ending, Ending::CommandEnded)
            }
            Ending::Terminated => running
                .terminate(GRACE)
                .await
                .map_or(ending, Ending::CommandEnded),
            _ => {
                running.terminate(GRACE).await;
                ending
            }
        }
    }

    /// Ends the interval, and tells what was counted.
    fn tell_snapshot(&mut self, audience: &mut Audience, is_last: bool) -> Result<()> {
        let snapshot = self.snapshot(is_last)?;
        audience.tell(Update::Snapshot(Arc::new(snapshot)));
        self.tell_notices(audience);
        Ok(())
    }

    fn tell_notices(&mut self, audience: &mut Audience) {
        for notice in self.notices.drain(..) {
            audience.tell(Update::Notice(notice));
        }
    }

    /// Says, once, that all probes are in place.
    fn announce(&mut self, audience: &mut Audience) {
        if !std::mem::replace(&mut self.announced, true) {
            let counting = Update::Counting {
                processes: self.roster.counted(),
                interpreters: self.attachments.interpreters(),
            };
            audience.tell(counting);
            self.tell_notices(audience);
        }
    }

    fn on_command(&mut self, event: Event, audience: &mut Audience) -> Option<ExitStatus> {
        match event {
            Event::Ended(status) => return Some(status),
            Event::Unwatched { pid, reason } => {
                let notice = format!(
                    "process {pid} could not be held at its start ({}): its first calls may be \
                     missing",
                    describe(&reason)
                );
                audience.tell(Update::Notice(notice));
            }
            Event::Held(held) => {
                self.members.add(held.pid, held.stage);
                if held.stage == Stage::Exec {
                    self.forget_threads(held.pid);
                    // Only here it is sure that the new program does not run yet.
                    self.kernel.forget_running(held.pid);
                }
                let looked = self.look_at(held.pid);
                let verdict = command::verdict(held.stage, looked);
                if looked {
                    self.attachments.place_runtime(&mut self.kernel);
                    if self.trace.is_some() {
                        let why = self.why_not_traced(held.pid);
                        self.notices.extend(why);
                    } else if !self.announced {
                        self.notices.extend(self.roster.why_not_counted(held.pid));
                    }
                    self.announce(audience);
                }
                held.proceed(verdict);
            }
        }
        None
    }

    /// Looks at a process, and counts it if it runs CPython and belongs to those asked for.
    fn look_at(&mut self, pid: u32) -> bool {
        if !self.members.contains(pid) {
            return false;
        }
        let Ok(found) = self.finder.look_at(pid) else {
            self.roster.end(pid);
            return false;
        };
        self.take_up(&[found]);
        true
    }

    /// Takes up processes, and sees to it that they are counted.
    fn take_up(&mut self, processes: &[Arc<Found<Interpreter>>]) {
        for found in processes {
            let reach = self.members.reach(found.process.id.pid);
            self.roster
                .take_up(found, &mut self.attachments, &mut self.kernel, reach);
        }
        self.watch_counted();
        self.notices.extend(self.attachments.take_notices());
    }

    fn take_in_events(&mut self) {
        let mut look = Vec::new();
        let mut replaced = Vec::new();
        let mut scan = false;
        if let Some(sideband) = &mut self.sideband {
            let (finder, members) = (&mut self.finder, &mut self.members);
            let budget = &mut self.budget;
            sideband.drain(&mut |event: ProcessEvent| {
                members.on_event(&event);
                if let Some(budget) = &mut *budget {
                    budget.on_event(&event);
                }
                if let ProcessEvent::Exec { pid } = event {
                    replaced.push(pid);
                }
                match finder.on_event(&event) {
                    Attention::None => {}
                    Attention::LookAt(pid) => look.push(pid),
                    Attention::Scan => scan = true,
                }
            });
        }
        for pid in replaced {
            self.forget_threads(pid);
        }
        if scan {
            self.sweep();
        }
        look.sort_unstable();
        look.dedup();
        for pid in look {
            self.look_at(pid);
        }
    }

    /// Sees to it that interpreters are counted which nobody runs yet. One that cannot be counted
    /// is told when a process runs it.
    fn await_installed(&mut self) {
        if let Some(installed) = &mut self.installed {
            let files = self.finder.interpreters_in(installed.files());
            let quick = |file: &&Arc<_>| self.attachments.is_quick(file);
            let quick: Vec<_> = files.iter().filter(quick).take(MOST_AWAITED).collect();
            for file in quick {
                self.attachments
                    .cover(&mut self.kernel, file, Reach::Everyone);
            }
        }
    }

    /// Looks at everything, for what no event has told.
    fn sweep(&mut self) {
        self.await_installed();
        if let Some(sideband) = &mut self.sideband
            && sideband.follow_cpus().unwrap_or(true)
        {
            self.finder.rely_on_events(true);
        }
        if let Some(pids) = self.members.pids() {
            for pid in pids {
                self.look_at(pid);
            }
            return;
        }
        // A /proc that cannot be listed now may be again in a second; what is known stays.
        let Ok(scan) = self.finder.scan() else { return };
        let alive: Vec<_> = scan
            .processes
            .iter()
            .map(|found| found.process.id)
            .collect();
        self.take_up(&scan.processes);
        self.roster.end_all_but(&alive);
        let files: Vec<_> = scan.interpreters.iter().map(|file| file.id).collect();
        self.attachments.release_all_but(&files);
    }

    /// Ends the interval, the last one perhaps.
    fn snapshot(&mut self, is_last: bool) -> Result<Snapshot> {
        self.take_in_events();
        let gone = self.members.take_ended();
        self.roster.end_interval();
        self.cost.measure_once();
        self.end_windows();
        let begin = Instant::now();
        let drained = self
            .kernel
            .drain()
            .context("cannot read the counts from the kernel")?;
        let drain = begin.elapsed();
        // The forks of all processes that have counts are among the events by now.
        self.take_in_events();
        let news = self.roster.note(&drained.incomplete);
        self.notices.extend(news);
        let members = &self.members;
        let kernel = &self.kernel;
        let names = |text| kernel.names(text).cloned().unwrap_or_default();
        let contains = |pid| members.contains(pid);
        let (mut rows, calls) =
            self.functions
                .rows(&drained.frames, &drained.ended, contains, names);
        let seen = |pid| kernel.seen(pid);
        let (mut processes, ended) = self.roster.close_interval(&calls, seen, &self.attachments);
        for pid in &ended {
            self.attachments.release(*pid);
        }
        self.kernel.forget_processes(ended.iter().copied());
        runtime::add(&mut processes, &drained.runtime);
        self.notices.extend(runtime::loss(drained.runtime_lost));
        let interval = drained.at.duration_since(self.last);
        self.last = drained.at;
        for process in &mut processes {
            if let Some(method) = process.coverage.method() {
                let pid = process.pid;
                let passes = self.budget.as_mut().map(|budget| budget.take_passes(pid));
                let hits = (process.calls, passes.unwrap_or(0));
                process.probe_cost = self.cost.record(pid, method, hits, interval);
            }
        }
        self.mark_arrivals(&mut processes, &gone);
        self.members.bury(&gone);
        if let Some(budget) = &mut self.budget {
            budget.estimate(
                &mut processes,
                &mut rows,
                &self.functions,
                &self.cost,
                is_last,
            );
            budget.forget(&ended);
        }
        self.cost.end_interval();
        Ok(Snapshot {
            time: drained.time,
            interval,
            drain,
            rows,
            uncounted: Uncounted {
                table_full: drained.losses.table_full,
                unreadable_name: drained.losses.unreadable_name + drained.losses.unknown_site,
                implausible: drained.losses.implausible,
            },
            untimed: drained.untimed,
            bounded: self.options.max_overhead.is_some(),
            processes,
        })
    }

    fn nothing_counted(&self) -> String {
        let hint = if self.members.with_descendants() {
            ""
        } else {
            " (what it starts is counted with --children)"
        };
        format!("the command ran no CPython: nothing was counted{hint}")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut others = self.cost.take_probes();
        if let Some(budget) = &mut self.budget {
            others.extend(budget.take_probes());
        }
        self.attachments.release_all(others);
    }
}
