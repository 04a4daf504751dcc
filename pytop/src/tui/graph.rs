//! A graph of samples over time: one row high beside a number, or as high as there is room.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;

use super::theme::Glyphs;

/// Samples per column, so that `span` samples or more fill `columns`.
pub(super) fn samples_per_column(span: usize, columns: usize) -> usize {
    span.div_ceil(columns.max(1)).max(1)
}

/// Means of `per_column` samples, the newest last, at most `columns`.
///
/// `newest` is the number of the newest sample since the start. Samples are put together by their
/// number, not by their age, so that a mean does not change any more when its time has passed:
/// the graph moves, it does not shimmer.
pub(super) fn means(
    samples: impl DoubleEndedIterator<Item = f32>,
    newest: u64,
    per_column: usize,
    columns: usize,
) -> Vec<f32> {
    let mut means = Vec::with_capacity(columns);
    let per_column = per_column.max(1) as u64;
    let (mut sum, mut count) = (0.0_f32, 0_u32);
    let mut number = newest;
    for sample in samples.rev() {
        sum += sample;
        count += 1;
        if number.checked_rem(per_column) == Some(0) {
            means.push(sum / count as f32);
            (sum, count) = (0.0, 0);
            if means.len() == columns {
                break;
            }
        }
        number = number.wrapping_sub(1);
    }
    if count > 0 && means.len() < columns {
        means.push(sum / count as f32);
    }
    means.reverse();
    means
}

/// Draws `values` from the right, the largest of them as high as `area`.
pub(super) fn draw(values: &[f32], area: Rect, style: Style, glyphs: &Glyphs, buffer: &mut Buffer) {
    let area = area.intersection(buffer.area);
    let values = &values[values.len().saturating_sub(area.width.into())..];
    let largest = values.iter().copied().fold(0.0_f32, f32::max);
    if largest <= 0.0 {
        return;
    }
    let steps = glyphs.bars.len() - 1;
    let full = usize::from(area.height) * steps;
    for (x, value) in (area.left()..area.right()).rev().zip(values.iter().rev()) {
        if *value <= 0.0 {
            continue;
        }
        // What is not nothing is seen. Between 0 and `full`, which is small.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let height = ((value / largest * full as f32).round() as usize).clamp(1, full);
        for (row, y) in (area.top()..area.bottom()).rev().enumerate() {
            let filled = height.saturating_sub(row * steps).min(steps);
            if filled > 0
                && let Some(cell) = buffer.cell_mut((x, y))
                && let Some(bar) = glyphs.bars.get(filled)
            {
                cell.set_symbol(bar).set_style(style);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(values: &[f32], width: u16, height: u16, glyphs: &Glyphs) -> Vec<String> {
        let area = Rect::new(0, 0, width, height);
        let mut buffer = Buffer::empty(area);
        draw(values, area, Style::new(), glyphs, &mut buffer);
        (0..height)
            .map(|y| {
                (0..width)
                    .map(|x| buffer[(x, y)].symbol().to_owned())
                    .collect()
            })
            .collect()
    }

    #[test]
    fn the_largest_fills_the_height_and_the_smallest_is_seen() {
        let values = [9999.0, 0.0, 0.001, 4.0, 8.0];
        assert_eq!(drawn(&values[1..], 6, 1, &Glyphs::UNICODE), ["   ▁▄█"]);
        assert_eq!(
            drawn(&values[1..], 4, 2, &Glyphs::UNICODE),
            ["   █", " ▁██"]
        );
        assert_eq!(drawn(&values[1..], 4, 1, &Glyphs::ASCII), [" .:|"]);
        assert_eq!(drawn(&[], 2, 1, &Glyphs::UNICODE), ["  "]);
        assert_eq!(drawn(&[0.0], 2, 1, &Glyphs::UNICODE), ["  "]);
        assert_eq!(drawn(&values, 2, 1, &Glyphs::UNICODE), ["▄█"]);
    }

    #[test]
    fn a_mean_stays_when_newer_samples_come() {
        let samples = [1.0, 3.0, 5.0, 7.0, 9.0, 11.0];
        let of = |newest: usize| means(samples[..newest].iter().copied(), newest as u64, 2, 3);
        assert_eq!(of(4), [1.0, 4.0, 7.0]);
        assert_eq!(of(5), [1.0, 4.0, 8.0]);
        assert_eq!(of(6), [4.0, 8.0, 11.0]);
        assert_eq!(samples_per_column(240, 60), 4);
        assert_eq!(samples_per_column(240, 0), 240);
        assert_eq!(samples_per_column(10, 60), 1);
    }
}
