//! The screen.
//!
//! ```text
//! terminal  ─ events ─▶ input ─┐
//! signals   ───────────────────┼─ Action ─▶ App::update ─ Effects ─▶ terminal, session
//! session   ─ Update ──────────┘                 │
//!                                                └─▶ screen::draw(&App)
//! ```
//!
//! One task owns the `App` and waits for whatever comes first. All that is waiting is
//! taken before the screen is drawn, once, and only if something has changed. Only `terminal`
//! touches the terminal; `app` and everything that draws are functions of the state, which is
//! what their tests rely on.

mod action;
mod app;
mod areas;
mod cell;
mod columns;
mod detail;
mod distribution;
mod empty;
mod frame;
mod graph;
mod header;
mod help;
mod input;
mod keybar;
mod keys;
mod menu;
mod number;
mod process_view;
mod processes;
mod prompt;
mod screen;
mod segments;
mod selection;
mod summary;
mod table;
mod terminal;
#[cfg(test)]
mod tests;
mod theme;
mod titles;
mod trace_view;

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use anyhow::Context as _;
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt as _;
use ratatui::layout::Size;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{Receiver, Sender};

use self::action::{Action, Demand, Effects};
use self::app::App;
pub use self::keys::{KeyHelp, key_help};
use self::terminal::Terminal;
pub use self::theme::{Colors, is_utf8_locale};
use crate::model::{Filter, View};
use crate::updates::{Command, Scope, Update};

/// How the screen begins.
#[derive(Clone, Debug)]
pub struct Settings {
    /// What is shown first, and in which order.
    pub view: View,
    /// The length of an interval.
    pub interval: Duration,
    /// What is being counted, for the header.
    pub scope: Scope,
    /// Draw with ASCII alone.
    pub ascii: bool,
    /// Colours that the terminal has.
    pub colors: Colors,
    /// Leave the screen when counting has ended, rather than wait for the user.
    pub close_at_end: bool,
}

impl Settings {
    /// Settings for this process's environment: `NO_COLOR`, `TERM`, `COLORTERM`, and the locale.
    #[must_use]
    pub fn from_environment(view: View, interval: Duration, scope: Scope) -> Self {
        let variable = |name: &str| std::env::var(name).ok();
        Self {
            view,
            interval,
            scope,
            ascii: !is_utf8_locale(variable),
            colors: Colors::from_environment(variable),
            close_at_end: false,
        }
    }
}

/// What a trace is to be of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceRequest {
    /// These processes, at least one.
    pub pids: Vec<u32>,
    /// Functions that it matches; all without one.
    pub filter: Option<Filter>,
}

/// What a trace tells.
#[derive(Clone, Debug)]
pub enum TraceNews {
    /// What has happened, one event a line, safe to show.
    Lines(Vec<String>),
    /// Something of the trace itself.
    Said(String),
    /// It has ended, and why; nothing follows.
    Ended(String),
}

/// A trace that goes on until this is dropped.
#[derive(Debug)]
pub struct RunningTrace {
    /// What it tells.
    pub news: Receiver<TraceNews>,
    /// Its session, which ends when nobody can ask anything of it any more.
    pub commands: Sender<Command>,
}

/// Starts a trace.
pub type StartTrace<'a> = &'a dyn Fn(TraceRequest) -> anyhow::Result<RunningTrace>;

/// Waits for the next news of a trace, for ever when there is none.
async fn next_news(trace: &mut Option<RunningTrace>) -> TraceNews {
    if let Some(running) = trace {
        if let Some(news) = running.news.recv().await {
            return news;
        }
        *trace = None;
    }
    std::future::pending().await
}

/// Signals that the screen answers to.
struct Signals {
    /// SIGTERM, SIGINT, SIGHUP, SIGQUIT.
    end: [Signal; 4],
    stop: Signal,
    resume: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        Ok(Self {
            end: [
                signal(SignalKind::terminate())?,
                signal(SignalKind::interrupt())?,
                signal(SignalKind::hangup())?,
                signal(SignalKind::quit())?,
            ],
            stop: signal(SignalKind::from_raw(nix::libc::SIGTSTP))?,
            resume: signal(SignalKind::from_raw(nix::libc::SIGCONT))?,
        })
    }
}

/// Why the screen's task has woken up.
enum Wake {
    Action(Option<Action>),
    Resumed,
    SessionIsGone,
    TerminalIsGone,
}

/// Takes over the terminal and shows what `updates` brings, and what `start_trace` traces, until the user leaves, a signal ends
/// the run, or, with [`Settings::close_at_end`], counting ends. Sends [`Command::Quit`] last.
///
/// Must run in a tokio runtime with I/O and time enabled.
///
/// # Errors
///
/// When the terminal cannot be taken over, read or drawn on. It is given back in every case.
pub async fn run(
    mut updates: Receiver<Update>,
    commands: Sender<Command>,
    settings: Settings,
    start_trace: StartTrace<'_>,
) -> anyhow::Result<()> {
    let result = show(&mut updates, &commands, settings, start_trace).await;
    // A session that waits for room in the channel must not wait for a screen that is gone.
    updates.close();
    while updates.try_recv().is_ok() {}
    // The session may have ended already.
    let _ = commands.send(Command::Quit).await;
    result
}

async fn show(
    updates: &mut Receiver<Update>,
    commands: &Sender<Command>,
    settings: Settings,
    start_trace: StartTrace<'_>,
) -> anyhow::Result<()> {
    let mut trace = None;
    let mut signals = Signals::new().context("cannot wait for signals")?;
    let mut terminal = Terminal::take()?;
    let mut events = EventStream::new();
    let size = terminal
        .size()
        .context("cannot find out the size of the terminal")?;
    let mut app = App::new(settings, size);
    let mut outbox: VecDeque<Command> = VecDeque::new();
    let mut counting = true;
    let mut changed = true;
    loop {
        if changed {
            follow_size(
                &mut app,
                terminal
                    .size()
                    .context("cannot find out the size of the terminal")?,
            );
            terminal.draw(&app).context("cannot draw on the terminal")?;
        }
        let [terminate, interrupt, hang_up, quit] = &mut signals.end;
        let first = tokio::select! {
            permit = commands.reserve(), if !outbox.is_empty() => {
                match (permit, outbox.pop_front()) {
                    (Ok(permit), Some(command)) => permit.send(command),
                    // The session has ended; what was asked of it no longer matters.
                    _ => outbox.clear(),
                }
                changed = false;
                continue;
            }
            update = updates.recv(), if counting => {
                update.map_or(Wake::SessionIsGone, |update| Wake::Action(Some(Action::Update(update))))
            }
            event = events.next() => match event {
                Some(Ok(event)) => Wake::Action(input::action(app.context(), event)),
                Some(Err(_)) | None => Wake::TerminalIsGone,
            },
            news = next_news(&mut trace) => Wake::Action(Some(Action::Traced(news))),
            _ = terminate.recv() => Wake::Action(Some(Action::Quit)),
            _ = interrupt.recv() => Wake::Action(Some(Action::Quit)),
            _ = hang_up.recv() => Wake::Action(Some(Action::Quit)),
            _ = quit.recv() => Wake::Action(Some(Action::Quit)),
            _ = signals.stop.recv() => Wake::Action(Some(Action::Suspend)),
            _ = signals.resume.recv() => Wake::Resumed,
        };
        let mut wake = Some(first);
        changed = false;
        while let Some(reason) = wake.take() {
            let effects = match reason {
                Wake::Action(Some(action)) => app.update(action),
                Wake::Action(None) => Effects::NONE,
                Wake::Resumed => {
                    terminal
                        .resume()
                        .context("cannot take over the terminal again")?;
                    Effects::DRAW
                }
                Wake::SessionIsGone => {
                    counting = false;
                    app.update(Action::Update(Update::Ended(
                        "the session is over".to_owned(),
                    )))
                }
                Wake::TerminalIsGone => Effects::QUIT,
            };
            changed |= effects.draw;
            match effects.demand {
                None => {}
                Some(Demand::Clear) => terminal.clear().context("cannot draw on the terminal")?,
                Some(Demand::Suspend) => terminal.suspend().context("cannot suspend")?,
                Some(Demand::Send(command)) => outbox.push_back(command),
                Some(Demand::Trace(request)) => match start_trace(request) {
                    Ok(running) => trace = Some(running),
                    Err(error) => {
                        app.update(Action::Traced(TraceNews::Ended(format!("{error:#}"))));
                    }
                },
                // Its session ends by itself, in its own time.
                Some(Demand::EndTrace) => trace = None,
                Some(Demand::Quit) => return Ok(()),
            }
            // A key held down or a wheel turned fast is drawn once, not once an event.
            if let Some(Ok(event)) = waiting(&mut events).await {
                wake = Some(Wake::Action(input::action(app.context(), event)));
            } else if counting && let Ok(update) = updates.try_recv() {
                wake = Some(Wake::Action(Some(Action::Update(update))));
            }
        }
    }
}

/// The event that is waiting, if one is.
///
/// The stream remembers the first waker that finds it empty and no other before the next event,
/// so it must only ever be polled with the waker of the task, never with one that does nothing.
async fn waiting(events: &mut EventStream) -> Option<std::io::Result<Event>> {
    poll_fn(|context| match events.poll_next_unpin(context) {
        Poll::Ready(event) => Poll::Ready(event),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// The size may have changed without a report, while the process was stopped.
fn follow_size(app: &mut App, size: Size) {
    if size != app.size {
        app.update(Action::Resize {
            width: size.width,
            height: size.height,
        });
    }
}
