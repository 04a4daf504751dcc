//! What is shown: snapshots of an interval, their rows, and what is derived from them.

pub mod snapshot;
pub mod text;

pub use snapshot::{Coverage, Method, ProcessStatus, Row, Snapshot, Uncounted};
pub use text::Text;
