//! The calls of what a row stands for, one by one as they happen.

use std::collections::VecDeque;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::Line;

use super::TraceNews;
use super::action::Motion;
use super::app::App;
use super::cell::shown;
use super::number::{counted, grouped};
use super::titles;

/// Lines that can be gone back to.
const KEPT: usize = 10_000;

/// What is shown of a trace.
#[derive(Clone, Debug)]
pub(super) struct TraceView {
    /// What is traced.
    title: String,
    lines: VecDeque<String>,
    /// Lines that there have been.
    total: u64,
    /// Lines below those in sight; with 0 the newest are followed.
    below: usize,
    /// The newest that there is to say of the trace itself.
    state: String,
    ended: bool,
}

impl TraceView {
    pub(super) fn new(title: String) -> Self {
        Self {
            title,
            lines: VecDeque::new(),
            total: 0,
            below: 0,
            state: "placing its probes".to_owned(),
            ended: false,
        }
    }

    pub(super) fn hear(&mut self, news: TraceNews) {
        match news {
            TraceNews::Lines(lines) => {
                self.total += lines.len() as u64;
                if self.below > 0 {
                    // What is being read stays where it is.
                    self.below += lines.len();
                }
                self.lines.extend(lines);
                let old = self.lines.len().saturating_sub(KEPT);
                self.lines.drain(..old);
                self.below = self.below.min(self.lines.len());
            }
            TraceNews::Said(text) => self.state = text,
            TraceNews::Ended(text) => {
                self.state = text;
                self.ended = true;
            }
        }
    }

    /// Moves in a page of so many lines.
    pub(super) fn travel(&mut self, motion: Motion, page: usize) {
        let most = self.lines.len().saturating_sub(page);
        let step = page.saturating_sub(1).max(1);
        self.below = match motion {
            Motion::Up(rows) => self.below.saturating_add(rows.into()),
            Motion::Down(rows) => self.below.saturating_sub(rows.into()),
            Motion::PageUp => self.below.saturating_add(step),
            Motion::PageDown => self.below.saturating_sub(step),
            Motion::Home => most,
            Motion::End => 0,
        }
        .min(most);
    }
}

/// The lines of a body that show what happens.
pub(super) fn page(body: Rect) -> usize {
    usize::from(body.height).saturating_sub(2)
}

/// Draws a trace.
pub(super) fn draw(app: &App, view: &TraceView, body: Rect, buffer: &mut Buffer) {
    let theme = &app.theme;
    let mut rows = body.rows();
    if let Some(row) = rows.next() {
        buffer.set_style(row, theme.columns);
        buffer.set_line(
            row.x,
            row.y,
            &Line::styled("TRACE", theme.sorted),
            row.width,
        );
        let seen = grouped(view.total);
        let place = if view.below > 0 {
            format!(
                "{seen} events, {} below",
                counted(view.below, "more line", "more lines")
            )
        } else {
            format!("{seen} events")
        };
        titles::put(
            &Line::styled(place, theme.dim),
            true,
            row,
            0,
            row.width,
            buffer,
        );
    }
    if let Some(row) = rows.next() {
        let text = shown(&format!("{}: {}", view.title, view.state), &app.glyphs);
        let style = if view.ended {
            theme.warning
        } else {
            theme.strong
        };
        buffer.set_line(row.x, row.y, &Line::styled(text, style), row.width);
    }
    let page = page(body);
    let first = view.lines.len().saturating_sub(view.below + page);
    for (row, line) in rows.zip(view.lines.iter().skip(first)) {
        let line = Line::styled(shown(line, &app.glyphs), Style::new());
        buffer.set_line(row.x, row.y, &line, row.width);
    }
}
