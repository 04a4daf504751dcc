//! The columns of the table of functions, and how a line is divided among them.

use crate::model::SortKey;

/// A column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Pid,
    Filename,
    Line,
    Function,
    Calls,
    Total,
    Share,
    History,
    /// One of those that there are where durations are measured.
    Duration(SortKey),
}

/// Columns left free between two columns.
const GAP: u16 = 1;
/// Width of a column of durations.
const DURATION: u16 = 7;
/// So much wider is a line that has the columns of durations and others that it would have without.
const LATER: u16 = 60;
/// Longest run of samples that a row's history shows.
const HISTORY: u16 = 30;

impl Column {
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::Filename => "FILENAME",
            Self::Line => "LINE",
            Self::Function => "FUNCTION",
            Self::Calls => "CALLS",
            Self::Total => "TOTAL",
            Self::Share => "SHARE",
            Self::History => "HISTORY",
            Self::Duration(SortKey::Own) => "OWN",
            Self::Duration(SortKey::Mean) => "MEAN",
            Self::Duration(SortKey::P50) => "P50",
            Self::Duration(SortKey::P99) => "P99",
            Self::Duration(SortKey::Max) => "MAX",
            Self::Duration(_) => "TIME",
        }
    }

    /// What a click on the title sorts by.
    pub(super) fn sort_key(self) -> Option<SortKey> {
        match self {
            Self::Pid => Some(SortKey::Pid),
            Self::Filename => Some(SortKey::Filename),
            Self::Line => Some(SortKey::Line),
            Self::Function => Some(SortKey::Function),
            Self::Calls | Self::Share => Some(SortKey::Calls),
            Self::Total => Some(SortKey::Total),
            Self::Duration(key) => Some(key),
            Self::History => None,
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(
            self,
            Self::Pid | Self::Line | Self::Calls | Self::Total | Self::Share | Self::Duration(_)
        )
    }
}

/// A column's place in a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) column: Column,
    /// From the beginning of the line.
    pub(super) x: u16,
    pub(super) width: u16,
}

/// Divides a line. Wider lines have more columns; none changes its place from one interval to the
/// next.
pub(super) fn places(width: u16, sort: SortKey, durations: bool) -> Vec<Place> {
    let calls = if width < 100 { 9 } else { 11 };
    let mut columns = vec![
        (Column::Pid, 7),
        (Column::Filename, 0),
        (Column::Line, if width < 100 { 5 } else { 6 }),
        (Column::Function, 0),
        (Column::Calls, calls),
    ];
    // Durations have the room that others would have: these need that much more of it.
    let taken = if durations {
        let keys = SortKey::durations_within(width.into(), sort);
        let keys = keys
            .into_iter()
            .filter(|_| width >= 72 || sort != SortKey::Total);
        columns.extend(keys.map(|key| (Column::Duration(key), DURATION)));
        LATER
    } else {
        0
    };
    let spare = width.saturating_sub(taken);
    // What sorts is always in sight, be it in place of something else.
    let total = match spare {
        160.. => Some(17),
        96.. => Some(13),
        _ if sort == SortKey::Total => Some(9),
        _ => None,
    };
    columns.extend(total.map(|width| (Column::Total, width)));
    if spare >= 96 || spare >= 72 && total.is_none() {
        columns.push((Column::Share, 6));
    }
    if spare >= 112 {
        columns.push((Column::History, (spare / 8).min(HISTORY)));
    }
    let fixed: u16 = columns.iter().map(|(_, width)| *width).sum();
    let gaps = GAP * u16::try_from(columns.len() - 1).unwrap_or_default();
    let names = width.saturating_sub(fixed + gaps);
    // Paths are longer than names, but the longest names are seldom longer than this.
    let function = (names * 2 / 5).min(60);
    let mut x = 0;
    columns
        .into_iter()
        .map(|(column, width)| {
            let width = match column {
                Column::Filename => names - function,
                Column::Function => function,
                _ => width,
            };
            let place = Place { column, x, width };
            x += width + GAP;
            place
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_is_used_and_not_exceeded() {
        for width in 40..300 {
            let plain = SortKey::ALL.map(|sort| (sort, false));
            let timed = SortKey::WITH_DURATIONS.map(|sort| (sort, true));
            for (sort, durations) in plain.into_iter().chain(timed) {
                let places = places(width, sort, durations);
                let end = places.last().map(|place| place.x + place.width);
                assert_eq!(end, Some(width));
                for pair in places.windows(2) {
                    assert_eq!(pair[0].x + pair[0].width + GAP, pair[1].x);
                }
                let key = |place: &Place| place.column.sort_key() == Some(sort);
                assert!(places.iter().any(key), "{width} {sort:?}");
            }
        }
    }

    #[test]
    fn the_five_columns_of_the_plain_table_come_first_at_every_width() {
        for width in [60, 80, 120, 250] {
            let titles: Vec<_> = places(width, SortKey::Calls, true)
                .iter()
                .map(|place| place.column)
                .collect();
            let first = [
                Column::Pid,
                Column::Filename,
                Column::Line,
                Column::Function,
                Column::Calls,
            ];
            assert_eq!(titles[..5], first);
        }
        assert_eq!(places(250, SortKey::Calls, false).len(), 8);
        assert_eq!(places(250, SortKey::Calls, true).len(), 14);
    }
}
