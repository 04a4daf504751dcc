//! Processes that were asked for by their pids and cannot be counted.

use std::fs;
use std::process::{Command, Stdio};

use super::support::{Form, Interpreter, Marker, Outcome, Python, Running, interpreter};

fn once(pid: &impl ToString) -> Outcome {
    Outcome::of_pytop(["--once", "-d", "0.1", "-p", &pid.to_string()])
}

fn waiting(interpreter: &'static Interpreter) -> Running {
    Python::new(interpreter, Form::Chroot, "loop.py")
        .argument(&1)
        .start()
}

/// A process that is no CPython, and ends with its input.
fn cat() -> Running {
    Running::spawn("cat".to_owned(), Command::new("cat"))
}

/// As pytop tells the program of a process.
fn program(pid: u32) -> String {
    let path = fs::read_link(format!("/proc/{pid}/exe")).expect("a process has a program");
    path.display().to_string()
}

#[test]
fn there_is_none() {
    let mut ended = cat();
    let pid = ended.pid();
    ended.end_well();
    once(&pid).assert_failed(
        1,
        &format!("there is no process with the pid {pid}; it may have ended"),
    );
}

#[test]
fn it_is_no_cpython() {
    let cat = cat();
    let pid = cat.pid();
    once(&pid).assert_failed(
        1,
        &format!(
            "process {pid} ({}) is not a CPython process: neither its program nor a library that it \
             has loaded holds a CPython interpreter; if it starts some, count them with --children",
            program(pid)
        ),
    );
}

#[test]
fn it_runs_in_the_kernel() {
    // The kernel starts it right after init; containers do not show it.
    let kthreadd = fs::read_to_string("/proc/2/comm").expect("live tests see the whole machine");
    assert_eq!(kthreadd, "kthreadd\n");
    once(&2).assert_failed(
        1,
        "process 2 (kthreadd) is a thread of the kernel and runs no program",
    );
}

#[test]
fn it_is_a_thread() {
    let text = "import os, threading\n\
        threading.Thread(target=input).start()\n\
        print(*os.listdir('/proc/self/task'), flush=True)\n";
    let interpreter = interpreter("3.9");
    let python = Python::of_text(interpreter, Form::Direct, text.to_owned());
    let running = python.spawn();
    let pid = running.pid();
    let tasks = running.line();
    let thread = tasks
        .split(' ')
        .find(|task| *task != pid.to_string())
        .expect("it has two threads");
    once(&thread).assert_failed(
        1,
        &format!("{thread} is the id of a thread, not of a process; try its process, --pid {pid}"),
    );
}

#[test]
fn it_has_ended_and_nobody_took_notice() {
    let text = "import os\n\
        child = os.fork() or os._exit(0)\n\
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)\n\
        print(child, flush=True)\n\
        input()\n";
    let interpreter = interpreter("3.9");
    let python = Python::of_text(interpreter, Form::Direct, text.to_owned());
    let parent = python.spawn();
    let zombie = parent.line();
    once(&zombie).assert_failed(
        1,
        &format!("process {zombie} (python3.9) has ended; its parent has not waited for it yet"),
    );
}

#[test]
fn its_marker_is_not_live() {
    for (name, marker, why) in [
        (
            "3.11",
            Marker::Dead,
            "has a function__entry marker that fires only under sys.settrace and sys.setprofile",
        ),
        (
            "3.13",
            Marker::None,
            "has no function__entry marker (none of 3.11 to 3.14 would fire at calls)",
        ),
    ] {
        let interpreter = interpreter(name);
        assert_eq!(interpreter.marker, marker, "{name}");
        let running = waiting(interpreter);
        let pid = running.pid();
        let message = format!(
            "process {pid} ({}) cannot be counted: CPython {} {why}; leave out --method, and it is \
             counted without its marker",
            interpreter.executable.display(),
            interpreter.version
        );
        let marker = ["--once", "--method", "marker", "-p", &pid.to_string()];
        Outcome::of_pytop(marker).assert_failed(1, &message);
    }
}

#[test]
fn it_does_not_allow_the_method() {
    for (name, method, versions) in [
        ("3.9", "resume", "CPython 3.11 and later"),
        ("3.13", "eval", "CPython 3.6 to 3.10"),
    ] {
        let interpreter = interpreter(name);
        let running = waiting(interpreter);
        let pid = running.pid();
        let outcome = Outcome::of_pytop(["--once", "--method", method, "-p", &pid.to_string()]);
        outcome.assert_failed(
            1,
            &format!(
                "process {pid} ({}) cannot be counted: the method '{method}' is for {versions}, and \
                 this is CPython {}; leave out --method",
                interpreter.executable.display(),
                interpreter.version
            ),
        );
    }
}

#[test]
fn one_of_several_is_named() {
    let (python, cat) = (waiting(interpreter("3.9")), cat());
    let (good, bad) = (python.pid(), cat.pid());
    let outcome = Outcome::of_pytop(["--once", "-p", &format!("{good},{bad}")]);
    let [message] = outcome.messages()[..] else {
        panic!("one message expected: {outcome:?}");
    };
    assert!(
        message.starts_with(&format!("process {bad} (")),
        "{message}"
    );
    assert_eq!((outcome.stdout(), outcome.status), ("", 1));
}

/// With `--children` it is their descendants that are asked for, too.
#[test]
fn a_supervisor_need_not_be_cpython() {
    let cat = cat();
    let arguments = [
        "--once",
        "-d",
        "0.1",
        "--children",
        "-p",
        &cat.pid().to_string(),
    ];
    let outcome = Outcome::of_pytop(arguments);
    assert_eq!(
        outcome.stderr(),
        "pytop: counting 0 processes (0 interpreters)\n"
    );
    assert_eq!(outcome.status, 0);

    let mut ended = Command::new("true")
        .stdout(Stdio::null())
        .spawn()
        .expect("a command can be started");
    ended.wait().expect("it ends");
    let pid = ended.id().to_string();
    Outcome::of_pytop(["--once", "--children", "-p", &pid]).assert_failed(
        1,
        &format!("there is no process with the pid {pid}; it may have ended"),
    );
}
