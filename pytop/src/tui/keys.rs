//! The keys: one table, which dispatches them, draws the help and draws the key bar.

mod bindings;

use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

pub(super) use self::bindings::{BINDINGS, MOUSE};
use super::action::{Action, Edit};

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

/// What the manual says of some keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyHelp {
    /// The part of the help that lists them.
    pub section: &'static str,
    /// Keys that do the same.
    pub keys: Vec<String>,
    /// What they do.
    pub help: &'static str,
}

/// All keys, in the order of the help.
pub fn key_help() -> impl Iterator<Item = KeyHelp> {
    Section::ALL.into_iter().flat_map(|section| {
        let bindings = BINDINGS.iter().filter(move |it| it.section == section);
        bindings.map(move |binding| KeyHelp {
            section: section.title(),
            keys: binding.keys.iter().map(|key| key.name()).collect(),
            help: binding.help,
        })
    })
}

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
    use super::bindings::ALL;
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
