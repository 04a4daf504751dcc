//! What a run is asked to do.

use std::ffi::OsString;
use std::time::Duration;

use crate::cli::MethodChoice;
use crate::probe::launch::Output;
use crate::probe::{Capacity, Room};

/// What to count, and for how long.
#[derive(Debug)]
pub struct Options {
    /// Which processes.
    pub target: Target,
    /// The length of an interval.
    pub interval: Duration,
    /// End after so many snapshots.
    pub snapshots: Option<u64>,
    /// How to count.
    pub method: MethodChoice,
    /// How many functions can be counted in one interval.
    pub capacity: Capacity,
    /// Tell every call instead of counting them.
    pub trace: Option<Tracing>,
    /// The part of its processor time that counting may take from a process; no bound if `None`.
    pub max_overhead: Option<f64>,
    /// Measure how long calls take, too.
    pub durations: bool,
    /// Run an empty program at each probe, for measuring.
    pub count_nothing: bool,
}

/// How to trace.
#[derive(Clone, Copy, Debug)]
pub struct Tracing {
    /// How much room events have.
    pub room: Room,
    /// End after this time.
    pub duration: Option<Duration>,
}

/// Which processes to count.
#[derive(Debug)]
pub enum Target {
    /// Every CPython process.
    Machine,
    /// These, and their descendants if asked for.
    Processes {
        /// Their pids.
        pids: Vec<u32>,
        /// Their descendants too.
        children: bool,
    },
    /// A command to be started, and its descendants if asked for.
    Command {
        /// The program and its arguments.
        words: Vec<OsString>,
        /// Its descendants too.
        children: bool,
        /// Where its output goes.
        output: Output,
    },
}
