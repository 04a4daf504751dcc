//! The menu of sort keys, over the table.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::app::App;
use super::frame;
use crate::model::SortKey;

/// Where the menu lies: in the middle of the screen.
fn area(app: &App) -> Rect {
    let keys = SortKey::all(app.view.durations);
    let height = u16::try_from(keys.len() + 2).unwrap_or_default();
    let width = 30.min(app.size.width);
    // On the lowest screens without the frame's last line rather than without the last key.
    let height = height.min(app.size.height);
    Rect {
        x: (app.size.width - width) / 2,
        y: (app.size.height - height) / 2,
        width,
        height,
    }
}

/// The key at a position.
pub(super) fn index_at(app: &App, position: Position) -> Option<usize> {
    let inner = frame::inner(area(app));
    let index = usize::from(position.y.checked_sub(inner.y)?);
    (inner.contains(position) && index < SortKey::all(app.view.durations).len()).then_some(index)
}

/// Draws the menu with a mark at one key.
pub(super) fn draw(app: &App, index: usize, buffer: &mut Buffer) {
    let area = area(app);
    frame::draw(app, "Sort by", area, buffer);
    for ((at, key), row) in SortKey::all(app.view.durations)
        .iter()
        .enumerate()
        .zip(frame::inner(area).rows())
    {
        let current = *key == app.view.sort;
        let mark = if current { app.glyphs.chosen } else { " " };
        let reversed = current && app.view.reverse;
        let order = match (key.is_descending(), reversed) {
            (true, false) if key.is_of_durations() => "longest first",
            (true, true) if key.is_of_durations() => "shortest first",
            (true, false) => "most first",
            (true, true) => "fewest first",
            (false, false) => "ascending",
            (false, true) => "descending",
        };
        let name = key.name();
        let marked = at == index;
        let dim = if marked {
            app.theme.selected
        } else {
            app.theme.dim
        };
        let line = Line::from(vec![
            Span::raw(format!(" {mark} {name:<10}")),
            Span::styled(order, dim),
        ]);
        buffer.set_line(row.x, row.y, &line, row.width);
        if marked {
            buffer.set_style(row, app.theme.selected);
        }
    }
}
