//! How long the calls of a function took: a line for the interval and one for all, and a chart.
//!
//! ```text
//!  93 calls        ▃█
//!                  ██▁
//!        0  ▁     ▂███▁              ▁
//!          1.00us 10.0us 100us 1.00ms     each column is longer than the one before by the same part
//! ```

use std::time::Duration;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::app::App;
use super::graph;
use super::number;
use crate::model::durations::short;
use crate::model::{Durations, EntryKey, Function, Row};

/// The least chart, in cells.
const WIDTH: u16 = 30;
const HEIGHT: u16 = 3;
/// Cells between two charts.
const GAP: u16 = 2;

/// What is told of a function, under these labels.
pub(super) fn lines(app: &App, function: &Function, rows: &[&Row]) -> Vec<(&'static str, String)> {
    if !app.view.durations {
        return Vec::new();
    }
    let now = rows.iter().find_map(|row| row.durations.as_deref());
    let all = app.shown().totals.durations_of(function);
    let tell = |durations: Option<&Durations>| durations.map_or_else(|| "none ended".into(), told);
    vec![("Durations", tell(now)), ("In total", tell(all.as_ref()))]
}

fn told(durations: &Durations) -> String {
    format!(
        "{} ended: time {}, own {}, mean {}, p50 {}, p99 {}, max {}",
        number::grouped(durations.finished()),
        short(durations.total()),
        short(durations.own()),
        short(durations.mean()),
        short(durations.p50()),
        short(durations.p99()),
        short(durations.longest()),
    )
}

/// Draws the chart of a function's durations into a part of the area, and returns the rest of it.
pub(super) fn draw_beside(app: &App, key: &EntryKey, area: Rect, buffer: &mut Buffer) -> Rect {
    let durations = match key {
        EntryKey::Function(function) => app.shown().totals.durations_of(function),
        EntryKey::File(_) | EntryKey::Process(_) => None,
    };
    let Some(durations) = durations else {
        return area;
    };
    let half = area.width / 2;
    let is_wide = half >= WIDTH + GAP;
    let (own, rest) = if is_wide {
        let own = Rect {
            x: area.x + half + GAP,
            width: area.width - half - GAP,
            ..area
        };
        (
            own,
            Rect {
                width: half,
                ..area
            },
        )
    } else {
        (area, Rect { height: 0, ..area })
    };
    draw(app, &durations, own, buffer);
    rest
}

fn draw(app: &App, durations: &Durations, area: Rect, buffer: &mut Buffer) {
    if area.width < WIDTH || area.height < HEIGHT {
        return;
    }
    let (mut least, mut beyond) = (None, Duration::ZERO);
    for (from, to, _) in durations.distribution() {
        least = least.or(Some(from));
        beyond = to;
    }
    // Shorter ones are in one column: there is no logarithm of nothing.
    let least = least.unwrap_or_default().max(Duration::from_nanos(16));
    let beyond = beyond.max(least * 2);
    let label = |calls: f32| format!("{} calls", number::rate(f64::from(calls)));
    let margin = u16::try_from(label(9999.0).len() + 3).unwrap_or(area.width);
    let bars = Rect {
        x: area.x + margin,
        width: area.width.saturating_sub(margin),
        height: area.height - 1,
        ..area
    };
    let values = columns(durations, least, beyond, bars.width);
    let largest = values.iter().copied().fold(0.0_f32, f32::max);
    graph::draw(&values, bars, app.theme.graph, &app.glyphs, buffer);
    let dim = app.theme.dim;
    let put = |text: String, y: u16, buffer: &mut Buffer| {
        let line = Rect::new(area.x, y, area.width, 1);
        super::titles::put(&Line::styled(text, dim), true, line, 0, margin - 1, buffer);
    };
    put(label(largest), bars.y, buffer);
    put("0".to_owned(), bars.bottom() - 1, buffer);
    let axis = area.bottom() - 1;
    let (from, to) = (short(least), short(beyond));
    let end = u16::try_from(to.len()).unwrap_or(bars.width);
    buffer.set_line(bars.x, axis, &Line::styled(from, dim), bars.width);
    let end_at = bars.right().saturating_sub(end);
    buffer.set_line(end_at, axis, &Line::styled(to, dim), end);
    // Where the median is, if there is room for it between the two.
    let middle = format!("p50 {}", short(durations.p50()));
    let length = u16::try_from(middle.len()).unwrap_or(bars.width);
    let column = column(durations.p50(), least, beyond, bars.width);
    let at = (bars.x + column).saturating_sub(length / 2);
    if at > bars.x + 8 && at + length + 1 < end_at {
        buffer.set_line(at, axis, &Line::styled(middle, dim), length);
    }
}

/// The calls in each column. Those of a bucket are shared by the columns that it covers.
fn columns(durations: &Durations, least: Duration, beyond: Duration, width: u16) -> Vec<f32> {
    let mut columns = vec![0.0_f32; width.into()];
    for (from, to, calls) in durations.distribution() {
        let begin = column(from, least, beyond, width);
        let end = column(to, least, beyond, width).max(begin + 1);
        let end = end.min(width.max(1));
        let begin = begin.min(end.saturating_sub(1));
        let covered = columns.get_mut(begin.into()..end.into());
        for column in covered.unwrap_or_default() {
            *column += calls as f32 / f32::from(end - begin);
        }
    }
    columns
}

/// The column of a duration, by its logarithm.
fn column(duration: Duration, least: Duration, beyond: Duration, width: u16) -> u16 {
    let logarithm = |duration: Duration| (duration.max(least).as_nanos() as f64).ln();
    let part = (logarithm(duration) - logarithm(least)) / (logarithm(beyond) - logarithm(least));
    // Between 0 and the width.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let column = (part * f64::from(width)).floor() as u16;
    column.min(width)
}

#[cfg(test)]
mod tests {
    use pytop_common::durations::bucket;

    use super::*;
    use crate::model::durations::Finished;

    #[test]
    fn every_call_is_in_a_column() {
        let mut durations = Durations::default();
        durations.add(&Finished {
            buckets: [
                (0, 1),
                (20, 2),
                (1_000, 3),
                (1_000_000, 50),
                (7_000_000_000, 4),
            ]
            .map(|(length, calls)| (bucket(length), calls))
            .to_vec(),
            ..Finished::default()
        });
        let least = Duration::from_nanos(16);
        let beyond = Duration::from_secs(8);
        for width in [1, 2, 30, 77, 300] {
            let columns = columns(&durations, least, beyond, width);
            assert_eq!(columns.len(), usize::from(width));
            assert!((columns.iter().sum::<f32>() - 60.0).abs() < 0.01, "{width}");
        }
        let columns = columns(&durations, least, beyond, 30);
        assert!(columns[0] >= 1.0 && columns[29] > 0.0);
    }
}
