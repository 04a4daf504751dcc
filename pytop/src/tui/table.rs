//! The table of functions, files or processes.

use std::borrow::Cow;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::app::App;
use super::areas::Areas;
use super::cell::{Cut, Pieces, is_within};
use super::columns::{Column, Place, places};
use super::empty;
use super::graph;
use super::number;
use super::titles::{self, Title};
use crate::model::durations::short;
use crate::model::{Entry, EntryKey, GroupBy, Highlights, Text};

/// Draws the table, or why there is nothing in it.
pub(super) fn draw(app: &App, areas: &Areas, buffer: &mut Buffer) {
    let places = places(areas.titles.width, app.view.sort, app.view.durations);
    titles::draw(
        places.iter().map(|place| Title {
            text: title(app, place.column),
            x: place.x,
            width: place.width,
            right: place.column.is_number(),
            order: (place.column != Column::Share
                && place.column.sort_key() == Some(app.view.sort))
            .then_some(app.view.sort.is_descending() != app.view.reverse),
        }),
        areas.titles,
        app,
        buffer,
    );
    if app.entries.is_empty() {
        empty::draw(app, areas.rows, buffer);
        return;
    }
    let visible = app.entries.iter().enumerate().skip(app.table.offset());
    let visible = visible.take(areas.rows.height.into());
    let histories = histories(app, &places, visible.clone().map(|(_, entry)| &entry.key));
    let mut histories = histories.into_iter();
    for ((index, entry), line) in visible.zip(areas.rows.rows()) {
        let row = Row {
            app,
            entry,
            selected: app.table.index() == Some(index),
            highlights: highlights(app, entry),
            history: histories.next().unwrap_or_default(),
        };
        row.draw(&places, line, buffer);
    }
}

/// In a group, the column of functions holds their number.
fn title(app: &App, column: Column) -> &'static str {
    match (column, app.view.group_by) {
        (Column::Function, GroupBy::File | GroupBy::Process) => "FUNCTIONS",
        (Column::Filename, GroupBy::Process) => "EXECUTABLE",
        _ => column.title(),
    }
}

fn histories<'a>(
    app: &App,
    places: &[Place],
    keys: impl Iterator<Item = &'a EntryKey>,
) -> Vec<Vec<f32>> {
    let Some(place) = places.iter().find(|place| place.column == Column::History) else {
        return Vec::new();
    };
    let keys: Vec<EntryKey> = keys.cloned().collect();
    app.shown().totals.histories(&keys, place.width.into())
}

/// What the filter matches in a row.
fn highlights(app: &App, entry: &Entry) -> Highlights {
    match (&app.view.filter, &entry.key) {
        (Some(filter), EntryKey::Function(function)) => filter.highlights(function),
        _ => Highlights::default(),
    }
}

/// One row while it is drawn.
struct Row<'a> {
    app: &'a App,
    entry: &'a Entry,
    selected: bool,
    highlights: Highlights,
    history: Vec<f32>,
}

impl Row<'_> {
    fn draw(&self, places: &[Place], line: Rect, buffer: &mut Buffer) {
        let theme = &self.app.theme;
        // Before the cells, so that what the filter matched stands out from the selection too.
        if self.selected {
            buffer.set_style(line, theme.selected);
        }
        for place in places {
            if place.column == Column::History {
                let area = Rect {
                    x: line.x + place.x,
                    width: place.width,
                    ..line
                };
                let style = self.style(theme.graph);
                graph::draw(&self.history, area, style, &self.app.glyphs, buffer);
            } else {
                let text = self.cell(*place);
                titles::put(
                    &text,
                    place.column.is_number(),
                    line,
                    place.x,
                    place.width,
                    buffer,
                );
            }
        }
    }

    /// On the selected row only its own style counts, and a row without calls is quiet.
    fn style(&self, style: Style) -> Style {
        if self.selected {
            Style::new()
        } else if self.entry.calls == 0 {
            self.app.theme.dim
        } else {
            style
        }
    }

    fn cell(&self, place: Place) -> Line<'static> {
        let theme = &self.app.theme;
        let entry = self.entry;
        let width = usize::from(place.width);
        let text = match place.column {
            Column::Pid => match entry.pid {
                Some(pid) => pid.to_string(),
                None if entry.processes < 100 => format!("{} pids", entry.processes),
                None => "many".to_owned(),
            },
            Column::Line => match entry.line() {
                Some(line) if line < 100_000 || width > 5 && line < 1_000_000 => line.to_string(),
                Some(line) => number::fitted(line.into(), width),
                None if entry.name().is_some() => "-".to_owned(),
                None => String::new(),
            },
            Column::Calls => number::about(entry.estimated.is_some(), entry.calls, width),
            Column::Total => number::about(entry.is_total_estimated, entry.total, width),
            Column::Share => number::percent(entry.share),
            Column::Filename => return self.filename(width),
            Column::Function => return self.function(width),
            Column::Duration(key) => {
                let duration = key.of(entry.durations.as_deref());
                duration.map_or_else(|| "-".to_owned(), short)
            }
            Column::History => String::new(),
        };
        let style = match place.column {
            Column::Calls => theme.strong,
            Column::Line if self.highlights.line.is_empty() => theme.dim,
            Column::Line => theme.highlight,
            Column::Share => theme.dim,
            Column::Duration(_) if entry.durations.is_none() => theme.dim,
            _ => Style::new(),
        };
        let marked = place.column == Column::Line && !self.highlights.line.is_empty();
        Line::styled(text, if marked { style } else { self.style(style) })
    }

    /// The path, its folders quieter than its last part.
    fn filename(&self, width: usize) -> Line<'static> {
        let Some(filename) = self.entry.filename() else {
            return Line::styled("-", self.style(self.app.theme.dim));
        };
        let visible = filename.visible();
        let folders = visible.rfind('/').map_or(0, |slash| slash + 1);
        let dim = self.style(self.app.theme.dim);
        let plain = self.style(Style::new());
        self.text(
            filename,
            &self.highlights.filename,
            width,
            Cut::Head,
            |byte| {
                if byte < folders { dim } else { plain }
            },
        )
    }

    fn function(&self, width: usize) -> Line<'static> {
        let plain = self.style(Style::new());
        if let Some(function) = self.entry.name() {
            let highlights = &self.highlights.function;
            self.text(function, highlights, width, Cut::Tail, |_| plain)
        } else {
            // As wide as the column's title.
            let functions = number::grouped(self.entry.functions as u64);
            Line::styled(format!("{functions:>9}"), plain)
        }
    }

    fn text(
        &self,
        text: &Text,
        highlights: &[std::ops::Range<usize>],
        width: usize,
        cut: Cut,
        style: impl Fn(usize) -> Style,
    ) -> Line<'static> {
        let glyphs = &self.app.glyphs;
        let visible: Cow<'_, str> = text.visible();
        let mut pieces = Pieces::default();
        let style = |byte: usize| {
            if is_within(highlights, byte) {
                self.app.theme.highlight
            } else {
                style(byte)
            }
        };
        pieces.push_styled(&visible, style, glyphs);
        pieces.fit(width, cut, self.style(self.app.theme.dim), glyphs)
    }
}
