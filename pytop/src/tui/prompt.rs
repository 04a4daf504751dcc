//! A line that is being typed: a filter or an interval.

use std::time::Duration;

use super::action::Edit;

/// What is being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    /// A regular expression.
    Filter,
    /// An interval in seconds.
    Interval,
}

/// A line that is being typed.
#[derive(Clone, Debug)]
pub(super) struct Prompt {
    /// What is being asked for.
    pub(super) asked: Asked,
    /// What was typed.
    pub(super) text: String,
    /// The byte before which the next character goes.
    pub(super) cursor: usize,
    /// What is wrong with it.
    pub(super) error: Option<String>,
}

impl Prompt {
    /// Longest line, in bytes: a paste has an end.
    const CAPACITY: usize = 1000;

    pub(super) fn new(asked: Asked, text: String) -> Self {
        Self {
            asked,
            cursor: text.len(),
            text,
            error: None,
        }
    }

    /// What stands before the line.
    pub(super) fn label(&self) -> &'static str {
        match self.asked {
            Asked::Filter => "Filter /",
            Asked::Interval => "Interval in seconds: ",
        }
    }

    /// Changes the line.
    pub(super) fn edit(&mut self, edit: &Edit) {
        match edit {
            Edit::Insert(text) => {
                for character in text.chars().filter(|character| !character.is_control()) {
                    if self.text.len() + character.len_utf8() <= Self::CAPACITY {
                        self.text.insert(self.cursor, character);
                        self.cursor += character.len_utf8();
                    }
                }
            }
            Edit::Backspace => {
                let start = self.before();
                self.remove(start);
            }
            Edit::Delete => {
                if self.cursor < self.text.len() {
                    self.text.remove(self.cursor);
                }
            }
            Edit::DeleteWord => {
                let before = self.text.get(..self.cursor).unwrap_or_default();
                let word = before.trim_end().rfind(char::is_whitespace);
                self.remove(word.map_or(0, |space| space + 1));
            }
            Edit::DeleteToStart => self.remove(0),
            Edit::Left => self.cursor = self.before(),
            Edit::Right => {
                let after = self.text.get(self.cursor..).unwrap_or_default();
                self.cursor += after.chars().next().map_or(0, char::len_utf8);
            }
            Edit::Home => self.cursor = 0,
            Edit::End => self.cursor = self.text.len(),
        }
    }

    fn before(&self) -> usize {
        let before = self.text.get(..self.cursor).unwrap_or_default();
        before
            .char_indices()
            .next_back()
            .map_or(0, |(index, _)| index)
    }

    fn remove(&mut self, start: usize) {
        self.text.replace_range(start..self.cursor, "");
        self.cursor = start;
    }
}

/// The shortest and the longest interval, as for `--interval`.
const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_hours(1);

/// An interval that was typed in seconds.
pub(super) fn parse_interval(text: &str) -> Result<Duration, String> {
    let text = text.trim().trim_end_matches('s').trim_end();
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|interval| (SHORTEST..=LONGEST).contains(interval))
        .ok_or_else(|| "must be from 0.1 to 3600".to_owned())
}

/// Intervals that are a key away from each other, in milliseconds.
const STEPS: [u64; 12] = [
    100, 200, 500, 1_000, 2_000, 5_000, 10_000, 30_000, 60_000, 300_000, 900_000, 3_600_000,
];

/// The next longer interval.
pub(super) fn longer(interval: Duration) -> Duration {
    let mut steps = STEPS.iter().copied().map(Duration::from_millis);
    steps.find(|step| *step > interval).unwrap_or(LONGEST)
}

/// The next shorter interval.
pub(super) fn shorter(interval: Duration) -> Duration {
    let mut steps = STEPS.iter().rev().copied().map(Duration::from_millis);
    steps.find(|step| *step < interval).unwrap_or(SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_by_characters() {
        let mut prompt = Prompt::new(Asked::Filter, String::new());
        for (edit, text, cursor) in [
            (Edit::Insert("añ函\n".into()), "añ函", 6),
            (Edit::Left, "añ函", 3),
            (Edit::Backspace, "a函", 1),
            (Edit::Insert("b".into()), "ab函", 2),
            (Edit::Delete, "ab", 2),
            (Edit::Delete, "ab", 2),
            (Edit::Right, "ab", 2),
            (Edit::Insert(" cd ef ".into()), "ab cd ef ", 9),
            (Edit::DeleteWord, "ab cd ", 6),
            (Edit::Home, "ab cd ", 0),
            (Edit::Left, "ab cd ", 0),
            (Edit::Backspace, "ab cd ", 0),
            (Edit::End, "ab cd ", 6),
            (Edit::DeleteToStart, "", 0),
            (Edit::DeleteWord, "", 0),
        ] {
            prompt.edit(&edit);
            assert_eq!(
                (prompt.text.as_str(), prompt.cursor),
                (text, cursor),
                "{edit:?}"
            );
        }
        prompt.edit(&Edit::Insert("x".repeat(5000)));
        assert_eq!(prompt.text.len(), Prompt::CAPACITY);
    }

    #[test]
    fn intervals() {
        assert_eq!(parse_interval(" 0.25 s"), Ok(Duration::from_millis(250)));
        for text in ["", "x", "0.05", "3601", "-1", "inf", "nan", "1e300"] {
            assert!(parse_interval(text).is_err(), "{text}");
        }
        assert_eq!(longer(Duration::from_millis(700)), Duration::from_secs(1));
        assert_eq!(longer(LONGEST), LONGEST);
        assert_eq!(shorter(Duration::from_secs(1)), Duration::from_millis(500));
        assert_eq!(shorter(SHORTEST), SHORTEST);
    }
}
