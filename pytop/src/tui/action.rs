//! What can happen to the screen, and what it can ask for.

use super::{TraceNews, TraceRequest};
use crate::updates::{Command, Update};

/// Something that changes what is shown.
#[derive(Clone, Debug)]
pub(super) enum Action {
    /// Leave.
    Quit,
    /// Close what is open, drop the filter, or leave.
    Back,
    /// Stop, as job control does.
    Suspend,
    /// Draw everything anew.
    Redraw,
    /// Show or hide the keys.
    Help,
    /// Move the selection, or scroll a text.
    Move(Motion),
    /// Open what is selected.
    Open,
    /// Choose what to sort by from a menu.
    SortMenu,
    /// Sort by the next column to the left or right.
    SortColumn(Side),
    /// Turn the order around.
    Invert,
    /// Type a filter.
    Filter,
    /// Type an interval.
    Interval,
    /// Take the next longer or shorter interval.
    StepInterval(Step),
    /// Freeze what is shown, or go on.
    Pause,
    /// Start totals and histories anew.
    Reset,
    /// Take the next grouping.
    Group,
    /// Show or hide functions without a call in the interval.
    Idle,
    /// Go to the list of processes, or back.
    Processes,
    /// Edit the line that is being typed.
    Edit(Edit),
    /// Accept the line that is being typed.
    Accept,
    /// Drop the line that is being typed.
    Cancel,
    /// The left button was pressed on a cell of the screen.
    Click {
        /// The column, from 0.
        column: u16,
        /// The row, from 0.
        row: u16,
    },
    /// The screen has another size.
    Resize {
        /// Columns.
        width: u16,
        /// Rows.
        height: u16,
    },
    /// The session has news.
    Update(Update),
    /// Trace what is selected.
    Trace,
    /// The trace has news.
    Traced(TraceNews),
}

/// A movement in a list or a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Motion {
    /// So many rows up.
    Up(u16),
    /// So many rows down.
    Down(u16),
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the beginning.
    Home,
    /// To the end.
    End,
}

/// A neighbour of a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// The one before.
    Left,
    /// The one after.
    Right,
}

/// A change of the interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The next longer.
    Longer,
    /// The next shorter.
    Shorter,
}

/// A change of a line that is being typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Edit {
    /// Insert a text at the cursor.
    Insert(String),
    /// Remove the character before the cursor.
    Backspace,
    /// Remove the character at the cursor.
    Delete,
    /// Remove the word before the cursor.
    DeleteWord,
    /// Remove everything before the cursor.
    DeleteToStart,
    /// Move the cursor a character to the left.
    Left,
    /// Move the cursor a character to the right.
    Right,
    /// Move the cursor to the beginning.
    Home,
    /// Move the cursor to the end.
    End,
}

/// What an action asks of the world outside.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effects {
    /// Something that is shown has changed.
    pub(super) draw: bool,
    /// Something else is to be done, first.
    pub(super) demand: Option<Demand>,
}

/// Something that the state cannot do itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Demand {
    /// What is on the terminal may not be what was drawn: draw it in full.
    Clear,
    /// Stop the process until it is continued.
    Suspend,
    /// Leave the screen.
    Quit,
    /// Ask this of the session.
    Send(Command),
    /// Start this trace.
    Trace(TraceRequest),
    /// End the trace.
    EndTrace,
}

impl Effects {
    pub(super) const NONE: Self = Self {
        draw: false,
        demand: None,
    };

    pub(super) const DRAW: Self = Self {
        draw: true,
        demand: None,
    };

    pub(super) const QUIT: Self = Self::demand(Demand::Quit);

    pub(super) const fn demand(demand: Demand) -> Self {
        Self {
            draw: true,
            demand: Some(demand),
        }
    }
}
