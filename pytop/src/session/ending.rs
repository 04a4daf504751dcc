//! How a run ends.

use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;

/// Why a run has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// All snapshots that were asked for have been taken.
    Complete,
    /// A signal asked for it.
    Interrupted,
    /// A signal that a terminal does not send to the command as well asked for it.
    Terminated,
    /// Nobody listens any more.
    Dismissed,
    /// All processes that were named have ended.
    ProcessesEnded,
    /// The command has ended, so.
    CommandEnded(ExitStatus),
}

impl Ending {
    /// How the run has ended, in words.
    pub(super) fn told(self) -> String {
        match self {
            Self::Complete => "all snapshots have been taken".to_owned(),
            Self::Interrupted | Self::Terminated => "interrupted".to_owned(),
            Self::Dismissed => String::new(),
            Self::ProcessesEnded => "the processes have ended".to_owned(),
            Self::CommandEnded(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("the command has ended with status {code}"),
                (None, Some(signal)) => format!("the command was ended by signal {signal}"),
                (None, None) => "the command has ended".to_owned(),
            },
        }
    }
}
