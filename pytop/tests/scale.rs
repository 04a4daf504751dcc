//! A hundred thousand functions, and more.

mod support;

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use support::{Counted, Form, Python, Pytop, Running, live};

/// Each of these tests has the tables of the kernel to itself.
fn whole_machine() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Processes that call functions of their own.
struct Crowd {
    running: Running,
    pids: Vec<u32>,
    functions: usize,
}

impl Crowd {
    fn start(processes: usize, functions: usize) -> Self {
        let [interpreter, _] = live();
        let python = Python::new(interpreter, Form::Chroot, "crowd.py")
            .argument(&processes)
            .argument(&functions);
        let running = python.start();
        let pids = running.numbers();
        assert_eq!(pids.len(), processes);
        Self {
            running,
            pids,
            functions,
        }
    }

    /// A pytop that counts it, until it ends.
    fn watch(&self, interval: &str) -> Pytop {
        let pid = self.running.pid().to_string();
        Pytop::start(["--pid", &pid, "--children", "-d", interval])
    }

    /// Ends its processes.
    fn end(&mut self) {
        self.running.go();
        self.running.end_well();
    }

    /// What its functions are called in one round.
    fn calls(&self) -> u64 {
        let of_one: u64 = (0..self.functions).map(calls_of).sum();
        of_one * self.pids.len() as u64
    }

    /// Its calls in rows. Fails where one has more than it has made in so many rounds, and unless
    /// `may_lack`, fewer.
    fn check(&self, counted: &Counted, rounds: u64, may_lack: bool) -> u64 {
        let names: Vec<String> = (0..self.functions).map(|it| format!("f{it}")).collect();
        let mut calls: HashMap<(u32, &str), u64> = HashMap::new();
        for row in counted.rows() {
            if row.filename.starts_with("/crowd/") {
                *calls.entry((row.pid, &row.function)).or_default() += row.calls;
            }
        }
        let mut sum = 0;
        for pid in &self.pids {
            for (number, function) in names.iter().enumerate() {
                let found = calls.remove(&(*pid, function)).unwrap_or(0);
                let made = calls_of(number) * rounds;
                assert!(
                    found == made || (may_lack && found < made),
                    "{function} of {pid}: counted {found}, called {made}"
                );
                sum += found;
            }
        }
        assert!(calls.is_empty(), "{calls:?}");
        sum
    }
}

fn calls_of(number: usize) -> u64 {
    number as u64 % 3 + 1
}

#[test]
fn a_hundred_thousand_functions_of_five_hundred_processes_are_counted_exactly() {
    let _turn = whole_machine();
    let mut crowd = Crowd::start(500, 200);
    // All of them are new in one interval, which the end of the crowd ends.
    let pytop = crowd.watch("3600");
    crowd.running.run();
    crowd.running.run();
    crowd.end();
    let counted = pytop.finish();
    assert_eq!(counted.snapshots.len(), 1);
    assert_eq!(crowd.check(&counted, 2, false), 2 * crowd.calls());
    assert_eq!(counted.uncounted().table_full, 0);
    let listed = &counted.snapshots[0].processes;
    for pid in &crowd.pids {
        assert!(listed.iter().any(|process| process.pid == *pid), "{pid}");
    }
}

#[test]
fn tables_grow_and_what_had_no_room_is_counted() {
    let _turn = whole_machine();
    let mut crowd = Crowd::start(4, 40_000);
    let mut pytop = crowd.watch("1");
    crowd.running.run();
    let mut counted = 0;
    while counted < crowd.calls() {
        counted += pytop.snapshot().total_calls;
    }
    // Two more, after which each table has its new size.
    pytop.snapshot();
    pytop.snapshot();
    let before = pytop.snapshots_so_far().len();
    crowd.running.run();
    crowd.end();
    let mut counted = pytop.finish();
    let later = counted.snapshots.split_off(before);
    let in_rows = crowd.check(&counted, 1, true);
    let full = counted.uncounted().table_full;
    assert!(in_rows + full >= crowd.calls(), "{in_rows} and {full}");
    counted.snapshots = later;
    assert_eq!(crowd.check(&counted, 1, false), crowd.calls());
    assert_eq!(counted.uncounted().table_full, 0);
}
