//! The order and the grouping of the rows.

use super::{App, Screen};
use crate::model::{EntryKey, GroupBy, SortKey};
use crate::tui::action::Side;

impl App {
    pub(super) fn sort_column(&mut self, side: Side) {
        if self.screen == Screen::Processes {
            self.processes.sort_column(side, self.size.width);
        } else {
            let keys = SortKey::all(self.view.durations);
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
    pub(super) fn sort_by(&mut self, key: SortKey) {
        if key != self.view.sort {
            self.view.sort = key;
            self.view.reverse = false;
        }
        self.refresh();
    }

    pub(super) fn invert(&mut self) {
        match self.screen {
            Screen::Table => self.view.reverse = !self.view.reverse,
            Screen::Processes => self.processes.reverse = !self.processes.reverse,
        }
        self.refresh();
    }

    /// Takes the next grouping. What is selected stays in the group that is selected next.
    pub(super) fn group(&mut self) {
        self.view.group_by = self.view.group_by.next();
        let selected = match (self.view.group_by, self.table.key()) {
            (GroupBy::File, Some(EntryKey::Function(function))) => {
                Some(EntryKey::File(function.filename.clone()))
            }
            _ => None,
        };
        if selected.is_none() {
            self.table.release();
        }
        self.table.set(selected);
        self.refresh();
    }
}
