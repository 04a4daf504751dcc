//! What is shown: snapshots of an interval, their rows, and what is derived from them.

pub mod durations;
pub mod filter;
pub mod function;
pub mod group;
pub mod history;
pub mod runtime;
pub mod snapshot;
pub mod sort;
pub mod text;
pub mod totals;
pub mod view;

pub use durations::{Durations, Untimed};
pub use filter::{Filter, FilterError, Highlights};
pub use function::Function;
pub use group::{EntryKey, GroupBy};
pub use history::History;
pub use runtime::{Collections, Runtime};
pub use snapshot::{Coverage, Estimate, Method, ProcessStatus, Row, Snapshot, Uncounted};
pub use sort::SortKey;
pub use text::Text;
pub use totals::Totals;
pub use view::{Entry, View};
