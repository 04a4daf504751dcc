//! Where things stand on the screen. Drawing and the mouse both ask here.

use ratatui::layout::{Position, Rect, Size};

/// The parts of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Areas {
    /// What is counted, and how much.
    pub(super) header: Rect,
    /// Titles of columns.
    pub(super) titles: Rect,
    /// Rows.
    pub(super) rows: Rect,
    /// More of the selected process.
    pub(super) pane: Rect,
    /// A notice.
    pub(super) notice: Rect,
    /// Keys, or the line that is being typed.
    pub(super) bar: Rect,
}

/// The smallest screen that anything is drawn on.
pub(super) const SMALLEST: Size = Size {
    width: 40,
    height: 8,
};
/// From this height on, the graph of the header has several rows.
const TALL: u16 = 30;

impl Areas {
    /// Divides a screen, `pane` and `notice` of which need so many rows.
    pub(super) fn new(size: Size, pane: u16, notice: u16) -> Self {
        let mut rest = Rect::new(0, 0, size.width, size.height);
        let header = top(&mut rest, if size.height < TALL { 3 } else { 5 });
        let bar = bottom(&mut rest, 1);
        let half = rest.height / 2;
        let notice = bottom(&mut rest, notice.min(half));
        let titles = top(&mut rest, 1);
        let room = rest.height.saturating_sub(2);
        let pane = bottom(&mut rest, pane.min(room));
        Self {
            header,
            titles,
            rows: rest,
            pane,
            notice,
            bar,
        }
    }

    /// Titles, rows and pane, for what takes the place of all of them.
    pub(super) fn body(&self) -> Rect {
        self.titles.union(self.rows).union(self.pane)
    }

    /// Whether there is room to draw.
    pub(super) fn suffice(size: Size) -> bool {
        size.width >= SMALLEST.width && size.height >= SMALLEST.height
    }

    /// The row of the list at a position, from 0.
    pub(super) fn row_at(&self, position: Position) -> Option<usize> {
        self.rows
            .contains(position)
            .then(|| usize::from(position.y - self.rows.y))
    }
}

fn top(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    let taken = Rect { height, ..*rest };
    rest.y += height;
    rest.height -= height;
    taken
}

fn bottom(rest: &mut Rect, height: u16) -> Rect {
    let height = height.min(rest.height);
    rest.height -= height;
    Rect {
        y: rest.y + rest.height,
        height,
        ..*rest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_fill_the_screen() {
        for height in 0..60 {
            for (pane, notice) in [(0, 0), (4, 1), (90, 90)] {
                let areas = Areas::new(Size::new(80, height), pane, notice);
                let parts = [
                    areas.header,
                    areas.titles,
                    areas.rows,
                    areas.pane,
                    areas.notice,
                    areas.bar,
                ];
                assert_eq!(parts.iter().map(|part| part.height).sum::<u16>(), height);
                if height >= SMALLEST.height {
                    assert!(areas.rows.height >= 1, "{height} {areas:?}");
                }
            }
        }
    }
}
