//! From a row to the trace of what it stands for.

use super::{App, Overlay, Screen};
use crate::model::{EntryKey, Filter};
use crate::tui::action::{Demand, Effects};
use crate::tui::trace_view::TraceView;
use crate::tui::{TraceNews, TraceRequest};

impl App {
    /// Traces the selected row.
    pub(super) fn trace(&mut self) -> Effects {
        let Some(key) = self.traceable() else {
            return Effects::NONE;
        };
        match self.request(&key) {
            Ok((title, request)) => {
                self.overlays.push(Overlay::Trace(TraceView::new(title)));
                Effects::demand(Demand::Trace(request))
            }
            Err(why) => {
                self.note(why);
                Effects::DRAW
            }
        }
    }

    /// Takes in what a trace tells. One that was left has nothing to say any more.
    pub(super) fn hear_trace(&mut self, news: TraceNews) -> Effects {
        for overlay in &mut self.overlays {
            if let Overlay::Trace(view) = overlay {
                view.hear(news);
                return Effects::DRAW;
            }
        }
        Effects::NONE
    }

    /// Whether a trace is shown, or is behind what is.
    pub(super) fn is_tracing(&self) -> bool {
        let mut overlays = self.overlays.iter();
        overlays.any(|overlay| matches!(overlay, Overlay::Trace(_)))
    }

    /// The row that a trace would be of.
    fn traceable(&self) -> Option<EntryKey> {
        match (self.overlay(), self.screen) {
            (Some(Overlay::Detail { key, .. }), _) => Some(key.clone()),
            (Some(_), _) => None,
            (None, Screen::Table) => {
                let first = self.entries.first().map(|entry| &entry.key);
                self.table.key().or(first).cloned()
            }
            (None, Screen::Processes) => self.processes.current().map(EntryKey::Process),
        }
    }

    /// What a row is in words, and the trace of it.
    fn request(&self, key: &EntryKey) -> Result<(String, TraceRequest), String> {
        let (title, pids, pattern) = match key {
            EntryKey::Function(function) => {
                let (name, file) = (function.name.visible(), function.filename.visible());
                // The line of a resumed generator depends on the method.
                let pattern = format!(
                    "^{}:([0-9]+|-) {}$",
                    regex::escape(&file),
                    regex::escape(&name)
                );
                let title = format!("{name} in {file}, process {}", function.pid);
                (title, vec![function.pid], Some(pattern))
            }
            EntryKey::File(file) => {
                let file = file.visible();
                let pattern = format!("^{}:([0-9]+|-) ", regex::escape(&file));
                (format!("file {file}"), self.callers(key), Some(pattern))
            }
            EntryKey::Process(pid) => (format!("process {pid}"), vec![*pid], None),
        };
        if pids.is_empty() {
            return Err("nothing to trace: no process calls it now".to_owned());
        }
        let filter = pattern.map(|pattern| pattern.parse::<Filter>());
        let filter = filter.transpose().map_err(|error| error.to_string())?;
        Ok((title, TraceRequest { pids, filter }))
    }

    /// The processes in which a row was called in the last interval.
    fn callers(&self, key: &EntryKey) -> Vec<u32> {
        let snapshot = self.shown().snapshot.iter();
        let rows = snapshot.flat_map(|snapshot| &snapshot.rows);
        let called = rows.filter(|row| key.covers(&row.function));
        let mut pids: Vec<u32> = called.map(|row| row.function.pid).collect();
        pids.sort_unstable();
        pids.dedup();
        pids
    }
}
