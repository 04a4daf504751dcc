//! Going about: in the lists, and from one view to another.

use super::{App, Overlay, Screen};
use crate::model::{EntryKey, SortKey};
use crate::tui::action::{Action, Demand, Effects, Motion};
use crate::tui::{detail, help, trace_view};

impl App {
    pub(super) fn back(&mut self) -> Effects {
        if let Some(closed) = self.overlays.pop() {
            if matches!(closed, Overlay::Trace(_)) {
                if self.close_at_end && self.ended.is_some() {
                    return Effects::QUIT;
                }
                return Effects::demand(Demand::EndTrace);
            }
        } else if self.screen == Screen::Processes {
            return self.update(Action::Processes);
        } else if self.view.filter.take().is_some() {
            self.refresh();
        } else {
            return Effects::QUIT;
        }
        Effects::DRAW
    }

    pub(super) fn toggle_help(&mut self) {
        if matches!(self.overlay(), Some(Overlay::Help { .. })) {
            self.overlays.pop();
        } else {
            self.overlays.push(Overlay::Help { scroll: 0 });
        }
    }

    pub(super) fn open_menu(&mut self) {
        let keys = SortKey::all(self.view.durations).iter();
        let index = keys.clone().position(|key| *key == self.view.sort);
        self.overlays.push(Overlay::Menu {
            index: index.unwrap_or_default(),
        });
    }

    pub(super) fn travel(&mut self, motion: Motion) {
        let page = self.page();
        let scroll_limit = self.scroll_limit();
        let body = usize::from(self.areas().body().height);
        let trace_page = trace_view::page(self.areas().body());
        match (self.overlays.last_mut(), self.screen) {
            (Some(Overlay::Detail { scroll, .. } | Overlay::Help { scroll }), _) => {
                *scroll = scrolled(*scroll, motion, scroll_limit, body);
            }
            (Some(Overlay::Trace(view)), _) => view.travel(motion, trace_page),
            (Some(Overlay::Menu { index }), _) => {
                let keys = SortKey::all(self.view.durations).len();
                *index = scrolled(*index, motion, keys - 1, keys);
            }
            (Some(Overlay::Prompt(_)) | None, Screen::Table) => {
                self.order_all();
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

    pub(super) fn select(&mut self, index: usize) {
        let page = self.page();
        if let Some(entry) = self.entries.get(index) {
            self.table.select(index, entry.key.clone(), page);
        }
    }

    pub(super) fn release(&mut self) {
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
    pub(super) fn scroll_limit(&self) -> usize {
        match self.overlay() {
            Some(Overlay::Detail { key, .. }) => detail::scroll_limit(self, key),
            Some(Overlay::Help { .. }) => help::scroll_limit(self),
            _ => 0,
        }
    }

    pub(super) fn open(&mut self) {
        match (self.overlay(), self.screen) {
            (Some(Overlay::Menu { index }), _) => {
                let key = SortKey::all(self.view.durations).get(*index).copied();
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
