//! What the screen shows of durations.

use std::sync::Arc;

use crossterm::event::KeyCode;
use pytop_common::durations::bucket;

use super::fixture::{Screen, row, settings, snapshot};
use crate::model::durations::Finished;
use crate::model::{Durations, Snapshot, SortKey, Untimed, View};
use crate::tui::Settings;

fn durations(calls: &[(u64, u64)]) -> Arc<Durations> {
    let total = calls.iter().map(|(length, calls)| length * calls).sum();
    let mut durations = Durations::default();
    durations.add(&Finished {
        outermost: total,
        own: total / 2,
        longest: calls.iter().map(|(length, _)| *length).max().unwrap_or(0),
        buckets: calls
            .iter()
            .map(|(length, calls)| (bucket(*length), *calls))
            .collect(),
        ..Finished::default()
    });
    durations.settle();
    Arc::new(durations)
}

fn timed() -> Snapshot {
    let mut often = row(812, "/srv/app.py", 2, "often", 100);
    often.durations = Some(durations(&[(1_000, 99), (3_000, 1)]));
    let mut long = row(812, "/srv/app.py", 8, "long", 50);
    long.durations = Some(durations(&[(2_000_000, 40), (70_000_000, 10)]));
    let runs = row(812, "/srv/app.py", 14, "runs", 1);
    Snapshot {
        untimed: Some(Untimed::default()),
        ..snapshot(vec![often, long, runs])
    }
}

fn screen(width: u16, height: u16) -> Screen {
    let settings = Settings {
        view: View {
            durations: true,
            ..View::default()
        },
        ..settings()
    };
    let mut screen = Screen::with(settings, width, height);
    screen.take(timed());
    screen.take(timed());
    screen
}

#[test]
fn columns_tell_durations_as_far_as_there_is_room() {
    for (width, titles, long) in [
        (
            140,
            "TIME     OWN    MEAN     P50     P99     MAX",
            "780ms   390ms  15.6ms  2.01ms  69.7ms  70.0ms",
        ),
        (80, "TIME     P50     P99", "780ms  2.01ms  69.7ms"),
        (60, "TIME", "780ms"),
    ] {
        let screen = screen(width, 24);
        assert!(screen.has(titles), "{}", screen.text());
        assert!(screen.line("long").contains(long), "{}", screen.text());
        assert!(
            screen.line("runs").ends_with('-') || width > 100,
            "{}",
            screen.text()
        );
    }
}

#[test]
fn rows_are_sorted_by_durations() {
    let mut screen = screen(120, 24);
    screen.press("s");
    assert!(
        screen.has("p99") && screen.has("longest first"),
        "{}",
        screen.text()
    );
    screen.key(KeyCode::Esc);
    screen.press(">");
    assert_eq!(screen.app.view.sort, SortKey::Time);
    let first = screen.app.entries.first().and_then(|entry| entry.name());
    assert_eq!(first.map(ToString::to_string).as_deref(), Some("long"));
    let last = screen.app.entries.last().and_then(|entry| entry.name());
    assert_eq!(last.map(ToString::to_string).as_deref(), Some("runs"));
}

#[test]
fn a_row_in_full_shows_the_distribution() {
    for (width, height) in [(80, 24), (140, 40)] {
        let mut screen = screen(width, height);
        screen.press(">");
        screen.key(KeyCode::Down);
        screen.key(KeyCode::Home);
        screen.key(KeyCode::Enter);
        let text = screen.text();
        assert!(text.contains("50 ended: time 780ms"), "{text}");
        assert!(text.contains("100 ended: time 1.56s"), "{text}");
        // The axis, from the shortest to the longest.
        assert!(text.contains("1.97ms") && text.contains("71.3ms"), "{text}");
        assert!(
            text.contains("80 calls") && text.contains("p50 2.01ms") || width == 80,
            "{text}"
        );
    }
}
