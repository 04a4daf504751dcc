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
    // How many of them the workload makes, by its loops.
    let made = listed(&[
        ("<genexpr>", 31),
        ("__aenter__", 7),
        ("__aexit__", 7),
        ("__anext__", 28),
        ("__await__", 44),
        ("abandoned", 21),
        ("asks", 7),
        ("asynchronous_generators", 1),
        ("cancelled", 1),
        ("catches", 7),
        ("catches_and_ends", 7),
        ("concurrent", 1),
        ("delegates", 18),
        ("delegates_twice", 11),
        ("generates", 2),
        ("goes_on", 7),
        ("listens", 10),
        ("manager", 10),
        ("numbers", 14),
        ("outer", 30),
        ("pauses", 44),
        ("receives", 13),
        ("sleeper", 3),
        ("three", 51),
        ("tree", 31),
        ("waiter", 1),
    ]);
    assert_eq!(differences(interpreter("3.15")), made);
}
