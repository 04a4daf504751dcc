//! The help, drawn from the table that dispatches the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

use super::app::App;
use super::cell::Pieces;
use super::keys::{BINDINGS, MOUSE, Section};
use super::number::counted;

/// Columns of the keys' names.
const KEYS: usize = 22;
/// Below this width, fewer.
const NARROW: usize = 72;
const NARROW_KEYS: usize = 17;
/// From this width on, sections stand side by side.
const WIDE: u16 = 120;

/// How far the help can be scrolled.
pub(super) fn scroll_limit(app: &App) -> usize {
    let body = app.areas().body();
    rows(app, body.width)
        .len()
        .saturating_sub(body.height.into())
}

/// Draws the help, scrolled by so many lines.
pub(super) fn draw(app: &App, scroll: usize, area: Rect, buffer: &mut Buffer) {
    let lines = rows(app, area.width);
    let hidden = lines
        .len()
        .saturating_sub(scroll + usize::from(area.height));
    let text = Rect {
        height: area.height.saturating_sub(u16::from(hidden > 0)),
        ..area
    };
    for (columns, row) in lines.iter().skip(scroll).zip(text.rows()) {
        let width = area.width / u16::try_from(columns.len().max(1)).unwrap_or(1);
        for (line, x) in columns.iter().zip((row.x..).step_by(width.max(1).into())) {
            buffer.set_line(x, row.y, line, width);
        }
    }
    if hidden > 0 && area.height > 0 {
        let more = counted(hidden + 1, "more line", "more lines");
        let more = Line::styled(format!("{more} below"), app.theme.dim);
        buffer.set_line(area.x, area.bottom() - 1, &more, area.width);
    }
}

/// The lines of the help, each with one or two columns.
fn rows(app: &App, width: u16) -> Vec<Vec<Line<'static>>> {
    let columns = if width < WIDE { 1 } else { 2 };
    let column = usize::from(width / columns);
    let mut sections: Vec<Vec<Line<'static>>> = Section::ALL
        .iter()
        .map(|section| keys_of(app, *section, column))
        .collect();
    sections.push(block(
        app,
        "Mouse",
        MOUSE.iter().map(|(what, help)| ((*what).to_owned(), *help)),
        column,
    ));
    if columns == 1 {
        let lines = sections.into_iter().flatten();
        return lines.map(|line| vec![line]).collect();
    }
    let all: usize = sections.iter().map(Vec::len).sum();
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for section in sections {
        if left.len() + section.len() / 2 < all / 2 && right.is_empty() {
            left.extend(section);
        } else {
            right.extend(section);
        }
    }
    let height = left.len().max(right.len());
    left.resize(height, Line::default());
    right.resize(height, Line::default());
    left.into_iter()
        .zip(right)
        .map(|(left, right)| vec![left, right])
        .collect()
}

fn keys_of(app: &App, section: Section, width: usize) -> Vec<Line<'static>> {
    let bindings = BINDINGS.iter().filter(|binding| binding.section == section);
    let entries = bindings.map(|binding| {
        let names: Vec<_> = binding.keys.iter().map(|key| key.name()).collect();
        (names.join("  "), binding.help)
    });
    block(app, section.title(), entries, width)
}

/// A title, and under it keys and what they do, wrapped.
fn block(
    app: &App,
    title: &str,
    entries: impl Iterator<Item = (String, &'static str)>,
    width: usize,
) -> Vec<Line<'static>> {
    let keys_width = if width < NARROW { NARROW_KEYS } else { KEYS };
    let mut block = vec![Line::styled(title.to_owned(), app.theme.title)];
    for (keys, help) in entries {
        // What is next to long ones begins further to the right.
        let keys_width = keys_width.max(keys.len() + 4);
        let mut pieces = Pieces::default();
        pieces.push(help, Style::new(), &app.glyphs);
        let room = width.saturating_sub(keys_width + 1).max(1);
        for (index, line) in pieces.wrap_words(room).into_iter().enumerate() {
            let keys = if index == 0 { keys.as_str() } else { "" };
            let keys = format!("  {keys:<0$}", keys_width - 2);
            let mut spans = vec![Span::styled(keys, app.theme.key)];
            spans.extend(line.spans);
            block.push(Line::from(spans));
        }
    }
    block.push(Line::default());
    block
}
