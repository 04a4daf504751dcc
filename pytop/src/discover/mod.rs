//! Processes.
pub mod event;
pub mod mapping;
