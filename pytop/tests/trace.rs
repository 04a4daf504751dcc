//! `pytop trace`: what it tells is what the program did, call by call.

mod support;

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};

use serde::Deserialize;
use support::{Form, Interpreter, Python, Pytop, at_hand, interpreters};

/// A line of a trace in JSON.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    time_us: u64,
    event: String,
    how: Option<String>,
    pid: u32,
    tid: u32,
    depth: u64,
    line: Option<u32>,
    function: Option<String>,
    lost: Option<u64>,
}

/// An entry or a return: sign, depth, function.
type Step = (String, u64, String);

/// Steps by thread, in the order in which the threads appear.
type Steps = BTreeMap<usize, Vec<Step>>;

/// A script without anything before it that differs from run to run.
fn script(interpreter: &'static Interpreter, name: &str) -> Python {
    Python::new(interpreter, Form::Chroot, name)
        .option("-S")
        .option("-E")
        .option("-B")
}

/// Runs `pytop trace` to its end.
fn trace(arguments: &[&str], words: &[String]) -> Output {
    let output = Pytop::command()
        .arg("trace")
        .args(arguments)
        .arg("--")
        .args(words)
        .stdin(Stdio::null())
        .output()
        .expect("pytop can be started");
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("pytop: tracing 1 processes (1 interpreters)\n"),
        "{said}"
    );
    output
}

/// The lines of a trace of a script's own functions.
fn lines(python: &Python, method: &str) -> Vec<Line> {
    let filter = format!("^{}:", python.filename());
    let arguments = ["--format", "json", "--method", method, "-f", &filter];
    let output = trace(&arguments, &python.words());
    String::from_utf8(output.stdout)
        .expect("JSON is UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// What a trace tells, without the creation of generators.
fn traced(lines: &[Line]) -> Steps {
    let mut threads = Vec::new();
    let mut steps = Steps::new();
    for line in lines {
        assert_eq!(line.event == "lost", line.lost.is_some());
        assert!(line.lost.is_none(), "{line:?}");
        if !threads.contains(&line.tid) {
            threads.push(line.tid);
        }
        let thread = threads.iter().position(|tid| *tid == line.tid);
        let steps = steps.entry(thread.expect("it was added")).or_default();
        let function = line.function.clone().unwrap_or_else(|| "?".to_owned());
        if line.how.as_deref() == Some("created") {
            let (sign, _, made) = steps.pop().expect("it was entered");
            assert_eq!((sign.as_str(), made), ("=>", function));
            continue;
        }
        let sign = if line.event == "entry" { "=>" } else { "<=" };
        steps.push((sign.to_owned(), line.depth + 1, function));
    }
    steps
}

/// What the script itself has recorded.
fn recorded(python: &Python) -> Steps {
    let mut command: Command = python.clone().argument(&"record").command();
    let output = command.output().expect("Python can be started");
    assert!(output.status.success(), "{output:?}");
    let mut steps = Steps::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [thread, sign, depth, function] = words[..] else {
            panic!("{line}");
        };
        steps
            .entry(thread.parse().expect("a number"))
            .or_default()
            .push((
                sign.to_owned(),
                depth.parse().expect("a number"),
                function.to_owned(),
            ));
    }
    steps
}

/// From the entry of `function` to its last return.
fn within(steps: &[Step], function: &str) -> Vec<Step> {
    let is = |(_, _, name): &Step| name == function;
    let first = steps.iter().position(is).expect("it was entered");
    let last = steps.iter().rposition(is).expect("it was left");
    steps[first..=last].to_vec()
}

/// The same steps, each with the number of functions that were entered and not left.
fn counted(steps: &[Step]) -> Vec<Step> {
    let mut depth = steps[0].1 - 1;
    let mut counted = Vec::with_capacity(steps.len());
    for (sign, _, function) in steps {
        depth += u64::from(sign == "=>");
        counted.push((sign.clone(), depth, function.clone()));
        depth -= u64::from(sign == "<=");
    }
    counted
}

fn assert_same(what: &str, traced: &[Step], recorded: &[Step]) {
    for (number, (traced, recorded)) in traced.iter().zip(recorded).enumerate() {
        assert_eq!(traced, recorded, "step {number} of {what}");
    }
    assert_eq!(traced.len(), recorded.len(), "{what}");
}

fn assert_is_what_the_program_did(interpreter: &'static Interpreter, method: &str) {
    let python = script(interpreter, "hierarchy.py");
    let recorded = recorded(&python);
    let traced = traced(&lines(&python, method));
    assert_eq!(recorded.len(), 4, "a main thread and three others");
    assert_eq!(traced.len(), recorded.len());
    // A marker tells no frames, so that their number is what was entered and not left. With frames
    // it is that of a traceback: a generator that passes an exception on without being entered is
    // one of them. In 3.9 such a one hides all those around it, and is not counted.
    let counts = method == "marker" || interpreter.name == "3.9";
    for (thread, recorded) in &recorded {
        let mut traced = traced[thread].clone();
        let mut recorded = recorded.clone();
        if *thread == 0 {
            traced = within(&traced, "workload");
            recorded = within(&recorded, "workload");
        }
        if counts {
            recorded = counted(&recorded);
        }
        let what = format!("thread {thread} on {} by {method}", interpreter.version);
        assert_same(&what, &traced, &recorded);
    }
}

#[test]
fn a_marker_tells_exactly_what_the_program_did() {
    for interpreter in support::live() {
        assert_is_what_the_program_did(interpreter, "marker");
    }
}

#[test]
fn without_a_marker_exactly_the_same_is_told() {
    for interpreter in at_hand() {
        assert_is_what_the_program_did(interpreter, interpreter.method_without_marker());
    }
}

#[test]
fn lines_are_those_of_the_functions() {
    for interpreter in interpreters() {
        let python = script(interpreter, "hierarchy.py");
        let method = interpreter.method_without_marker();
        let lines = lines(&python, method);
        let leaf = python.line("def leaf():");
        let leaves = lines
            .iter()
            .filter(|line| line.function.as_deref() == Some("leaf"));
        assert!(leaves.clone().all(|line| line.line == Some(leaf)));
        let times: Vec<u64> = lines
            .iter()
            .filter(|line| line.tid == line.pid)
            .map(|line| line.time_us)
            .collect();
        assert!(times.is_sorted(), "time goes on");
        assert!(leaves.count() > 600);
    }
}
