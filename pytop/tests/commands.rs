//! Commands that pytop starts: counted from their first bytecode to their last.

mod support;

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;

use support::{
    BEHAVIOURS, Comparison, Counted, Form, Interpreter, Python, Pytop, assert_functions, functions,
    live,
};

/// Calls of a function.
const CALLS: u64 = 100_003;

type All = BTreeMap<(String, String, Option<u32>), u64>;

/// A script that calls and ends, started without anything that could differ from run to run.
fn short(interpreter: &'static Interpreter) -> Python {
    Python::new(interpreter, Form::Chroot, "short.py")
        .option("-S")
        .option("-E")
        .option("-B")
        .argument(&CALLS)
}

/// Has pytop start a command with these options.
fn run(options: &[&str], words: &[String]) -> Counted {
    let mut arguments: Vec<&str> = options.to_vec();
    arguments.push("--");
    arguments.extend(words.iter().map(String::as_str));
    let mut pytop = Pytop::spawn(arguments);
    pytop.counting();
    pytop.finish()
}

/// The one process that was counted.
fn only_process(counted: &Counted) -> u32 {
    let mut pids: Vec<u32> = counted.rows().map(|row| row.pid).collect();
    pids.sort_unstable();
    pids.dedup();
    assert_eq!(pids.len(), 1, "{pids:?}");
    pids[0]
}

fn all(counted: &Counted) -> All {
    counted.all_functions(only_process(counted))
}

#[test]
fn everything_is_counted_from_the_first_bytecode() {
    for interpreter in live() {
        let python = short(interpreter);
        let first = run(&["-d", "0.1"], &python.words());
        assert_eq!(first.status.code(), Some(0));
        let line = |text| Some(python.line(text));
        // 3.15 tells no line for a module.
        let module = line("import sys").filter(|_| interpreter.is_before_3_11());
        let expected = functions([
            ("<module>", module, 1),
            ("called", line("def called"), CALLS),
            ("last", line("def last"), 1),
        ]);
        assert_functions(&first, only_process(&first), python.filename(), &expected);
        // The start of the interpreter runs bytecode long before the script, frozen in it.
        let first = all(&first);
        assert!(
            first
                .keys()
                .any(|(filename, ..)| filename.contains("importlib._bootstrap"))
        );
        // What a deterministic start calls is the same each time.
        assert_eq!(first, all(&run(&["-d", "0.1"], &python.words())));
        // Whatever leads to it makes no difference: a script, env, and a shell that makes way.
        let script = python.script.folder().join("start.sh");
        std::fs::write(&script, "#!/bin/sh\nexec \"$@\"\n").unwrap();
        std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
        let script = script.to_str().unwrap().to_owned();
        for start in [
            vec![script],
            vec!["/usr/bin/env".to_owned(), "A=1".to_owned()],
        ] {
            let words: Vec<String> = start.into_iter().chain(python.words()).collect();
            assert_eq!(first, all(&run(&["-d", "0.1"], &words)), "{words:?}");
        }
    }
}

/// Has pytop start a script that waits for a line before it does its work.
fn run_told(options: &[&str], python: &Python) -> Counted {
    let words = python.words();
    let words = words.iter().map(String::as_str);
    let arguments = options
        .iter()
        .copied()
        .chain(["-d", "0.2", "--"])
        .chain(words);
    let mut pytop = Pytop::spawn_told(arguments);
    pytop.counting();
    let counted = pytop.finish();
    assert!(counted.status.success(), "{}", counted.status);
    counted
}

/// The pids that a script has printed, which pytop passes on to standard error.
fn children(counted: &Counted) -> Vec<u32> {
    let numbers = |line: &String| {
        let numbers = line.split(' ').map(|word| word.parse().ok());
        numbers.collect::<Option<Vec<u32>>>()
    };
    let printed = counted.messages.iter().find_map(numbers);
    printed.unwrap_or_else(|| panic!("no pids in {:?}", counted.messages))
}

/// The bodies of classes are entered once, when the script is loaded.
const CLASS_BODIES: [&str; 4] = ["Base", "Derived", "Pause", "Compared"];

#[test]
fn behaviours_are_counted_from_the_first_line() {
    for interpreter in live() {
        for behaviour in BEHAVIOURS {
            let python = Python::new(interpreter, Form::Chroot, behaviour.script).argument(&1009);
            let counted = run_told(&[], &python);
            let mut expected = behaviour.functions(&python, 1009, 1);
            let module = interpreter.is_before_3_11().then_some(2);
            expected.insert(("<module>".to_owned(), module), 1);
            let mut found = counted.functions(only_process(&counted), python.filename());
            found.retain(|(name, _), _| !CLASS_BODIES.contains(&&**name));
            let mut all = Comparison::default();
            let what = format!("{} on {}", behaviour.script, interpreter.version);
            all.add(&what, &found, &expected);
            all.assert(&counted);
        }
    }
}

/// Its last counts are those before its death.
#[test]
fn a_command_that_kills_itself_keeps_its_counts() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "kills_itself.py").option("-S");
        let counted = run(&[], &python.words());
        assert_eq!(counted.status.code(), Some(128 + 9));
        let found = counted.functions(only_process(&counted), python.filename());
        let called = ("called".to_owned(), Some(python.line("def called")));
        assert_eq!(found.get(&called), Some(&1009), "{found:?}");
    }
}

#[test]
fn forked_children_are_counted_when_asked_for() {
    const CALLS: u64 = 30_011;
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "forks.py").argument(&CALLS);
        let line = |name: &str| Some(python.line(&format!("def {name}")));
        let counted = run_told(&["--children"], &python);
        let forked = children(&counted);
        assert_eq!(forked.len(), 3);
        for (number, pid) in (1..).zip(&forked) {
            let expected = functions([
                ("in_child", line("in_child"), CALLS + number),
                ("in_both", line("in_both"), CALLS + number),
            ]);
            assert_functions(&counted, *pid, python.filename(), &expected);
        }
        let counted = run_told(&[], &python);
        let parent = only_process(&counted);
        assert!(!children(&counted).contains(&parent));
        let found = counted.functions(parent, python.filename());
        let in_both = ("in_both".to_owned(), line("in_both"));
        assert_eq!(found.get(&in_both), Some(&CALLS));
    }
}

/// Children that are interpreters of their own, started by vfork or `posix_spawn`, and exec.
#[test]
fn started_interpreters_are_counted_from_their_first_bytecode() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "spawns.py").argument(&1009);
        let short = python.script.add("short.py");
        let counted = run_told(&["--children"], &python);
        let mut starts = Vec::new();
        for (number, pid) in (1..).zip(children(&counted)) {
            let found = counted.functions(pid, &short);
            let called = ("called".to_owned(), Some(5));
            assert_eq!(found.get(&called), Some(&(1009 + number)), "{found:?}");
            let mut start = counted.all_functions(pid);
            start.retain(|(filename, ..), _| *filename != short);
            starts.push(start);
        }
        // All of them do the same until they call.
        assert_eq!(starts.len(), 3);
        assert!(starts[0].len() > 20, "{:?}", starts[0]);
        assert!(starts.iter().all(|start| *start == starts[0]));
    }
}

#[test]
fn millions_of_calls_add_up_over_many_snapshots() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "short.py")
            .option("-B")
            .argument(&2_000_003);
        let counted = run(&["-d", "0.1"], &python.words());
        assert!(
            counted.snapshots.len() >= 10,
            "{} snapshots",
            counted.snapshots.len()
        );
        let functions = counted.functions(only_process(&counted), python.filename());
        let key = ("called".to_owned(), Some(python.line("def called")));
        assert_eq!(functions.get(&key), Some(&2_000_003));
    }
}

#[test]
fn children_of_a_command_are_counted_from_their_first_bytecode() {
    for interpreter in live() {
        let python = short(interpreter);
        let alone = all(&run(&[], &python.words()));
        // A shell is no Python; it starts two of them and ends with a status of its own.
        let command = python.words().join(" ");
        let words = ["sh", "-c", &format!("{command}; {command} & wait; exit 7")].map(String::from);
        let counted = run(&["--children", "-d", "0.1"], &words);
        assert_eq!(counted.status.code(), Some(7));
        let mut pids: Vec<u32> = counted.rows().map(|row| row.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        assert_eq!(pids.len(), 2, "{pids:?}");
        for pid in pids {
            assert_eq!(
                counted.all_functions(pid),
                alone,
                "on {}",
                interpreter.version
            );
        }
    }
}
