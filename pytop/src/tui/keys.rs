//! The keys: one table, which dispatches them, draws the help and draws the key bar.

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::action::{Action, Edit, Motion, Side, Step};

/// What the keyboard acts on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Context {
    /// The table of functions.
    Table,
    /// The list of processes.
    Processes,
    /// One row in full.
    Detail,
    /// The keys.
    Help,
    /// The menu of sort keys.
    Menu,
    /// A line that is being typed.
    Prompt,
}

/// The part of the help that a key is listed in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    /// Going about.
    Move,
    /// What is shown, and how.
    Show,
    /// When it is shown.
    Time,
    /// While typing.
    Typing,
    /// The program.
    Program,
}

impl Section {
    /// Every section, in the order of the help.
    pub(super) const ALL: [Self; 5] = [
        Self::Move,
        Self::Show,
        Self::Time,
        Self::Program,
        Self::Typing,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Move => "Move",
            Self::Show => "Show",
            Self::Time => "Time",
            Self::Program => "Program",
            Self::Typing => "While typing",
        }
    }
}

/// A key, with or without Control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    code: KeyCode,
    control: bool,
}

/// What a key does in some contexts.
pub(super) struct Binding {
    /// Keys that do the same.
    pub(super) keys: &'static [Key],
    /// What they do.
    pub(super) action: Action,
    /// Where they do it.
    pub(super) contexts: &'static [Context],
    /// The word in the key bar; empty for a key that is not in it.
    pub(super) bar: &'static str,
    /// Where the help lists it.
    pub(super) section: Section,
    /// What the help says.
    pub(super) help: &'static str,
}

/// What the mouse does, for the help.
pub(super) const MOUSE: [(&str, &str); 4] = [
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

use Context::{Detail, Help, Menu, Processes, Prompt, Table};

/// Wherever a letter is a command.
const COMMANDS: &[Context] = &[Table, Processes, Detail, Help, Menu];
/// Wherever there is something to move in.
const LISTS: &[Context] = COMMANDS;
/// The two lists that fill the screen.
const SCREENS: &[Context] = &[Table, Processes];
/// Wherever counts are in sight.
const COUNTS: &[Context] = &[Table, Processes, Detail];
/// Everywhere.
const ALL: &[Context] = &[Table, Processes, Detail, Help, Menu, Prompt];

/// Every key. The key bar takes its words in this order.
pub(super) static BINDINGS: &[Binding] = &[
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
        keys: &[plain(KeyCode::Tab), character('t')],
        action: Action::Group,
        contexts: &[Table],
        bar: "Group",
        section: Section::Show,
        help: "add up by function, file or process",
    },
    Binding {
        keys: &[character('p'), character(' ')],
        action: Action::Pause,
        contexts: COUNTS,
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
        contexts: COMMANDS,
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

impl Key {
    /// What the key is called.
    pub(super) fn name(self) -> String {
        let name = match self.code {
            KeyCode::Char(' ') => "Space".to_owned(),
            KeyCode::Char(character) if self.control => character.to_ascii_uppercase().to_string(),
            KeyCode::Char(character) => character.to_string(),
            KeyCode::F(number) => format!("F{number}"),
            KeyCode::PageUp => "PgUp".to_owned(),
            KeyCode::PageDown => "PgDn".to_owned(),
            code => format!("{code}"),
        };
        if self.control {
            format!("Ctrl-{name}")
        } else {
            name
        }
    }

    fn is_pressed(self, event: &KeyEvent) -> bool {
        // Shift is in the character already, where terminals report it at all.
        let modifiers = event.modifiers - KeyModifiers::SHIFT;
        self.code == event.code
            && modifiers
                == if self.control {
                    KeyModifiers::CONTROL
                } else {
                    KeyModifiers::NONE
                }
    }
}

/// What a key means in a context.
pub(super) fn action(context: Context, event: &KeyEvent) -> Option<Action> {
    let mut bindings = BINDINGS.iter();
    let bound = bindings.find(|binding| {
        binding.contexts.contains(&context) && binding.keys.iter().any(|key| key.is_pressed(event))
    });
    match (bound, event.code) {
        (Some(binding), _) => Some(binding.action.clone()),
        (None, KeyCode::Char(character))
            if context == Context::Prompt
                && !event
                    .modifiers
                    .intersects(KeyModifiers::CONTROL | KeyModifiers::ALT) =>
        {
            Some(Action::Edit(Edit::Insert(character.to_string())))
        }
        _ => None,
    }
}

/// The key bar's words in a context: the key, the word, and what a click on them does.
pub(super) fn bar(
    context: Context,
) -> impl Iterator<Item = (String, &'static str, &'static Action)> {
    BINDINGS
        .iter()
        .filter(move |binding| !binding.bar.is_empty() && binding.contexts.contains(&context))
        .filter_map(|binding| Some((binding.keys.first()?.name(), binding.bar, &binding.action)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_key_is_bound_twice_in_a_context() {
        for context in ALL {
            let mut seen: Vec<Key> = Vec::new();
            for binding in BINDINGS
                .iter()
                .filter(|binding| binding.contexts.contains(context))
            {
                for key in binding.keys {
                    assert!(!seen.contains(key), "{} in {context:?}", key.name());
                    seen.push(*key);
                }
            }
        }
    }

    #[test]
    fn every_context_can_be_left() {
        for context in ALL {
            let quit = KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL);
            assert!(matches!(action(*context, &quit), Some(Action::Quit)));
            let escape = KeyEvent::new(KeyCode::Esc, KeyModifiers::NONE);
            assert!(matches!(
                action(*context, &escape),
                Some(Action::Back | Action::Cancel)
            ));
        }
    }

    #[test]
    fn letters_are_typed_in_a_prompt_and_commands_elsewhere() {
        let q = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::NONE);
        assert!(matches!(action(Context::Table, &q), Some(Action::Quit)));
        assert!(
            matches!(action(Context::Prompt, &q), Some(Action::Edit(Edit::Insert(text))) if text == "q")
        );
        let shifted = KeyEvent::new(KeyCode::Char('P'), KeyModifiers::SHIFT);
        assert!(matches!(
            action(Context::Table, &shifted),
            Some(Action::Processes)
        ));
        let alt = KeyEvent::new(KeyCode::Char('q'), KeyModifiers::ALT);
        assert!(action(Context::Table, &alt).is_none());
        assert!(action(Context::Prompt, &alt).is_none());
    }

    #[test]
    fn every_action_is_explained() {
        for binding in BINDINGS {
            assert!(!binding.help.is_empty());
            assert!(Section::ALL.contains(&binding.section));
            assert!(!binding.keys.is_empty() && !binding.contexts.is_empty());
        }
    }
}
