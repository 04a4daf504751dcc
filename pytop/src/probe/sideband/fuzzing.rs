//! The way in for the fuzz target.

use perf_event::data::parse::{ParseConfig, Parser};
use perf_event::data::{Record, endian::Native};

use crate::discover::event::ProcessEvent;

/// What a record tells, given its bytes from its header on.
#[must_use]
pub fn event_of(record: &[u8]) -> Option<ProcessEvent> {
    // struct perf_event_header: type (32 bits), misc, size (16 bits each).
    let misc = u16::from_ne_bytes(*record.get(4..)?.first_chunk()?);
    let mut parser = Parser::new(record, ParseConfig::<Native>::default());
    let record: Record<'_> = parser.parse().ok()?;
    super::event(&record, misc)
}
