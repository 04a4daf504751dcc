//! A frame around what lies over the screen.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Block, BorderType, Clear, Widget};

use super::app::App;

/// Clears an area and draws a frame around it.
pub(super) fn draw(app: &App, title: &str, area: Rect, buffer: &mut Buffer) {
    let area = area.intersection(buffer.area);
    Clear.render(area, buffer);
    Block::bordered()
        .border_type(BorderType::Plain)
        .border_set(app.glyphs.border)
        .border_style(app.theme.dim)
        .title(format!(" {title} "))
        .title_style(app.theme.title)
        .render(area, buffer);
}

/// What is inside the frame of an area.
pub(super) fn inner(area: Rect) -> Rect {
    area.inner(ratatui::layout::Margin::new(1, 1))
}
