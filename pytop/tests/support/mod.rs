//! What the live tests share: real interpreters running small scripts, and the real pytop.
//!
//! Nothing here waits for time to pass. A script tells over a pipe how far it has come and waits
//! for a line before it goes on; pytop tells on standard error when its probes are in place; both
//! are waited for, up to [`DEADLINE`]. Everything that was started is ended when it is dropped.
//!
//! ```text
//! test                 script (Python)               pytop
//!  │── start ───────────▶│                             │
//!  │◀─ "ready" ──────────│                             │
//!  │── start ──────────────────────────────────────────▶│
//!  │◀─ "pytop: counting 1 processes (1 interpreters)" ─│
//!  │── "go" ────────────▶│ calls, as often as known    │
//!  │◀─ "done" ───────────│                             │
//!  │── SIGINT ─────────────────────────────────────────▶│
//!  │◀─ the last snapshot ──────────────────────────────│
//! ```
#![allow(dead_code, reason = "each test program uses a part of it")]
#![allow(unused_imports, reason = "each test program uses a part of it")]

mod behaviours;
mod counted;
mod install;
mod interpreters;
mod lines;
mod memory;
mod outcome;
mod public;
mod python;
mod pytop;
mod script;
pub(crate) mod seccomp;

use std::time::Duration;

pub(crate) use behaviours::{BEHAVIOURS, Behaviour};
pub(crate) use counted::{
    Comparison, Counted, Functions, Process, Row, Snapshot, assert_functions, functions,
};
pub(crate) use install::{install, install_copy};
pub(crate) use interpreters::{
    Form, Interpreter, Marker, at_hand, installed, interpreter, interpreters, live,
};
pub(crate) use lines::Lines;
pub(crate) use memory::{Marked, has_own_code};
pub(crate) use outcome::Outcome;
pub(crate) use public::Public;
pub(crate) use python::{Python, Running, processor_time};
pub(crate) use pytop::{Pytop, await_end, is_cost, machine_wide};
pub(crate) use script::Script;

/// How long anything may take that is waited for. Only a defect takes so long.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);
