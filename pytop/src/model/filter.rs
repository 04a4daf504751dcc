//! The filter: a regular expression over what a row shows.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::str::FromStr;

use regex::Regex;

use super::Function;

/// A regular expression that is searched in `filename:line function`, as it is seen on the
/// screen: escapes in place of what is not plain, `-` for an unknown line.
#[derive(Clone, Debug)]
pub struct Filter(Regex);

/// The text is no regular expression.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression `{pattern}`: {reason}")]
pub struct FilterError {
    /// What was given, safe to show.
    pub pattern: String,
    /// What is wrong with it, in one line.
    pub reason: String,
}

/// The parts of the three texts of a row that the filter matched, in bytes of the visible text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Highlights {
    /// Parts of the filename.
    pub filename: Vec<Range<usize>>,
    /// Parts of the line number.
    pub line: Vec<Range<usize>>,
    /// Parts of the function's name.
    pub function: Vec<Range<usize>>,
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(pattern: &str) -> Result<Self, FilterError> {
        Regex::new(pattern).map(Self).map_err(|error| FilterError {
            pattern: super::text::visible(pattern.as_bytes()).into_owned(),
            reason: reason(&error),
        })
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(self.0.as_str())
    }
}

impl PartialEq for Filter {
    fn eq(&self, other: &Self) -> bool {
        self.0.as_str() == other.0.as_str()
    }
}

impl Eq for Filter {}

impl Filter {
    /// The regular expression as it was written.
    #[must_use]
    pub fn pattern(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a function matches. `subject` is working memory, so that a hundred thousand rows
    /// need one buffer and not as many.
    #[must_use]
    pub fn matches(&self, function: &Function, subject: &mut String) -> bool {
        write_subject(subject, function);
        self.0.is_match(subject)
    }

    /// What the filter matches in a function's texts.
    #[must_use]
    pub fn highlights(&self, function: &Function) -> Highlights {
        let mut subject = String::new();
        let columns = write_subject(&mut subject, function);
        let mut found = Highlights::default();
        for range in self.0.find_iter(&subject).map(|found| found.range()) {
            for (column, parts) in
                columns
                    .iter()
                    .zip([&mut found.filename, &mut found.line, &mut found.function])
            {
                let start = range.start.max(column.start);
                let end = range.end.min(column.end);
                if start < end {
                    parts.push(start - column.start..end - column.start);
                }
            }
        }
        found
    }
}

/// Writes what a filter is searched in, and returns where its three texts are.
fn write_subject(subject: &mut String, function: &Function) -> [Range<usize>; 3] {
    subject.clear();
    subject.push_str(&function.filename.visible());
    let filename = 0..subject.len();
    subject.push(':');
    let start = subject.len();
    match function.line {
        // Writing to a `String` cannot fail.
        Some(line) => drop(write!(subject, "{line}")),
        None => subject.push('-'),
    }
    let line = start..subject.len();
    subject.push(' ');
    let start = subject.len();
    subject.push_str(&function.name.visible());
    [filename, line, start..subject.len()]
}

/// The last line of a syntax error, which names the fault; the lines before it draw it.
fn reason(error: &regex::Error) -> String {
    match error {
        regex::Error::CompiledTooBig(limit) => {
            format!("it needs more than {limit} bytes when compiled")
        }
        error => {
            let text = error.to_string();
            let last = text.lines().last().unwrap_or_default();
            super::text::visible(last.strip_prefix("error: ").unwrap_or(last).as_bytes())
                .into_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(pattern: &str) -> Filter {
        pattern.parse().unwrap()
    }

    fn function(filename: &str, line: Option<u32>, name: &str) -> Function {
        Function::new(1, filename.into(), line, name.into())
    }

    #[test]
    fn the_whole_row_is_searched_as_it_is_seen() {
        let mut subject = String::new();
        for (pattern, line, matches) in [
            ("app", Some(12), true),
            ("^/srv.*main$", Some(12), true),
            ("py:12 main", Some(12), true),
            ("py:- main", None, true),
            (r"\\x1b", Some(12), true),
            ("\x1b", Some(12), false),
            ("other", Some(12), false),
        ] {
            assert_eq!(
                filter(pattern).matches(&function("/srv/\x1bapp.py", line, "main"), &mut subject),
                matches,
                "{pattern}"
            );
        }
    }

    #[test]
    fn a_match_over_two_columns_marks_both() {
        let found = filter("py:12 ma|s").highlights(&function("/srv/a.py", Some(12), "mains"));
        assert_eq!(found.filename, [1..2, 7..9]);
        assert_eq!(found.line, vec![0..2_usize; 1]);
        assert_eq!(found.function, [0..2, 4..5]);
    }

    #[test]
    fn an_error_is_one_line_that_names_the_fault() {
        for (pattern, message) in [
            ("a(", "invalid regular expression `a(`: unclosed group"),
            (
                "*",
                "invalid regular expression `*`: repetition operator missing expression",
            ),
            (
                "\x1b[",
                "invalid regular expression `\\x1b[`: unclosed character class",
            ),
        ] {
            let error = Filter::from_str(pattern).unwrap_err();
            assert_eq!(error.to_string(), message);
        }
        assert!(Filter::from_str("(a{999}){999}").is_err());
    }
}
