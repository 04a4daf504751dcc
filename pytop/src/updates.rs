//! What a session tells a screen, and what a screen asks of a session.

use std::sync::Arc;
use std::time::Duration;

use crate::model::Snapshot;

/// From the session to the screen.
#[derive(Clone, Debug)]
pub enum Update {
    /// An interval has ended.
    Snapshot(Arc<Snapshot>),
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
