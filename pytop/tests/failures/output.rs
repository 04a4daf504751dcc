//! Outputs that take nothing.

use std::fs::File;
use std::io::{BufRead as _, BufReader, PipeReader, PipeWriter, Write as _, pipe};
use std::process::{Child, Command, Stdio};

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::support::{
    Form, Lines, Marked, Outcome, Python, Pytop, Running, await_end, interpreter, is_cost,
};

/// Calls of one round of a target, which take longer than some intervals.
const CALLS: u64 = 200_003;

fn spinning() -> Running {
    Python::new(interpreter("3.9"), Form::Chroot, "spin.py").start()
}

fn full() -> File {
    File::options()
        .write(true)
        .open("/dev/full")
        .expect("every Linux has it")
}

/// As in `pytop -b | head -1`.
#[test]
fn nobody_reads_any_more() {
    let running = spinning();
    let pid = running.pid().to_string();
    for arguments in [vec!["-p", &pid], vec![]] {
        let mut pytop = Pytop::command()
            .args(["-b", "-d", "0.1", "-t", "0"])
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pytop can be started");
        let mut output = BufReader::new(pytop.stdout.take().expect("standard output is a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("pytop prints UTF-8");
        assert!(line.starts_with("pytop 20"), "{line}");
        drop(output);
        let ended = pytop.wait_with_output().expect("it can be waited for");
        let errors = String::from_utf8(ended.stderr).expect("messages are UTF-8");
        assert!(
            errors.starts_with("pytop: counting ") && errors.lines().count() == 1,
            "{errors}"
        );
        assert_eq!(ended.status.code(), Some(0));
    }
}

/// The command gets no more time than pytop has.
#[test]
fn nobody_reads_what_a_command_does() {
    let python = Python::new(interpreter("3.9"), Form::Chroot, "spin.py");
    let mut pytop = Pytop::command()
        .args(["--format", "csv", "-d", "0.1", "--"])
        .args(python.words())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pytop can be started");
    let mut output = BufReader::new(pytop.stdout.take().expect("standard output is a pipe"));
    let mut line = String::new();
    output.read_line(&mut line).expect("pytop prints UTF-8");
    assert_eq!(line, "time,pid,filename,line,function,calls\n");
    drop(output);
    // Standard error is the command's too, and this waits until all have closed it.
    let ended = pytop.wait_with_output().expect("it can be waited for");
    assert_eq!(ended.status.code(), Some(0));
}

/// A pipe that is full already.
fn full_pipe() -> (PipeReader, PipeWriter) {
    let (reader, writer) = pipe().expect("a pipe can be made");
    fill(&writer);
    (reader, writer)
}

/// Fills a pipe, while nobody else writes to it.
fn fill(pipe: &PipeWriter) {
    let blocking = fcntl(pipe, FcntlArg::F_GETFL).expect("a pipe has flags");
    let blocking = OFlag::from_bits_retain(blocking);
    let set = |flags| fcntl(pipe, FcntlArg::F_SETFL(flags)).expect("flags can be set");
    set(blocking | OFlag::O_NONBLOCK);
    while (&*pipe).write(&[b'\n'; 4096]).is_ok() {}
    set(blocking);
}

/// A process that is killed unless it has ended.
struct Started(Child);

impl Started {
    fn of(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        Self(command.spawn().expect("pytop can be started"))
    }

    fn messages(&mut self) -> Lines {
        let errors = self.0.stderr.take().expect("standard error is a pipe");
        Lines::of("pytop's standard error".to_owned(), errors)
    }

    fn status(&mut self) -> Option<i32> {
        await_end("pytop", &self.0);
        self.0.wait().expect("it can be waited for").code()
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A process that calls a function when it is told to.
fn told() -> Running {
    let python = Python::new(interpreter("3.9"), Form::Chroot, "loop.py");
    python.argument(&CALLS).start()
}

const COUNTING: &str = "pytop: counting 1 processes (1 interpreters)";

/// As in `pytop -b | sleep 1000`.
#[test]
fn nobody_reads_on() {
    let mut running = told();
    let marked = Marked::find(running.pid(), &interpreter("3.9").executable);
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP] {
        let (_reader, output) = full_pipe();
        let mut command = Pytop::command();
        command
            .args(["-b", "-d", "0.1", "-p", &running.pid().to_string()])
            .stdout(output)
            .stderr(Stdio::piped());
        let mut pytop = Started::of(command);
        let messages = pytop.messages();
        assert_eq!(messages.next().as_deref(), Some(COUNTING));
        // For more intervals than can wait to be printed.
        for _ in 0..4 {
            running.run();
        }
        assert!(marked.is_probed());
        kill(Pid::from_raw(pytop.0.id().cast_signed()), signal).expect("it is there");
        assert_eq!(pytop.status(), Some(1), "{signal}");
        assert_eq!(
            messages.rest(),
            [
                "pytop: cannot write to standard output: its reader has stopped reading, and the \
                 last counts are lost"
            ]
        );
        marked.await_untouched();
    }
    running.end_well();
}

/// As in `pytop -b 2>&1 | sleep 1000`: nobody can be told that nobody reads.
#[test]
fn nobody_reads_anything() {
    let mut running = told();
    let marked = Marked::find(running.pid(), &interpreter("3.9").executable);
    let (_reader, output) = full_pipe();
    let (messages, errors) = pipe().expect("a pipe can be made");
    let mut command = Pytop::command();
    command
        .args(["-b", "-d", "0.1", "-p", &running.pid().to_string()])
        .stdout(output)
        .stderr(errors.try_clone().expect("a pipe can be shared"));
    let mut pytop = Started::of(command);
    let mut line = String::new();
    let mut messages = BufReader::new(messages);
    messages.read_line(&mut line).expect("pytop prints UTF-8");
    assert_eq!(line.trim_end(), COUNTING);
    fill(&errors);
    for _ in 0..4 {
        running.run();
    }
    kill(Pid::from_raw(pytop.0.id().cast_signed()), Signal::SIGTERM).expect("it is there");
    assert_eq!(pytop.status(), Some(1));
    marked.await_untouched();
    running.end_well();
}

/// What a command starts is held until pytop has looked at it, whoever reads.
#[test]
fn a_command_goes_on_while_nobody_reads() {
    const PROCESSES: u64 = 10;
    let python = Python::new(interpreter("3.9"), Form::Chroot, "short.py")
        .option("-S")
        .argument(&CALLS);
    let line = python.words().join(" ");
    let script = format!("for i in $(seq {PROCESSES}); do {line}; done; echo over; exit 7");
    let (reader, output) = full_pipe();
    let mut command = Pytop::command();
    command
        .args(["--format", "csv", "-d", "0.1", "-t", "0", "--children"])
        .args(["--", "sh", "-c", &script])
        .stdout(output)
        .stderr(Stdio::piped());
    let mut pytop = Started::of(command);
    let messages = pytop.messages();
    assert_eq!(messages.next().as_deref(), Some(COUNTING));
    // What the command prints comes there, too.
    assert_eq!(messages.next().as_deref(), Some("over"));
    assert_eq!(calls_in(reader), PROCESSES * CALLS);
    let rest = messages.rest();
    assert!(matches!(&rest[..], [cost] if is_cost(cost)), "{rest:?}");
    assert_eq!(pytop.status(), Some(7));
}

/// The calls that CSV reports, once all of it has been read.
fn calls_in(reader: PipeReader) -> u64 {
    let output = Lines::of("pytop's output".to_owned(), reader).rest();
    let calls = output.iter().filter_map(|line| {
        let (place, calls) = line.rsplit_once(',')?;
        let calls: u64 = calls.parse().ok()?;
        place.ends_with(",called").then_some(calls)
    });
    calls.sum()
}

/// Whoever reads on later gets every count.
#[test]
fn a_reader_takes_its_time() {
    let mut running = told();
    let (reader, output) = full_pipe();
    let mut command = Pytop::command();
    command
        .args(["--format", "csv", "-d", "0.1", "-t", "0"])
        .args(["-p", &running.pid().to_string()])
        .stdout(output)
        .stderr(Stdio::piped());
    let mut pytop = Started::of(command);
    let messages = pytop.messages();
    assert_eq!(messages.next().as_deref(), Some(COUNTING));
    for _ in 0..4 {
        running.run();
    }
    // Its end is the end of the run.
    running.end_well();
    assert_eq!(calls_in(reader), 4 * CALLS);
    assert_eq!(messages.rest(), Vec::<String>::new());
    assert_eq!(pytop.status(), Some(0));
}

#[test]
fn the_disk_is_full() {
    let running = spinning();
    let pid = running.pid().to_string();
    for format in ["table", "json", "csv"] {
        let mut command = Pytop::command();
        command
            .args(["-b", "-d", "0.1", "-p", &pid, "--format", format])
            .stdin(Stdio::null())
            .stdout(full());
        let outcome = Outcome::of_prepared(command);
        assert_eq!(
            outcome.messages(),
            ["cannot write to standard output: No space left on device"]
        );
        assert_eq!(outcome.status, 1);
    }
}

/// What cannot be told is no reason to stop.
#[test]
fn standard_error_takes_nothing() {
    let running = spinning();
    let pid = running.pid().to_string();
    let script = "exec \"$0\" --once -d 0.1 -p \"$1\"";
    for redirection in ["2>&-", "2>/dev/full"] {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{script} {redirection}")])
            .arg(env!("CARGO_BIN_EXE_pytop"))
            .arg(&pid);
        let outcome = Outcome::of(command);
        assert!(outcome.stdout().contains(" called "), "{outcome:?}");
        assert_eq!(outcome.status, 0);

        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec \"$0\" -p 0 {redirection}")])
            .arg(env!("CARGO_BIN_EXE_pytop"));
        assert_eq!(Outcome::of(command).status, 2);
    }
}
