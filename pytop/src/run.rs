//! From the options to the exit status: starts a session and shows what it tells.

mod answer;
mod row_trace;
mod trace;

use std::fs::File;
use std::io::{self, IsTerminal as _, Read as _, Seek as _, Write as _};
use std::os::fd::AsFd;
use std::panic;
use std::process::ExitCode;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tokio::sync::mpsc::{Receiver, Sender, channel};

use crate::cli::{Cli, Format, MaxOverhead, Task, Top};
use crate::model::text::visible;
use crate::model::{Totals, View};
use crate::os_error::without_numbers;
use crate::probe::launch::{LaunchError, Output, exit_code};
use crate::probe::{Capacity, await_for};
use crate::report::{Layout, Report, ReportError};
use crate::session::{Ending, Options, Session, Target};
use crate::tui::{self, Settings};
use crate::updates::{Command, Scope, Update};

/// Updates that may wait for a slow reader. Counting goes on meanwhile: an interval is then longer.
const WAITING_UPDATES: usize = 4;
/// How long a last message waits for its reader.
const PATIENCE: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 250_000_000,
};
/// How long the end may take before the user is told why.
const NOTICEABLE: Duration = Duration::from_millis(300);
/// How much of a command's output is shown when the screen has closed, in bytes.
const SHOWN_OUTPUT: u64 = 1 << 20;

/// Why nothing could be done.
#[derive(Debug)]
pub struct Failure(anyhow::Error);

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl Failure {
    /// Tells the user, and returns the exit status.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        if is_read(io::stderr()) {
            say(&message(&self.0));
        }
        match self.0.downcast_ref::<LaunchError>() {
            Some(error) => error.exit_code().into(),
            None => ExitCode::FAILURE,
        }
    }
}

/// The error and its causes, without those that it has told already, and without the numbers that
/// the standard library adds to the kernel's answers.
fn message(error: &anyhow::Error) -> String {
    let mut message = String::new();
    for cause in error.chain() {
        let text = without_numbers(&cause.to_string());
        if message.is_empty() {
            message = text;
        } else if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
    }
    message
}

/// From here on, a panic is told as everything else is: in one line, from `pytop`. A user has no
/// use for a backtrace, and whoever mends it wants the place.
pub fn tell_panics_in_one_line() {
    panic::set_hook(Box::new(|panic| {
        let place = panic.location().map(ToString::to_string);
        let what = panic.payload_as_str().unwrap_or_default();
        say(&format!(
            "this is a bug of pytop, please report it: {} ({})",
            visible(what.as_bytes()),
            place.as_deref().unwrap_or("at an unknown place")
        ));
    }));
}

/// Does what the command line says.
pub fn run(cli: &Cli) -> Result<ExitCode, Failure> {
    match &cli.task {
        None => top(&cli.top),
        Some(Task::Probes(options)) => Ok(answer::probes(options)?),
        Some(Task::Doctor(options)) => Ok(answer::doctor(options)?),
        Some(Task::Trace(options)) => trace::run(options),
    }
}

/// Counts, and shows what is counted.
fn top(cli: &Top) -> Result<ExitCode, Failure> {
    let interactive = cli.is_interactive(io::stdout().is_terminal());
    let (output, captured) = output(cli, interactive)?;
    let scope = scope(cli);
    let target = if !cli.command.is_empty() {
        Target::Command {
            words: cli.command.clone(),
            children: cli.children,
            output,
        }
    } else if !cli.pids.is_empty() {
        Target::Processes {
            pids: cli.pids.clone(),
            children: cli.children,
        }
    } else {
        Target::Machine
    };
    let options = Options {
        target,
        interval: cli.interval,
        snapshots: cli.snapshots(),
        method: cli.method,
        capacity: cli.table_size.map_or(Capacity::AsNeeded, Capacity::Fixed),
        trace: None,
        max_overhead: cli.max_overhead.map(MaxOverhead::share),
        durations: cli.durations,
        count_nothing: cli.count_nothing,
    };
    let (to_us, updates) = channel(WAITING_UPDATES);
    let (commands, from_us) = channel(WAITING_UPDATES);
    let session = Session::spawn(options, to_us, from_us)?;
    let ending = if interactive {
        let shown = screen(cli, scope, updates, commands);
        // A command may take its time to end, and be told of it.
        if cli.command.is_empty() && !await_for(NOTICEABLE) {
            say("waiting for the kernel to take out the probes, which nobody runs into any more");
        }
        // What the session has to say comes first: the other failure may be but its consequence.
        let ending = join(session)?.ending?;
        shown?;
        ending
    } else {
        let printer = printer(cli, updates, commands)?;
        let closing = join(session)?;
        if closing.is_heard {
            let ending = closing.ending?;
            join(printer)??;
            ending
        } else {
            // It still writes, and ends with the process.
            closing.ending?;
            return Err(anyhow!(
                "cannot write to standard output: its reader has stopped reading, and the last \
                 counts are lost"
            )
            .into());
        }
    };
    if let Some(captured) = captured {
        replay(captured);
    }
    Ok(match ending {
        Ending::CommandEnded(status) => exit_code(status).into(),
        _ => ExitCode::SUCCESS,
    })
}

/// Where a command's output goes, and where to find it afterwards.
fn output(cli: &Top, interactive: bool) -> Result<(Output, Option<File>)> {
    if cli.command.is_empty() {
        Ok((Output::Inherit, None))
    } else if interactive {
        let (output, file) = Output::capture().with_context(|| {
            format!(
                "cannot make a temporary file for the output of the command in {}, which \
                     TMPDIR can change",
                visible(std::env::temp_dir().as_os_str().as_encoded_bytes())
            )
        })?;
        Ok((output, Some(file)))
    } else if cli.format == Format::Table {
        Ok((Output::Inherit, None))
    } else {
        // Standard output is for data alone, or nobody could read it.
        Ok((Output::StdoutToStderr, None))
    }
}

fn scope(cli: &Top) -> Scope {
    if !cli.command.is_empty() {
        let words: Vec<_> = cli
            .command
            .iter()
            .map(|word| visible(word.as_encoded_bytes()).into_owned())
            .collect();
        Scope::Command(words.join(" "))
    } else if !cli.pids.is_empty() {
        Scope::Processes {
            pids: cli.pids.clone(),
            children: cli.children,
        }
    } else {
        Scope::Machine
    }
}

fn screen(
    cli: &Top,
    scope: Scope,
    mut updates: Receiver<Update>,
    commands: Sender<Command>,
) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(async {
        // Whatever keeps the session from starting is told on an ordinary terminal.
        let Some(first) = updates.recv().await else {
            return Ok(());
        };
        let (sender, received) = channel(WAITING_UPDATES);
        tokio::spawn(async move {
            let mut next = Some(first);
            while let Some(update) = next {
                if sender.send(update).await.is_err() {
                    break;
                }
                next = updates.recv().await;
            }
        });
        let settings = Settings {
            // Whoever waits for the command, or for the processes, waits for pytop.
            close_at_end: cli.snapshots().is_some()
                || !cli.command.is_empty()
                || !cli.pids.is_empty(),
            ..Settings::from_environment(cli.screen_view(), cli.interval, scope)
        };
        let method = cli.method;
        let trace = |request| row_trace::start(request, method);
        tui::run(received, commands, settings, &trace).await
    })
}

/// Prints what `updates` brings, in a thread that may wait for a reader for ever.
fn printer(
    cli: &Top,
    updates: Receiver<Update>,
    commands: Sender<Command>,
) -> Result<JoinHandle<Result<()>>> {
    let (format, view) = (cli.format, cli.view());
    thread::Builder::new()
        .name("pytop-report".to_owned())
        .spawn(move || print(format, view, updates, commands))
        .context("cannot start a thread")
}

fn print(
    format: Format,
    view: View,
    mut updates: Receiver<Update>,
    commands: Sender<Command>,
) -> Result<()> {
    let mut report = Report::new(format, view, layout(), io::stdout().lock());
    let mut totals = Totals::default();
    while let Some(update) = updates.blocking_recv() {
        match update {
            Update::Counting {
                processes,
                interpreters,
            } => {
                say(&format!(
                    "counting {processes} processes ({interpreters} interpreters)"
                ));
            }
            Update::Notice(text) => say(&text),
            Update::Snapshot(snapshot) => {
                totals.record(&snapshot);
                match report.write(&snapshot, &totals) {
                    // Nobody reads any more.
                    Err(ReportError::Closed) => break,
                    result => result?,
                }
            }
            Update::Traced(_) | Update::Ended(_) => {}
        }
    }
    // The session ends when nobody can ask anything of it any more.
    drop(commands);
    Ok(())
}

/// How wide a table may be on standard output.
fn layout() -> Layout {
    // Asked of the kernel alone: some libraries would run tput(1) where there is no terminal, and
    // what a root's search path has under that name is anybody's guess.
    let width = rustix::termios::tcgetwinsize(io::stdout())
        .ok()
        .map(|size| size.ws_col);
    let columns = std::env::var("COLUMNS").ok();
    Layout::detect(columns.as_deref(), width)
}

fn join<T>(thread: JoinHandle<T>) -> Result<T> {
    thread
        .join()
        .map_err(|_| anyhow!("counting has failed; this is a bug of pytop"))
}

/// Shows the end of what a command printed while the screen was there.
fn replay(mut captured: File) {
    let length = captured.seek(io::SeekFrom::End(0)).unwrap_or(0);
    let _ = captured.seek(io::SeekFrom::Start(length.saturating_sub(SHOWN_OUTPUT)));
    let mut output = Vec::new();
    // What cannot be shown is the command's, and its run is over.
    let _ = captured.take(SHOWN_OUTPUT).read_to_end(&mut output);
    let _ = io::stdout().write_all(&output);
}

/// One message on standard error.
fn say(message: &str) {
    // There is nowhere to complain about a closed standard error.
    let _ = writeln!(io::stderr(), "pytop: {message}");
}

/// Whether an output takes a message now, or soon: the reader of a full pipe may never read again.
fn is_read(output: impl AsFd) -> bool {
    let mut outputs = [PollFd::new(&output, PollFlags::OUT)];
    // What cannot be asked is no reason for silence.
    !matches!(poll(&mut outputs, Some(&PATIENCE)), Ok(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_told_once() {
        let refused = || io::Error::from_raw_os_error(13);
        let told = anyhow!(refused()).context("cannot look: Permission denied; run as root");
        assert_eq!(
            message(&told),
            "cannot look: Permission denied; run as root"
        );
        let untold = anyhow!(refused()).context("cannot look");
        assert_eq!(message(&untold), "cannot look: Permission denied");
    }
}
