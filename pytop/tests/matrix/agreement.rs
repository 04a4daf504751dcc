//! Where a marker is live, the method that needs none agrees with it, but for the differences that
//! the README lists.

use std::collections::BTreeMap;

use crate::run::under_one_pytop;
use crate::support::{Interpreter, interpreter};
use crate::whole_machine;
use crate::workload::{Variant, Workload};

/// What one method counts of each function of the workload.
fn counted_by(workload: &Workload, method: &'static str) -> BTreeMap<String, u64> {
    let cases = vec![workload.case(method, Variant::Plain, true)];
    let (finished, counted) = under_one_pytop(method, cases);
    let mut functions = BTreeMap::new();
    for run in &finished {
        run.add_functions(&counted, &mut functions);
    }
    assert!(functions.len() > 100, "{functions:?}");
    functions
}

/// By how much the marker counts more than the other method, function by function.
fn differences(interpreter: &'static Interpreter) -> BTreeMap<String, i64> {
    let _turn = whole_machine();
    let workload = Workload::new(interpreter);
    let marker = counted_by(&workload, "marker");
    let other = counted_by(&workload, interpreter.method_without_marker());
    let mut differences = BTreeMap::new();
    for function in marker.keys().chain(other.keys()) {
        let calls = |by: &BTreeMap<String, u64>| {
            by.get(function)
                .map_or(0, |calls| i64::try_from(*calls).expect("few calls"))
        };
        let difference = calls(&marker) - calls(&other);
        if difference != 0 {
            differences.insert(function.clone(), difference);
        }
    }
    differences
}

fn listed(differences: &[(&str, i64)]) -> BTreeMap<String, i64> {
    let differences = differences.iter();
    differences
        .map(|(function, difference)| ((*function).to_owned(), *difference))
        .collect()
}

/// The function of the method `eval` is entered before the recursion is found to be too deep, and
/// the marker is behind that check.
#[test]
fn on_3_9_a_refused_call_is_all_that_differs() {
    assert_eq!(differences(interpreter("3.9")), listed(&[("too_deep", -1)]));
}

/// The marker of 3.15 counts generators and coroutines once more, when they are made.
#[test]
fn on_3_15_generators_that_are_made_are_all_that_differs() {
    let made = listed(&[]);
    assert_eq!(differences(interpreter("3.15")), made);
}
