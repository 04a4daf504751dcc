//! Commands that are run to their end.

use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::DEADLINE;
use super::pytop::{Pytop, await_end};

/// What a command did.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// As a shell has it: 128 and the signal when one ended it.
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// Kills the child unless it was waited for.
struct Guard(Option<Child>);

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Outcome {
    /// Runs pytop to its end.
    pub(crate) fn of_pytop<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Self {
        let mut command = Pytop::command();
        command.args(arguments);
        Self::of(command)
    }

    /// Runs a command to its end, with nothing to read.
    pub(crate) fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped());
        Self::of_prepared(command)
    }

    /// Runs a command to its end whose standard input and output are prepared.
    pub(crate) fn of_prepared(mut command: Command) -> Self {
        let name = format!("{command:?}");
        let child = command
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        // Its copies of the pipes would keep them open.
        drop(command);
        let mut guard = Guard(Some(child));
        let child = guard.0.as_mut().expect("it was just started");
        let (stdout, stderr) = (
            child.stdout.take().map(read_all),
            child.stderr.take().map(read_all),
        );
        let receive = |bytes: Option<Receiver<Vec<u8>>>| {
            bytes.map_or_else(Vec::new, |bytes| {
                bytes
                    .recv_timeout(DEADLINE)
                    .unwrap_or_else(|_| panic!("{name} is silent for {DEADLINE:?}"))
            })
        };
        let (stdout, stderr) = (receive(stdout), receive(stderr));
        await_end(&name, child);
        let status = child.wait().expect("a child can be waited for");
        guard.0 = None;
        let status = status
            .code()
            .or_else(|| status.signal().map(|signal| 128 + signal))
            .expect("it exited, or a signal ended it");
        Self {
            status,
            stdout,
            stderr,
        }
    }

    /// What it wrote to standard output.
    pub(crate) fn stdout(&self) -> &str {
        str::from_utf8(&self.stdout).expect("standard output is UTF-8")
    }

    /// What it wrote to standard error.
    pub(crate) fn stderr(&self) -> &str {
        str::from_utf8(&self.stderr).expect("standard error is UTF-8")
    }

    /// The messages of pytop, without their `pytop: `, but for the one that says what is counted.
    pub(crate) fn messages(&self) -> Vec<&str> {
        let mut messages = Vec::new();
        for line in self.stderr().lines() {
            let message = line
                .strip_prefix("pytop: ")
                .unwrap_or_else(|| panic!("a message without a sender: {line:?}"));
            assert_is_for_people(message);
            if !message.starts_with("counting ") {
                messages.push(message);
            }
        }
        messages
    }

    /// It failed with this status, printed nothing, and said this and nothing else.
    #[track_caller]
    pub(crate) fn assert_failed(&self, status: i32, message: &str) {
        assert_is_for_people(message);
        assert_eq!(self.stderr(), format!("pytop: {message}\n"));
        assert_eq!(self.stdout(), "", "{message}");
        assert_eq!(self.status, status, "{message}");
    }
}

/// A message is for users, who know nothing of pytop's insides.
#[track_caller]
fn assert_is_for_people(message: &str) {
    for inside in [
        "os error",
        "panicked",
        "backtrace",
        "RUST",
        "::",
        "Error {",
        "Error(",
        "Some(",
        "Os {",
        "(code: ",
        "`",
    ] {
        assert!(!message.contains(inside), "{inside:?} in {message:?}");
    }
}

fn read_all(mut pipe: impl Read + Send + 'static) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut bytes = Vec::new();
        // An error ends it as the end does.
        let _ = pipe.read_to_end(&mut bytes);
        let _ = sender.send(bytes);
    });
    receiver
}
