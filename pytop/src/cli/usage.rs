//! What is said instead of doing something: help, and what is wrong with the options.

use std::io::Write as _;
use std::process::ExitCode;

use clap::Subcommand as _;
use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::Task;
use crate::model::text::visible;

/// Exit status of wrong usage, as of most commands.
const WRONG_USAGE: u8 = 2;

/// Why there is nothing to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stop {
    /// Help or version was asked for.
    Shown(String),
    /// The options are wrong.
    Usage {
        /// What is wrong with them.
        message: String,
        /// The command that shows what would be right.
        help: String,
    },
}

impl Stop {
    /// Prints it where it belongs, and returns the exit status.
    #[must_use]
    pub fn report(&self) -> ExitCode {
        // A closed output is no reason to fail here: nothing else was to be done.
        match self {
            Self::Shown(text) => {
                let _ = std::io::stdout().write_all(text.as_bytes());
                ExitCode::SUCCESS
            }
            Self::Usage { message, help } => {
                let _ = writeln!(std::io::stderr(), "pytop: {message}\ntry '{help}'");
                WRONG_USAGE.into()
            }
        }
    }
}

/// What is wrong, in one line, and another with what to do where clap knows. `task` is the
/// subcommand that was named, if one was.
pub(super) fn explain(error: &clap::Error, task: Option<&str>) -> String {
    let rendered = error.render().to_string();
    let text = rendered.strip_prefix("error: ").unwrap_or(&rendered);
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more information"))
        .filter(|line| !line.is_empty() && !line.starts_with("tip:"));
    let mut message = String::new();
    for line in lines {
        if !message.is_empty() {
            message.push(' ');
        }
        message.push_str(&visible(line.as_bytes()));
    }
    if error.kind() == ErrorKind::UnknownArgument
        && let Some(ContextValue::String(argument)) = error.get(ContextKind::InvalidArg)
        && !argument.starts_with('-')
        && task.is_none()
    {
        message.push_str(if Task::has_subcommand(argument) {
            "; a subcommand comes first, and has options of its own"
        } else {
            "; a command to start comes after '--'"
        });
    }
    if let Some(meant) = suggestion(error) {
        message.push_str("\n  ");
        message.push_str(&meant);
    }
    message
}

/// What was probably meant.
fn suggestion(error: &clap::Error) -> Option<String> {
    let suggested = [ContextKind::SuggestedArg, ContextKind::SuggestedValue]
        .into_iter()
        .find_map(|kind| error.get(kind))?;
    match suggested {
        ContextValue::String(one) => Some(format!("did you mean '{one}'?")),
        ContextValue::Strings(several) => {
            Some(format!("did you mean '{}'?", several.join("' or '")))
        }
        _ => None,
    }
}
