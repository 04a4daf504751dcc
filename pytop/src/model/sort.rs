//! The order of entries.

use std::cmp::Ordering;

use super::Entry;

/// What entries are sorted by. Numbers of calls come most first, everything else ascending.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SortKey {
    /// Calls in the last interval, most first.
    #[default]
    Calls,
    /// Calls since the start, most first.
    Total,
    /// Process id, ascending.
    Pid,
    /// File name, ascending.
    Filename,
    /// Line, ascending; unknown lines come last.
    Line,
    /// Function name, ascending.
    Function,
}

impl SortKey {
    /// Every key, in the order of the table's columns.
    pub const ALL: [Self; 6] = [
        Self::Pid,
        Self::Filename,
        Self::Line,
        Self::Function,
        Self::Calls,
        Self::Total,
    ];

    /// The name that the command line uses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Calls => "calls",
            Self::Total => "total",
            Self::Pid => "pid",
            Self::Filename => "filename",
            Self::Line => "line",
            Self::Function => "function",
        }
    }

    /// Whether the largest comes first when the order is not reversed.
    #[must_use]
    pub fn is_descending(self) -> bool {
        matches!(self, Self::Calls | Self::Total)
    }

    /// The order of two entries. Only entries with the same key are equal, so that rows of equal
    /// calls do not change places from one interval to the next. `reverse` turns this key around
    /// and leaves the order among equals as it is.
    #[must_use]
    pub fn compare(self, reverse: bool, left: &Entry, right: &Entry) -> Ordering {
        let order = self.order(left, right);
        let order = if reverse { order.reverse() } else { order };
        order
            .then_with(|| right.calls.cmp(&left.calls))
            .then_with(|| left.filename.cmp(&right.filename))
            .then_with(|| line(left).cmp(&line(right)))
            .then_with(|| left.function.cmp(&right.function))
            .then_with(|| left.pid.cmp(&right.pid))
    }

    fn order(self, left: &Entry, right: &Entry) -> Ordering {
        match self {
            Self::Calls => right.calls.cmp(&left.calls),
            Self::Total => right.total.cmp(&left.total),
            Self::Pid => left.pid.cmp(&right.pid),
            Self::Filename => left.filename.cmp(&right.filename),
            Self::Line => line(left).cmp(&line(right)),
            Self::Function => left.function.cmp(&right.function),
        }
    }
}

fn line(entry: &Entry) -> u32 {
    entry.line.unwrap_or(u32::MAX)
}
