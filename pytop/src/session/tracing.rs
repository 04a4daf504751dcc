//! A trace: the probes that it takes, and how its events come out of the kernel.
//!
//! The events are taken out every few milliseconds, and told in batches. While the audience is
//! behind none are taken, so that the ring is all the room that they have: what does not fit is
//! counted by the kernel side, and told in its place.
//!
//! The probes of a process that runs already come one after the other, returns first. What it does until
//! all are there is no part of the trace.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use pytop_common::trace::Event;
use rustix::time::{ClockId, clock_gettime};

use super::attachments::File;
use super::audience::Audience;
use super::methods::{Plan, PlannedProbe, Refusal};
use super::{Session, Tracing};
use crate::cpython::{Entries, Says, TraceProbe, examine_exits};
use crate::model::{Method, Text};
use crate::probe::{Description, Program};
use crate::trace::{Batch, Gone, Traced};
use crate::updates::Update;

/// How often the ring is looked at. It has room for what happens in the meantime, and programs that
/// are traced do not have to wake anybody.
pub(super) const PERIOD: Duration = Duration::from_millis(20);

/// Events that are told at once.
const BATCH: usize = 4096;
/// Batches that are taken at a time.
const BATCHES: usize = 4;

/// What is known of a trace.
pub(super) struct Trace {
    /// Bytes of the ring.
    ring: u32,
    /// The programs of processes as they were told.
    programs: HashMap<u32, Text>,
    /// Threads with events, and their processes.
    threads: HashMap<u32, u32>,
    /// Programs that were told to be untraced.
    untraced: HashSet<Text>,
}

impl Trace {
    pub(super) fn new(tracing: Tracing) -> Self {
        Self {
            ring: tracing.room.ring,
            programs: HashMap::new(),
            threads: HashMap::new(),
            untraced: HashSet::new(),
        }
    }
}

/// Waits until the time of a trace is over.
pub(super) async fn end(tracing: Option<Tracing>) {
    match tracing.and_then(|tracing| tracing.duration) {
        Some(duration) => tokio::time::sleep(duration).await,
        None => std::future::pending().await,
    }
}

/// Makes of a plan for counting one for tracing.
///
/// # Errors
/// Why it cannot be traced.
pub(super) fn of(plan: Plan, file: &File) -> Result<Plan, Refusal> {
    let entries = match plan.method {
        Method::Marker => Entries::Marker,
        Method::Eval | Method::Resume => Entries::Code,
    };
    let found = examine_exits(&file.file, &file.path, &file.interpreter, entries);
    let found = found.map_err(|error| Refusal::because(error.to_string()))?;
    let found = found.map_err(|reason| Refusal::from(&reason))?;
    let counting = plan.probes.into_iter().filter_map(|probe| {
        let program = match probe.program {
            Program::FunctionEntry => Program::TraceEntry,
            Program::Resume => Program::TraceResume,
            // The entries are among what was found.
            Program::Evaluation => return None,
            other => other,
        };
        Some(PlannedProbe { program, ..probe })
    });
    let mut probes: Vec<_> = counting.chain(found.iter().filter_map(planned)).collect();
    // Those of one program are placed together, and those that tell of entries last: an exit whose
    // entry was not seen counts for nothing, an entry whose exit was not seen would count for ever.
    probes.sort_by_key(|probe| {
        let enters = matches!(
            probe.program,
            Program::TraceEntry
                | Program::TraceThrow
                | Program::TraceEvaluation
                | Program::TraceResume
        );
        (enters, probe.program as u8)
    });
    Ok(Plan {
        method: plan.method,
        probes,
        untimed: None,
    })
}

fn planned(probe: &TraceProbe) -> Option<PlannedProbe> {
    let (program, description) = match probe.says {
        Says::MarkedReturn(spec) => (Program::TraceReturn, Description::Marker(spec)),
        Says::Evaluation(spec) => (Program::TraceEvaluation, Description::Frame(spec)),
        Says::Evaluated(spec) => (Program::TraceEvaluated, Description::Frame(spec)),
        Says::Leave(spec) | Says::Unwind(spec) => (Program::TraceLeave, Description::Frame(spec)),
        Says::Throw(spec) => (Program::TraceThrow, Description::Frame(spec)),
        Says::Created => (Program::TraceCreated, Description::Nothing),
        // The frames of an entry tell which ones have been left.
        Says::Raised => return None,
    };
    Some(PlannedProbe {
        program,
        offset: probe.file_offset,
        semaphore: probe.semaphore_file_offset,
        description,
    })
}

impl Session {
    /// Tells what has happened since the last time, as far as the audience takes it.
    pub(super) fn tell_events(&mut self, audience: &mut Audience) {
        for _ in 0..BATCHES {
            if audience.is_behind() || !self.tell_batch(audience, BATCH) {
                break;
            }
        }
    }

    /// Tells some events, and says whether there may be more.
    fn tell_batch(&mut self, audience: &mut Audience, most: usize) -> bool {
        let events = self.kernel.events().take(most);
        let taken = events.len();
        // Forks of those who made these events are among what the kernel tells by now.
        self.take_in_events();
        let Some(trace) = &mut self.trace else {
            return false;
        };
        let mut batch = Batch::default();
        let mut last = None;
        let mut begin = 0;
        for event in events {
            if !self.members.contains(event.pid) {
                continue;
            }
            if last != Some(event.tid) {
                last = Some(event.tid);
                let interpreters = self.roster.interpreters(event.pid);
                begin = self.attachments.complete_since(interpreters).unwrap_or(0);
                trace.threads.insert(event.tid, event.pid);
                let known = trace.programs.get(&event.pid);
                let exe = self.roster.exe(event.pid).map(file_name);
                if exe
                    .as_ref()
                    .map_or(known.is_none(), |exe| known != Some(exe))
                {
                    let thread = self.kernel.events().thread(event.tid);
                    let program = exe.or_else(|| thread.map(|thread| thread.comm));
                    let program = program.unwrap_or_default();
                    trace.programs.insert(event.pid, program.clone());
                    batch.programs.push((event.pid, program));
                }
            }
            if event.time < begin {
                continue;
            }
            let names = match event.text {
                0 => None,
                text => self.kernel.names_of_event(text),
            };
            batch.events.push(Traced { event, names });
        }
        // The events of a program that is new may all have come too early.
        if !(batch.events.is_empty() && batch.programs.is_empty()) {
            audience.tell(Update::Traced(Arc::new(batch)));
        }
        taken == most
    }

    /// Tells what could not be traced since the last time, and forgets threads that have ended.
    pub(super) fn tell_troubles(&mut self, audience: &mut Audience) -> Result<()> {
        if self.trace.is_none() {
            return Ok(());
        }
        let noticed = self.kernel.notice();
        let noticed = noticed.context("cannot read from the kernel what it could not trace")?;
        let lost = noticed.losses;
        for (number, why) in [
            (lost.table_full, "there are more threads than pytop follows"),
            (lost.unreadable_name, "their frames are not in memory"),
            (lost.unknown_site, "their probe is unknown"),
            (lost.implausible, "there was no frame where one has to be"),
        ] {
            if number > 0 {
                self.notices.push(format!("{number} events lost: {why}"));
            }
        }
        let news = self.roster.note(&noticed.incomplete);
        self.notices.extend(news);
        if self.announced {
            self.tell_notices(audience);
        }
        self.tell_ended(audience, false);
        Ok(())
    }

    /// Why a process of a command is missing in the trace, once for each program. Where calls are
    /// counted, it is listed with the reason.
    pub(super) fn why_not_traced(&mut self, pid: u32) -> Option<String> {
        let trace = self.trace.as_mut()?;
        let why = self.roster.why_not_counted(pid)?;
        let program = self.roster.exe(pid)?.clone();
        trace.untraced.insert(program).then_some(why)
    }

    /// Tells of threads that tell no more: those that have ended, or all of them.
    fn tell_ended(&mut self, audience: &mut Audience, all: bool) {
        let buried = self.members.take_ended();
        // Threads of others are among them where everyone has the probes.
        let runs = |pid: u32, tid: u32| Path::new(&format!("/proc/{pid}/task/{tid}")).exists();
        let ended: HashSet<u32> = self
            .kernel
            .events()
            .threads()
            .filter(|thread| !runs(thread.pid, thread.tid))
            .map(|thread| thread.tid)
            .collect();
        if ended.is_empty() && buried.is_empty() && !all {
            return;
        }
        // What they have done last may still be in the ring.
        self.tell_present(audience);
        let time = now();
        let events = self.kernel.events();
        let members = &self.members;
        let gone: Vec<Gone> = events
            .threads()
            .filter(|thread| all || ended.contains(&thread.tid))
            .filter(|thread| members.contains(thread.pid))
            .map(|thread| Gone {
                pid: thread.pid,
                tid: thread.tid,
                lost: thread.lost,
                time,
                has_ended: ended.contains(&thread.tid),
            })
            .collect();
        for thread in &ended {
            events.forget(*thread);
        }
        if let Some(trace) = &mut self.trace {
            trace.threads.retain(|tid, _| !ended.contains(tid));
            let alive: HashSet<u32> = trace.threads.values().copied().collect();
            trace.programs.retain(|pid, _| alive.contains(pid));
        }
        self.members.bury(&buried);
        self.roster.end_interval();
        let (_, over) =
            self.roster
                .close_interval(&foldhash::HashMap::default(), |_| None, &self.attachments);
        for pid in over {
            self.attachments.release(pid);
        }
        if !gone.is_empty() {
            audience.tell(Update::Traced(Arc::new(Batch {
                ended: gone,
                ..Batch::default()
            })));
        }
    }

    /// Tells everything that has happened until now. Who goes on meanwhile is not followed for ever.
    fn tell_present(&mut self, audience: &mut Audience) {
        let Some(trace) = &self.trace else { return };
        let most = trace.ring as usize / size_of::<Event>();
        for _ in 0..=most / BATCH {
            if !self.tell_batch(audience, BATCH) {
                break;
            }
        }
    }

    /// Tells what is left at the end.
    pub(super) fn tell_rest(&mut self, audience: &mut Audience) -> Result<()> {
        self.tell_present(audience);
        self.tell_troubles(audience)?;
        self.tell_ended(audience, true);
        Ok(())
    }

    /// A process has another program now: what its threads were doing is over.
    pub(super) fn forget_threads(&mut self, pid: u32) {
        if self.trace.is_none() {
            return;
        }
        // The other threads are gone, and the one that remains has the number of the process.
        let events = self.kernel.events();
        let lost = events.thread(pid).map_or(0, |thread| thread.lost);
        events.forget(pid);
        if lost > 0 {
            self.notices.push(format!(
                "{lost} events of process {pid} lost before it replaced its program"
            ));
        }
    }
}

/// The last part of a path.
fn file_name(path: &Text) -> Text {
    let bytes = path.as_bytes();
    let name = bytes.rsplit(|byte| *byte == b'/').next();
    Text::from(name.unwrap_or(bytes))
}

/// Nanoseconds of `CLOCK_MONOTONIC`.
pub(crate) fn now() -> u64 {
    let time = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let rest = u64::try_from(time.tv_nsec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(rest)
}
