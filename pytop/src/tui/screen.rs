//! The whole screen, drawn from the state.

use ratatui::Frame;
use ratatui::text::Line;

use super::app::{App, Overlay, Screen};
use super::areas::Areas;
use super::cell::shown;
use super::{detail, header, help, keybar, menu, process_view, table, trace_view};

/// Draws the screen.
pub(super) fn draw(app: &App, frame: &mut Frame<'_>) {
    let area = frame.area();
    if !Areas::suffice(app.size) || area.as_size() != app.size {
        let text = Line::raw("Screen too small");
        frame
            .buffer_mut()
            .set_line(area.x, area.y, &text, area.width);
        return;
    }
    let areas = app.areas();
    let buffer = frame.buffer_mut();
    header::draw(app, areas.header, buffer);
    match (app.body_overlay(), app.screen) {
        (Some(Overlay::Detail { key, scroll }), _) => {
            detail::draw(app, key, *scroll, areas.body(), buffer);
        }
        (Some(Overlay::Trace(view)), _) => trace_view::draw(app, view, areas.body(), buffer),
        (Some(Overlay::Help { scroll }), _) => help::draw(app, *scroll, areas.body(), buffer),
        (_, Screen::Table) => table::draw(app, &areas, buffer),
        (_, Screen::Processes) => process_view::draw(app, &areas, buffer),
    }
    if let (Some((text, ended)), Some(row)) = (app.notice(), areas.notice.rows().next()) {
        let (text, style) = if ended {
            (format!("Counting has ended: {text}"), app.theme.warning)
        } else {
            (text.to_owned(), app.theme.warning)
        };
        let line = Line::styled(shown(&text, &app.glyphs), style);
        buffer.set_line(row.x, row.y, &line, row.width);
    }
    let cursor = keybar::draw(app, areas.bar, buffer);
    if let Some(Overlay::Menu { index }) = app.overlay() {
        menu::draw(app, *index, buffer);
    }
    if let Some(cursor) = cursor {
        frame.set_cursor_position(cursor);
    }
}
