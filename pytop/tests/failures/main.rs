//! Every way in which pytop fails: which message comes where, and with which exit status.

mod command;
mod files;
mod interpreters;
mod kernel;
mod output;
mod privilege;
mod processes;
#[path = "../support/mod.rs"]
mod support;
mod usage;

use std::sync::{Mutex, MutexGuard, PoisonError};

/// One after another run the tests that make files which a look at the whole machine finds, and
/// those that expect such a look to find none.
fn whole_machine() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}
