//! `pytop trace`: from its options to the exit status.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
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
use crate::report::{Missing, ReportError, TraceReport};
use crate::session::{Ending, Options, Session, Target, Tracing, now};
use crate::trace::Selection;
use crate::updates::{Command, Update};

/// Nothing is counted, so that no interval ends.
const NO_INTERVAL: Duration = Duration::from_hours(1);

/// Does what the command line says.
pub(super) fn run(arguments: &Trace) -> Result<ExitCode, Failure> {
    let start = now();
    let file = arguments
        .output
        .as_deref()
        .map(OutputFile::open)
        .transpose()?;
    let output: Box<dyn Write + Send> = match &file {
        Some(file) => Box::new(file.writer()?),
        None => Box::new(io::stdout()),
    };
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
    let weight = arguments.weight.unwrap_or_default();
    let report = TraceReport::new(arguments.format, weight, selection, start, output);
    let printer = thread::Builder::new()
        .name("pytop-report".to_owned())
        .spawn(move || print(report, file.as_ref(), updates, commands))
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

/// The file that the trace goes to. What it held is lost only once there is a trace.
struct OutputFile {
    file: File,
    cannot: String,
}

impl OutputFile {
    /// Opens it, and leaves it as it is.
    fn open(path: &Path) -> Result<Self> {
        let shown = visible(path.as_os_str().as_encoded_bytes()).into_owned();
        let cannot = format!("cannot write to {shown}");
        let mut options = OpenOptions::new();
        let file = options.write(true).create(true).truncate(false).open(path);
        match file {
            Ok(file) => Ok(Self { file, cannot }),
            Err(error) => Err(error).context(cannot),
        }
    }

    fn writer(&self) -> Result<File> {
        let file = self.file.try_clone();
        file.with_context(|| self.cannot.clone())
    }

    /// Takes out what it held. Pipes and devices hold nothing.
    fn empty(&self) -> Result<()> {
        let emptied = self.file.metadata().and_then(|metadata| {
            if metadata.is_file() {
                self.file.set_len(0)?;
            }
            Ok(())
        });
        emptied.with_context(|| self.cannot.clone())
    }
}

/// Why the trace could not be written, with the file's name.
fn failed(error: ReportError, file: Option<&OutputFile>) -> anyhow::Error {
    match (error, file) {
        (ReportError::Failed(error), Some(file)) => anyhow!(error).context(file.cannot.clone()),
        (error, _) => error.into(),
    }
}

/// Says what the stacks do not show.
fn say_missing(missing: Missing) {
    let Missing { merged, lost } = missing;
    if lost > 0 {
        say(&format!(
            "{lost} events were lost, for which there was no room (see --buffer): what is not known \
             of the stacks behind is named (lost)"
        ));
    }
    if merged > 0 {
        say(&format!(
            "{merged} calls are part of their callers: there were more stacks than pytop keeps apart"
        ));
    }
}

/// Prints what `updates` brings, in a thread that may wait for a reader for ever.
fn print(
    mut report: TraceReport<Box<dyn Write + Send>>,
    file: Option<&OutputFile>,
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
                if let Some(file) = file {
                    file.empty()?;
                }
                say(&format!(
                    "tracing {processes} processes ({interpreters} interpreters)"
                ));
            }
            Update::Notice(text) => say(&text),
            Update::Traced(batch) => match report.write(&batch) {
                // Nobody reads any more.
                Err(ReportError::Closed) => is_read = false,
                Err(error) => return Err(failed(error, file)),
                Ok(()) => {}
            },
            Update::Snapshot(_) | Update::Ended(_) => {}
        }
    }
    if is_read {
        match report.finish() {
            Err(ReportError::Closed) => {}
            Err(error) => return Err(failed(error, file)),
            Ok(missing) => say_missing(missing),
        }
    }
    // The session ends when nobody can ask anything of it any more.
    drop(commands);
    Ok(())
}
