//! What the session's loop waits for.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::command::Running;
use super::ending::Ending;
use crate::probe::launch::Event;
use crate::probe::sideband::Sideband;
use crate::updates::Command;

/// Why the loop has woken up.
pub(super) enum Wake {
    IntervalEnded,
    Budget,
    /// Events of a trace may be there.
    TraceDue,
    /// The time of a trace is over.
    TraceEnded,
    Sweep,
    /// The cost of a hit is to be measured.
    Measure,
    Events,
    Command(Event),
    /// What was told has been taken.
    Taken,
    Asked(Option<Command>),
    ProcessesEnded,
    Signal(Ending),
}

pub(super) fn every(length: Duration) -> Interval {
    let mut interval = interval_at(Instant::now() + length, length);
    interval.set_missed_tick_behavior(MissedTickBehavior::Skip);
    interval
}

/// The signals that end a run.
pub(super) struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hang_up: Signal,
}

impl Signals {
    /// From here on, they do not end the process.
    pub(super) fn listen() -> Result<Self> {
        let listen = |kind| signal(kind).context("cannot listen for signals");
        Ok(Self {
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for one.
    pub(super) async fn next(&mut self) -> Ending {
        tokio::select! {
            _ = self.interrupt.recv() => Ending::Interrupted,
            _ = self.terminate.recv() => Ending::Terminated,
            _ = self.hang_up.recv() => Ending::Terminated,
        }
    }
}

/// Waits until a point in time; for ever when there is none.
pub(super) async fn until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

pub(super) async fn next_event(running: &mut Option<Running>) -> Event {
    match running {
        Some(running) => running.next().await,
        None => std::future::pending().await,
    }
}

pub(super) async fn ready(sideband: &mut Option<Sideband>) {
    if let Some(events) = sideband
        && events.wait().await.is_err()
    {
        // The sweep goes on without it.
        *sideband = None;
    }
    if sideband.is_none() {
        std::future::pending::<()>().await;
    }
}
