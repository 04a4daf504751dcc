//! The trace of what a row of the screen stands for, while the screen counts on.

use std::io::{self, Write};
use std::thread::{self, JoinHandle};

use anyhow::{Context as _, Result};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::trace::options;
use super::{WAITING_UPDATES, message};
use crate::cli::{MethodChoice, TraceFormat, Weight};
use crate::probe::Room;
use crate::report::TraceReport;
use crate::session::{Closing, Session, Target, Tracing, now};
use crate::trace::Selection;
use crate::tui::{RunningTrace, TraceNews, TraceRequest};
use crate::updates::Update;

/// Bytes of the ring of events.
const RING: u32 = 4 << 20;
/// Bytes of text that wait for the end of a batch.
const MOST_TEXT: usize = 1 << 20;

/// Starts a trace, which ends when what is returned is dropped.
pub(super) fn start(request: TraceRequest, method: MethodChoice) -> Result<RunningTrace> {
    let start = now();
    let target = Target::Processes {
        pids: request.pids,
        children: false,
    };
    let tracing = Tracing {
        room: Room {
            ring: RING,
            max_depth: u32::MAX,
        },
        duration: None,
    };
    let (to_us, updates) = channel(WAITING_UPDATES);
    let (commands, from_us) = channel(WAITING_UPDATES);
    let session = Session::spawn(options(target, method, tracing), to_us, from_us)?;
    let (sender, news) = channel(WAITING_UPDATES);
    let selection = Selection {
        filter: request.filter,
        subtree: false,
    };
    thread::Builder::new()
        .name("pytop-trace".to_owned())
        .spawn(move || {
            let lines = Lines {
                text: Vec::new(),
                sender: sender.clone(),
            };
            let (format, weight) = (TraceFormat::Text, Weight::default());
            let report = TraceReport::new(format, weight, selection, start, lines);
            let report = report.from_shallowest();
            // The screen has let go of the trace when it no longer listens.
            let _ = tell(report, updates, session, &sender);
        })
        .context("cannot start a thread")?;
    Ok(RunningTrace { news, commands })
}

/// Tells what happens, and in the end why nothing follows. `None` when nobody listens any more.
fn tell(
    mut report: TraceReport<Lines>,
    mut updates: Receiver<Update>,
    session: JoinHandle<Closing>,
    sender: &Sender<TraceNews>,
) -> Option<()> {
    let reason = loop {
        let said = match updates.blocking_recv() {
            Some(Update::Traced(batch)) => {
                report.write(&batch).ok()?;
                continue;
            }
            Some(Update::Counting { .. }) => "tracing".to_owned(),
            Some(Update::Notice(text)) => text,
            Some(Update::Snapshot(_)) => continue,
            // The session itself goes on until the screen lets go of it.
            Some(Update::Ended(reason)) => break reason,
            None => break failure(session),
        };
        sender.blocking_send(TraceNews::Said(said)).ok()?;
    };
    sender.blocking_send(TraceNews::Ended(reason)).ok()
}

/// Why a session has ended without a word.
fn failure(session: JoinHandle<Closing>) -> String {
    match session.join() {
        Ok(Closing {
            ending: Err(error), ..
        }) => message(&error),
        Ok(_) => "the trace has ended".to_owned(),
        Err(_) => "tracing has failed; this is a bug of pytop".to_owned(),
    }
}

/// Sends what is written, in whole lines, when it is flushed.
#[derive(Debug)]
struct Lines {
    text: Vec<u8>,
    sender: Sender<TraceNews>,
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        if self.text.len() > MOST_TEXT {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(end) = self.text.iter().rposition(|byte| *byte == b'\n') else {
            return Ok(());
        };
        let rest = self.text.split_off(end + 1);
        let text = std::mem::replace(&mut self.text, rest);
        let lines = String::from_utf8_lossy(&text)
            .lines()
            .map(str::to_owned)
            .collect();
        let sent = self.sender.blocking_send(TraceNews::Lines(lines));
        sent.map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
