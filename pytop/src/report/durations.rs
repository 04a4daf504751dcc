//! What is printed of durations.

use std::time::Duration;

use serde::Serialize;

use crate::model::durations::short;
use crate::model::{self, Entry, SortKey};

/// Names of the fields of CSV.
pub(super) const FIELDS: [&str; 7] = [
    "finished", "total_s", "own_s", "mean_s", "p50_s", "p99_s", "max_s",
];

/// Calls that have ended in the interval, in JSON.
#[derive(Serialize)]
struct Durations {
    finished: u64,
    total_s: f64,
    own_s: f64,
    mean_s: f64,
    p50_s: f64,
    p99_s: f64,
    max_s: f64,
}

/// The same of a row, or null.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct MaybeDurations(Option<Durations>);

impl MaybeDurations {
    pub(super) fn of(entry: &Entry) -> Self {
        Self(entry.durations.as_deref().map(Durations::from))
    }
}

impl From<&model::Durations> for Durations {
    fn from(durations: &model::Durations) -> Self {
        let [total_s, own_s, mean_s, p50_s, p99_s, max_s] = all(durations).map(seconds);
        Self {
            finished: durations.finished(),
            total_s,
            own_s,
            mean_s,
            p50_s,
            p99_s,
            max_s,
        }
    }
}

/// Calls without a duration, in JSON.
#[derive(Serialize)]
pub(super) struct Untimed {
    too_deep: u64,
    too_many_threads: u64,
    end_not_seen: u64,
    table_full: u64,
    name_unknown: u64,
    generators_made: u64,
}

impl From<model::Untimed> for Untimed {
    fn from(untimed: model::Untimed) -> Self {
        Self {
            too_deep: untimed.deep,
            too_many_threads: untimed.threads,
            end_not_seen: untimed.unseen,
            table_full: untimed.table_full,
            name_unknown: untimed.unnamed,
            generators_made: untimed.generators_made,
        }
    }
}

/// In the order of the columns.
fn all(durations: &model::Durations) -> [Duration; 6] {
    SortKey::OF_DURATIONS.map(|key| key.of(Some(durations)).unwrap_or_default())
}

/// The fields of CSV; empty without durations.
pub(super) fn fields(durations: Option<&model::Durations>) -> [String; 7] {
    let Some(durations) = durations else {
        return Default::default();
    };
    let [total, own, mean, p50, p99, max] = all(durations).map(|it| seconds(it).to_string());
    let finished = durations.finished().to_string();
    [finished, total, own, mean, p50, p99, max]
}

/// The titles of these columns of a table.
pub(super) fn titles(keys: &[SortKey]) -> Vec<String> {
    keys.iter().map(|key| key.name().to_uppercase()).collect()
}

/// The cells of these columns of a table; dashes without durations.
pub(super) fn cells(keys: &[SortKey], durations: Option<&model::Durations>) -> Vec<String> {
    let cell = |key: &SortKey| key.of(durations).map_or_else(|| "-".to_owned(), short);
    keys.iter().map(cell).collect()
}

/// To the nanosecond, as it was measured.
fn seconds(duration: Duration) -> f64 {
    duration.as_nanos() as f64 / 1e9
}
