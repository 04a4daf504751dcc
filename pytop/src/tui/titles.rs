//! The line of column titles, and how a cell is put into its column.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::app::App;

/// The title of a column.
pub(super) struct Title {
    pub(super) text: &'static str,
    pub(super) x: u16,
    pub(super) width: u16,
    /// It stands at the right of its column, as numbers do.
    pub(super) right: bool,
    /// For the column that sorts: whether the largest comes first.
    pub(super) order: Option<bool>,
}

/// Draws the titles.
pub(super) fn draw(
    titles: impl Iterator<Item = Title>,
    area: Rect,
    app: &App,
    buffer: &mut Buffer,
) {
    buffer.set_style(area, app.theme.columns);
    for title in titles {
        let mut line = Line::from(Span::styled(title.text, app.theme.columns));
        if let Some(descending) = title.order {
            let arrow = if descending {
                app.glyphs.descending
            } else {
                app.glyphs.ascending
            };
            line = Line::from(Span::styled(
                format!("{}{arrow}", title.text),
                app.theme.sorted,
            ));
        }
        put(&line, title.right, area, title.x, title.width, buffer);
    }
}

/// Puts a text into a column of a line.
pub(super) fn put(
    text: &Line<'_>,
    right: bool,
    line: Rect,
    x: u16,
    width: u16,
    buffer: &mut Buffer,
) {
    if line.height == 0 || x >= line.width {
        return;
    }
    let width = width.min(line.width - x);
    let used = u16::try_from(text.width()).unwrap_or(u16::MAX).min(width);
    let indent = if right { width - used } else { 0 };
    buffer.set_line(line.x + x + indent, line.y, text, width - indent);
}
