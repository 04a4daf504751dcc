//! The order of entries.

use std::cmp::Ordering;
use std::time::Duration;

use super::{Durations, Entry, Text};

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
    /// Time in calls, most first; needs --durations.
    Time,
    /// Time in calls without what they call, most first; likewise.
    Own,
    /// Mean time of a call, longest first; likewise.
    Mean,
    /// Time that half of the calls did not exceed, longest first; likewise.
    P50,
    /// Time that 99 of 100 calls did not exceed, longest first; likewise.
    P99,
    /// Longest call, longest first; likewise.
    Max,
}

impl SortKey {
    /// Every key that there always is, in the order of the table's columns.
    pub const ALL: [Self; 6] = [
        Self::Pid,
        Self::Filename,
        Self::Line,
        Self::Function,
        Self::Calls,
        Self::Total,
    ];

    /// Every key that there is where durations are measured, in the order of the columns.
    pub const WITH_DURATIONS: [Self; 12] = [
        Self::Pid,
        Self::Filename,
        Self::Line,
        Self::Function,
        Self::Calls,
        Self::Time,
        Self::Own,
        Self::Mean,
        Self::P50,
        Self::P99,
        Self::Max,
        Self::Total,
    ];

    /// Those that there are where durations are measured, in the order of their columns.
    pub const OF_DURATIONS: [Self; 6] = [
        Self::Time,
        Self::Own,
        Self::Mean,
        Self::P50,
        Self::P99,
        Self::Max,
    ];

    /// Every key that there is.
    #[must_use]
    pub fn all(with_durations: bool) -> &'static [Self] {
        if with_durations {
            &Self::WITH_DURATIONS
        } else {
            &Self::ALL
        }
    }

    /// The columns of durations of a table that is so wide, of which the one that sorts is always one.
    #[must_use]
    pub fn durations_within(width: usize, sort: Self) -> Vec<Self> {
        let mut keys = match width {
            ..72 => vec![Self::Time],
            72..96 => vec![Self::Time, Self::P50, Self::P99],
            96..116 => vec![Self::Time, Self::Own, Self::P50, Self::P99],
            _ => Self::OF_DURATIONS.to_vec(),
        };
        if sort.is_of_durations()
            && !keys.contains(&sort)
            && let Some(last) = keys.last_mut()
        {
            *last = sort;
        }
        keys
    }

    /// Whether it is there only where durations are measured.
    #[must_use]
    pub fn is_of_durations(self) -> bool {
        Self::OF_DURATIONS.contains(&self)
    }

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
            Self::Time => "time",
            Self::Own => "own",
            Self::Mean => "mean",
            Self::P50 => "p50",
            Self::P99 => "p99",
            Self::Max => "max",
        }
    }

    /// Whether the largest comes first when the order is not reversed.
    #[must_use]
    pub fn is_descending(self) -> bool {
        matches!(self, Self::Calls | Self::Total) || self.is_of_durations()
    }

    /// The order of two entries. Only entries with the same key are equal, so that rows of equal
    /// calls do not change places from one interval to the next. `reverse` turns this key around
    /// and leaves the order among equals as it is.
    #[must_use]
    pub(super) fn compare<P: Place>(self, reverse: bool, left: &P, right: &P) -> Ordering {
        let order = self.order(left, right);
        let order = if reverse { order.reverse() } else { order };
        order
            .then_with(|| right.calls().cmp(&left.calls()))
            .then_with(|| left.filename().cmp(&right.filename()))
            .then_with(|| line(left).cmp(&line(right)))
            .then_with(|| left.function().cmp(&right.function()))
            .then_with(|| left.pid().cmp(&right.pid()))
    }

    fn order<P: Place>(self, left: &P, right: &P) -> Ordering {
        match self {
            Self::Calls => right.calls().cmp(&left.calls()),
            Self::Total => right.total().cmp(&left.total()),
            Self::Pid => left.pid().cmp(&right.pid()),
            Self::Filename => left.filename().cmp(&right.filename()),
            Self::Line => line(left).cmp(&line(right)),
            Self::Function => left.function().cmp(&right.function()),
            _ => self.of(right.durations()).cmp(&self.of(left.durations())),
        }
    }

    /// What is told of durations; `None` for other keys, too.
    #[must_use]
    pub fn of(self, durations: Option<&Durations>) -> Option<Duration> {
        let durations = durations?;
        match self {
            Self::Time => Some(durations.total()),
            Self::Own => Some(durations.own()),
            Self::Mean => Some(durations.mean()),
            Self::P50 => Some(durations.p50()),
            Self::P99 => Some(durations.p99()),
            Self::Max => Some(durations.longest()),
            _ => None,
        }
    }
}

/// What an order looks at.
pub(super) trait Place {
    fn pid(&self) -> Option<u32>;
    fn filename(&self) -> Option<&Text>;
    fn line(&self) -> Option<u32>;
    fn function(&self) -> Option<&Text>;
    fn calls(&self) -> u64;
    fn total(&self) -> u64;
    fn durations(&self) -> Option<&Durations>;
}

impl Place for Entry {
    fn pid(&self) -> Option<u32> {
        self.pid
    }
    fn filename(&self) -> Option<&Text> {
        self.filename()
    }
    fn line(&self) -> Option<u32> {
        self.line()
    }
    fn function(&self) -> Option<&Text> {
        self.name()
    }
    fn calls(&self) -> u64 {
        self.calls
    }
    fn total(&self) -> u64 {
        self.total
    }
    fn durations(&self) -> Option<&Durations> {
        self.durations.as_deref()
    }
}

fn line(place: &impl Place) -> u32 {
    place.line().unwrap_or(u32::MAX)
}

/// The first of a number of items, in one pass: `most` of them, or all, of which the first `ordered`
/// are in order, or all.
///
/// Few of a hundred thousand are among the first twenty, so that most items are compared once, with
/// the last of those that might be.
pub(super) fn first<T>(
    items: impl Iterator<Item = T>,
    most: Option<usize>,
    ordered: Option<usize>,
    mut compare: impl FnMut(&T, &T) -> Ordering,
) -> Vec<T> {
    /// Below it, looking for the last of them would be most of the work.
    const LEAST_SPARE: usize = 64;

    let mut first = Vec::new();
    match most {
        None => first.extend(items),
        Some(0) => {}
        Some(most) => {
            let room = most.saturating_add(most.max(LEAST_SPARE));
            let mut is_full = false;
            for item in items {
                let last = most - 1;
                if is_full
                    && let Some(last) = first.get(last)
                    && compare(&item, last).is_ge()
                {
                    continue;
                }
                first.push(item);
                if first.len() == room {
                    first.select_nth_unstable_by(last, &mut compare);
                    first.truncate(most);
                    is_full = true;
                }
            }
            if first.len() > most {
                first.select_nth_unstable_by(most - 1, &mut compare);
                first.truncate(most);
            }
        }
    }
    match ordered {
        Some(ordered) if ordered < first.len() => {
            let (ordered, ..) = first.select_nth_unstable_by(ordered, &mut compare);
            ordered.sort_unstable_by(compare);
        }
        _ => first.sort_unstable_by(compare),
    }
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_are_those_of_the_whole_order() {
        let mut state = 1_u64;
        let mut next = move |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            (state >> 33) % below
        };
        for below in [3, 100, 1 << 30] {
            for number in [0, 1, 63, 200, 5000] {
                let items: Vec<(u64, usize)> = (0..number).map(|it| (next(below), it)).collect();
                for order in [Ordering::Less, Ordering::Greater] {
                    let compare = |left: &(u64, usize), right: &(u64, usize)| {
                        let by = left.cmp(right);
                        if order.is_lt() { by } else { by.reverse() }
                    };
                    let mut sorted = items.clone();
                    sorted.sort_by(compare);
                    for most in [None, Some(0), Some(1), Some(20), Some(199), Some(9000)] {
                        let expected = &sorted[..most.unwrap_or(number).min(number)];
                        assert_eq!(first(items.iter().copied(), most, None, compare), expected);
                        let part = first(items.iter().copied(), most, Some(7), compare);
                        assert_eq!(part.len(), expected.len());
                        assert!(part.iter().take(7).eq(expected.iter().take(7)));
                    }
                }
            }
        }
    }
}
