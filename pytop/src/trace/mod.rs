//! From events to the hierarchy of calls.
//!
//! What comes is what threads did, in their order: a frame was entered, a frame was left. Each event
//! tells how deep its thread is, as the kernel side knows it from the chain of the interpreter's own
//! frames, or by counting where a marker tells no frame. So the depth cannot drift: whatever was
//! not seen, the next event of the thread puts right. Here it is kept which functions these depths
//! are, a stack for each thread, by these rules:
//!
//! | event                               | what becomes of the stack                                |
//! |-------------------------------------|----------------------------------------------------------|
//! | entry at depth *d*                  | what is at *d* or deeper is gone, left at this time at the latest; the new frame is at *d*. What is missing above it is an unknown function. |
//! | entry, but its caller is another frame than the one at *d* - 1 | that one was left, too, and an unknown function is in its place |
//! | return of a frame of the stack      | what is deeper is gone likewise, and then the frame         |
//! | return of a frame that is not there | what is at its depth or deeper is gone; it was entered before the trace began, or its entry was lost |
//! | a generator was made                | its frame, entered just before, is gone                     |
//! | events were lost                    | nothing, but every function of it may have been left, and another entered in its place: [`Line::is_cut`] until all that were there are gone. The depth of what comes next is right again. |
//!
//! A frame that is gone without a return of its own was left by an exception, where the interpreter
//! does not tell of these (CPython 3.11), or its return was lost. That it was left is certain, but not
//! when: [`Way::Unseen`].

mod stacks;
#[cfg(test)]
mod tests;

pub use stacks::Stacks;

use std::sync::Arc;

use pytop_common::trace::Event;

use crate::model::{Filter, Text};
use crate::probe::Names;

/// An event, with the names of its function.
#[derive(Clone, Debug)]
pub struct Traced {
    /// What has happened.
    pub event: Event,
    /// The names, where the event tells them and they are known.
    pub names: Option<Names>,
}

/// Some events, and what there is to know for showing them.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// In their order.
    pub events: Vec<Traced>,
    /// Names of programs, by pid, where they are new or others than before.
    pub programs: Vec<(u32, Text)>,
    /// Threads that have ended, after these events: their numbers, and how many events of theirs
    /// were lost and not told.
    pub ended: Vec<Gone>,
}

/// A thread that tells no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Its last events, which found no room.
    pub lost: u32,
    /// When it was seen to be gone, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// It runs no more. Otherwise it is only that the trace ends.
    pub has_ended: bool,
}

/// A function.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Function {
    /// Its names; `None` when they are not known.
    pub names: Option<Names>,
    /// The line at which it was entered, mostly its first.
    pub line: Option<u32>,
}

/// How a frame was left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// It was seen leaving.
    Seen,
    /// It was seen to be gone: it was left at this time at the latest.
    Unseen,
    /// It was made for a generator, and did not run.
    Created,
}

/// What there is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What<'a> {
    /// A function was entered; `thrown`: by an exception, in a generator that was suspended.
    Entry {
        /// Which.
        function: &'a Arc<Function>,
        /// Whether an exception was thrown into it.
        thrown: bool,
    },
    /// A function was left.
    Return {
        /// Which.
        function: &'a Arc<Function>,
        /// How.
        way: Way,
    },
    /// So many events of the thread were lost here.
    Lost(u32),
}

/// A line of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Line<'a> {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// How many functions are around it, as far as is known.
    pub depth: usize,
    /// Some of them, the outermost, may be others than those that were told: events were lost since.
    pub is_cut: bool,
    /// What was to be told.
    pub what: What<'a>,
}

/// Which functions are told.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Those that match; all without.
    pub filter: Option<Filter>,
    /// With everything that they call.
    pub subtree: bool,
}
