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

/// Lines that can be gone back to, and lines that wait at most while others are read.
const KEPT: usize = 10_000;

/// What is shown of a trace.
///
/// The newest lines are followed until something is read: further up, or while the view is paused. What
/// is read stays, and what comes meanwhile waits.
#[derive(Clone, Debug)]
pub(super) struct TraceView {
    /// What is traced.
    title: String,
    lines: VecDeque<String>,
    /// Lines below those in sight; with 0 the last are in sight.
    below: usize,
    is_paused: bool,
    /// Lines that came while others were read, and how many before them found no room.
    waiting: VecDeque<String>,
    dropped: usize,
    /// Lines that there have been.
    total: u64,
    /// The newest that there is to say of the trace itself.
    state: String,
    ended: bool,
}

impl TraceView {
    pub(super) fn new(title: String) -> Self {
        Self {
            title,
            lines: VecDeque::new(),
            below: 0,
            is_paused: false,
            waiting: VecDeque::new(),
            dropped: 0,
            total: 0,
            state: "placing its probes".to_owned(),
            ended: false,
        }
    }

    pub(super) fn hear(&mut self, news: TraceNews) {
        match news {
            TraceNews::Lines(lines) => {
                self.total += lines.len() as u64;
                self.waiting.extend(lines);
                // The last line that is kept may be one that says how many are not.
                self.dropped += drop_oldest(&mut self.waiting, KEPT - 1);
                if self.follows() {
                    self.take_waiting();
                }
            }
            TraceNews::Said(text) => self.state = text,
            TraceNews::Ended(text) => {
                self.state = text;
                self.ended = true;
            }
        }
    }

    /// Stops following, or goes on with it.
    pub(super) fn pause(&mut self) {
        self.is_paused = !self.is_paused;
        if self.follows() {
            self.take_waiting();
        }
    }

    fn follows(&self) -> bool {
        !self.is_paused && self.below == 0
    }

    /// Puts what has waited behind the other lines, and returns how many these are.
    fn take_waiting(&mut self) -> usize {
        let before = self.lines.len();
        if self.dropped > 0 {
            let dropped = counted(std::mem::take(&mut self.dropped), "line", "lines");
            self.lines
                .push_back(format!("\u{2026} {dropped} not kept \u{2026}"));
        }
        self.lines.append(&mut self.waiting);
        let added = self.lines.len() - before;
        drop_oldest(&mut self.lines, KEPT);
        added
    }

    /// Moves in a page of so many lines.
    pub(super) fn travel(&mut self, motion: Motion, page: usize) {
        let step = page.saturating_sub(1).max(1);
        let down = match motion {
            Motion::Down(rows) => rows.into(),
            Motion::PageDown => step,
            _ => 0,
        };
        if motion == Motion::End && !self.is_paused {
            self.take_waiting();
        } else if self.below > 0 && down > self.below && !self.is_paused {
            // It goes on where the lines that were read end.
            self.below += self.take_waiting();
        }
        let most = self.lines.len().saturating_sub(page);
        self.below = match motion {
            Motion::Up(rows) => self.below.saturating_add(rows.into()),
            Motion::PageUp => self.below.saturating_add(step),
            Motion::Down(_) | Motion::PageDown => self.below.saturating_sub(down),
            Motion::Home => most,
            Motion::End => 0,
        }
        .min(most);
        if self.follows() {
            self.take_waiting();
        }
    }

    /// Lines below those in sight.
    fn unseen(&self) -> usize {
        self.below + self.dropped + self.waiting.len()
    }
}

/// Drops what is more than `most`, and returns how much that was.
fn drop_oldest(lines: &mut VecDeque<String>, most: usize) -> usize {
    let old = lines.len().saturating_sub(most);
    lines.drain(..old);
    old
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
        let paused = if view.is_paused { "paused, " } else { "" };
        let place = match view.unseen() {
            0 => format!("{paused}{seen} events"),
            unseen => {
                let below = counted(unseen, "more line", "more lines");
                format!("{paused}{seen} events, {below} below")
            }
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
