//! pytop: a live terminal top for Python function calls.
//!
//! One stage a module, one direction: [`discover`] finds processes, [`cpython`] knows what is in
//! their files, [`probe`] attaches and drains the kernel's counts, [`model`] turns them into rows,
//! and [`trace`] events into calls, [`report`] and [`tui`] draw those. Nothing imports what stands
//! after it in this list, but for [`session`], which drives the first four, and [`cli`], which only
//! names options. [`updates`] is what the session and the screen say to each other. [`inspect`] and
//! [`doctor`] answer the subcommands of these names, with the session's own means.

pub mod cli;
pub mod cpython;
pub mod discover;
pub mod doctor;
pub mod inspect;
pub mod model;
mod os_error;
pub mod probe;
pub mod report;
pub mod run;
pub mod session;
pub mod trace;
pub mod tui;
pub mod updates;
