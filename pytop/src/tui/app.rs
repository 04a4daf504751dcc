//! The state of the screen, and how actions change it. No input, no output, no clock.

mod mouse;
mod order;
mod trace;
mod travel;
mod typing;

use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::{Position, Size};

use super::Settings;
use super::action::{Action, Demand, Effects, Step};
use super::areas::Areas;
use super::keys::Context;
use super::process_view;
use super::processes::ProcessList;
use super::prompt::{self, Asked, Prompt};
use super::selection::Selection;
use super::summary::Summary;
use super::theme::{Glyphs, Theme};
use super::trace_view::TraceView;
use crate::model::{Entry, EntryKey, Filter, Snapshot, SortKey, Totals, View};
use crate::updates::{Scope, Update};

/// The last snapshot and everything before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Recorded {
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) totals: Totals,
}

/// What lies over the list.
#[derive(Clone, Debug)]
pub(super) enum Overlay {
    /// One row in full, scrolled by so many lines.
    Detail { key: EntryKey, scroll: usize },
    /// The keys, scrolled by so many lines.
    Help { scroll: usize },
    /// The sort keys, one of them marked.
    Menu { index: usize },
    /// A line that is being typed.
    Prompt(Prompt),
    /// The calls of a row, one by one.
    Trace(TraceView),
}

/// Which list fills the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Screen {
    Table,
    Processes,
}

/// A line above the keys.
#[derive(Clone, Debug)]
struct Notice {
    text: String,
    /// The number of the snapshot with which it goes.
    until: u64,
}

/// Snapshots for which a notice stays.
const NOTICE: u64 = 10;

/// The state of the screen.
#[derive(Debug)]
pub(super) struct App {
    pub(super) view: View,
    pub(super) interval: Duration,
    pub(super) scope: Scope,
    pub(super) theme: Theme,
    pub(super) glyphs: Glyphs,
    pub(super) size: Size,
    pub(super) screen: Screen,
    overlays: Vec<Overlay>,
    live: Recorded,
    /// What is shown while paused.
    frozen: Option<Recorded>,
    /// All rows, but see `ordered`.
    pub(super) entries: Vec<Entry>,
    /// How many of the rows are in order; `None` when all are.
    ordered: Option<usize>,
    pub(super) summary: Summary,
    pub(super) table: Selection<EntryKey>,
    pub(super) processes: ProcessList,
    notice: Option<Notice>,
    ended: Option<String>,
    snapshots: u64,
    close_at_end: bool,
}

impl App {
    pub(super) fn new(settings: Settings, size: Size) -> Self {
        Self {
            view: settings.view,
            interval: settings.interval,
            scope: settings.scope,
            theme: Theme::new(settings.colors),
            glyphs: Glyphs::new(settings.ascii),
            size,
            screen: Screen::Table,
            overlays: Vec::new(),
            live: Recorded::default(),
            frozen: None,
            entries: Vec::new(),
            ordered: None,
            summary: Summary::default(),
            table: Selection::default(),
            processes: ProcessList::default(),
            notice: None,
            ended: None,
            snapshots: 0,
            close_at_end: settings.close_at_end,
        }
    }

    /// What is shown: the newest, or what was the newest when the screen was paused.
    pub(super) fn shown(&self) -> &Recorded {
        self.frozen.as_ref().unwrap_or(&self.live)
    }

    pub(super) fn is_paused(&self) -> bool {
        self.frozen.is_some()
    }

    pub(super) fn overlay(&self) -> Option<&Overlay> {
        self.overlays.last()
    }

    /// The overlay that fills the body, whatever small one lies over it.
    pub(super) fn body_overlay(&self) -> Option<&Overlay> {
        self.overlays.iter().rev().find(|overlay| {
            matches!(
                overlay,
                Overlay::Detail { .. } | Overlay::Help { .. } | Overlay::Trace(_)
            )
        })
    }

    pub(super) fn prompt(&self) -> Option<&Prompt> {
        match self.overlay() {
            Some(Overlay::Prompt(prompt)) => Some(prompt),
            _ => None,
        }
    }

    /// The line above the keys, and whether it says that counting has ended.
    pub(super) fn notice(&self) -> Option<(&str, bool)> {
        let ended = self.ended.as_deref().map(|reason| (reason, true));
        let notice = self
            .notice
            .as_ref()
            .map(|notice| (notice.text.as_str(), false));
        ended.or(notice)
    }

    pub(super) fn context(&self) -> Context {
        match (self.overlay(), self.screen) {
            (Some(Overlay::Detail { .. }), _) => Context::Detail,
            (Some(Overlay::Trace(_)), _) => Context::Trace,
            (Some(Overlay::Help { .. }), _) => Context::Help,
            (Some(Overlay::Menu { .. }), _) => Context::Menu,
            (Some(Overlay::Prompt(_)), _) => Context::Prompt,
            (None, Screen::Table) => Context::Table,
            (None, Screen::Processes) => Context::Processes,
        }
    }

    pub(super) fn areas(&self) -> Areas {
        let pane = match self.screen {
            Screen::Table => 0,
            Screen::Processes => process_view::pane_height(self),
        };
        Areas::new(self.size, pane, u16::from(self.notice().is_some()))
    }

    /// Rows of the list that are in sight.
    fn page(&self) -> usize {
        self.areas().rows.height.into()
    }

    /// Does what an action says.
    pub(super) fn update(&mut self, action: Action) -> Effects {
        match action {
            Action::Quit => return Effects::QUIT,
            Action::Back => return self.back(),
            Action::Suspend => return Effects::demand(Demand::Suspend),
            Action::Redraw => return Effects::demand(Demand::Clear),
            Action::Help => self.toggle_help(),
            Action::Move(motion) => self.travel(motion),
            Action::Open => self.open(),
            Action::SortMenu => self.open_menu(),
            Action::SortColumn(side) => self.sort_column(side),
            Action::Invert => self.invert(),
            Action::Filter => {
                let pattern = self.view.filter.as_ref().map_or("", Filter::pattern);
                let prompt = Prompt::new(Asked::Filter, pattern.to_owned());
                self.overlays.push(Overlay::Prompt(prompt));
            }
            Action::Interval => {
                let prompt = Prompt::new(Asked::Interval, String::new());
                self.overlays.push(Overlay::Prompt(prompt));
            }
            Action::StepInterval(step) => {
                return self.set_interval(match step {
                    Step::Longer => prompt::longer(self.interval),
                    Step::Shorter => prompt::shorter(self.interval),
                });
            }
            Action::Pause => self.pause(),
            Action::Reset => {
                self.live.totals.reset();
                if let Some(frozen) = &mut self.frozen {
                    frozen.totals.reset();
                }
                self.refresh();
            }
            Action::Group => self.group(),
            Action::Idle => {
                self.view.idle = !self.view.idle;
                self.refresh();
            }
            Action::Processes => {
                self.screen = match self.screen {
                    Screen::Table => Screen::Processes,
                    Screen::Processes => Screen::Table,
                };
                self.refresh();
            }
            Action::Edit(edit) => self.edit(&edit),
            Action::Accept => return self.accept(),
            Action::Cancel => self.cancel(),
            Action::Click { column, row } => return self.click(Position::new(column, row)),
            Action::Resize { width, height } => {
                self.size = Size::new(width, height);
                self.refresh();
            }
            Action::Update(update) => return self.hear(update),
            Action::Trace => return self.trace(),
            Action::Traced(news) => return self.hear_trace(news),
        }
        Effects::DRAW
    }

    fn pause(&mut self) {
        if let Some(Overlay::Trace(view)) = self.overlays.last_mut() {
            view.pause();
            return;
        }
        self.frozen = match self.frozen {
            Some(_) => None,
            None => Some(self.live.clone()),
        };
        self.refresh();
    }

    fn hear(&mut self, update: Update) -> Effects {
        match update {
            // The snapshots tell the same, and keep it up to date.
            Update::Counting { .. } | Update::Traced(_) => return Effects::NONE,
            Update::Snapshot(snapshot) => {
                self.snapshots += 1;
                self.live.totals.record(&snapshot);
                self.live.snapshot = Some(snapshot);
                let gone = self.notice.take_if(|notice| notice.until <= self.snapshots);
                if self.is_paused() {
                    return Effects {
                        draw: gone.is_some(),
                        demand: None,
                    };
                }
                self.refresh();
            }
            Update::Notice(text) => self.note(text),
            Update::Ended(reason) => {
                // The first reason is the true one; the session's own end follows from it.
                self.ended.get_or_insert(reason);
                self.settle();
                // What a trace shows may be what somebody wanted to see.
                if self.close_at_end && !self.is_tracing() {
                    return Effects::QUIT;
                }
            }
        }
        Effects::DRAW
    }

    /// Shows a line above the keys for a while.
    fn note(&mut self, text: String) {
        self.notice = Some(Notice {
            text,
            until: self.snapshots + NOTICE,
        });
        self.settle();
    }

    /// Makes the rows anew, after the snapshot or the view has changed.
    fn refresh(&mut self) {
        // At the top and with no row selected, those in sight are all that matters.
        let at_top = self.table.key().is_none();
        self.ordered = at_top.then(|| usize::from(self.size.height));
        self.make_rows();
    }

    /// Brings all rows into order, so that any of them can be gone to.
    fn order_all(&mut self) {
        if self.ordered.take().is_some() {
            self.make_rows();
        }
    }

    fn make_rows(&mut self) {
        self.entries.clear();
        if let Some(snapshot) = self.shown().snapshot.clone() {
            let view = View {
                // The most called of all may be quiet just now.
                idle: self.view.idle || self.view.sort == SortKey::Total,
                ..self.view.clone()
            };
            let totals = &self.shown().totals;
            self.entries = view.entries_with(&snapshot, totals, self.table.key(), self.ordered);
            self.summary = Summary::of(&snapshot);
            self.processes.refresh(&snapshot);
        }
        self.settle();
    }

    /// Finds the selected rows again.
    fn settle(&mut self) {
        let page = self.page();
        if self.ordered.is_some_and(|ordered| ordered < page) {
            // The terminal has grown.
            self.order_all();
        }
        let keys = self.entries.iter().map(|entry| &entry.key);
        self.table.settle(keys, self.entries.len(), page);
        self.processes.settle(page);
        let scroll = self.scroll_limit();
        if let Some(Overlay::Detail { scroll: at, .. } | Overlay::Help { scroll: at }) =
            self.overlays.last_mut()
        {
            *at = (*at).min(scroll);
        }
    }
}
