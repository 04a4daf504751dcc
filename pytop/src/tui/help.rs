//! The help, drawn from the table that dispatches the keys.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::app::App;
use super::keys::{BINDINGS, MOUSE, Section};

/// Columns of the keys' names.
const KEYS: usize = 20;
/// From this width on, sections stand side by side.
const WIDE: u16 = 132;

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
    let shown = lines.iter().skip(scroll);
    for (columns, row) in shown.zip(area.rows()) {
        let width = area.width / u16::try_from(columns.len().max(1)).unwrap_or(1);
        for (line, x) in columns.iter().zip((row.x..).step_by(width.max(1).into())) {
            buffer.set_line(x, row.y, line, width);
        }
    }
    let hidden = lines
        .len()
        .saturating_sub(scroll + usize::from(area.height));
    if hidden > 0 && area.height > 0 {
        let more = Line::styled(format!(" {hidden} more lines, Down "), app.theme.paused);
        let width = u16::try_from(more.width())
            .unwrap_or(u16::MAX)
            .min(area.width);
        buffer.set_line(area.right() - width, area.bottom() - 1, &more, width);
    }
}

/// The lines of the help, each with one or two columns.
fn rows(app: &App, width: u16) -> Vec<Vec<Line<'static>>> {
    let mut sections: Vec<Vec<Line<'static>>> = Section::ALL
        .iter()
        .map(|section| keys_of(app, *section))
        .collect();
    sections.push(mouse(app));
    if width < WIDE {
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

fn keys_of(app: &App, section: Section) -> Vec<Line<'static>> {
    let bindings = BINDINGS.iter().filter(|binding| binding.section == section);
    let lines = bindings.map(|binding| {
        let names: Vec<_> = binding.keys.iter().map(|key| key.name()).collect();
        entry(app, &names.join("  "), binding.help)
    });
    block(app, section.title(), lines)
}

fn mouse(app: &App) -> Vec<Line<'static>> {
    block(
        app,
        "Mouse",
        MOUSE.iter().map(|(what, help)| entry(app, what, help)),
    )
}

fn block(app: &App, title: &str, lines: impl Iterator<Item = Line<'static>>) -> Vec<Line<'static>> {
    let mut block = vec![Line::styled(title.to_owned(), app.theme.title)];
    block.extend(lines);
    block.push(Line::default());
    block
}

fn entry(app: &App, keys: &str, help: &'static str) -> Line<'static> {
    Line::from(vec![
        Span::styled(format!("  {keys:<KEYS$}"), app.theme.key),
        Span::raw(help),
    ])
}
