//! The tracer: one loop over what the command's tasks report.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc as blocking};

use libc::{c_int, pid_t};
use tokio::sync::{mpsc, oneshot};

use super::ptrace::{self, Breakpoint, Change};
use super::{Event, Held, Stage, Verdict};

/// Everything the tracing thread knows. All tasks are its own tracees.
pub(super) struct Tracer {
    command: pid_t,
    policy: Policy,
    events: mpsc::UnboundedSender<Event>,
    /// Every traced task, and its process.
    tasks: HashMap<pid_t, pid_t>,
    processes: HashMap<pid_t, Process>,
    /// Tasks that their makers have announced and that have not stopped yet, with the breakpoint
    /// that was copied into them.
    announced: HashMap<pid_t, Option<Breakpoint>>,
    /// How the command ended. Whoever is left is then let go.
    ended: Option<ExitStatus>,
}

/// What becomes of the command's descendants.
pub(super) struct Policy {
    /// They are traced until the command ends.
    pub(super) follow_children: bool,
    /// Then they are killed, not let go.
    pub(super) kill_all: Arc<AtomicBool>,
}

#[derive(Default)]
struct Process {
    /// Set while the entry point is awaited.
    entry: Option<Breakpoint>,
    /// Its tasks are let go at their next stop.
    release: bool,
}

/// How a stopped task goes on.
#[derive(Clone, Copy)]
enum Onward {
    Run,
    Deliver(c_int),
    Listen,
}

impl Tracer {
    /// A tracer of `command`, which the calling thread has seized before its first exec.
    pub(super) fn new(
        command: pid_t,
        policy: Policy,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            command,
            policy,
            events,
            tasks: HashMap::from([(command, command)]),
            processes: HashMap::from([(command, Process::default())]),
            announced: HashMap::new(),
            ended: None,
        }
    }

    /// Runs until the command has ended and no task is traced any more.
    ///
    /// A child that fails to exec is waited for by `std::process::Command`, which panics when
    /// somebody else has done so. Hence nothing is reaped here before the first exec, or before
    /// `executed` tells that there was one. When that is closed instead, there is no command.
    pub(super) fn run(mut self, executed: &blocking::Receiver<()>) {
        let mut mine = false;
        while self.ended.is_none() || self.is_tracing() {
            if !mine && ptrace::has_ended(self.command) {
                if executed.recv().is_err() {
                    return;
                }
                mine = true;
            }
            let tracing = self.is_tracing();
            let reported = if tracing {
                ptrace::wait_traced()
            } else {
                ptrace::wait_child(self.command)
            };
            match reported {
                Ok((task, Change::Ended(status))) => self.forget(task, status),
                Ok((task, change)) => {
                    mine |= matches!(change, Change::Exec);
                    self.stopped(task, change);
                }
                // An announced task was killed before its first stop.
                Err(_) if tracing => {
                    self.tasks.clear();
                    self.announced.clear();
                }
                Err(_) => return,
            }
        }
        if let Some(status) = self.ended {
            // Nobody listens when the session has ended.
            let _ = self.events.send(Event::Ended(status));
        }
    }

    fn is_tracing(&self) -> bool {
        !self.tasks.is_empty() || !self.announced.is_empty()
    }

    fn forget(&mut self, task: pid_t, status: ExitStatus) {
        self.announced.remove(&task);
        self.drop_task(task);
        if task == self.command {
            self.ended = Some(status);
            let kill = self.policy.kill_all.load(Ordering::Acquire);
            for (&task, process) in &self.tasks {
                if kill {
                    ptrace::kill(*process);
                }
                if let Some(process) = self.processes.get_mut(process) {
                    process.release = true;
                }
                ptrace::interrupt(task);
            }
        }
    }

    fn drop_task(&mut self, task: pid_t) {
        if let Some(process) = self.tasks.remove(&task)
            && !self.tasks.values().any(|other| *other == process)
        {
            self.processes.remove(&process);
        }
    }

    fn stopped(&mut self, task: pid_t, change: Change) {
        if !self.tasks.contains_key(&task) {
            self.adopt(task);
        }
        let onward = match change {
            // Taken care of by `run`.
            Change::Ended(_) => return,
            Change::Signal(libc::SIGTRAP) if self.at_entry(task) => {
                self.ask(task, Stage::LoaderDone);
                Onward::Run
            }
            Change::Signal(signal) => Onward::Deliver(signal),
            Change::Exec => {
                self.replaced(task);
                Onward::Run
            }
            Change::NewTask(made) => {
                self.announce(task, made);
                Onward::Run
            }
            // Its end is reported, and only then may the task run.
            Change::GroupStop => Onward::Listen,
            Change::Trap => Onward::Run,
        };
        self.proceed(task, onward);
    }

    fn process_of(&mut self, task: pid_t) -> &mut Process {
        let process = self.tasks.get(&task).copied().unwrap_or(task);
        self.processes.entry(process).or_default()
    }

    fn proceed(&mut self, task: pid_t, onward: Onward) {
        let process = self.process_of(task);
        if process.release {
            if let Some(entry) = process.entry.take() {
                entry.remove(task);
            }
            // A group stop outlasts this.
            ptrace::detach(
                task,
                if let Onward::Deliver(signal) = onward {
                    signal
                } else {
                    0
                },
            );
            self.drop_task(task);
            return;
        }
        match onward {
            Onward::Run => ptrace::resume(task, 0),
            Onward::Deliver(signal) => ptrace::resume(task, signal),
            Onward::Listen => ptrace::listen(task),
        }
    }

    /// A task's maker stands at the call that made it.
    fn announce(&mut self, maker: pid_t, made: pid_t) {
        if self.tasks.contains_key(&made) {
            return;
        }
        let entry = self.process_of(maker).entry;
        let copied = entry.filter(|_| !ptrace::share_memory(maker, made));
        self.announced.insert(made, copied);
    }

    /// A task that is not known yet stands still for the first time. Its maker may not have told of
    /// it yet, or may have been killed before it could.
    fn adopt(&mut self, task: pid_t) {
        let announced = self.announced.remove(&task);
        let (process, parent) = family(task).unwrap_or((task, task));
        self.tasks.insert(task, process);
        if process != task {
            // A new thread. That of a process that has been let go goes with it.
            let known = self.processes.contains_key(&process);
            self.process_of(task).release |= !known;
            return;
        }
        let entry = announced.unwrap_or_else(|| {
            let inherited = self.processes.get(&parent).and_then(|parent| parent.entry);
            inherited.filter(|_| !ptrace::share_memory(task, parent))
        });
        let release = !self.policy.follow_children || self.ended.is_some();
        self.processes.insert(process, Process { entry, release });
        if !release {
            self.ask(
                task,
                Stage::Forked {
                    parent: parent.unsigned_abs(),
                },
            );
        }
    }

    /// A process has become another program. Its other threads are gone, and the task has taken the
    /// process's number, whichever it had.
    fn replaced(&mut self, process: pid_t) {
        self.tasks
            .retain(|task, of| *of != process || *task == process);
        self.tasks.insert(process, process);
        // The breakpoint went with the memory it was in.
        self.process_of(process).entry = None;
        self.ask(process, Stage::Exec);
    }

    /// Whether the task stands on the trap at its process's entry point, which is then removed.
    fn at_entry(&mut self, task: pid_t) -> bool {
        let process = self.process_of(task);
        match process.entry.take_if(|entry| entry.is_hit(task)) {
            Some(entry) => {
                entry.step_back(task);
                true
            }
            None => false,
        }
    }

    /// Holds a task until the session has answered.
    fn ask(&mut self, task: pid_t, stage: Stage) {
        if self.process_of(task).release {
            return;
        }
        let (verdict, answer) = oneshot::channel();
        let held = Held {
            pid: task.unsigned_abs(),
            stage,
            verdict,
        };
        // A failed send drops the sender of the verdict, and with it the receiver is told.
        let _ = self.events.send(Event::Held(held));
        match answer.blocking_recv() {
            Ok(Verdict::Probed) if !self.policy.follow_children => self.release(task),
            Ok(Verdict::AtEntry) if stage == Stage::Exec => self.plant(task),
            Ok(Verdict::Probed | Verdict::AtEntry | Verdict::Pass) => {}
            Ok(Verdict::Kill) => ptrace::kill(task),
            // The session is gone, and with it the reason to run the command.
            Err(_) => {
                self.policy.kill_all.store(true, Ordering::Release);
                ptrace::kill(task);
                ptrace::kill(self.command);
            }
        }
    }

    /// Lets a whole process go: `task`, which stands still, and its other threads at their next stop.
    fn release(&mut self, task: pid_t) {
        self.process_of(task).release = true;
        let process = self.tasks.get(&task).copied();
        for (&other, of) in &self.tasks {
            if other != task && Some(*of) == process {
                ptrace::interrupt(other);
            }
        }
    }

    fn plant(&mut self, task: pid_t) {
        match entry_point(task).and_then(|address| Breakpoint::plant(task, address)) {
            Ok(entry) => self.process_of(task).entry = Some(entry),
            Err(reason) => {
                let _ = self.events.send(Event::Unwatched {
                    pid: task.unsigned_abs(),
                    reason,
                });
            }
        }
    }
}

/// The process that a task belongs to, and that process's parent.
fn family(task: pid_t) -> Option<(pid_t, pid_t)> {
    let status = read(task, "status").ok()?;
    let status = str::from_utf8(&status).ok();
    let field = |name: &str| -> Option<pid_t> {
        status?
            .lines()
            .find_map(|line| line.strip_prefix(name)?.trim().parse().ok())
    };
    Some((field("Tgid:")?, field("PPid:")?))
}

/// The address at which the dynamic loader, or the kernel itself, enters the program.
///
/// The kernel writes it into the auxiliary vector at exec (`create_elf_tables` of
/// `fs/binfmt_elf.c`).
fn entry_point(process: pid_t) -> io::Result<u64> {
    const AT_ENTRY: u64 = 9; // include/uapi/linux/auxvec.h
    let vector = read(process, "auxv")?;
    let (pairs, _) = vector.as_chunks::<16>();
    pairs
        .iter()
        .filter_map(|pair| Some((pair.first_chunk()?, pair.last_chunk()?)))
        .find(|(kind, _)| u64::from_ne_bytes(**kind) == AT_ENTRY)
        .map(|(_, value)| u64::from_ne_bytes(*value))
        .ok_or_else(|| io::Error::other("its entry point is unknown; it is no 64-bit program"))
}

/// Reads a small file of a task's /proc directory.
fn read(task: pid_t, name: &str) -> io::Result<Vec<u8>> {
    const LIMIT: u64 = 64 * 1024;
    let mut bytes = Vec::new();
    File::open(format!("/proc/{task}/{name}"))?
        .take(LIMIT)
        .read_to_end(&mut bytes)?;
    Ok(bytes)
}
