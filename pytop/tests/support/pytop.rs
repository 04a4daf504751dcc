//! The real pytop, run as users run it.

use std::ffi::OsStr;
use std::io::{Write as _, pipe};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::channel;
use std::thread;

use nix::sys::signal::{Signal, kill};
use nix::sys::wait::{Id, WaitPidFlag, waitid};
use nix::unistd::Pid;

use super::DEADLINE;
use super::counted::{Counted, Snapshot};
use super::lines::Lines;

/// Arguments of a pytop that counts the whole machine, where others may call functions, too: more
/// than the table has room for unless it is made larger.
pub(crate) fn machine_wide<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Vec<&'a str> {
    ["--table-size", "262144"]
        .into_iter()
        .chain(arguments)
        .collect()
}

/// Whether this is what is said at the end of a command that was counted.
pub(crate) fn is_cost(message: &str) -> bool {
    message
        .strip_prefix("pytop: counting took some ")
        .is_some_and(|rest| rest.ends_with(" s of the command's time"))
}

/// A running pytop that prints JSON. Dropping kills it.
pub(crate) struct Pytop {
    child: Child,
    output: Lines,
    errors: Lines,
    snapshots: Vec<Snapshot>,
    messages: Vec<String>,
    status: Option<ExitStatus>,
}

impl Pytop {
    /// The command that runs the pytop of this build.
    pub(crate) fn command() -> Command {
        Command::new(env!("CARGO_BIN_EXE_pytop"))
    }

    /// Starts pytop with `arguments` after `--format json -t 0`.
    pub(crate) fn spawn<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Self::command();
        command
            .args(["--format", "json", "-t", "0"])
            .args(arguments);
        Self::spawn_command(command)
    }

    /// Starts pytop with a command, which reads `go` and then the end of its input.
    pub(crate) fn spawn_told<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let (input, mut told) = pipe().expect("a pipe can be made");
        told.write_all(b"go\n").expect("a pipe has room");
        let mut command = Self::command();
        command
            .args(["--format", "json", "-t", "0"])
            .args(arguments);
        Self::spawn_reading(command, input.into())
    }

    /// Starts a command that is pytop and prints JSON.
    pub(crate) fn spawn_command(command: Command) -> Self {
        Self::spawn_reading(command, Stdio::null())
    }

    fn spawn_reading(mut command: Command, input: Stdio) -> Self {
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().expect("pytop can be started");
        let output = child.stdout.take().expect("standard output is a pipe");
        let errors = child.stderr.take().expect("standard error is a pipe");
        Self {
            child,
            output: Lines::of("pytop's output".to_owned(), output),
            errors: Lines::of("pytop's standard error".to_owned(), errors),
            snapshots: Vec::new(),
            messages: Vec::new(),
            status: None,
        }
    }

    /// Starts pytop, and waits until all its probes are in place.
    pub(crate) fn start<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut pytop = Self::spawn(arguments);
        pytop.counting();
        pytop
    }

    /// Waits until all probes are in place, and returns how many processes and interpreters have
    /// them.
    pub(crate) fn counting(&mut self) -> (u64, u64) {
        let Some(line) = self.errors.next() else {
            panic!("pytop ended before it counted: {:?}", self.messages);
        };
        let counting = line.strip_prefix("pytop: counting ").and_then(|line| {
            let (processes, line) = line.split_once(" processes (")?;
            let interpreters = line.strip_suffix(" interpreters)")?;
            Some((processes.parse().ok()?, interpreters.parse().ok()?))
        });
        counting.unwrap_or_else(|| panic!("pytop says: {line}; {:?}", self.errors.so_far()))
    }

    /// Waits for the next line on its standard error.
    pub(crate) fn message(&self) -> String {
        let line = self.errors.next();
        line.expect("pytop has something to say")
    }

    /// Waits for its end, and returns its status and the lines of its output.
    pub(crate) fn end(mut self) -> (ExitStatus, Vec<String>) {
        let output = self.output.rest();
        (self.wait(), output)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for the next snapshot.
    pub(crate) fn snapshot(&mut self) -> &Snapshot {
        let Some(line) = self.output.next() else {
            panic!("pytop ended its output: {:?}", self.errors.rest());
        };
        self.snapshots.push(Snapshot::parse(&line));
        self.snapshots.last().expect("one was just added")
    }

    /// The snapshots that have come so far.
    pub(crate) fn snapshots_so_far(&mut self) -> &[Snapshot] {
        let lines = self.output.so_far();
        self.snapshots
            .extend(lines.iter().map(|line| Snapshot::parse(line)));
        &self.snapshots
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) {
        assert!(self.status.is_none(), "pytop has ended");
        kill(Pid::from_raw(self.pid().cast_signed()), signal).expect("pytop can be signalled");
    }

    /// Ends it by SIGINT, and returns all that it has counted.
    pub(crate) fn interrupt(self) -> Counted {
        self.signal(Signal::SIGINT);
        let counted = self.finish();
        assert!(
            counted.status.success(),
            "pytop ended with {}: {:?}",
            counted.status,
            counted.messages
        );
        counted
    }

    /// Waits for its end, and returns all that it has counted.
    pub(crate) fn finish(mut self) -> Counted {
        // Both ends come before its own, and they can be awaited with a deadline.
        let rest = self.output.rest();
        self.snapshots
            .extend(rest.iter().map(|line| Snapshot::parse(line)));
        self.messages.extend(self.errors.rest());
        let status = self.wait();
        Counted {
            status,
            snapshots: std::mem::take(&mut self.snapshots),
            messages: std::mem::take(&mut self.messages),
        }
    }

    /// Ends it by SIGKILL, and waits until the process is gone.
    pub(crate) fn kill(mut self) {
        self.signal(Signal::SIGKILL);
        self.wait();
    }

    fn wait(&mut self) -> ExitStatus {
        await_end("pytop", &self.child);
        let status = self.child.wait().expect("a child can be waited for");
        self.status = Some(status);
        status
    }
}

impl Drop for Pytop {
    fn drop(&mut self) {
        if self.status.is_none() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Waits until a process has ended, and leaves it to be reaped.
///
/// # Panics
/// It does not end within [`DEADLINE`].
pub(crate) fn await_end(name: &str, child: &Child) {
    // A thread waits, because no call does so with a deadline.
    let (sender, ended) = channel();
    let pid = Pid::from_raw(child.id().cast_signed());
    thread::spawn(move || {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let _ = sender.send(waitid(Id::Pid(pid), flags));
    });
    let ended = ended.recv_timeout(DEADLINE);
    assert!(ended.is_ok(), "{name} has not ended within {DEADLINE:?}");
}
