//! What a session tells a screen, and what a screen asks of a session.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Snapshot;
use crate::trace::Batch;

/// From the session to the screen.
#[derive(Clone, Debug)]
pub enum Update {
    /// All probes are in place. Told once.
    Counting {
        /// Processes that are counted.
        processes: usize,
        /// Interpreters, that is files with a probe in them.
        interpreters: usize,
    },
    /// An interval has ended.
    Snapshot(Arc<Snapshot>),
    /// Something has happened in traced threads.
    Traced(Arc<Batch>),
    /// Something that the user should know, in one line.
    Notice(String),
    /// Counting has ended, and why; nothing follows. The screen stays until the user leaves.
    Ended(String),
}

/// From the screen to the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Make the intervals this long, from the next on.
    SetInterval(Duration),
    /// End the run.
    Quit,
}

/// What is being counted, in the words of the command line.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Every CPython process.
    #[default]
    Machine,
    /// These processes, and their descendants if that was asked for.
    Processes {
        /// The processes that were named.
        pids: Vec<u32>,
        /// Their descendants too.
        children: bool,
    },
    /// A command that was started to be counted, as one line.
    Command(String),
}
