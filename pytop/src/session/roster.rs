//! The CPython processes of an interval, and how each of them is counted.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::HashMap;

use super::attachments::{Attachments, File, Reach};
use super::budget::arrivals::UNHEARD_OF;
use crate::cpython::Interpreter;
use crate::discover::{FileId, Found, ProcessId};
use crate::model::{Coverage, Method, ProcessStatus, Runtime, Text};
use crate::probe::{Incomplete, Kernel, Seen};

struct Listed {
    id: ProcessId,
    status: ProcessStatus,
    /// Its interpreters, and whom their probes reach.
    interpreters: Vec<(FileId, Reach)>,
    /// It had ended before the interval did, so the interval has its last calls.
    is_last: bool,
}

/// All processes that have run CPython since the last snapshot.
#[derive(Default)]
pub(super) struct Roster {
    listed: BTreeMap<u32, Listed>,
    /// Processes without an entry that called in the interval before.
    came_and_went: Vec<u32>,
    /// What was noticed of processes that are not counted completely.
    incomplete: BTreeMap<u32, Incomplete>,
}

impl Roster {
    /// Takes up a process, and sees to it that it is counted.
    pub(super) fn take_up(
        &mut self,
        found: &Found<Interpreter>,
        attachments: &mut Attachments,
        kernel: &mut Kernel,
        reach: Reach,
    ) -> &Coverage {
        // Each interpreter gets its probe; what is shown is the one that can be counted.
        let mut best: Option<(Coverage, &Arc<File>)> = None;
        for file in &found.interpreters {
            let coverage = attachments.cover(kernel, file, reach);
            let is_better = matches!(
                (&best, &coverage),
                (None, _) | (Some((Coverage::NotCounted(_), _)), Coverage::Counted(_))
            );
            if is_better {
                best = Some((coverage, file));
            }
        }
        let process = &found.process;
        let (coverage, interpreter, python) = match best {
            Some((coverage, file)) => (coverage, Text::from(file.path.as_path()), version(file)),
            None => (
                Coverage::NotCounted("its interpreter is gone".into()),
                Text::default(),
                None,
            ),
        };
        let status = ProcessStatus {
            pid: process.id.pid,
            comm: process.comm.clone(),
            exe: process.exe.clone(),
            interpreter,
            python,
            user: Arc::clone(&process.user),
            container: process.container.clone(),
            coverage,
            calls: 0,
            probe_cost: None,
            runtime: Runtime::default(),
            estimate: None,
            ended: false,
        };
        let listed = Listed {
            id: process.id,
            status,
            interpreters: found
                .interpreters
                .iter()
                .map(|file| (file.id, reach))
                .collect(),
            is_last: false,
        };
        let entry = self.listed.entry(process.id.pid).insert_entry(listed);
        &entry.into_mut().status.coverage
    }

    /// A process has ended, or runs CPython no more. It is listed until its last calls are.
    pub(super) fn end(&mut self, pid: u32) {
        if let Some(listed) = self.listed.get_mut(&pid) {
            listed.status.ended = true;
        }
    }

    /// Ends all processes but these.
    pub(super) fn end_all_but(&mut self, alive: &[ProcessId]) {
        for listed in self.listed.values_mut() {
            if alive.binary_search(&listed.id).is_err() {
                listed.status.ended = true;
            }
        }
    }

    /// Why a process is not counted, as a message; `None` when it is.
    pub(super) fn why_not_counted(&self, pid: u32) -> Option<String> {
        let listed = self.listed.get(&pid)?;
        match &listed.status.coverage {
            Coverage::Counted(_) | Coverage::Incomplete(..) => None,
            Coverage::NotCounted(reason) => Some(not_countable(pid, &listed.status.exe, reason)),
        }
    }

    /// The program of a process.
    pub(super) fn exe(&self, pid: u32) -> Option<&Text> {
        self.listed.get(&pid).map(|listed| &listed.status.exe)
    }

    /// The interpreters of a process, and whom their probes reach.
    pub(super) fn interpreters(&self, pid: u32) -> &[(FileId, Reach)] {
        self.listed
            .get(&pid)
            .map_or(&[], |listed| listed.interpreters.as_slice())
    }

    /// Processes that are counted now.
    pub(super) fn counted(&self) -> usize {
        self.listed
            .values()
            .filter(|listed| matches!(listed.status.coverage, Coverage::Counted(_)))
            .count()
    }

    /// Processes that are counted, and how.
    pub(super) fn methods(&self) -> impl Iterator<Item = (u32, Method)> + '_ {
        let listed = self
            .listed
            .iter()
            .filter(|(_, listed)| !listed.status.ended);
        listed.filter_map(|(pid, listed)| Some((*pid, listed.status.coverage.method()?)))
    }

    /// The interval is about to end. One who ends from here on may have called in the next one, too.
    pub(super) fn end_interval(&mut self) {
        for listed in self.listed.values_mut() {
            listed.is_last = listed.status.ended;
        }
    }

    /// The processes of the interval that has ended, with their calls. Those whose last calls these
    /// were are struck off; their pids are returned.
    ///
    /// `seen` tells what the kernel saw of a process that called; one that came and went between two
    /// looks is known by that alone.
    pub(super) fn close_interval(
        &mut self,
        calls: &HashMap<u32, u64>,
        seen: impl Fn(u32) -> Option<Seen>,
        attachments: &Attachments,
    ) -> (Vec<ProcessStatus>, Vec<u32>) {
        let mut processes: Vec<ProcessStatus> = self
            .listed
            .values()
            .map(|listed| ProcessStatus {
                ended: listed.is_last,
                runtime: attachments.runtime_of(&listed.interpreters),
                ..listed.status.clone()
            })
            .collect();
        let mut came_and_went = Vec::new();
        for pid in calls.keys() {
            if !self.listed.contains_key(pid)
                && let Some(seen) = seen(*pid)
            {
                processes.push(status_of(*pid, &seen, attachments));
                came_and_went.push(*pid);
            }
        }
        // Whether their last calls are drained is known only when an interval brings no more.
        let mut ended = std::mem::replace(&mut self.came_and_went, came_and_went);
        ended.retain(|pid| !calls.contains_key(pid) && !self.listed.contains_key(pid));
        for process in &mut processes {
            process.calls = calls.get(&process.pid).copied().unwrap_or(0);
            if let Some(what) = self.incomplete.get(&process.pid)
                && let Some(method) = process.coverage.method()
            {
                process.coverage = Coverage::Incomplete(method, reason(*what).into());
            }
        }
        processes.sort_unstable_by_key(|process| process.pid);
        self.listed.retain(|pid, listed| {
            if listed.is_last {
                ended.push(*pid);
            }
            !listed.is_last
        });
        for pid in &ended {
            self.incomplete.remove(pid);
        }
        (processes, ended)
    }

    /// Takes in what was noticed of processes that are not counted completely, and returns what
    /// there is to say of those of which nothing was known.
    pub(super) fn note(&mut self, incomplete: &[(u32, Incomplete)]) -> Vec<String> {
        let mut news = Vec::new();
        for (pid, what) in incomplete {
            if self.incomplete.insert(*pid, *what).is_none() {
                let exe = self.listed.get(pid).map(|listed| &listed.status.exe);
                let exe = exe.map_or_else(String::new, |exe| format!(" ({exe})"));
                let reason = reason(*what);
                news.push(format!(
                    "process {pid}{exe} is counted incompletely: {reason}"
                ));
            }
        }
        news
    }
}

/// Completes the sentence "incomplete: …".
fn reason(incomplete: Incomplete) -> &'static str {
    match incomplete {
        Incomplete::Compiled => {
            "its just-in-time compiler is at work, and what it has compiled enters functions \
             uncounted; run it with PYTHON_JIT=0"
        }
        Incomplete::Implausible => {
            "at some hits of its probes there was no code object of the kind that has to be there"
        }
    }
}

/// What is said of a process that was asked for and cannot be counted.
pub(super) fn not_countable(pid: u32, exe: &Text, reason: &str) -> String {
    format!("process {pid} ({exe}) cannot be counted: {reason}")
}

fn version(file: &File) -> Option<Arc<str>> {
    file.interpreter
        .version
        .as_ref()
        .map(|version| version.to_string().into())
}

/// A process that had ended before its probes were in place.
pub(super) fn ended_uncounted(pid: u32, seen: &Seen, attachments: &Attachments) -> ProcessStatus {
    ProcessStatus {
        coverage: Coverage::NotCounted(UNHEARD_OF.into()),
        ..status_of(pid, seen, attachments)
    }
}

/// What is known of a process that nobody but the kernel has seen.
fn status_of(pid: u32, seen: &Seen, attachments: &Attachments) -> ProcessStatus {
    let site = attachments.site(seen.site);
    let file = site.map(|(file, _)| file);
    let path = file
        .map(|file| Text::from(file.path.as_path()))
        .unwrap_or_default();
    ProcessStatus {
        pid,
        comm: seen.comm.clone(),
        exe: path.clone(),
        interpreter: path,
        python: file.and_then(|file| version(file)),
        user: "".into(),
        container: None,
        coverage: Coverage::Counted(site.map_or(Method::Marker, |(_, method)| *method)),
        calls: 0,
        probe_cost: None,
        runtime: file.map_or_else(Runtime::default, |file| {
            attachments.runtime_of(&[(file.id, Reach::Everyone)])
        }),
        estimate: None,
        ended: true,
    }
}
