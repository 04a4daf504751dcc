//! Counts on real interpreters are exact: function by function, over all snapshots.

mod support;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use support::{
    BEHAVIOURS, Behaviour, Comparison, Counted, Form, Functions, Interpreter, Python, Pytop,
    Running, functions, live, machine_wide,
};

/// Calls that one process makes for one line that it reads, about.
const CALLS_A_GO: u64 = 540_000;
/// Calls that all processes make together, at least.
const CALLS: u64 = 10_000_000;
/// Snapshots that they are spread over, at least.
const SNAPSHOTS: usize = 10;

/// A process with one behaviour.
struct Worker {
    behaviour: &'static Behaviour,
    python: Python,
    rounds: u64,
    running: Running,
}

impl Worker {
    fn start(behaviour: &'static Behaviour, interpreter: &'static Interpreter) -> Self {
        // An odd number near the wanted one: round numbers hide errors.
        let rounds = (CALLS_A_GO / behaviour.a_round()) | 1;
        let python = Python::new(interpreter, Form::Chroot, behaviour.script).argument(&rounds);
        let running = python.start();
        Self {
            behaviour,
            python,
            rounds,
            running,
        }
    }

    fn expected(&self, gos: u64) -> Functions {
        self.behaviour.functions(&self.python, self.rounds, gos)
    }
}

/// A process that makes children, which call.
struct Parent {
    python: Python,
    rounds: u64,
    running: Running,
    children: Vec<Vec<u32>>,
}

impl Parent {
    fn start(script: &str, interpreter: &'static Interpreter, rounds: u64) -> Self {
        let python = Python::new(interpreter, Form::Chroot, script).argument(&rounds);
        let running = python.start();
        Self {
            python,
            rounds,
            running,
            children: Vec::new(),
        }
    }

    /// Waits until it has made its children and waited for them.
    fn await_children(&mut self) {
        let pids = self.running.line();
        let pids = pids.split(' ').map(|pid| pid.parse().expect("a pid"));
        self.children.push(pids.collect());
    }

    /// Compares what each child has called. What they call is `functions`, once for each round, and
    /// once more by each child than by the one before it; `once` is called once.
    fn compare(&self, all: &mut Comparison, counted: &Counted, called: &[&str], once: &[&str]) {
        for pids in &self.children {
            for (number, pid) in (1..).zip(pids) {
                let line = |name: &str| Some(self.python.line(&format!("def {name}")));
                let expected = functions(
                    called
                        .iter()
                        .map(|name| (*name, line(name), self.rounds + number))
                        .chain(once.iter().map(|name| (*name, line(name), 1))),
                );
                let what = format!("child {number} of {}", self.python.filename());
                all.add(
                    &what,
                    &counted.functions(*pid, self.python.filename()),
                    &expected,
                );
            }
        }
    }
}

/// Told to stop when it goes, whatever the reason.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Starts one process after the other that calls a little and ends, until it is told to stop.
fn come_and_go(stop: &AtomicBool) -> Vec<(Python, Vec<u32>)> {
    let mut started: Vec<_> = live()
        .into_iter()
        .map(|interpreter| {
            let python = Python::new(interpreter, Form::Chroot, "short.py").option("-S");
            (python.argument(&1013), Vec::new())
        })
        .collect();
    while !stop.load(Ordering::Relaxed) {
        for (python, pids) in &mut started {
            let mut running = python.spawn();
            pids.push(running.pid());
            running.end_well();
        }
    }
    started
}

/// What a run of `short.py` enters.
fn short(python: &Python, calls: u64) -> Functions {
    let first_line = if python.interpreter.is_before_3_11() {
        Some(2)
    } else {
        None
    };
    functions([
        ("<module>", first_line, 1),
        ("called", Some(python.line("def called")), calls),
        ("last", Some(python.line("def last")), 1),
    ])
}

/// Of each live version a process of every behaviour, forks, workers and an exec, all at once,
/// while other processes come and go, under one pytop that counts the whole machine.
#[test]
#[expect(clippy::too_many_lines, reason = "one story, told in its order")]
fn ten_million_calls_of_all_kinds_add_up() {
    let mut workers = Vec::new();
    let mut forks = Vec::new();
    let mut multiprocessing = Vec::new();
    let mut execs = Vec::new();
    for interpreter in live() {
        workers.extend(
            BEHAVIOURS
                .iter()
                .map(|behaviour| Worker::start(behaviour, interpreter)),
        );
        forks.push(Parent::start("forks.py", interpreter, 30_011));
        multiprocessing.push(Parent::start("workers.py", interpreter, 30_013));
        let exec = Python::new(interpreter, Form::Chroot, "execs.py").argument(&100_003);
        let running = exec.start();
        execs.push((exec, running));
    }
    let mut pytop = Pytop::start(machine_wide(["-d", "0.5"]));
    let stop = AtomicBool::new(false);
    let (gos, visitors) = thread::scope(|scope| {
        let visitors = scope.spawn(|| come_and_go(&stop));
        let until_here = Stop(&stop);
        let mut gos = 0;
        while gos * CALLS_A_GO * (workers.len() as u64) < CALLS
            || pytop.snapshots_so_far().len() < SNAPSHOTS
        {
            gos += 1;
            for worker in &mut workers {
                worker.running.go();
            }
            forks
                .iter_mut()
                .chain(&mut multiprocessing)
                .for_each(|parent| parent.running.go());
            if gos == 1 {
                for (_, running) in &mut execs {
                    running.go();
                }
            }
            for worker in &workers {
                worker.running.expect("done");
            }
            forks
                .iter_mut()
                .chain(&mut multiprocessing)
                .for_each(Parent::await_children);
        }
        for (_, running) in &execs {
            running.expect("done");
        }
        drop(until_here);
        (gos, visitors.join().expect("processes come and go"))
    });
    let counted = pytop.interrupt();
    for worker in &mut workers {
        worker.running.end_well();
    }

    let mut all = Comparison::default();
    let mut calls = 0;
    for worker in &workers {
        let what = format!(
            "{} on {}",
            worker.behaviour.script, worker.python.interpreter.name
        );
        let expected = worker.expected(gos);
        calls += expected.values().sum::<u64>();
        let found = counted.functions(worker.running.pid(), worker.python.filename());
        all.add(&what, &found, &expected);
    }
    assert!(calls >= CALLS, "only {calls} calls were made");
    let with_calls = counted
        .snapshots
        .iter()
        .filter(|snapshot| !snapshot.rows.is_empty());
    assert!(with_calls.count() >= SNAPSHOTS);
    for parent in &forks {
        parent.compare(&mut all, &counted, &["in_child", "in_both"], &[]);
    }
    for parent in &multiprocessing {
        parent.compare(&mut all, &counted, &["called"], &["work"]);
    }
    for (python, running) in &execs {
        let expected = functions([
            (
                "<module>",
                if python.interpreter.is_before_3_11() {
                    Some(2)
                } else {
                    None
                },
                1,
            ),
            ("before", Some(python.line("def before")), 100_003),
            ("after", Some(python.line("def after")), 100_003),
        ]);
        let found = counted.functions(running.pid(), python.filename());
        all.add("a process that became another", &found, &expected);
    }
    for (python, pids) in &visitors {
        let expected = short(python, 1013);
        for pid in pids {
            let what = format!("a short run of Python {}", python.interpreter.name);
            all.add(
                &what,
                &counted.functions(*pid, python.filename()),
                &expected,
            );
        }
    }
    all.assert(&counted);
}
