//! The list of every CPython process: its order and its selection.

use std::cmp::Ordering;

use super::action::{Motion, Side};
use super::app::App;
use super::process_view;
use super::selection::Selection;
use crate::model::{Collections, ProcessStatus, Snapshot};

/// A column of the list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum ProcessColumn {
    #[default]
    Pid,
    User,
    Container,
    Version,
    Method,
    Rate,
    Cost,
    Collections,
    Pause,
    LongestPause,
    Imports,
    Executable,
    Reason,
}

impl ProcessColumn {
    /// Every column that sorts, from left to right.
    const SORTING: [Self; 12] = [
        Self::Pid,
        Self::User,
        Self::Container,
        Self::Version,
        Self::Method,
        Self::Rate,
        Self::Cost,
        Self::Collections,
        Self::Pause,
        Self::LongestPause,
        Self::Imports,
        Self::Executable,
    ];

    pub(super) fn title(self) -> &'static str {
        match self {
            Self::Pid => "PID",
            Self::User => "USER",
            Self::Container => "CONTAINER",
            Self::Version => "PYTHON",
            Self::Method => "METHOD",
            Self::Rate => "CALLS/S",
            Self::Cost => "COST",
            Self::Collections => "GC/S",
            Self::Pause => "PAUSE",
            Self::LongestPause => "LONGEST",
            Self::Imports => "IMPORT/S",
            Self::Executable => "EXECUTABLE",
            Self::Reason => "REMARKS",
        }
    }

    pub(super) fn is_number(self) -> bool {
        self == Self::Pid || self.is_descending()
    }

    /// Whether the largest comes first when the order is not turned around.
    pub(super) fn is_descending(self) -> bool {
        matches!(
            self,
            Self::Rate
                | Self::Cost
                | Self::Collections
                | Self::Pause
                | Self::LongestPause
                | Self::Imports
        )
    }

    /// The order of two processes. Those that are not counted come before all methods.
    fn compare(self, left: &ProcessStatus, right: &ProcessStatus) -> Ordering {
        match self {
            Self::Pid | Self::Reason => left.pid.cmp(&right.pid),
            Self::User => left.user.cmp(&right.user),
            Self::Container => left.container.cmp(&right.container),
            Self::Version => version(left).cmp(&version(right)),
            Self::Method => method(left).cmp(&method(right)),
            Self::Rate => right.calls.cmp(&left.calls),
            Self::Cost => {
                let cost = |process: &ProcessStatus| process.probe_cost.unwrap_or(-1.0);
                cost(right).total_cmp(&cost(left))
            }
            // Those that do not tell come after those that did nothing.
            Self::Collections => {
                let count = |process| gc(process).map(|gc| gc.count);
                count(right).cmp(&count(left))
            }
            Self::Pause => {
                let pause = |process| gc(process).map(|gc| gc.pause);
                pause(right).cmp(&pause(left))
            }
            Self::LongestPause => {
                let longest = |process| gc(process).map(|gc| gc.longest);
                longest(right).cmp(&longest(left))
            }
            Self::Imports => right.runtime.imports.cmp(&left.runtime.imports),
            Self::Executable => left.exe.cmp(&right.exe),
        }
    }
}

fn gc(process: &ProcessStatus) -> Option<Collections> {
    process.runtime.gc
}

fn method(process: &ProcessStatus) -> Option<crate::model::Method> {
    process.coverage.method()
}

/// The numbers of a version, so that 3.9 comes before 3.15.
fn version(process: &ProcessStatus) -> Vec<u32> {
    let text = process.python.as_deref().unwrap_or_default();
    let numbers = text.split(|character: char| !character.is_ascii_digit());
    numbers.filter_map(|number| number.parse().ok()).collect()
}

/// The list's state.
#[derive(Debug, Default)]
pub(super) struct ProcessList {
    pub(super) sort: ProcessColumn,
    pub(super) reverse: bool,
    /// Indices into the snapshot's processes, in the order of the list.
    order: Vec<usize>,
    pids: Vec<u32>,
    pub(super) selection: Selection<u32>,
}

impl ProcessList {
    /// Takes the processes of a snapshot.
    pub(super) fn refresh(&mut self, snapshot: &Snapshot) {
        let processes = &snapshot.processes;
        self.order.clear();
        self.order.extend(0..processes.len());
        self.order.sort_by(|left, right| {
            let (Some(left), Some(right)) = (processes.get(*left), processes.get(*right)) else {
                return Ordering::Equal;
            };
            let order = self.sort.compare(left, right);
            let order = if self.reverse { order.reverse() } else { order };
            order.then_with(|| left.pid.cmp(&right.pid))
        });
        self.pids.clear();
        let pids = self.order.iter().filter_map(|index| processes.get(*index));
        self.pids.extend(pids.map(|process| process.pid));
    }

    /// Finds the selected process again.
    pub(super) fn settle(&mut self, page: usize) {
        self.selection
            .settle(self.pids.iter(), self.pids.len(), page);
    }

    /// The processes of a snapshot in the order of the list.
    pub(super) fn ordered<'a>(
        &'a self,
        snapshot: &'a Snapshot,
    ) -> impl Iterator<Item = &'a ProcessStatus> {
        self.order
            .iter()
            .filter_map(|index| snapshot.processes.get(*index))
    }

    /// The selected process, or the first.
    pub(super) fn current(&self) -> Option<u32> {
        let selected = self
            .selection
            .index()
            .and_then(|index| self.pids.get(index));
        selected.or(self.pids.first()).copied()
    }

    pub(super) fn travel(&mut self, motion: Motion, page: usize) {
        match self.selection.target(motion, self.pids.len(), page) {
            Some(index) => self.select(index, page),
            None => self.selection.release(),
        }
    }

    pub(super) fn click_row(&mut self, row: usize, page: usize) {
        self.select(self.selection.offset() + row, page);
    }

    pub(super) fn click_title(&mut self, x: u16, width: u16) {
        let places = process_view::places(width);
        let place = places.iter().find(|place| x < place.x + place.width + 1);
        let Some(column) = place.map(|place| place.column) else {
            return;
        };
        if column == self.sort {
            self.reverse = !self.reverse;
        } else if ProcessColumn::SORTING.contains(&column) {
            self.sort = column;
            self.reverse = false;
        }
    }

    /// Moves the order to the next column that there is room for.
    pub(super) fn sort_column(&mut self, side: Side, width: u16) {
        let places = process_view::places(width);
        let columns = places.iter().map(|place| place.column);
        let columns: Vec<_> = columns
            .filter(|column| ProcessColumn::SORTING.contains(column))
            .collect();
        let at = columns.iter().position(|column| *column == self.sort);
        let at = at.unwrap_or_default();
        let next = match side {
            Side::Left => at.checked_sub(1),
            Side::Right => Some(at + 1),
        };
        if let Some(column) = next.and_then(|next| columns.get(next)) {
            self.sort = *column;
            self.reverse = false;
        }
    }

    fn select(&mut self, index: usize, page: usize) {
        if let Some(pid) = self.pids.get(index) {
            self.selection.select(index, *pid, page);
        }
    }
}

/// The process that the list's pane describes.
pub(super) fn current(app: &App) -> Option<&ProcessStatus> {
    let pid = app.processes.current()?;
    let snapshot = app.shown().snapshot.as_ref()?;
    snapshot.processes.iter().find(|process| process.pid == pid)
}
