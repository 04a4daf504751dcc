//! What one displayed row stands for.

use std::sync::Arc;

use super::{Function, Row, Text};

/// What rows are added up by.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum GroupBy {
    /// One row a function of a process.
    #[default]
    Function,
    /// One row a file, over all processes that run it.
    File,
    /// One row a process.
    Process,
}

impl GroupBy {
    /// The name that the command line uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Function => "function",
            Self::File => "file",
            Self::Process => "process",
        }
    }

    /// The next grouping, after the last the first.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Function => Self::File,
            Self::File => Self::Process,
            Self::Process => Self::Function,
        }
    }
}

/// What identifies a displayed row from one interval to the next.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum EntryKey {
    /// A function of a process.
    Function(Arc<Function>),
    /// A file, in whatever process.
    File(Text),
    /// A process.
    Process(u32),
}

impl EntryKey {
    /// The key of the function of a row.
    #[must_use]
    pub fn function(row: &Row) -> Self {
        Self::Function(Arc::clone(&row.function))
    }

    /// Whether the row stands for this function, alone or with others.
    pub(crate) fn covers(&self, function: &Function) -> bool {
        match self {
            Self::Function(this) => **this == *function,
            Self::File(filename) => function.filename == *filename,
            Self::Process(pid) => function.pid == *pid,
        }
    }
}
