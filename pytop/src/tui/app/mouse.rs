//! What a click does.

use ratatui::layout::Position;

use super::{App, Overlay, Screen};
use crate::tui::action::Effects;
use crate::tui::{columns, keybar, menu};

impl App {
    pub(super) fn click(&mut self, position: Position) -> Effects {
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
            (Some(Overlay::Detail { .. } | Overlay::Help { .. } | Overlay::Trace(_)), _) => {
                return Effects::NONE;
            }
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

    pub(super) fn click_title(&mut self, x: u16) {
        let places = columns::places(self.size.width, self.view.sort, self.view.durations);
        let place = places.iter().find(|place| x < place.x + place.width + 1);
        if let Some(key) = place.and_then(|place| place.column.sort_key()) {
            if key == self.view.sort {
                self.invert();
            } else {
                self.sort_by(key);
            }
        }
    }
}
