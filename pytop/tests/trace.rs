//! `pytop trace`: what it tells is what the program did, call by call.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Output, Stdio};

use nix::sys::signal::Signal;
use serde::Deserialize;
use support::{Form, Interpreter, Python, Pytop, Running, at_hand, interpreter, interpreters};

/// A line of a trace in JSON.
#[derive(Clone, Debug, Deserialize)]
struct Line {
    time_us: u64,
    event: String,
    how: Option<String>,
    pid: u32,
    tid: u32,
    depth: u64,
    #[serde(rename = "line")]
    number: Option<u32>,
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
    parsed(&output.stdout)
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

/// What the script itself has recorded; with the number of functions that were entered and not
/// left, or else with that of frames.
fn recorded(python: &Python, entered: bool) -> Steps {
    let mut command: Command = python.clone().argument(&"record").command();
    let output = command.output().expect("Python can be started");
    assert!(output.status.success(), "{output:?}");
    let mut steps = Steps::new();
    for line in String::from_utf8(output.stdout).expect("text").lines() {
        let words: Vec<&str> = line.split(' ').collect();
        let [thread, sign, frames, functions, function] = words[..] else {
            panic!("{line}");
        };
        let depth = if entered { functions } else { frames };
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

fn assert_same(what: &str, traced: &[Step], recorded: &[Step]) {
    for (number, (traced, recorded)) in traced.iter().zip(recorded).enumerate() {
        assert_eq!(traced, recorded, "step {number} of {what}");
    }
    assert_eq!(traced.len(), recorded.len(), "{what}");
}

fn assert_is_what_the_program_did(interpreter: &'static Interpreter, method: &str) {
    let python = script(interpreter, "hierarchy.py");
    // A marker tells no frames, so that their number is what was entered and not left. With frames
    // it is that of a traceback: a generator that passes an exception on without being entered is
    // one of them. In 3.9 such a one hides all those around it, and is not counted.
    let counts = method == "marker" || interpreter.name == "3.9";
    let recorded = recorded(&python, counts);
    let lines = lines(&python, method);
    // Only 3.11 does not tell of exceptions.
    let unseen = lines
        .iter()
        .any(|line| line.how.as_deref() == Some("unseen"));
    assert_eq!(unseen, interpreter.name == "3.11");
    let traced = traced(&lines);
    assert_eq!(recorded.len(), 4, "a main thread and three others");
    assert_eq!(traced.len(), recorded.len());
    for (thread, recorded) in &recorded {
        let mut traced = traced[thread].clone();
        let mut recorded = recorded.clone();
        if *thread == 0 {
            traced = within(&traced, "workload");
            recorded = within(&recorded, "workload");
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
        assert!(leaves.clone().all(|line| line.number == Some(leaf)));
        let times: Vec<u64> = lines
            .iter()
            .filter(|line| line.tid == line.pid)
            .map(|line| line.time_us)
            .collect();
        assert!(times.is_sorted(), "time goes on");
        assert!(leaves.count() > 600);
    }
}

/// The lines of a trace in JSON.
fn parsed(output: &[u8]) -> Vec<Line> {
    str::from_utf8(output)
        .expect("JSON is UTF-8")
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect()
}

/// What the kernel had to tell: events that were told, and those that were lost.
fn told_and_lost(lines: &[Line]) -> (u64, u64) {
    let seen = |line: &&Line| line.how.as_deref().is_some_and(|how| how != "unseen");
    let told = lines.iter().filter(seen).count();
    (told as u64, lines.iter().filter_map(|line| line.lost).sum())
}

/// A program that calls quicker than anyone could print: what does not fit into little memory is
/// told to be lost, all of it, and at its place.
#[test]
fn nothing_is_lost_silently() {
    const FEW: u64 = 100;
    const MANY: u64 = 200_000;
    for interpreter in interpreters() {
        let run = |calls: u64| {
            let python = script(interpreter, "short.py").argument(&calls);
            let arguments = ["--format", "json", "--buffer", "1"];
            parsed(&trace(&arguments, &python.words()).stdout)
        };
        let few = run(FEW);
        let (told_of_few, lost_of_few) = told_and_lost(&few);
        assert_eq!(lost_of_few, 0);
        let many = run(MANY);
        let (told, lost) = told_and_lost(&many);
        assert!(lost > 0, "it was told of {told} events");
        let version = &interpreter.version;
        assert_eq!(told + lost, told_of_few + 2 * (MANY - FEW), "{version}");
        // Whatever was lost, the depth is right.
        let depth = |lines: &[Line]| {
            let is = |line: &&Line| line.function.as_deref() == Some("called");
            let depths: BTreeSet<u64> = lines.iter().filter(is).map(|line| line.depth).collect();
            depths
        };
        assert_eq!(depth(&many), depth(&few), "{version}");
    }
}

#[test]
fn stacks_are_folded() {
    const CALLS: u64 = 1009;
    for interpreter in interpreters() {
        let python = script(interpreter, "short.py").argument(&CALLS);
        let filter = format!("^{}:", python.filename());
        let folded = |weight: &str| {
            let arguments = ["--format", "folded", "--weight", weight, "-f", &filter];
            let output = trace(&arguments, &python.words());
            let text = String::from_utf8(output.stdout).expect("text");
            let mut stacks = BTreeMap::new();
            for line in text.lines() {
                let (stack, weight) = line.rsplit_once(' ').expect("a stack and its weight");
                let (process, functions) = stack.split_once(';').expect("a process and functions");
                assert!(process.starts_with("python3.") && process.ends_with(')'));
                let functions = functions.split(';').map(|function| {
                    let (name, place) = function.split_once(" (").expect("a name and a place");
                    assert!(place.starts_with(python.filename()) && place.ends_with(')'));
                    name
                });
                let functions = functions.collect::<Vec<_>>().join(";");
                let weight: u64 = weight.parse().expect("a number");
                assert_eq!(stacks.insert(functions, weight), None);
            }
            stacks
        };
        let calls = folded("calls");
        let expected = [
            ("<module>", 1),
            ("<module>;called", CALLS),
            ("<module>;last", 1),
        ];
        let expected = expected.map(|(stack, calls)| (stack.to_owned(), calls));
        assert_eq!(calls, BTreeMap::from(expected));
        let times = folded("time");
        // The calls are most of the time, and at least a microsecond each.
        assert!(times["<module>"] + times["<module>;called"] > CALLS);
    }
}

/// Stacks of functions that a program was never in are not made up where events were lost, and how
/// many were is said.
#[test]
fn stacks_after_a_loss_are_those_that_there_were() {
    let stacks = [
        "turns",
        "turns;one",
        "turns;one;of_one",
        "turns;two",
        "turns;two;of_two",
    ];
    for interpreter in interpreters() {
        let python = script(interpreter, "alternates.py");
        let mut running = python.start();
        let filter = format!("^{}:", python.filename());
        let mut command = Pytop::command();
        command.args(["trace", "--format", "folded", "--weight", "calls"]);
        command.args(["--buffer", "1", "-f", &filter]);
        command.args(["-p", &running.pid().to_string()]);
        let pytop = Pytop::spawn_command(command);
        assert_eq!(
            pytop.message(),
            "pytop: tracing 1 processes (1 interpreters)"
        );
        running.run();
        // Nobody takes events out: they are more than there is room for.
        pytop.signal(Signal::SIGSTOP);
        running.run();
        pytop.signal(Signal::SIGCONT);
        running.run();
        pytop.signal(Signal::SIGINT);
        let said = pytop.message();
        let lost = said
            .strip_prefix("pytop: ")
            .and_then(|said| said.split_once(" events were lost"))
            .and_then(|(lost, _)| lost.parse::<u64>().ok());
        assert!(lost.is_some_and(|lost| lost > 0), "{said}");
        let (status, output) = pytop.end();
        assert!(status.success(), "{status}");
        running.end_well();
        assert!(!output.is_empty());
        for line in output {
            let (stack, _) = line.rsplit_once(' ').expect("a stack and its weight");
            let (_, stack) = stack.split_once(';').expect("a process and functions");
            let functions = stack
                .split(';')
                .map(|function| function.split(" (").next().unwrap_or(function));
            let stack = functions.collect::<Vec<_>>().join(";");
            let is_right = match stack.strip_prefix("(lost)") {
                // What is behind is the inner part of a stack.
                Some(inner) => stacks
                    .iter()
                    .any(|stack| format!(";{stack}").ends_with(inner)),
                None => stacks.contains(&stack.as_str()),
            };
            assert!(is_right, "{stack} on {}", interpreter.version);
        }
    }
}

#[test]
fn a_file_keeps_what_it_holds_until_there_is_a_trace() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("trace");
    let file = path.to_str().expect("text");
    let held = "held before\n".repeat(10_000);
    std::fs::write(&path, &held).expect("a file");
    // No process has this number.
    let output = Pytop::command()
        .args(["trace", "-o", file, "-p", "4194305"])
        .output()
        .expect("pytop can be started");
    assert!(!output.status.success(), "{output:?}");
    assert_eq!(std::fs::read_to_string(&path).expect("a file"), held);
    let python = script(interpreters().first().expect("an interpreter"), "short.py").argument(&1);
    let filter = format!("^{}:", python.filename());
    trace(&["-o", file, "-f", &filter], &python.words());
    let text = std::fs::read_to_string(&path).expect("a file");
    assert_eq!(text.lines().count(), 6, "{text}");
    assert!(!text.contains("held"), "{text}");
}

#[test]
fn an_output_that_cannot_be_written_is_named() {
    let python = script(interpreters().first().expect("an interpreter"), "short.py").argument(&1);
    for (file, why) in [
        ("/dev/full", "No space left on device"),
        ("/proc", "Is a directory"),
    ] {
        for format in ["text", "folded"] {
            let output = Pytop::command()
                .args(["trace", "--format", format, "-o", file, "--"])
                .args(python.words())
                .output()
                .expect("pytop can be started");
            assert_eq!(output.status.code(), Some(1), "{output:?}");
            let said = String::from_utf8_lossy(&output.stderr);
            let expected = format!("pytop: cannot write to {file}: {why}");
            assert!(said.contains(&expected), "{said}");
        }
    }
}

/// Functions with their depths, each as often as it was entered.
fn entered(python: &Python, options: &[&str]) -> BTreeMap<(String, u64), usize> {
    let arguments = [&["--format", "json"], options].concat();
    let lines = parsed(&trace(&arguments, &python.words()).stdout);
    let mut entered = BTreeMap::new();
    for line in lines.into_iter().filter(|line| line.event == "entry") {
        let function = line.function.unwrap_or_default();
        *entered.entry((function, line.depth)).or_default() += 1;
    }
    entered
}

#[test]
fn functions_can_be_chosen() {
    for interpreter in interpreters() {
        let python = script(interpreter, "hierarchy.py");
        let alone = entered(&python, &["-f", " catches$"]);
        assert!(alone.keys().all(|(function, _)| function == "catches"));
        let subtree = entered(&python, &["-f", " catches$", "--subtree"]);
        let functions: BTreeSet<&str> = subtree.keys().map(|(name, _)| name.as_str()).collect();
        let below = BTreeSet::from(["catches", "leaf", "passes", "raises"]);
        assert_eq!(functions, below);
        let number = |name: &str, of: &BTreeMap<(String, u64), usize>| -> usize {
            let of = of.iter().filter(|((function, _), _)| function == name);
            of.map(|(_, number)| number).sum()
        };
        assert_eq!(number("catches", &subtree), number("catches", &alone));
        assert_eq!(number("raises", &subtree), number("catches", &alone));
        assert_eq!(number("leaf", &subtree), 2 * number("catches", &alone));
        // The module, the workload, and what that calls.
        let filter = format!("^{}:", python.filename());
        let shallow = entered(&python, &["-f", &filter, "--max-depth", "2"]);
        let names: Vec<_> = shallow.keys().filter(|(_, depth)| *depth < 2).collect();
        assert_eq!(names.len(), shallow.len(), "{shallow:?}");
        assert_eq!(number("workload", &shallow), 1);
        assert_eq!(number("down", &shallow), 0);
    }
}

/// A running pytop that traces a process, and prints JSON.
fn follow(running: &Running, options: &[&str]) -> Pytop {
    let mut command = Pytop::command();
    command.args([
        "trace",
        "--format",
        "json",
        "-p",
        &running.pid().to_string(),
    ]);
    command.args(options);
    let pytop = Pytop::spawn_command(command);
    assert_eq!(
        pytop.message(),
        "pytop: tracing 1 processes (1 interpreters)"
    );
    pytop
}

#[test]
fn a_process_is_traced_from_now_on_until_a_signal_comes() {
    for interpreter in interpreters() {
        for signal in [Signal::SIGINT, Signal::SIGTERM] {
            let python = script(interpreter, "recursion.py").argument(&1);
            let mut running = python.start();
            let pytop = follow(&running, &[]);
            running.run();
            pytop.signal(signal);
            let (status, output) = pytop.end();
            assert!(status.success(), "{status}");
            running.end_well();
            let lines = parsed(output.join("\n").as_bytes());
            let even = |line: &&Line| {
                matches!(line.function.as_deref(), Some("even" | "odd")) && line.event == "entry"
            };
            let depths: Vec<u64> = lines.iter().filter(even).map(|line| line.depth).collect();
            assert_eq!(depths.len(), 101);
            // Each within the one before.
            assert!(depths.windows(2).all(|pair| pair[0] + 1 == pair[1]));
            let left = lines
                .iter()
                .filter(|line| line.how.as_deref() == Some("return"));
            let left = left.filter(|line| matches!(line.function.as_deref(), Some("even" | "odd")));
            let left: Vec<u64> = left.map(|line| line.depth).collect();
            assert!(left.iter().eq(depths.iter().rev()));
        }
    }
}

/// The probes of returns are in place before those of entries. Nothing is told until all are.
#[test]
fn a_trace_of_a_running_process_begins_with_all_its_probes() {
    /// Functions around the one that is called all the time, and this one.
    const AROUND: usize = 4;
    for interpreter in interpreters() {
        let running = script(interpreter, "spin.py").start();
        let (status, output) = follow(&running, &["--duration", "0.5"]).end();
        assert!(status.success(), "{status}");
        let lines = parsed(output.join("\n").as_bytes());
        let entries = lines.iter().filter(|line| line.event == "entry").count();
        let returns = lines.iter().filter(|line| line.event == "return").count();
        let version = &interpreter.version;
        assert!(entries > 10 * AROUND, "{version}: {entries} entries");
        assert!(
            returns <= entries + AROUND,
            "{version}: {returns} returns of {entries} entries"
        );
    }
}

#[test]
fn a_trace_ends_when_its_time_is_over_or_its_process_has_ended() {
    let python = script(interpreters().first().expect("an interpreter"), "loop.py").argument(&10);
    let mut running = python.start();
    let pytop = follow(&running, &["--duration", "0.2"]);
    let (status, _) = pytop.end();
    assert!(status.success(), "{status}");
    let pytop = follow(&running, &[]);
    running.run();
    running.end_well();
    let (status, output) = pytop.end();
    assert!(status.success(), "{status}");
    let lines = parsed(output.join("\n").as_bytes());
    let called = lines
        .iter()
        .filter(|line| line.function.as_deref() == Some("called") && line.event == "entry");
    assert_eq!(called.count(), 10);
}

#[test]
fn the_status_of_the_command_is_passed_on() {
    let python = script(
        interpreters().first().expect("an interpreter"),
        "kills_itself.py",
    );
    let output = Pytop::command()
        .args(["trace", "-o", "/dev/null", "--"])
        .args(python.words())
        .output()
        .expect("pytop can be started");
    assert_eq!(output.status.code(), Some(128 + 9));
}

#[test]
fn programs_that_cannot_be_traced_are_named_once() {
    let [traced, untraced] =
        ["3.9", "3.13"].map(|name| script(interpreter(name), "short.py").argument(&1));
    let [one, other] = [&traced, &untraced].map(|python| shell_words(&python.words()));
    let command = format!("{one}; {other}; {other}");
    let words = ["sh", "-c", &command].map(str::to_owned);
    let output = trace(&["--children", "--method", "marker"], &words);
    let said = String::from_utf8_lossy(&output.stderr);
    let named = said
        .lines()
        .filter(|line| line.contains("python3.13) cannot be counted: "));
    assert_eq!(named.count(), 1, "{said}");
    assert!(!output.stdout.is_empty());
}

/// A command for a shell.
fn shell_words(words: &[String]) -> String {
    let quoted = words.iter().map(|word| format!("'{word}'"));
    quoted.collect::<Vec<_>>().join(" ")
}

#[test]
fn text_is_one_line_an_event() {
    let python = script(interpreters().first().expect("an interpreter"), "short.py").argument(&1);
    let filter = format!("^{}:", python.filename());
    let output = trace(&["-f", &filter], &python.words());
    let text = String::from_utf8(output.stdout).expect("text");
    let place = |text: &str| format!("in {}:{}", python.filename(), python.line(text));
    let module = place("import sys").replace(":2", ":1");
    let expected = [
        format!("=> <module> {module}"),
        format!("  => called {}", place("def called")),
        format!("  <= called {}", place("def called")),
        format!("  => last {}", place("def last")),
        format!("  <= last {}", place("def last")),
        format!("<= <module> {module}"),
    ];
    let mut last = 0;
    for (line, expected) in text.lines().zip(&expected) {
        let (time, line) = line.trim_start().split_once(' ').expect("a time");
        let time: u64 = time.parse().expect("microseconds");
        assert!(time >= last);
        last = time;
        let (who, what) = line.split_at(25);
        assert!(
            who.starts_with("python3.") && who.trim_end().ends_with(']'),
            "{who}"
        );
        assert!(what == expected || expected.contains("<module>"), "{what}");
    }
    assert_eq!(text.lines().count(), expected.len());
}
