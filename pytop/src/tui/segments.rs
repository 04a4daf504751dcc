//! Remarks on one line, of which the least important give way when there is no room for all.

use std::collections::VecDeque;

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span};

/// A remark.
#[derive(Clone, Debug)]
pub(super) struct Segment {
    /// The same in ever fewer words; the first is drawn.
    wordings: VecDeque<String>,
    style: Style,
    /// The larger, the sooner it gives way; 0 never does.
    rank: u8,
}

/// Columns left free between two remarks.
const GAP: usize = 2;

impl Segment {
    pub(super) fn new(text: impl Into<String>, style: Style, rank: u8) -> Self {
        Self {
            wordings: VecDeque::from([text.into()]),
            style,
            rank,
        }
    }

    /// A shorter wording for when there is less room.
    pub(super) fn or(mut self, short: impl Into<String>) -> Self {
        self.wordings.push_back(short.into());
        self
    }

    fn text(&self) -> &str {
        self.wordings.front().map_or("", String::as_str)
    }

    fn span(&self) -> Span<'static> {
        Span::styled(self.text().to_owned(), self.style)
    }
}

/// Draws remarks at the left and at the right of a line.
pub(super) fn draw(left: Vec<Segment>, right: Vec<Segment>, area: Rect, buffer: &mut Buffer) {
    let (left, right) = fit(left, right, area.width.into());
    let (left, right) = (join(&left), join(&right));
    let used = u16::try_from(right.width())
        .unwrap_or(u16::MAX)
        .min(area.width);
    if area.height == 0 {
        return;
    }
    buffer.set_line(area.x, area.y, &left, area.width);
    buffer.set_line(area.right() - used, area.y, &right, used);
}

/// Remarks of this rank and above go before any other is shortened.
const DECORATION: u8 = 3;

/// Shortens, then leaves out, the least important remarks first.
fn fit(
    mut left: Vec<Segment>,
    mut right: Vec<Segment>,
    width: usize,
) -> (Vec<Segment>, Vec<Segment>) {
    let mut ranks: Vec<u8> = left
        .iter()
        .chain(&right)
        .map(|segment| segment.rank)
        .collect();
    ranks.sort_unstable_by(|left, right| right.cmp(left));
    ranks.dedup();
    let decoration = ranks.iter().filter(|rank| **rank >= DECORATION);
    let others = ranks.iter().filter(|rank| (1..DECORATION).contains(*rank));
    for rank in decoration {
        if needed(&left, &right) > width {
            left.retain(|segment| segment.rank != *rank);
            right.retain(|segment| segment.rank != *rank);
        }
    }
    for rank in &ranks {
        while needed(&left, &right) > width {
            let mut shortened = false;
            for segment in left.iter_mut().chain(&mut right) {
                if segment.rank == *rank && segment.wordings.len() > 1 {
                    segment.wordings.pop_front();
                    shortened = true;
                }
            }
            if !shortened {
                break;
            }
        }
    }
    for rank in others {
        if needed(&left, &right) > width {
            left.retain(|segment| segment.rank != *rank);
            right.retain(|segment| segment.rank != *rank);
        }
    }
    (left, right)
}

fn needed(left: &[Segment], right: &[Segment]) -> usize {
    let (left, right) = (join(left).width(), join(right).width());
    left + right + if left > 0 && right > 0 { GAP } else { 0 }
}

fn join(segments: &[Segment]) -> Line<'static> {
    let mut spans = Vec::with_capacity(segments.len() * 2);
    for segment in segments.iter().filter(|segment| !segment.text().is_empty()) {
        if !spans.is_empty() {
            spans.push(Span::raw(" ".repeat(GAP)));
        }
        spans.push(segment.span());
    }
    Line::from(spans)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(width: u16) -> String {
        let area = Rect::new(0, 0, width, 1);
        let mut buffer = Buffer::empty(area);
        let segment = |text: &str, rank| Segment::new(text, Style::new(), rank);
        draw(
            vec![segment("first", 0), segment("second", 2).or("2nd").or("2")],
            vec![segment("more", 3), segment("third", 1)],
            area,
            &mut buffer,
        );
        (0..width)
            .map(|x| buffer[(x, 0)].symbol().to_owned())
            .collect()
    }

    #[test]
    fn the_least_important_give_way() {
        assert_eq!(drawn(28), "first  second    more  third");
        assert_eq!(drawn(24), "first  second      third");
        assert_eq!(drawn(20), "first  second  third");
        assert_eq!(drawn(19), "first  2nd    third");
        assert_eq!(drawn(16), "first  2   third");
        assert_eq!(drawn(14), "first    third");
        assert_eq!(drawn(11), "first      ");
        assert_eq!(drawn(3), "fir");
    }
}
