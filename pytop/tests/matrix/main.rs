//! Every entry of a frame is counted, function by function, whatever enters it: on every
//! interpreter at hand, by every method that it has, however it is watched by others.
//!
//! The workload, `scripts/matrix`, says itself how often it enters which function. What it says
//! follows from its loops and not from any other way of counting.

mod agreement;
mod choice;
mod events;
mod every_call;
mod honesty;
mod probed;
mod run;
#[path = "../support/mod.rs"]
mod support;
mod survival;
mod table;
mod workload;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Tests that count the whole machine run one after the other: what one starts, another would count.
fn whole_machine() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
