//! The command that is counted, if there is one.

use std::process::ExitStatus;
use std::time::Duration;

use anyhow::Result;

use super::Target;
use crate::probe::launch::{Event, Launched, Output, Stage, Verdict, launch};

/// A command that runs.
pub(super) struct Running(Launched);

impl Running {
    /// Starts the command of `target`, if it is one.
    pub(super) fn start(target: &mut Target) -> Result<Option<Self>> {
        let Target::Command {
            words,
            children,
            output,
        } = target
        else {
            return Ok(None);
        };
        let output = std::mem::replace(output, Output::Inherit);
        Ok(Some(Self(launch(words, *children, output)?)))
    }

    pub(super) fn pid(&self) -> u32 {
        self.0.pid()
    }

    /// What happens to it next.
    pub(super) async fn next(&mut self) -> Event {
        match self.0.next().await {
            Some(event) => event,
            // Its end has been told already.
            None => std::future::pending().await,
        }
    }

    /// Waits for its end, and lets it go wherever it would stand still.
    pub(super) async fn end_within(&mut self, time: Duration) -> Option<ExitStatus> {
        let end = async {
            loop {
                match self.next().await {
                    Event::Ended(status) => return status,
                    Event::Held(held) => held.proceed(Verdict::Pass),
                    Event::Unwatched { .. } => {}
                }
            }
        };
        tokio::time::timeout(time, end).await.ok()
    }

    pub(super) async fn terminate(&mut self, grace: Duration) -> Option<ExitStatus> {
        self.0.terminate(grace).await
    }
}

/// How a process goes on after it was looked at.
pub(super) fn verdict(stage: Stage, runs_cpython: bool) -> Verdict {
    match stage {
        _ if runs_cpython => Verdict::Probed,
        Stage::Exec => Verdict::AtEntry,
        Stage::LoaderDone | Stage::Forked { .. } => Verdict::Pass,
    }
}
