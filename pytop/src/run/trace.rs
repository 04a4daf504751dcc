//! `pytop trace`: from its options to the exit status.

use std::fs::File;
use std::io::{self, Write};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use super::{Failure, WAITING_UPDATES, join, say};
use crate::cli::{MethodChoice, Trace};
use crate::model::text::visible;
use crate::probe::Capacity;
use crate::probe::launch::{Output, exit_code};
use crate::report::{ReportError, TraceReport};
use crate::session::{Ending, Options, Session, Target, Tracing, now};
use crate::trace::Selection;
use crate::updates::{Command, Update};

/// Nothing is counted, so that no interval ends.
const NO_INTERVAL: Duration = Duration::from_hours(1);

/// Does what the command line says.
pub(super) fn run(arguments: &Trace) -> Result<ExitCode, Failure> {
    let start = now();
    let output = output(arguments)?;
    let target = if !arguments.command.is_empty() {
        Target::Command {
            words: arguments.command.clone(),
            children: arguments.children,
            // Standard output is for the trace alone.
            output: match &arguments.output {
                Some(_) => Output::Inherit,
                None => Output::StdoutToStderr,
            },
        }
    } else if !arguments.pids.is_empty() {
        Target::Processes {
            pids: arguments.pids.clone(),
            children: arguments.children,
        }
    } else {
        Target::Machine
    };
    let tracing = Tracing {
        room: arguments.room(),
        duration: arguments.duration,
    };
    let options = options(target, arguments.method, tracing);
    let (to_us, updates) = channel(WAITING_UPDATES);
    let (commands, from_us) = channel(WAITING_UPDATES);
    let session = Session::spawn(options, to_us, from_us)?;
    let selection = Selection {
        filter: arguments.filter.clone(),
        subtree: arguments.subtree,
    };
    let report = TraceReport::new(arguments.format, arguments.weight, selection, start, output);
    let printer = thread::Builder::new()
        .name("pytop-report".to_owned())
        .spawn(move || print(report, updates, commands))
        .context("cannot start a thread")?;
    let closing = join(session)?;
    if !closing.is_heard {
        // It still writes, and ends with the process.
        closing.ending?;
        return Err(anyhow!(
            "cannot write the trace: its reader has stopped reading, and the last events are lost"
        )
        .into());
    }
    let ending = closing.ending?;
    join(printer)??;
    Ok(match ending {
        Ending::CommandEnded(status) => exit_code(status).into(),
        _ => ExitCode::SUCCESS,
    })
}

/// What a session that traces is to do.
pub(super) fn options(target: Target, method: MethodChoice, tracing: Tracing) -> Options {
    Options {
        target,
        interval: NO_INTERVAL,
        snapshots: None,
        method,
        capacity: Capacity::default(),
        trace: Some(tracing),
        max_overhead: None,
        durations: false,
        count_nothing: false,
    }
}

/// Where the trace goes.
fn output(arguments: &Trace) -> Result<Box<dyn Write + Send>> {
    let Some(path) = &arguments.output else {
        return Ok(Box::new(io::stdout()));
    };
    let file = File::create(path).with_context(|| {
        let path = visible(path.as_os_str().as_encoded_bytes()).into_owned();
        format!("cannot write to {path}")
    })?;
    Ok(Box::new(file))
}

/// Prints what `updates` brings, in a thread that may wait for a reader for ever.
fn print(
    mut report: TraceReport<Box<dyn Write + Send>>,
    mut updates: Receiver<Update>,
    commands: Sender<Command>,
) -> Result<()> {
    let mut is_read = true;
    while is_read && let Some(update) = updates.blocking_recv() {
        match update {
            Update::Counting {
                processes,
                interpreters,
            } => {
                say(&format!(
                    "tracing {processes} processes ({interpreters} interpreters)"
                ));
            }
            Update::Notice(text) => say(&text),
            Update::Traced(batch) => match report.write(&batch) {
                // Nobody reads any more.
                Err(ReportError::Closed) => is_read = false,
                result => result?,
            },
            Update::Snapshot(_) | Update::Ended(_) => {}
        }
    }
    if is_read {
        match report.finish() {
            Ok(0) | Err(ReportError::Closed) => {}
            Ok(merged) => say(&format!(
                "{merged} calls are part of their callers: there were more stacks than pytop keeps \
                 apart"
            )),
            Err(error) => return Err(error.into()),
        }
    }
    // The session ends when nobody can ask anything of it any more.
    drop(commands);
    Ok(())
}
