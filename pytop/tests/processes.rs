//! Processes that come, go, fork, exec and are killed, and those that were not asked for.

mod support;

use std::collections::BTreeMap;
use std::process::Command;

use nix::sys::signal::Signal;
use support::{
    Form, Marked, Python, Pytop, Running, assert_functions, functions, install_copy, interpreter,
    live, machine_wide,
};

/// Calls of a process.
const CALLS: u64 = 1009;

#[test]
fn no_short_lived_process_is_lost() {
    const PROCESSES: usize = 200;
    let pythons = live().map(|interpreter| {
        Python::new(interpreter, Form::Chroot, "short.py")
            .option("-S")
            .option("-B")
            .argument(&CALLS)
    });
    // The interpreters are known before, as those of a machine in use are.
    let known = live().map(|interpreter| {
        Python::new(interpreter, Form::Chroot, "loop.py")
            .argument(&CALLS)
            .start()
    });
    let pytop = Pytop::start(["-d", "0.2"]);
    let mut pids = BTreeMap::new();
    for number in 0..PROCESSES {
        let python = &pythons[number % pythons.len()];
        let mut running = python.spawn();
        pids.insert(running.pid(), python);
        running.end_well();
    }
    let counted = pytop.interrupt();
    drop(known);
    assert_eq!(pids.len(), PROCESSES);
    for (pid, python) in pids {
        let line = |text| Some(python.line(text));
        // 3.15 tells no line for a module.
        let module = line("import sys").filter(|_| python.interpreter.is_before_3_11());
        let expected = functions([
            ("<module>", module, 1),
            ("called", line("def called"), CALLS),
            ("last", line("def last"), 1),
        ]);
        assert_functions(&counted, pid, python.filename(), &expected);
        let listed = counted.process(pid);
        let process = listed
            .first()
            .unwrap_or_else(|| panic!("{pid} is not listed"));
        assert_eq!(
            process.python.as_deref(),
            Some(python.interpreter.version.as_str())
        );
        assert!(process.comm.starts_with("python3."), "{}", process.comm);
        assert!(process.exe.ends_with(&process.comm), "{}", process.exe);
        assert_eq!(process.method.as_deref(), Some("marker"));
    }
}

/// A copy that nobody has run is another file, which only its folder gives away.
#[test]
fn the_first_process_of_an_installed_interpreter_is_counted_from_its_first_bytecode() {
    let interpreter = interpreter("3.9");
    let python = Python::new(interpreter, Form::Direct, "short.py")
        .option("-S")
        .option("-B")
        .argument(&CALLS);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let copy = folder.path().join("python3.9");
    install_copy(&copy, &interpreter.executable, 0o755);
    let mut command = Pytop::command();
    command
        .env("PATH", folder.path())
        .args(["--format", "json", "-t", "0", "-d", "0.2"])
        .args(machine_wide([]));
    let mut pytop = Pytop::spawn_command(command);
    pytop.counting();
    pytop.snapshot();
    let pids = [(); 2].map(|()| {
        let mut command = Command::new(&copy);
        command
            .args(python.after_executable())
            .envs(interpreter.environment(Form::Direct));
        let mut running = Running::spawn("a copy".to_owned(), command);
        running.end_well();
        running.pid()
    });
    let counted = pytop.interrupt();
    let [first, second] = pids.map(|pid| counted.all_functions(pid));
    // The start of the interpreter runs bytecode long before the script, frozen in it.
    let is_start = |(filename, ..): &&(String, _, _)| filename.contains("importlib._bootstrap");
    assert!(first.keys().any(|key| is_start(&key)), "{first:?}");
    // What a deterministic start calls is the same each time.
    assert_eq!(first, second);
}

#[test]
fn once_is_one_snapshot_of_one_interval() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "loop.py").argument(&CALLS);
        let mut running = python.start();
        let pid = running.pid().to_string();
        let pytop = Pytop::start(["--once", "-d", "1.5", "-p", &pid]);
        running.run();
        let counted = pytop.finish();
        assert!(counted.status.success());
        let [snapshot] = &counted.snapshots[..] else {
            panic!("one snapshot expected: {:?}", counted.snapshots);
        };
        assert!((1.4..4.0).contains(&snapshot.interval_s), "{snapshot:?}");
        let expected = functions([("called", Some(python.line("def called")), CALLS)]);
        assert_functions(&counted, running.pid(), python.filename(), &expected);
        running.end_well();
    }
}

#[test]
fn a_killed_process_keeps_its_counts() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "loop.py").argument(&CALLS);
        let mut running = python.start();
        let pytop = Pytop::start(["-d", "3600", "--pid", &running.pid().to_string()]);
        running.run();
        running.run();
        running.kill();
        let counted = pytop.finish();
        assert!(counted.status.success());
        let expected = functions([("called", Some(python.line("def called")), 2 * CALLS)]);
        assert_functions(&counted, running.pid(), python.filename(), &expected);
    }
}

/// It tells how far it has come, so it is known how often it has called, but for what it did since.
#[test]
fn a_process_killed_while_it_calls_keeps_its_counts() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "endless.py");
        let mut running = python.start();
        let pytop = Pytop::start(["-d", "0.1", "-p", &running.pid().to_string()]);
        running.go();
        for _ in 0..211 {
            running.expect("another 1013");
        }
        running.kill();
        let told = 1013 * (211 + running.rest().len() as u64);
        let found = pytop.finish().functions(running.pid(), python.filename());
        let key = ("called".to_owned(), Some(python.line("def called")));
        assert_eq!(found.keys().collect::<Vec<_>>(), [&key]);
        let calls = found[&key];
        assert!((told..=told + 1013).contains(&calls), "{calls} for {told}");
    }
}

#[test]
fn processes_that_were_not_asked_for_have_no_rows() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "loop.py").argument(&CALLS);
        let mut running: Vec<Running> = (0..4).map(|_| python.start()).collect();
        let marked: Vec<_> = running
            .iter()
            .map(|running| Marked::find(running.pid(), &interpreter.executable))
            .collect();
        let asked = format!("{},{}", running[0].pid(), running[1].pid());
        // That they have no breakpoints either is tested where no other test counts the machine.
        let mut pytop = Pytop::spawn(["--pid", &asked, "-p", &running[2].pid().to_string()]);
        assert_eq!(pytop.counting(), (3, 1));
        assert!(marked[..3].iter().all(Marked::is_probed));
        for running in &mut running {
            running.run();
        }
        for running in &mut running {
            running.end_well();
        }
        // It ends with the last one that was named.
        let counted = pytop.finish();
        let expected = functions([("called", Some(python.line("def called")), CALLS)]);
        for running in &running[..3] {
            assert_functions(&counted, running.pid(), python.filename(), &expected);
        }
        assert_eq!(counted.calls(running[3].pid()), 0);
        assert!(counted.process(running[3].pid()).is_empty());
    }
}

#[test]
fn children_are_counted_from_their_first_call() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "forks.py").argument(&CALLS);
        let mut running = python.start();
        let pytop = Pytop::start([
            "--children",
            "-d",
            "0.2",
            "--pid",
            &running.pid().to_string(),
        ]);
        let mut children = Vec::new();
        for _ in 0..20 {
            running.go();
            children.extend((1..).zip(running.numbers::<u32>()));
        }
        running.end_well();
        let counted = pytop.finish();
        let line = |name: &str| Some(python.line(&format!("def {name}")));
        for (number, pid) in &children {
            let calls = CALLS + number;
            let expected = functions([
                ("in_child", line("in_child"), calls),
                ("in_both", line("in_both"), calls),
            ]);
            assert_functions(&counted, *pid, python.filename(), &expected);
        }
        let mut expected = functions([
            ("in_parent", line("in_parent"), 20 * CALLS),
            ("in_both", line("in_both"), 20 * CALLS),
            ("make_child", line("make_child"), 60),
        ]);
        // Comprehensions have a frame of their own up to 3.11.
        if interpreter.is_before_3_11() {
            let line = python.line("make_child(number) for");
            expected.insert(("<listcomp>".to_owned(), Some(line)), 20);
        }
        assert_functions(&counted, running.pid(), python.filename(), &expected);
    }
}

/// Whom a child made belongs to the family, though what one processor tells is read after what
/// another one does.
#[test]
fn grandchildren_are_counted_whose_parents_have_ended() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "orphans.py").argument(&CALLS);
        let mut running = python.start();
        let pid = running.pid().to_string();
        let pytop = Pytop::start(["-d", "0.2", "--children", "-p", &pid]);
        let mut orphans = Vec::new();
        for _ in 0..3 {
            running.go();
            orphans.extend(running.numbers::<u32>());
        }
        let counted = pytop.interrupt();
        running.end_well();
        let expected = functions([("called", Some(python.line("def called")), CALLS)]);
        assert_eq!(orphans.len(), 120);
        for pid in orphans {
            assert_functions(&counted, pid, python.filename(), &expected);
        }
    }
}

/// What it has made before pytop came belongs to it as well.
#[test]
fn children_from_before_are_counted() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "waiting_child.py").argument(&CALLS);
        let mut parent = python.start();
        let child = parent.numbers::<u32>()[0];
        let pytop = Pytop::start(["--children", "-p", &parent.pid().to_string()]);
        parent.run();
        let counted = pytop.interrupt();
        parent.end_well();
        let expected = functions([("in_child", Some(python.line("def in_child")), CALLS)]);
        assert_functions(&counted, child, python.filename(), &expected);
        assert_eq!(counted.calls(parent.pid()), 0);
    }
}

/// Children that are interpreters of their own.
#[test]
fn started_interpreters_are_counted_from_their_first_line() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "spawns.py").argument(&CALLS);
        let short = python.script.add("short.py");
        let mut running = python.start();
        let mut alone = python.start();
        let pid = running.pid().to_string();
        let pytop = Pytop::start(["-d", "0.2", "--children", "-p", &pid]);
        running.go();
        alone.go();
        let children = running.numbers::<u32>();
        let not_asked_for = alone.numbers::<u32>();
        let counted = pytop.interrupt();
        // 3.15 tells no line for a module.
        let module = interpreter.is_before_3_11().then_some(2);
        for (number, pid) in (1..).zip(children) {
            let expected = functions([
                ("<module>", module, 1),
                ("called", Some(5), CALLS + number),
                ("last", Some(9), 1),
            ]);
            assert_functions(&counted, pid, &short, &expected);
        }
        for pid in not_asked_for {
            assert_eq!(counted.calls(pid), 0, "child {pid} of another process");
        }
    }
}

#[test]
fn without_children_only_the_process_itself_is_counted() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "forks.py").argument(&CALLS);
        let mut running = python.start();
        let pytop = Pytop::start(["--pid", &running.pid().to_string()]);
        running.go();
        let children = running.numbers::<u32>();
        running.end_well();
        let counted = pytop.finish();
        let functions = counted.functions(running.pid(), python.filename());
        let in_parent = functions.iter().find(|((name, _), _)| name == "in_parent");
        assert_eq!(in_parent.map(|(_, calls)| *calls), Some(CALLS));
        for child in children {
            assert_eq!(counted.calls(child), 0, "child {child}");
        }
    }
}

#[test]
fn exec_goes_on_being_counted() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "execs.py").argument(&CALLS);
        let mut running = python.start();
        let pytop = Pytop::start(["--pid", &running.pid().to_string()]);
        running.run();
        running.end_well();
        let counted = pytop.finish();
        let functions = counted.functions(running.pid(), python.filename());
        for name in ["before", "after"] {
            let key = (name.to_owned(), Some(python.line(&format!("def {name}"))));
            assert_eq!(functions.get(&key), Some(&CALLS), "{name}: {functions:?}");
        }
    }
}

#[test]
fn every_way_to_end_loses_nothing() {
    let interpreter = live()[1];
    let python = Python::new(interpreter, Form::Chroot, "loop.py").argument(&CALLS);
    for end in [
        Some(Signal::SIGINT),
        Some(Signal::SIGTERM),
        Some(Signal::SIGHUP),
        None,
    ] {
        let mut running = python.start();
        let pid = running.pid().to_string();
        let mut options = vec!["-d", "0.3", "--pid", &pid];
        if end.is_none() {
            options.extend(["-n", "3"]);
        }
        let mut pytop = Pytop::start(options);
        let mut rounds = 0;
        for _ in 0..2 {
            for _ in 0..7 {
                running.run();
                rounds += 1;
            }
            pytop.snapshot();
        }
        running.run();
        rounds += 1;
        if let Some(signal) = end {
            pytop.signal(signal);
        }
        let counted = pytop.finish();
        assert!(counted.status.success(), "{end:?}");
        if end.is_none() {
            assert_eq!(counted.snapshots.len(), 3);
        }
        let expected = functions([("called", Some(python.line("def called")), rounds * CALLS)]);
        assert_functions(&counted, running.pid(), python.filename(), &expected);
        running.end_well();
    }
}
