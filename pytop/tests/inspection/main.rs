//! `pytop probes` and `pytop doctor`: what is told of files, of processes, and of the machine.

mod doctor;
mod probes;
mod readelf;
#[path = "../support/mod.rs"]
mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use support::Outcome;

/// What pytop answers in JSON, when all is well.
fn answer<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Value {
    let outcome = Outcome::of_pytop(arguments);
    assert_eq!(outcome.status, 0, "{outcome:?}");
    parse(&outcome)
}

fn parse(outcome: &Outcome) -> Value {
    let answer: Value = serde_json::from_str(outcome.stdout()).expect("one object");
    assert_eq!(answer["schema"], 1);
    answer
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name]
        .as_array()
        .unwrap_or_else(|| panic!("{name} in {value}"))
}

/// Whoever counts the whole machine raises semaphores that others look at, so that one runs at a time.
fn whole_machine() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing that could drive a terminal.
#[track_caller]
fn assert_harmless(text: &str) {
    let is_harmful =
        |character: char| character != '\n' && pytop::model::text::is_hidden(character);
    assert!(!text.contains(is_harmful), "{text:?}");
}
