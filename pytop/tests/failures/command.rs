//! Commands that cannot be started, end in different ways, or outlive pytop.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdout, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{
    Form, Lines, Outcome, Python, Pytop, Snapshot, interpreter, is_cost, seccomp,
};

fn run(words: &[&str]) -> Outcome {
    Outcome::of_pytop(["--format", "csv", "--"].iter().chain(words))
}

/// The words that start Python 3.9 from anywhere.
fn python() -> Vec<String> {
    interpreter("3.9").words(Form::Chroot)
}

#[test]
fn it_cannot_be_started() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let file = |name: &str, content: &str, mode| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("a file can be written");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("it is ours");
        path.to_str().expect("paths of tests are UTF-8").to_owned()
    };
    let script_of_nobody = file("script", "#!/no/such/interpreter\n", 0o755);
    let not_executable = file("data", "#!/bin/sh\n", 0o644);
    let directory = folder.path().to_str().expect("paths of tests are UTF-8");
    for (program, status, why) in [
        ("no-such-command", 127, "No such file or directory"),
        ("/no/such/command", 127, "No such file or directory"),
        (&script_of_nobody, 127, "No such file or directory"),
        ("", 127, "No such file or directory"),
        (&not_executable, 126, "Permission denied"),
        (directory, 126, "Permission denied"),
    ] {
        run(&[program]).assert_failed(status, &format!("cannot run '{program}': {why}"));
    }
    run(&["no\u{1b}]0;such\u{7}\u{202e}"]).assert_failed(
        127,
        "cannot run 'no\\x1b]0;such\\x07\\u{202e}': No such file or directory",
    );
}

#[test]
fn it_may_not_be_held() {
    let mut command = Pytop::command();
    command.args(["-b", "--", "true"]);
    seccomp::without(libc::SYS_ptrace, libc::EPERM, command).assert_failed(
        1,
        "cannot hold 'true' at its start, which takes ptrace: Operation not permitted; run pytop as \
         root, and see that neither kernel.yama.ptrace_scope nor the container's seccomp profile \
         forbids ptrace",
    );
}

#[test]
fn its_status_is_that_of_pytop() {
    let python = python();
    for (code, status) in [
        ("pass", 0),
        ("raise SystemExit(7)", 7),
        ("raise SystemExit(255)", 255),
        ("import os; os.kill(os.getpid(), 15)", 143),
        ("import os; os.kill(os.getpid(), 9)", 137),
        ("import os; os.abort()", 134),
    ] {
        let mut words: Vec<&str> = python.iter().map(String::as_str).collect();
        words.extend(["-c", code]);
        let outcome = run(&words);
        assert_eq!(outcome.status, status, "{code}");
        assert_eq!(outcome.messages(), Vec::<&str>::new(), "{code}");
    }
}

#[test]
fn it_runs_no_python() {
    for status in [0, 7] {
        let outcome = run(&["sh", "-c", &format!("exit {status}")]);
        assert_eq!(
            outcome.stderr(),
            "pytop: the command ran no CPython: nothing was counted (what it starts is counted with \
             --children)\n"
        );
        assert_eq!(outcome.stdout(), "time,pid,filename,line,function,calls\n");
        assert_eq!(outcome.status, status);
    }
    let outcome = Outcome::of_pytop(["-b", "--children", "--", "sh", "-c", "true"]);
    assert_eq!(
        outcome.messages(),
        ["the command ran no CPython: nothing was counted"]
    );
    assert_eq!(outcome.status, 0);
}

#[test]
fn its_python_cannot_be_counted() {
    let interpreter = interpreter("3.13");
    let mut words = interpreter.words(Form::Chroot);
    words.extend(["-c".to_owned(), "raise SystemExit(3)".to_owned()]);
    let options = ["--format", "csv", "--method", "marker", "--"].map(str::to_owned);
    let outcome = Outcome::of_pytop(options.iter().chain(&words));
    let [message] = outcome.messages()[..] else {
        panic!("one message expected: {outcome:?}");
    };
    let expected = format!(
        " ({}) cannot be counted: CPython {} has no function__entry marker (none of 3.11 to \
         3.14 would fire at calls); leave out --method, and it is counted without its marker",
        interpreter.executable.display(),
        interpreter.version
    );
    assert!(
        message.starts_with("process ") && message.ends_with(&expected),
        "{message}"
    );
    assert_eq!(outcome.status, 3);
}

/// pytop with a command that prints `ready` and then calls functions for ever.
struct Counted {
    pytop: Child,
    output: Option<BufReader<ChildStdout>>,
    errors: Lines,
}

impl Counted {
    fn start(options: &[&str], python: &Python) -> Self {
        let mut pytop = Pytop::command()
            .args(["--format", "json", "-t", "0"])
            .args(options)
            .arg("--")
            .args(python.words())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pytop can be started");
        let output = pytop.stdout.take().map(BufReader::new);
        let errors = pytop.stderr.take().expect("standard error is a pipe");
        let errors = Lines::of("pytop's standard error".to_owned(), errors);
        Self {
            pytop,
            output,
            errors,
        }
    }

    /// Waits for what the command and pytop print at their beginnings, in either order.
    fn ready(&self) -> Vec<String> {
        let mut lines: Vec<String> = (0..2)
            .map(|_| self.errors.next().expect("it goes on"))
            .collect();
        lines.sort();
        lines
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pytop.id().cast_signed()), signal).expect("it is there");
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let _ = self.pytop.kill();
        let _ = self.pytop.wait();
    }
}

/// What the command and what it has started print goes to pytop's standard error, which ends when
/// the last of them has.
#[test]
fn it_does_not_outlive_pytop() {
    let interpreter = interpreter("3.9");
    let alone = Python::new(interpreter, Form::Chroot, "spin.py");
    let family = Python::new(interpreter, Form::Chroot, "family.py");
    for (options, python) in [(&[][..], &alone), (&["--children"], &family)] {
        let mut counted = Counted::start(options, python);
        let ready = counted.ready();
        assert_eq!(ready.last().map(String::as_str), Some("ready"), "{ready:?}");
        counted.signal(Signal::SIGKILL);
        let _ = counted.pytop.wait();
        assert_eq!(counted.errors.rest(), Vec::<String>::new());
    }
}

#[test]
fn it_is_ended_by_what_ends_pytop() {
    // It has called before it says that it is ready: the signal may come at once.
    let text = "import os, time\n\
        def called(): pass\n\
        called()\n\
        os.write(1, b'ready\\n')\n\
        while True: time.sleep(1)\n";
    let python = Python::of_text(interpreter("3.9"), Form::Chroot, text.to_owned());
    for (signal, status) in [(Signal::SIGTERM, 143), (Signal::SIGHUP, 143)] {
        let mut counted = Counted::start(&["-d", "3600"], &python);
        counted.ready();
        counted.signal(signal);
        let output = counted.output.take().expect("standard output is a pipe");
        let snapshots: Vec<_> = output
            .lines()
            .map(|line| Snapshot::parse(&line.expect("pytop prints UTF-8")))
            .collect();
        let [snapshot] = &snapshots[..] else {
            panic!("the last snapshot, and no other, expected: {snapshots:?}");
        };
        let called = snapshot.rows.iter().find(|row| row.function == "called");
        assert_eq!(called.map(|row| row.calls), Some(1), "{snapshot:?}");
        assert_cost_alone(&counted.errors.rest());
        let ended = counted.pytop.wait().expect("it can be waited for");
        assert_eq!(ended.code(), Some(status), "{signal}");
    }
}

/// Nothing is said at the end but what counting has cost.
#[track_caller]
fn assert_cost_alone(messages: &[String]) {
    assert!(matches!(messages, [cost] if is_cost(cost)), "{messages:?}");
}

/// A program that does not heed SIGTERM is killed.
#[test]
fn it_cannot_refuse_to_end() {
    let text = "import signal, os, time\n\
        signal.signal(signal.SIGTERM, signal.SIG_IGN)\n\
        os.write(1, b'ready\\n')\n\
        while True: time.sleep(1)\n";
    let python = Python::of_text(interpreter("3.9"), Form::Chroot, text.to_owned());
    let mut counted = Counted::start(&[], &python);
    counted.ready();
    counted.signal(Signal::SIGTERM);
    assert_cost_alone(&counted.errors.rest());
    let ended = counted.pytop.wait().expect("it can be waited for");
    assert_eq!(ended.code(), Some(137));
}
