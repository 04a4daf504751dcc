//! Ways in for the fuzz targets.

use super::proc_root::{self, ProcessStat, ProcessStatus};

/// Reads the text of `/proc/PID/stat`.
#[must_use]
pub fn stat(text: &[u8]) -> Option<ProcessStat> {
    proc_root::parse_stat(text)
}

/// Reads the text of `/proc/PID/status`.
#[must_use]
pub fn status(text: &[u8]) -> Option<ProcessStatus> {
    proc_root::parse_status(text)
}
