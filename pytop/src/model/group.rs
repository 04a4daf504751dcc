//! What one displayed row stands for.

use super::totals::FunctionKey;
use super::{Row, Text};

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
    Function {
        /// The process.
        pid: u32,
        /// The code object's filename.
        filename: Text,
        /// The line, where it is known.
        line: Option<u32>,
        /// The function's name.
        function: Text,
    },
    /// A file, in whatever process.
    File(Text),
    /// A process.
    Process(u32),
}

impl EntryKey {
    /// The key of the function of a row.
    #[must_use]
    pub fn function(row: &Row) -> Self {
        Self::Function {
            pid: row.pid,
            filename: row.filename.clone(),
            line: row.line,
            function: row.function.clone(),
        }
    }

    /// The function that the row stands for, unless it stands for several.
    pub(crate) fn as_function(&self) -> Option<FunctionKey> {
        match self {
            Self::Function {
                pid,
                filename,
                line,
                function,
            } => Some(FunctionKey {
                pid: *pid,
                filename: filename.clone(),
                line: *line,
                function: function.clone(),
            }),
            Self::File(_) | Self::Process(_) => None,
        }
    }

    /// Whether the row stands for this function, alone or with others.
    pub(crate) fn covers(&self, function: &FunctionKey) -> bool {
        match self {
            Self::Function { .. } => self.as_function().as_ref() == Some(function),
            Self::File(filename) => function.filename == *filename,
            Self::Process(pid) => function.pid == *pid,
        }
    }
}
