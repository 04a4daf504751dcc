//! `--durations`: what is measured is what the program itself has measured, call by call.

mod support;

use std::collections::BTreeMap;
use std::process::Stdio;

use serde::Deserialize;
use support::{Form, Interpreter, Python, Pytop, at_hand, interpreter};

#[derive(Debug, Deserialize)]
struct Snapshot {
    total_calls: u64,
    untimed: BTreeMap<String, u64>,
    rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
struct Row {
    filename: String,
    function: String,
    calls: u64,
    durations: Option<Durations>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Durations {
    finished: u64,
    total_s: f64,
    own_s: f64,
    mean_s: f64,
    p50_s: f64,
    p99_s: f64,
    max_s: f64,
}

/// What the script knows of a function, in seconds: sums at least and at most.
#[derive(Debug, Deserialize)]
struct Measured {
    finished: u64,
    own: [f64; 2],
    total: [f64; 2],
    median: f64,
    longest: f64,
}

/// What was counted and timed of a function, all its rows together. The percentiles are those of the
/// row with most calls.
#[derive(Clone, Debug, Default)]
struct Timed {
    calls: u64,
    durations: Durations,
}

fn timed(snapshots: &[Snapshot], filename: &str) -> BTreeMap<String, Timed> {
    let mut functions: BTreeMap<String, Timed> = BTreeMap::new();
    let rows = snapshots.iter().flat_map(|snapshot| &snapshot.rows);
    for row in rows.filter(|row| row.filename == filename) {
        let function = functions.entry(row.function.clone()).or_default();
        function.calls += row.calls;
        let Some(new) = &row.durations else { continue };
        let old = function.durations.clone();
        let most = if new.finished > old.finished {
            new
        } else {
            &old
        };
        function.durations = Durations {
            finished: old.finished + new.finished,
            total_s: old.total_s + new.total_s,
            own_s: old.own_s + new.own_s,
            max_s: old.max_s.max(new.max_s),
            ..most.clone()
        };
    }
    functions
}

fn parsed(output: &[u8]) -> Vec<Snapshot> {
    let lines = output.split(|byte| *byte == b'\n');
    lines
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("a snapshot"))
        .collect()
}

/// Whether a sum of times is one that is possible. For each call, the probes take a little of what the
/// script takes for its own.
fn is_possible(found: f64, [least, most]: [f64; 2], calls: u64) -> bool {
    least * 0.999 <= found && found <= most * 1.01 + 0.000_05 * calls as f64
}

/// Whatever has been called has ended, and was seen ending or is said not to have been: a function is
/// called for the first time in the very moment in which an interval ends, too.
#[test]
fn the_end_of_no_first_call_is_lost() {
    for name in ["3.9", "3.14"] {
        let python = Python::new(interpreter(name), Form::Chroot, "always_new.py");
        let output = Pytop::command()
            .args([
                "--durations",
                "--format",
                "json",
                "-t",
                "0",
                "-d",
                "0.1",
                "--",
            ])
            .args(python.words())
            .output()
            .expect("pytop can be started");
        assert!(output.status.success(), "{output:?}");
        let snapshots = parsed(&output.stdout);
        let calls: u64 = snapshots.iter().map(|snapshot| snapshot.total_calls).sum();
        let rows = snapshots.iter().flat_map(|snapshot| &snapshot.rows);
        let timed = rows.filter_map(|row| row.durations.as_ref());
        let finished: u64 = timed.map(|durations| durations.finished).sum();
        let untimed = snapshots
            .iter()
            .flat_map(|snapshot| snapshot.untimed.values());
        assert!(snapshots.len() > 2, "{} snapshots", snapshots.len());
        assert_eq!(finished + untimed.sum::<u64>(), calls, "{name}");
    }
}

fn agrees(interpreter: &'static Interpreter, method: &str) {
    let python = Python::new(interpreter, Form::Chroot, "durations.py")
        .option("-S")
        .option("-E");
    let output = Pytop::command()
        .args(["--durations", "--format", "json", "-t", "0", "-d", "3600"])
        .args(["--method", method, "--"])
        .args(python.words())
        .stdin(Stdio::null())
        .output()
        .expect("pytop can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    let name = format!("{} by {method}", interpreter.version);
    assert!(output.status.success(), "{name}: {said}");
    let measured = said.lines().find(|line| line.starts_with('{'));
    let measured: BTreeMap<String, Measured> =
        serde_json::from_str(measured.expect("the script prints what it has measured"))
            .expect("the script prints JSON");
    let snapshots = parsed(&output.stdout);
    let functions = timed(&snapshots, python.filename());
    let untimed = &snapshots.first().expect("one snapshot").untimed;

    // In 3.11, exceptions that leave a frame are not seen doing so.
    let unseen = interpreter.minor() == 11;
    let is_left_unseen = |name: &str| unseen && ["fails", "passes_on"].contains(&name);
    for (function, expected) in &measured {
        let found = &functions[function];
        let told = &found.durations;
        let context = format!("{name}: {function}: {expected:?}, {found:?}");
        let made = u64::from(function == "generates" && interpreter.minor() == 15) * 10;
        let made = if method == "marker" { made } else { 0 };
        assert_eq!(found.calls, expected.finished + made, "{context}");
        if is_left_unseen(function) {
            assert_eq!(told.finished, 0, "{context}");
            continue;
        }
        assert_eq!(told.finished, expected.finished, "{context}");
        let calls = told.finished;
        assert!(
            is_possible(told.total_s, expected.total, calls),
            "{context}"
        );
        // What was not seen leaving counts for the one that has called it.
        if !(unseen && function == "catches") {
            assert!(is_possible(told.own_s, expected.own, calls), "{context}");
        }
        // What a call takes is between what is known and what was measured around it, and so is the
        // median. Calls within each other are not known one by one.
        let least = match function.as_str() {
            "recurs" => expected.median,
            _ => expected.total[0] / calls as f64,
        };
        // Runs of a generator are of two kinds, one of which takes next to nothing.
        if function != "generates" {
            assert!(
                told.p50_s >= 0.95 * least && told.p50_s <= 1.05 * expected.median,
                "{context}"
            );
        }
        assert!(told.max_s <= expected.longest, "{context}");
        assert!(
            told.p50_s <= told.p99_s && told.p99_s <= told.max_s,
            "{context}"
        );
    }
    let recursive = &functions["recurs"].durations;
    assert!(
        recursive.mean_s > 0.002 && recursive.total_s > 0.08,
        "{name}: {recursive:?}"
    );
    let brief = &functions["brief"];
    assert_eq!(
        (brief.calls, brief.durations.finished),
        (6000, 6000),
        "{name}"
    );
    assert!(brief.durations.p50_s < 0.000_1, "{name}: {brief:?}");
    for (reason, calls) in untimed {
        let expected = match reason.as_str() {
            "end_not_seen" => unseen && *calls >= 20,
            "generators_made" => method == "marker" && interpreter.minor() == 15 && *calls >= 10,
            _ => false,
        };
        assert!(*calls == 0 || expected, "{name}: {untimed:?}");
    }
}

#[test]
fn durations_are_those_that_the_program_has_measured() {
    for interpreter in at_hand() {
        agrees(interpreter, interpreter.method());
        if interpreter.method() != interpreter.method_without_marker() {
            agrees(interpreter, interpreter.method_without_marker());
        }
    }
}

#[test]
fn calls_from_before_are_not_timed_and_deep_ones_are_told() {
    for (name, method) in [
        ("3.9", "marker"),
        ("3.9", "eval"),
        ("3.11", "resume"),
        ("3.13", "resume"),
        ("3.15", "marker"),
    ] {
        let python = Python::new(interpreter(name), Form::Chroot, "durations_late.py");
        let mut running = python.start();
        let pid = running.pid().to_string();
        let mut pytop = Pytop::command()
            .args(["--durations", "--format", "json", "-t", "0", "-d", "3600"])
            .args(["--method", method, "-p", &pid])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pytop can be started");
        let mut said = std::io::BufReader::new(pytop.stderr.take().expect("it is a pipe"));
        let mut line = String::new();
        std::io::BufRead::read_line(&mut said, &mut line).expect("pytop says that it counts");
        assert_eq!(line, "pytop: counting 1 processes (1 interpreters)\n");
        running.say("go");
        running.expect("done");
        running.end_well();
        let output = pytop.wait_with_output().expect("pytop ends");
        let snapshots = parsed(&output.stdout);
        let functions = timed(&snapshots, python.filename());
        let context = format!("{name} by {method}: {functions:?}");

        let called = &functions["called"];
        assert_eq!(
            (called.calls, called.durations.finished),
            (7, 7),
            "{context}"
        );
        assert!(called.durations.p50_s >= 0.0019, "{context}");
        assert!(!functions.contains_key("inner"), "{context}");
        assert!(!functions.contains_key("outer"), "{context}");
        // Of 300 calls within each other there was room for 255.
        let again = &functions["again"];
        assert_eq!(
            (again.calls, again.durations.finished),
            (300, 255),
            "{context}"
        );
        // An exception takes 300 off, and the call that comes next is timed again.
        let fails = &functions["fails"];
        let seen = if name == "3.11" { 0 } else { 255 };
        assert_eq!(
            (fails.calls, fails.durations.finished),
            (300, seen),
            "{context}"
        );
        let untimed = |reason: &str| -> u64 { snapshots.iter().map(|it| it.untimed[reason]).sum() };
        assert_eq!(untimed("too_deep"), 90, "{context}");
        assert_eq!(untimed("end_not_seen"), 255 - seen, "{context}");
    }
}

#[test]
fn functions_and_threads_without_a_place_of_their_own_are_timed_as_well() {
    for (name, method) in [("3.9", "marker"), ("3.13", "resume")] {
        let python = Python::new(interpreter(name), Form::Chroot, "durations_crowd.py");
        let output = Pytop::command()
            .args(["--durations", "--format", "json", "-t", "0", "-d", "1"])
            .args(["--method", method, "--"])
            .args(python.words())
            .stdin(Stdio::null())
            .output()
            .expect("pytop can be started");
        assert!(output.status.success(), "{output:?}");
        let snapshots = parsed(&output.stdout);
        let mut functions = timed(&snapshots, python.filename());
        let leaf = functions.remove("leaf").expect("it was called");
        assert_eq!(
            (leaf.calls, leaf.durations.finished),
            (5_000, 5_000),
            "{name}"
        );
        let works = functions.remove("works").expect("it was called");
        assert_eq!(
            (works.calls, works.durations.finished),
            (2_500, 2_500),
            "{name}"
        );
        let made = functions.iter().filter(|(name, _)| name.starts_with('f'));
        let made: Vec<_> = made.collect();
        assert_eq!(made.len(), 20_000, "{name}");
        for (function, it) in made {
            assert_eq!(
                (it.calls, it.durations.finished),
                (2, 2),
                "{name}: {function}"
            );
            assert!(it.durations.own_s <= it.durations.total_s, "{name}: {it:?}");
        }
        for snapshot in &snapshots {
            assert!(snapshot.untimed.values().all(|calls| *calls == 0), "{name}");
        }
    }
}
