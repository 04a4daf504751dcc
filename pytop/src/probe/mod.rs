//! To be written.
pub mod sideband;
