//! Starting a command so that nothing of it runs uncounted.
//!
//! A probe that is attached while a program starts misses its first calls. So the command is
//! traced, and stands still wherever an interpreter may have appeared, until the session has
//! looked and attached:
//!
//! ```text
//! pytop -- ./tool.sh            stops                          what the session finds
//! ─────────────────────────────────────────────────────────────────────────────────────────────
//! execve ./tool.sh (bash)       Stage::Exec                    no interpreter         Pass
//! execve /usr/bin/env           Stage::Exec                    no interpreter         Pass
//! execve python3                Stage::Exec                    needs libpython.so     AtEntry
//!   ld.so maps libpython        Stage::LoaderDone              probes are in place    Probed
//!   _start, main, Py_Main       runs at full speed, no longer traced
//! ```
//!
//! The stop at the entry point is a breakpoint: one trap instruction at the address that the
//! kernel gave the loader in `AT_ENTRY`, put back before the program can see it. The loader has
//! then mapped all libraries that the executable needs, and no instruction of the program itself
//! has run. Constructors of those libraries have; none of an interpreter's runs bytecode.
//!
//! Two threads stand behind a [`Launched`]. One forks the command, and then only lives on, because
//! the kernel kills the command when it ends (`PR_SET_PDEATHSIG` follows the thread, not the
//! process). The other is the tracer: the kernel takes ptrace requests from no other thread. The
//! child waits, before it execs, until the tracer has seized it. Whoever kills pytop thus kills the
//! command too, half-patched programs first (`PTRACE_O_EXITKILL`). An exception is a set-user-ID
//! program that is traced no more: the kernel clears its `PR_SET_PDEATHSIG`.
//!
//! Facts of ptrace(2) that this rests on are told where they are used; the order of stops is that
//! of `PTRACE_SEIZE`, as in strace.

mod ptrace;
#[cfg(test)]
mod tests;
mod tracer;

use std::ffi::{OsStr, OsString};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc as blocking};
use std::thread;
use std::time::Duration;

use nix::sys::signal::Signal;
use tokio::sync::{mpsc, oneshot};

use crate::model::text::visible;
use crate::os_error::describe;
use tracer::{Policy, Tracer};

/// Where the command's output goes.
#[derive(Debug)]
pub enum Output {
    /// Where pytop's own goes; it reads what pytop would read.
    Inherit,
    /// Its standard output to pytop's standard error, so that standard output carries data only.
    StdoutToStderr,
    /// Both outputs to a file, and nothing to read: for a terminal that belongs to the screen.
    Capture(File),
}

impl Output {
    /// A file without a name for [`Output::Capture`], and the handle by which to read it after.
    ///
    /// Writes go to its end, wherever the handle stands.
    pub fn capture() -> io::Result<(Self, File)> {
        let file = OpenOptions::new()
            .read(true)
            .append(true)
            .mode(0o600)
            .custom_flags(libc::O_TMPFILE)
            .open(std::env::temp_dir())?;
        let reader = file.try_clone()?;
        Ok((Self::Capture(file), reader))
    }
}

/// What happens to the command, in order.
#[derive(Debug)]
pub enum Event {
    /// A process stands still until it is told to proceed. There is one at a time.
    Held(Held),
    /// A process could not be stopped at its entry point, and runs on.
    Unwatched {
        /// The process.
        pid: u32,
        /// Why.
        reason: io::Error,
    },
    /// The command has ended. Nothing comes after this, and nothing is traced any more.
    Ended(ExitStatus),
}

/// A process that stands still.
#[derive(Debug)]
#[must_use = "the command is killed when this is dropped without an answer"]
pub struct Held {
    /// The process.
    pub pid: u32,
    /// Where it stands.
    pub stage: Stage,
    verdict: oneshot::Sender<Verdict>,
}

impl Held {
    /// Lets the process go on. Dropping this instead kills the command: who asked is gone.
    pub fn proceed(self, verdict: Verdict) {
        // The tracer waits for this, unless the command was killed meanwhile.
        let _ = self.verdict.send(verdict);
    }
}

/// Where a process stands still.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// It has become a new program, of which nothing but the executable is mapped.
    Exec,
    /// The dynamic loader has mapped the libraries; the program's first instruction comes next.
    LoaderDone,
    /// A followed process has made this one, whose first instruction comes next.
    Forked {
        /// The maker.
        parent: u32,
    },
}

/// How a process goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Its interpreter is known and its probes are in place. It is traced no more, unless children
    /// are followed.
    Probed,
    /// A library may bring the interpreter: hold it again at [`Stage::LoaderDone`].
    AtEntry,
    /// There is no interpreter: hold it again when it becomes another program.
    Pass,
    /// Kill it.
    Kill,
}

/// Why a command could not be started.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program, or it may not be run.
    #[error("cannot run '{}': {}", visible(program.as_bytes()), describe(source))]
    Run {
        /// The command's first word.
        program: OsString,
        /// What the kernel said.
        source: io::Error,
    },
    /// It may not be traced.
    #[error(
        "cannot hold '{}' at its start, which takes ptrace: {}; run pytop as root, and see that \
         neither kernel.yama.ptrace_scope nor the container's seccomp profile forbids ptrace",
        visible(program.as_bytes()), describe(source)
    )]
    Trace {
        /// The command's first word.
        program: OsString,
        /// What the kernel said.
        source: io::Error,
    },
}

impl LaunchError {
    /// The exit status that shells, env(1) and timeout(1) use for this: 127 when there is no such
    /// program, 126 when it cannot be run, 1 when it is pytop that cannot.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Run { source, .. } if source.kind() == io::ErrorKind::NotFound => 127,
            Self::Run { .. } => 126,
            Self::Trace { .. } => 1,
        }
    }
}

/// The exit status by which a shell reports how a command ended: its own, or 128 and the signal.
#[must_use]
pub fn exit_code(status: ExitStatus) -> u8 {
    status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal))
        .and_then(|code| u8::try_from(code).ok())
        .unwrap_or(1)
}

/// A command under pytop's control. Dropping it before its end kills the command, and the
/// descendants that are followed.
#[derive(Debug)]
pub struct Launched {
    pid: u32,
    /// Signals sent through this cannot reach another process that got the same number.
    pidfd: OwnedFd,
    events: mpsc::UnboundedReceiver<Event>,
    ended: Option<ExitStatus>,
    /// Read by the tracer when the command has ended: followed descendants are not to outlive it.
    kill_all: Arc<AtomicBool>,
}

impl Launched {
    /// The command's process id. It has no descendants yet when [`launch`] returns.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The next event; `None` after [`Event::Ended`].
    ///
    /// Every process of the command may stand still until an [`Event::Held`] is answered. Cancelling
    /// this future loses nothing.
    pub async fn next(&mut self) -> Option<Event> {
        let event = self.events.recv().await;
        if let Some(Event::Ended(status)) = &event {
            self.ended = Some(*status);
        }
        event
    }

    /// Sends a signal to the command itself, and to no other process.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        ptrace::pidfd_send_signal(self.pidfd.as_fd(), signal as i32)
    }

    /// Ends the command: SIGTERM, and SIGKILL if it is still there after `grace`.
    ///
    /// A stopped command is continued, as timeout(1) does. Descendants that are followed get no
    /// SIGTERM, which is for the command to pass on, but the SIGKILL. `None` when even SIGKILL has not ended it
    /// within another `grace`, because it waits for a device. Whatever is held must be answered
    /// before; what comes to be held while this waits is let go.
    pub async fn terminate(&mut self, grace: Duration) -> Option<ExitStatus> {
        for gentle in [true, false] {
            // These fail when the command has ended, which the wait below will tell.
            if gentle {
                let _ = self.signal(Signal::SIGTERM);
                let _ = self.signal(Signal::SIGCONT);
            } else {
                self.kill();
            }
            if let Ok(status) = tokio::time::timeout(grace, self.end()).await {
                return status;
            }
        }
        None
    }

    /// Kills the command and the descendants that are followed.
    fn kill(&self) {
        self.kill_all.store(true, Ordering::Release);
        // It fails when the command has ended.
        let _ = self.signal(Signal::SIGKILL);
    }

    /// Waits for the end, and lets go what is held meanwhile.
    async fn end(&mut self) -> Option<ExitStatus> {
        while self.ended.is_none() {
            match self.next().await {
                Some(Event::Held(held)) => held.proceed(Verdict::Pass),
                Some(_) => {}
                None => break,
            }
        }
        self.ended
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if self.ended.is_none() {
            self.kill();
        }
    }
}

/// Starts `command`, and returns when it stands still at its first [`Stage::Exec`].
///
/// With `follow_children`, every process that it makes is held at its start and at each program
/// that it becomes, until the command itself ends; those that outlive it are let go.
///
/// Blocks for as long as one fork and one exec take.
pub fn launch(
    command: &[OsString],
    follow_children: bool,
    output: Output,
) -> Result<Launched, LaunchError> {
    let program = command.first().cloned().unwrap_or_default();
    let run = |source| LaunchError::Run {
        program: program.clone(),
        source,
    };
    let prepared = prepare(command, output).map_err(run)?;
    let (started, result) = blocking::channel();
    thread::Builder::new()
        .name("pytop-command".to_owned())
        .spawn(move || stand_behind(prepared, follow_children, &started))
        .map_err(run)?;
    match result.recv() {
        Ok(Ok(launched)) => Ok(launched),
        Ok(Err(Failure::Run(source))) => Err(run(source)),
        Ok(Err(Failure::Trace(source))) => Err(LaunchError::Trace { program, source }),
        Err(blocking::RecvError) => Err(run(io::Error::other("the thread that starts it died"))),
    }
}

enum Failure {
    Run(io::Error),
    Trace(io::Error),
}

fn prepare(command: &[OsString], output: Output) -> io::Result<Command> {
    let program = command.first().map_or(OsStr::new(""), OsString::as_os_str);
    let mut prepared = Command::new(program);
    prepared.args(command.iter().skip(1));
    match output {
        Output::Inherit => {}
        Output::StdoutToStderr => {
            prepared.stdout(Stdio::from(io::stderr().as_fd().try_clone_to_owned()?));
        }
        Output::Capture(file) => {
            prepared
                .stdin(Stdio::null())
                .stderr(file.try_clone()?)
                .stdout(file);
        }
    }
    Ok(prepared)
}

/// The life of the thread that forks the command: until the command's end, because of
/// `PR_SET_PDEATHSIG`.
fn stand_behind(
    mut command: Command,
    follow_children: bool,
    started: &blocking::Sender<Result<Launched, Failure>>,
) {
    let attempt = || -> io::Result<_> {
        let (tracer_side, child_side) = UnixStream::pair()?;
        let foreign = tracer_side.as_raw_fd();
        let (seized, report) = blocking::channel();
        let (executed, was_executed) = blocking::channel();
        let (events, received) = mpsc::unbounded_channel();
        let kill_all = Arc::new(AtomicBool::new(false));
        let policy = Policy {
            follow_children,
            kill_all: kill_all.clone(),
        };
        let tracer = thread::Builder::new()
            .name("pytop-tracer".to_owned())
            .spawn(move || {
                if let Some(pid) = seize(&tracer_side, &seized) {
                    drop(tracer_side);
                    Tracer::new(pid, policy, events).run(&was_executed);
                }
            })?;
        let parent = std::process::id();
        // SAFETY: between fork and exec the closure makes system calls only. It allocates nothing
        // and takes no lock.
        unsafe { command.pre_exec(move || wait_to_be_seized(&child_side, foreign, parent)) };
        let spawned = command.spawn();
        // The child's end of the socket is in the command. The tracer must see it closed when there
        // is no child.
        drop(command);
        if spawned.is_ok() {
            let _ = executed.send(());
        }
        Ok((spawned, report, received, kill_all, tracer))
    };
    let (spawned, report, events, kill_all, tracer) = match attempt() {
        Ok(parts) => parts,
        Err(error) => {
            let _ = started.send(Err(Failure::Run(error)));
            return;
        }
    };
    let outcome = match (spawned, report.try_recv()) {
        (Ok(_), Ok(Ok((pid, pidfd)))) => Ok(Launched {
            pid,
            pidfd,
            events,
            ended: None,
            kill_all,
        }),
        (_, Ok(Err(error))) => Err(Failure::Trace(error)),
        (Err(error), _) => Err(Failure::Run(error)),
        // The child cannot have got past its wait.
        (Ok(_), Err(_)) => Err(Failure::Run(io::ErrorKind::Other.into())),
    };
    let wait = outcome.is_ok();
    let _ = started.send(outcome);
    if wait {
        let _ = tracer.join();
    }
}

/// In the child, before exec: asks to be killed with the parent, and to be traced.
fn wait_to_be_seized(mut socket: &UnixStream, foreign: RawFd, parent: u32) -> io::Result<()> {
    // The tracer's end came along with the fork. Held open here, it would hide the tracer's death.
    ptrace::close(foreign);
    nix::sys::prctl::set_pdeathsig(Signal::SIGKILL)?;
    // It may have died before that took effect.
    if std::os::unix::process::parent_id() != parent {
        return Err(io::Error::from_raw_os_error(libc::ECANCELED));
    }
    socket.write_all(&std::process::id().to_ne_bytes())?;
    let mut go = [0];
    socket
        .read_exact(&mut go)
        .map_err(|_| io::Error::from_raw_os_error(libc::ECANCELED))
}

/// In the tracer: seizes the child that announces itself, and lets it exec. `None` when there is no
/// child, or it cannot be seized.
fn seize(
    mut socket: &UnixStream,
    seized: &blocking::Sender<io::Result<(u32, OwnedFd)>>,
) -> Option<i32> {
    let mut announced = [0; 4];
    socket.read_exact(&mut announced).ok()?;
    let pid = u32::from_ne_bytes(announced);
    let task = i32::try_from(pid).ok()?;
    let outcome = ptrace::seize(task).and_then(|()| ptrace::pidfd_open(task));
    let succeeded = outcome.is_ok();
    seized.send(outcome.map(|pidfd| (pid, pidfd))).ok()?;
    (succeeded && socket.write_all(&[1]).is_ok()).then_some(task)
}
