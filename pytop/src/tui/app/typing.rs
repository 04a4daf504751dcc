//! The line that is being typed, and what becomes of it.

use std::time::Duration;

use super::{App, Overlay};
use crate::model::Filter;
use crate::tui::action::{Demand, Edit, Effects};
use crate::tui::prompt::{self, Asked};
use crate::updates::Command;

impl App {
    pub(super) fn set_interval(&mut self, interval: Duration) -> Effects {
        self.interval = interval;
        Effects::demand(Demand::Send(Command::SetInterval(interval)))
    }

    pub(super) fn edit(&mut self, edit: &Edit) {
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

    pub(super) fn accept(&mut self) -> Effects {
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

    pub(super) fn cancel(&mut self) {
        if let Some(Overlay::Prompt(prompt)) = self.overlays.pop()
            && prompt.asked == Asked::Filter
        {
            self.view.filter = None;
            self.refresh();
        }
    }
}
