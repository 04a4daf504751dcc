//! The state of the screen, and how actions change it. No input, no output, no clock.

use std::sync::Arc;
use std::time::Duration;

use ratatui::layout::{Position, Size};

use super::Settings;
use super::action::{Action, Demand, Edit, Effects, Motion, Side, Step};
use super::areas::Areas;
use super::columns::{self, Column};
use super::detail;
use super::help;
use super::keybar;
use super::keys::Context;
use super::menu;
use super::process_view;
use super::processes::ProcessList;
use super::prompt::{self, Asked, Prompt};
use super::selection::Selection;
use super::summary::Summary;
use super::theme::{Glyphs, Theme};
use crate::model::{Entry, EntryKey, Filter, GroupBy, Snapshot, SortKey, Totals, View};
use crate::updates::{Command, Scope, Update};

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
    pub(super) entries: Vec<Entry>,
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
        self.overlays
            .iter()
            .rev()
            .find(|overlay| matches!(overlay, Overlay::Detail { .. } | Overlay::Help { .. }))
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
            Action::Pause => {
                self.frozen = match self.frozen {
                    Some(_) => None,
                    None => Some(self.live.clone()),
                };
                self.refresh();
            }
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
        }
        Effects::DRAW
    }

    fn hear(&mut self, update: Update) -> Effects {
        match update {
            // The snapshots tell the same, and keep it up to date.
            Update::Counting { .. } => return Effects::NONE,
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
            Update::Notice(text) => {
                self.notice = Some(Notice {
                    text,
                    until: self.snapshots + NOTICE,
                });
                self.settle();
            }
            Update::Ended(reason) => {
                // The first reason is the true one; the session's own end follows from it.
                self.ended.get_or_insert(reason);
                self.settle();
                if self.close_at_end {
                    return Effects::QUIT;
                }
            }
        }
        Effects::DRAW
    }

    /// Makes the rows anew, after the snapshot or the view has changed.
    fn refresh(&mut self) {
        self.entries.clear();
        if let Some(snapshot) = self.shown().snapshot.clone() {
            let view = View {
                // The most called of all may be quiet just now.
                idle: self.view.idle || self.view.sort == SortKey::Total,
                ..self.view.clone()
            };
            self.entries = view.entries_with(&snapshot, &self.shown().totals, self.table.key());
            self.summary = Summary::of(&snapshot);
            self.processes.refresh(&snapshot);
        }
        self.settle();
    }

    /// Finds the selected rows again.
    fn settle(&mut self) {
        let page = self.page();
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

    fn back(&mut self) -> Effects {
        if self.overlays.pop().is_some() {
        } else if self.screen == Screen::Processes {
            return self.update(Action::Processes);
        } else if self.view.filter.take().is_some() {
            self.refresh();
        } else {
            return Effects::QUIT;
        }
        Effects::DRAW
    }

    fn toggle_help(&mut self) {
        if matches!(self.overlay(), Some(Overlay::Help { .. })) {
            self.overlays.pop();
        } else {
            self.overlays.push(Overlay::Help { scroll: 0 });
        }
    }

    fn open_menu(&mut self) {
        let keys = SortKey::ALL.iter();
        let index = keys.clone().position(|key| *key == self.view.sort);
        self.overlays.push(Overlay::Menu {
            index: index.unwrap_or_default(),
        });
    }

    fn travel(&mut self, motion: Motion) {
        let page = self.page();
        let scroll_limit = self.scroll_limit();
        let body = usize::from(self.areas().body().height);
        match (self.overlays.last_mut(), self.screen) {
            (Some(Overlay::Detail { scroll, .. } | Overlay::Help { scroll }), _) => {
                *scroll = scrolled(*scroll, motion, scroll_limit, body);
            }
            (Some(Overlay::Menu { index }), _) => {
                *index = scrolled(*index, motion, SortKey::ALL.len() - 1, SortKey::ALL.len());
            }
            (Some(Overlay::Prompt(_)) | None, Screen::Table) => {
                match self.table.target(motion, self.entries.len(), page) {
                    Some(index) => self.select(index),
                    None => self.release(),
                }
            }
            (Some(Overlay::Prompt(_)) | None, Screen::Processes) => {
                self.processes.travel(motion, page);
                self.settle();
            }
        }
    }

    fn select(&mut self, index: usize) {
        let page = self.page();
        if let Some(entry) = self.entries.get(index) {
            self.table.select(index, entry.key.clone(), page);
        }
    }

    fn release(&mut self) {
        let had_kept_row = self.table.index().is_some_and(|index| {
            self.entries
                .get(index)
                .is_some_and(|entry| entry.calls == 0)
        });
        self.table.release();
        if had_kept_row {
            self.refresh();
        }
    }

    /// How far the text that is open can be scrolled.
    fn scroll_limit(&self) -> usize {
        match self.overlay() {
            Some(Overlay::Detail { key, .. }) => detail::scroll_limit(self, key),
            Some(Overlay::Help { .. }) => help::scroll_limit(self),
            _ => 0,
        }
    }

    fn open(&mut self) {
        match (self.overlay(), self.screen) {
            (Some(Overlay::Menu { index }), _) => {
                let key = SortKey::ALL.get(*index).copied();
                self.overlays.pop();
                if let Some(key) = key {
                    self.sort_by(key);
                }
            }
            (Some(_), _) => {}
            (None, Screen::Table) => {
                let first = self.entries.first().map(|entry| &entry.key);
                if let Some(key) = self.table.key().or(first).cloned() {
                    self.overlays.push(Overlay::Detail { key, scroll: 0 });
                }
            }
            (None, Screen::Processes) => {
                if let Some(pid) = self.processes.current() {
                    let key = EntryKey::Process(pid);
                    self.overlays.push(Overlay::Detail { key, scroll: 0 });
                }
            }
        }
    }

    fn sort_column(&mut self, side: Side) {
        if self.screen == Screen::Processes {
            self.processes.sort_column(side);
        } else {
            let keys = SortKey::ALL;
            let at = keys
                .iter()
                .position(|key| *key == self.view.sort)
                .unwrap_or_default();
            let next = match side {
                Side::Left => at.checked_sub(1),
                Side::Right => Some(at + 1),
            };
            if let Some(key) = next.and_then(|next| keys.get(next)) {
                self.sort_by(*key);
            }
            return;
        }
        self.refresh();
    }

    /// Sorts by a key, in its own direction if it is another one than before.
    fn sort_by(&mut self, key: SortKey) {
        if key != self.view.sort {
            self.view.sort = key;
            self.view.reverse = false;
        }
        self.refresh();
    }

    fn invert(&mut self) {
        match self.screen {
            Screen::Table => self.view.reverse = !self.view.reverse,
            Screen::Processes => self.processes.reverse = !self.processes.reverse,
        }
        self.refresh();
    }

    /// Takes the next grouping. What is selected stays in the group that is selected next.
    fn group(&mut self) {
        self.view.group_by = self.view.group_by.next();
        let selected = match (self.view.group_by, self.table.key()) {
            (GroupBy::File, Some(EntryKey::Function { filename, .. })) => {
                Some(EntryKey::File(filename.clone()))
            }
            _ => None,
        };
        if selected.is_none() {
            self.table.release();
        }
        self.table.set(selected);
        self.refresh();
    }

    fn set_interval(&mut self, interval: Duration) -> Effects {
        self.interval = interval;
        Effects::demand(Demand::Send(Command::SetInterval(interval)))
    }

    fn edit(&mut self, edit: &Edit) {
        let Some(Overlay::Prompt(prompt)) = self.overlays.last_mut() else {
            return;
        };
        prompt.edit(edit);
        prompt.error = None;
        if prompt.asked == Asked::Filter {
            if prompt.text.is_empty() {
                self.view.filter = None;
            } else {
                match prompt.text.parse::<Filter>() {
                    Ok(filter) => self.view.filter = Some(filter),
                    // The last filter that was one stays until this one is.
                    Err(error) => prompt.error = Some(error.reason),
                }
            }
            self.refresh();
        }
    }

    fn accept(&mut self) -> Effects {
        let Some(Overlay::Prompt(prompt)) = self.overlays.last_mut() else {
            return Effects::NONE;
        };
        match prompt.asked {
            // What is no regular expression cannot be kept.
            Asked::Filter if prompt.error.is_some() => {}
            Asked::Interval if !prompt.text.trim().is_empty() => {
                match prompt::parse_interval(&prompt.text) {
                    Ok(interval) => {
                        self.overlays.pop();
                        return self.set_interval(interval);
                    }
                    Err(error) => prompt.error = Some(error),
                }
            }
            Asked::Filter | Asked::Interval => drop(self.overlays.pop()),
        }
        Effects::DRAW
    }

    fn cancel(&mut self) {
        if let Some(Overlay::Prompt(prompt)) = self.overlays.pop()
            && prompt.asked == Asked::Filter
        {
            self.view.filter = None;
            self.refresh();
        }
    }

    fn click(&mut self, position: Position) -> Effects {
        let areas = self.areas();
        if areas.bar.contains(position) {
            return match keybar::action_at(self, position) {
                Some(action) => self.update(action),
                None => Effects::NONE,
            };
        }
        match (self.overlay(), self.screen) {
            (Some(Overlay::Menu { .. }), _) => {
                match menu::index_at(self, position) {
                    Some(index) => {
                        if let Some(Overlay::Menu { index: at }) = self.overlays.last_mut() {
                            *at = index;
                        }
                        self.open();
                    }
                    None => drop(self.overlays.pop()),
                }
                return Effects::DRAW;
            }
            (Some(Overlay::Detail { .. } | Overlay::Help { .. }), _) => return Effects::NONE,
            (Some(Overlay::Prompt(_)) | None, Screen::Table) => {
                if areas.titles.contains(position) {
                    self.click_title(position.x);
                } else if let Some(row) = areas.row_at(position) {
                    let index = self.table.offset() + row;
                    if index < self.entries.len() {
                        self.select(index);
                    }
                }
            }
            (Some(Overlay::Prompt(_)) | None, Screen::Processes) => {
                if areas.titles.contains(position) {
                    self.processes.click_title(position.x, areas.titles.width);
                    self.refresh();
                } else if let Some(row) = areas.row_at(position) {
                    self.processes
                        .click_row(row, usize::from(areas.rows.height));
                    self.settle();
                }
            }
        }
        Effects::DRAW
    }

    fn click_title(&mut self, x: u16) {
        let places = columns::places(self.size.width, self.view.sort);
        let place = places.iter().find(|place| x < place.x + place.width + 1);
        if let Some(key) = place.and_then(|place: &columns::Place| Column::sort_key(place.column)) {
            if key == self.view.sort {
                self.invert();
            } else {
                self.sort_by(key);
            }
        }
    }
}

/// Where a movement leads in a text or menu that can be scrolled by at most `limit`.
fn scrolled(at: usize, motion: Motion, limit: usize, page: usize) -> usize {
    let page = page.saturating_sub(1).max(1);
    match motion {
        Motion::Up(rows) => at.saturating_sub(rows.into()),
        Motion::Down(rows) => at.saturating_add(rows.into()),
        Motion::PageUp => at.saturating_sub(page),
        Motion::PageDown => at.saturating_add(page),
        Motion::Home => 0,
        Motion::End => limit,
    }
    .min(limit)
}
