//! The table of keys.

use crossterm::event::KeyCode;

use super::Context::{self, Detail, Help, Menu, Processes, Prompt, Table, Trace};
use super::{Binding, Key, Section};
use crate::tui::action::{Action, Edit, Motion, Side, Step};

/// What the mouse does, for the help.
pub(in crate::tui) const MOUSE: [(&str, &str); 4] = [
    ("Wheel", "move or scroll"),
    ("Click a row", "select it"),
    ("Click a title", "sort by the column; again: invert"),
    ("Click a key", "press it"),
];

const fn character(character: char) -> Key {
    plain(KeyCode::Char(character))
}

const fn control(character: char) -> Key {
    Key {
        code: KeyCode::Char(character),
        control: true,
    }
}

const fn plain(code: KeyCode) -> Key {
    Key {
        code,
        control: false,
    }
}

/// Wherever a letter is a command.
const COMMANDS: &[Context] = &[Table, Processes, Detail, Trace, Help, Menu];
/// Wherever there is something to move in.
const LISTS: &[Context] = COMMANDS;
/// The two lists that fill the screen.
const SCREENS: &[Context] = &[Table, Processes];
/// Wherever counts are in sight.
const COUNTS: &[Context] = &[Table, Processes, Detail];
/// Wherever something goes on.
const LIVE: &[Context] = &[Table, Processes, Detail, Trace];
/// Everywhere.
pub(super) const ALL: &[Context] = &[Table, Processes, Detail, Trace, Help, Menu, Prompt];

/// Every key. The key bar takes its words in this order.
pub(in crate::tui) static BINDINGS: &[Binding] = &[
    Binding {
        keys: &[plain(KeyCode::F(1)), character('?'), character('h')],
        action: Action::Help,
        contexts: COMMANDS,
        bar: "Help",
        section: Section::Program,
        help: "show or hide this help",
    },
    Binding {
        keys: &[plain(KeyCode::Enter), character('e')],
        action: Action::Open,
        contexts: SCREENS,
        bar: "Open",
        section: Section::Move,
        help: "open the selected row: full names, chart, shares",
    },
    Binding {
        keys: &[plain(KeyCode::Enter), character('e')],
        action: Action::Open,
        contexts: &[Menu],
        bar: "Choose",
        section: Section::Move,
        help: "in a menu: choose",
    },
    Binding {
        keys: &[
            character('/'),
            character('f'),
            character('\\'),
            plain(KeyCode::F(4)),
        ],
        action: Action::Filter,
        contexts: &[Table],
        bar: "Filter",
        section: Section::Show,
        help: "filter by a regular expression over filename:line function",
    },
    Binding {
        keys: &[character('s'), plain(KeyCode::F(6))],
        action: Action::SortMenu,
        contexts: &[Table],
        bar: "Sort",
        section: Section::Show,
        help: "choose what to sort by",
    },
    Binding {
        keys: &[plain(KeyCode::Tab)],
        action: Action::Group,
        contexts: &[Table],
        bar: "Group",
        section: Section::Show,
        help: "add up by function, file or process",
    },
    Binding {
        keys: &[character('t')],
        action: Action::Trace,
        contexts: COUNTS,
        bar: "",
        section: Section::Show,
        help: "trace the selected row: its calls one by one, as they happen",
    },
    Binding {
        keys: &[character('q')],
        action: Action::Back,
        contexts: &[Trace],
        bar: "Back",
        section: Section::Show,
        help: "from a trace back to the counts, which went on",
    },
    Binding {
        keys: &[character('p'), character(' ')],
        action: Action::Pause,
        contexts: LIVE,
        bar: "Pause",
        section: Section::Time,
        help: "freeze the screen; counting goes on",
    },
    Binding {
        keys: &[character('P'), plain(KeyCode::F(2))],
        action: Action::Processes,
        contexts: &[Table],
        bar: "Processes",
        section: Section::Show,
        help: "every CPython process and how it is counted, or why not",
    },
    Binding {
        keys: &[character('P'), plain(KeyCode::F(2))],
        action: Action::Processes,
        contexts: &[Processes],
        bar: "Table",
        section: Section::Show,
        help: "from the processes back to the table",
    },
    Binding {
        keys: &[character('<'), character(',')],
        action: Action::SortColumn(Side::Left),
        contexts: SCREENS,
        bar: "",
        section: Section::Show,
        help: "sort by the column to the left",
    },
    Binding {
        keys: &[character('>'), character('.')],
        action: Action::SortColumn(Side::Right),
        contexts: SCREENS,
        bar: "",
        section: Section::Show,
        help: "sort by the column to the right",
    },
    Binding {
        keys: &[character('r'), character('I')],
        action: Action::Invert,
        contexts: SCREENS,
        bar: "Invert",
        section: Section::Show,
        help: "turn the order around",
    },
    Binding {
        keys: &[character('i')],
        action: Action::Idle,
        contexts: &[Table],
        bar: "Idle",
        section: Section::Show,
        help: "show or hide functions without a call in the interval",
    },
    Binding {
        keys: &[character('d')],
        action: Action::Interval,
        contexts: COUNTS,
        bar: "Interval",
        section: Section::Time,
        help: "type the interval in seconds",
    },
    Binding {
        keys: &[character('+'), character('=')],
        action: Action::StepInterval(Step::Longer),
        contexts: COUNTS,
        bar: "",
        section: Section::Time,
        help: "a longer interval",
    },
    Binding {
        keys: &[character('-'), character('_')],
        action: Action::StepInterval(Step::Shorter),
        contexts: COUNTS,
        bar: "",
        section: Section::Time,
        help: "a shorter interval",
    },
    Binding {
        keys: &[character('z'), control('r')],
        action: Action::Reset,
        contexts: COUNTS,
        bar: "Reset",
        section: Section::Time,
        help: "start totals and histories anew",
    },
    Binding {
        keys: &[plain(KeyCode::Up), character('k')],
        action: Action::Move(Motion::Up(1)),
        contexts: LISTS,
        bar: "",
        section: Section::Move,
        help: "up",
    },
    Binding {
        keys: &[plain(KeyCode::Down), character('j')],
        action: Action::Move(Motion::Down(1)),
        contexts: LISTS,
        bar: "",
        section: Section::Move,
        help: "down",
    },
    Binding {
        keys: &[plain(KeyCode::PageUp), control('b')],
        action: Action::Move(Motion::PageUp),
        contexts: LISTS,
        bar: "",
        section: Section::Move,
        help: "a page up",
    },
    Binding {
        keys: &[plain(KeyCode::PageDown), control('f')],
        action: Action::Move(Motion::PageDown),
        contexts: LISTS,
        bar: "",
        section: Section::Move,
        help: "a page down",
    },
    Binding {
        keys: &[plain(KeyCode::Home), character('g')],
        action: Action::Move(Motion::Home),
        contexts: LISTS,
        bar: "",
        section: Section::Move,
        help: "to the top, with no row selected",
    },
    Binding {
        keys: &[plain(KeyCode::End), character('G')],
        action: Action::Move(Motion::End),
        contexts: LISTS,
        bar: "",
        section: Section::Move,
        help: "to the end",
    },
    Binding {
        keys: &[plain(KeyCode::Esc)],
        action: Action::Back,
        contexts: COMMANDS,
        bar: "",
        section: Section::Move,
        help: "close what is open, else drop the filter, else quit",
    },
    Binding {
        keys: &[plain(KeyCode::Enter)],
        action: Action::Accept,
        contexts: &[Prompt],
        bar: "Keep",
        section: Section::Typing,
        help: "keep what was typed",
    },
    Binding {
        keys: &[plain(KeyCode::Esc)],
        action: Action::Cancel,
        contexts: &[Prompt],
        bar: "Clear",
        section: Section::Typing,
        help: "clear it and close the line",
    },
    Binding {
        keys: &[plain(KeyCode::Backspace), control('h')],
        action: Action::Edit(Edit::Backspace),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "remove the character before the cursor",
    },
    Binding {
        keys: &[plain(KeyCode::Delete), control('d')],
        action: Action::Edit(Edit::Delete),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "remove the character at the cursor",
    },
    Binding {
        keys: &[control('w')],
        action: Action::Edit(Edit::DeleteWord),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "remove the word before the cursor",
    },
    Binding {
        keys: &[control('u')],
        action: Action::Edit(Edit::DeleteToStart),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "remove everything before the cursor",
    },
    Binding {
        keys: &[plain(KeyCode::Left)],
        action: Action::Edit(Edit::Left),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "cursor to the left",
    },
    Binding {
        keys: &[plain(KeyCode::Right)],
        action: Action::Edit(Edit::Right),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "cursor to the right",
    },
    Binding {
        keys: &[plain(KeyCode::Home), control('a')],
        action: Action::Edit(Edit::Home),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "cursor to the beginning",
    },
    Binding {
        keys: &[plain(KeyCode::End), control('e')],
        action: Action::Edit(Edit::End),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "cursor to the end",
    },
    Binding {
        keys: &[plain(KeyCode::Up)],
        action: Action::Move(Motion::Up(1)),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "select the row above",
    },
    Binding {
        keys: &[plain(KeyCode::Down)],
        action: Action::Move(Motion::Down(1)),
        contexts: &[Prompt],
        bar: "",
        section: Section::Typing,
        help: "select the row below",
    },
    Binding {
        keys: &[control('l')],
        action: Action::Redraw,
        contexts: ALL,
        bar: "",
        section: Section::Program,
        help: "draw the screen anew",
    },
    Binding {
        keys: &[control('z')],
        action: Action::Suspend,
        contexts: ALL,
        bar: "",
        section: Section::Program,
        help: "suspend; the shell's fg goes on",
    },
    Binding {
        keys: &[character('q')],
        action: Action::Quit,
        contexts: &[Table, Processes, Detail, Help, Menu],
        bar: "Quit",
        section: Section::Program,
        help: "quit",
    },
    Binding {
        keys: &[plain(KeyCode::F(10)), control('c')],
        action: Action::Quit,
        contexts: ALL,
        bar: "",
        section: Section::Program,
        help: "quit, while typing too",
    },
];
