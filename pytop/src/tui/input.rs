//! From what the terminal reports to actions.

use crossterm::event::{Event, KeyEventKind, MouseButton, MouseEventKind};

use super::action::{Action, Edit, Motion};
use super::keys::{self, Context};

/// Rows that a notch of the wheel moves.
const NOTCH: u16 = 3;

/// What an event means in a context, if anything.
pub(super) fn action(context: Context, event: Event) -> Option<Action> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => keys::action(context, &key),
        Event::Mouse(mouse) => match mouse.kind {
            MouseEventKind::ScrollUp => Some(Action::Move(Motion::Up(NOTCH))),
            MouseEventKind::ScrollDown => Some(Action::Move(Motion::Down(NOTCH))),
            MouseEventKind::Down(MouseButton::Left) => Some(Action::Click {
                column: mouse.column,
                row: mouse.row,
            }),
            _ => None,
        },
        Event::Paste(text) if context == Context::Prompt => Some(Action::Edit(Edit::Insert(text))),
        Event::Resize(width, height) => Some(Action::Resize { width, height }),
        _ => None,
    }
}
