//! The last line: the keys that matter now, or the line that is being typed.

use ratatui::buffer::Buffer;
use ratatui::layout::{Position, Rect};
use ratatui::text::{Line, Span};

use super::action::Action;
use super::app::App;
use super::cell::{Cut, Pieces, shown};
use super::keys;
use super::prompt::Prompt;

/// Columns left free between two keys.
const GAP: u16 = 2;

/// A key of the bar.
struct Button {
    x: u16,
    key: String,
    word: &'static str,
    width: u16,
    action: &'static Action,
}

/// The keys that fit into a line, which starts at its left border.
fn buttons(app: &App, width: u16) -> Vec<Button> {
    let mut buttons = Vec::new();
    let mut x = 0;
    let length = |key: &str, word: &str| u16::try_from(key.len() + 1 + word.len()).unwrap_or(99);
    // There is always room for the way out, which comes last.
    let is_last = |action: &Action| matches!(action, Action::Quit);
    let last = keys::bar(app.context()).find(|(.., action)| is_last(action));
    let reserved = last.map_or(0, |(key, word, _)| length(&key, word) + GAP);
    for (key, word, action) in keys::bar(app.context()) {
        let needed = length(&key, word);
        let room = if is_last(action) {
            width
        } else {
            width.saturating_sub(reserved)
        };
        if x + needed > room {
            continue;
        }
        buttons.push(Button {
            x,
            key,
            word,
            width: needed,
            action,
        });
        x += needed + GAP;
    }
    buttons
}

/// What a click on the bar does.
pub(super) fn action_at(app: &App, position: Position) -> Option<Action> {
    if app.prompt().is_some() {
        return None;
    }
    let buttons = buttons(app, app.size.width);
    let mut buttons = buttons.iter();
    let button =
        buttons.find(|button| (button.x..button.x + button.width).contains(&position.x))?;
    Some(button.action.clone())
}

/// Draws the bar. Returns where the cursor belongs, if something is being typed.
pub(super) fn draw(app: &App, area: Rect, buffer: &mut Buffer) -> Option<Position> {
    if let Some(prompt) = app.prompt() {
        return Some(draw_prompt(app, prompt, area, buffer));
    }
    for button in buttons(app, area.width) {
        let line = Line::from(vec![
            Span::styled(button.key, app.theme.key),
            Span::raw(" "),
            Span::styled(button.word, app.theme.dim),
        ]);
        buffer.set_line(area.x + button.x, area.y, &line, button.width);
    }
    None
}

fn draw_prompt(app: &App, prompt: &Prompt, area: Rect, buffer: &mut Buffer) -> Position {
    let theme = &app.theme;
    let label = Line::styled(prompt.label(), theme.key);
    let (x, _) = buffer.set_line(area.x, area.y, &label, area.width);
    let hint = if let Some(error) = &prompt.error {
        Line::styled(shown(error, &app.glyphs), theme.error)
    } else {
        let keys = keys::bar(app.context());
        let words = keys.map(|(key, word, _)| format!("{key} {word}"));
        Line::styled(words.collect::<Vec<_>>().join("  "), theme.dim)
    };
    let room = area.right().saturating_sub(x);
    let hint_width = u16::try_from(hint.width()).unwrap_or(u16::MAX);
    // An error may take the room of what was typed, but not all of it.
    let wanted = if prompt.error.is_some() {
        room / 2
    } else {
        room.saturating_sub(30)
    };
    let hint_width = if prompt.error.is_some() || hint_width <= wanted {
        hint_width.min(wanted)
    } else {
        0
    };
    buffer.set_line(area.right() - hint_width, area.y, &hint, hint_width);
    let room = usize::from(room.saturating_sub(hint_width + 2));
    let (before, after) = prompt
        .text
        .split_at_checked(prompt.cursor)
        .unwrap_or((&prompt.text, ""));
    let (typed, rest) = (visible(before), visible(after));
    let mut left = Pieces::default();
    left.push(&typed, theme.strong, &app.glyphs);
    let line = left.fit(room, Cut::Head, theme.dim, &app.glyphs);
    let (cursor, _) = buffer.set_line(x, area.y, &line, u16::try_from(room).unwrap_or(u16::MAX));
    let mut right = Pieces::default();
    right.push(&rest, theme.strong, &app.glyphs);
    let room = room.saturating_sub(line.width());
    let line = right.fit(room, Cut::Tail, theme.dim, &app.glyphs);
    buffer.set_line(
        cursor,
        area.y,
        &line,
        u16::try_from(room).unwrap_or(u16::MAX),
    );
    Position::new(cursor.min(area.right().saturating_sub(1)), area.y)
}

fn visible(text: &str) -> String {
    crate::model::text::visible(text.as_bytes()).into_owned()
}
