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
}

/// Columns left free between two columns.
const GAP: u16 = 1;
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
            Self::History => None,
        }
    }

    pub(super) fn is_number(self) -> bool {
        matches!(
            self,
            Self::Pid | Self::Line | Self::Calls | Self::Total | Self::Share
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
pub(super) fn places(width: u16, sort: SortKey) -> Vec<Place> {
    let calls = if width < 100 { 9 } else { 11 };
    let mut columns = vec![
        (Column::Pid, 7),
        (Column::Filename, 0),
        (Column::Line, if width < 100 { 5 } else { 6 }),
        (Column::Function, 0),
        (Column::Calls, calls),
    ];
    // What sorts is always in sight, be it in place of something else.
    let total = match width {
        160.. => Some(17),
        96.. => Some(13),
        _ if sort == SortKey::Total => Some(9),
        _ => None,
    };
    columns.extend(total.map(|width| (Column::Total, width)));
    if width >= 96 || width >= 72 && total.is_none() {
        columns.push((Column::Share, 6));
    }
    if width >= 112 {
        columns.push((Column::History, (width / 8).min(HISTORY)));
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
            for sort in SortKey::ALL {
                let places = places(width, sort);
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
            let titles: Vec<_> = places(width, SortKey::Calls)
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
        assert_eq!(places(250, SortKey::Calls).len(), 8);
    }
}
