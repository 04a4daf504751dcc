//! The selected row of a list whose rows come, go and change places.
//!
//! A row is remembered by its key. Where it stands is found anew whenever the rows change; while
//! it is not among them (a filter hides it), its key is kept, and the place where it stood.
//! Without a selected row the list stays at its top, whatever stands there.

use super::action::Motion;

/// The selection and the scroll position of a list.
#[derive(Clone, Debug)]
pub(super) struct Selection<K> {
    key: Option<K>,
    /// Where the selected row stands, or stood last.
    index: usize,
    /// Whether it is among the rows.
    present: bool,
    /// The first row in sight.
    offset: usize,
}

impl<K> Default for Selection<K> {
    fn default() -> Self {
        Self {
            key: None,
            index: 0,
            present: false,
            offset: 0,
        }
    }
}

impl<K: Clone + PartialEq> Selection<K> {
    /// The key of the selected row, whether it is among the rows or not.
    pub(super) fn key(&self) -> Option<&K> {
        self.key.as_ref()
    }

    /// The index of the selected row among the rows.
    pub(super) fn index(&self) -> Option<usize> {
        self.present.then_some(self.index)
    }

    /// The first row in sight.
    pub(super) fn offset(&self) -> usize {
        self.offset
    }

    /// Selects by key; the next [`Self::settle`] finds the row.
    pub(super) fn set(&mut self, key: Option<K>) {
        self.key = key;
        self.present = false;
    }

    /// Selects a row.
    pub(super) fn select(&mut self, index: usize, key: K, page: usize) {
        self.key = Some(key);
        self.index = index;
        self.present = true;
        self.reveal(page);
    }

    /// Selects nothing and goes to the top.
    pub(super) fn release(&mut self) {
        *self = Self::default();
    }

    /// Finds the selected row again among changed rows, of which `page` are in sight.
    pub(super) fn settle<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a K>,
        length: usize,
        page: usize,
    ) where
        K: 'a,
    {
        self.present = false;
        if let Some(selected) = &self.key
            && let Some(index) = keys.into_iter().position(|key| key == selected)
        {
            self.index = index;
            self.present = true;
        }
        self.index = self.index.min(length.saturating_sub(1));
        self.offset = self.offset.min(length.saturating_sub(page));
        if self.present {
            self.reveal(page);
        } else if self.key.is_none() {
            self.offset = 0;
        }
    }

    /// The row that a movement leads to; `None` at the beginning, where nothing is selected.
    pub(super) fn target(&self, motion: Motion, length: usize, page: usize) -> Option<usize> {
        let last = length.checked_sub(1)?;
        let page = page.saturating_sub(1).max(1);
        let here = self.key.as_ref().map(|_| self.index);
        match motion {
            Motion::Home => None,
            Motion::End => Some(last),
            Motion::Up(rows) => Some(here.unwrap_or(0).saturating_sub(rows.into())),
            Motion::PageUp => Some(here.unwrap_or(0).saturating_sub(page)),
            Motion::Down(rows) => Some(
                here.map_or(usize::from(rows) - 1, |here| here + usize::from(rows))
                    .min(last),
            ),
            Motion::PageDown => Some(here.map_or(page, |here| here + page).min(last)),
        }
    }

    fn reveal(&mut self, page: usize) {
        if self.index < self.offset {
            self.offset = self.index;
        } else if self.index >= self.offset + page.max(1) {
            self.offset = self.index + 1 - page.max(1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_row_stays_selected_wherever_it_moves() {
        let mut selection = Selection::default();
        selection.settle(['a', 'b', 'c', 'd'].iter(), 4, 2);
        assert_eq!((selection.index(), selection.offset()), (None, 0));
        selection.select(1, 'b', 2);
        selection.settle(['a', 'c', 'd', 'b'].iter(), 4, 2);
        assert_eq!((selection.index(), selection.offset()), (Some(3), 2));
        selection.settle(['b', 'c', 'd', 'a'].iter(), 4, 2);
        assert_eq!((selection.index(), selection.offset()), (Some(0), 0));
    }

    #[test]
    fn a_hidden_row_is_found_when_it_is_back() {
        let mut selection = Selection::default();
        selection.select(2, 'c', 10);
        selection.settle(['a', 'b'].iter(), 2, 10);
        assert_eq!((selection.index(), selection.key()), (None, Some(&'c')));
        assert_eq!(selection.target(Motion::Down(1), 2, 10), Some(1));
        selection.settle(['c'].iter(), 1, 10);
        assert_eq!(selection.index(), Some(0));
    }

    #[test]
    fn movements() {
        let mut selection = Selection::default();
        for (motion, from_none, from_five) in [
            (Motion::Up(1), Some(0), Some(4)),
            (Motion::Down(1), Some(0), Some(6)),
            (Motion::Down(30), Some(19), Some(19)),
            (Motion::PageUp, Some(0), Some(0)),
            (Motion::PageDown, Some(9), Some(14)),
            (Motion::Home, None, None),
            (Motion::End, Some(19), Some(19)),
        ] {
            selection.release();
            assert_eq!(selection.target(motion, 20, 10), from_none, "{motion:?}");
            selection.select(5, 5, 10);
            assert_eq!(selection.target(motion, 20, 10), from_five, "{motion:?}");
            assert_eq!(selection.target(motion, 0, 0), None);
        }
    }
}
