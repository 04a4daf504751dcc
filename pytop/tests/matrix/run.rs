//! Many runs of the workload under one pytop that counts the whole machine.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::thread;

use crate::support::{Counted, Pytop, Running, machine_wide};
use crate::workload::{Case, Finished, Variant, Workload};

/// Runs the cases, several at the same time, under `pytop --method METHOD`.
pub(crate) fn under_one_pytop(method: &str, cases: Vec<Case>) -> (Vec<Finished>, Counted) {
    let (warm, cold): (Vec<_>, Vec<_>) = cases.into_iter().partition(|case| case.warm);
    // With a process of each interpreter, pytop knows them all when the cold ones begin.
    for case in &cold {
        assert!(
            warm.iter()
                .any(|other| other.interpreter().executable == case.interpreter().executable),
            "{} has no warm process",
            case.name()
        );
    }
    let warm: Vec<_> = warm
        .into_iter()
        .map(|case| {
            let running = case.start();
            (case, Some(running))
        })
        .collect();
    let pytop = Pytop::start(machine_wide(["-d", "1", "--method", method]));
    let cold = cold.into_iter().map(|case| (case, None));
    let finished = finish(cold.chain(warm).collect());
    (finished, pytop.interrupt())
}

/// As many at a time as there are processors.
fn finish(cases: VecDeque<(Case, Option<Running>)>) -> Vec<Finished> {
    let cases = Mutex::new(cases);
    let next = || {
        let mut cases = cases.lock().unwrap_or_else(PoisonError::into_inner);
        cases.pop_front()
    };
    let work = || {
        let mut finished = Vec::new();
        while let Some((case, running)) = next() {
            let running = running.unwrap_or_else(|| case.start());
            finished.push(case.finish(running));
        }
        finished
    };
    let processors = thread::available_parallelism().map_or(2, usize::from);
    thread::scope(|scope| {
        let workers: Vec<_> = (0..processors).map(|_| scope.spawn(work)).collect();
        let finished = workers.into_iter().map(thread::ScopedJoinHandle::join);
        finished
            .flat_map(|finished| finished.expect("the workload does as it is told"))
            .collect()
    })
}

/// A warm run, and a cold one of each variant.
pub(crate) fn all_variants(workload: &Workload, method: &'static str) -> Vec<Case> {
    let interpreter = workload.case(method, Variant::Plain, true).interpreter();
    let mut cases: Vec<_> = Variant::of(interpreter)
        .map(|variant| workload.case(method, variant, false))
        .collect();
    cases.push(workload.case(method, Variant::Plain, true));
    cases
}
