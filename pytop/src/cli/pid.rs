//! Process ids, as the user gives them.

/// The kernel gives no process a number above this (include/linux/threads.h, `PID_MAX_LIMIT`).
const PID_MAX: u32 = 4 * 1024 * 1024;

pub(super) fn pid(text: &str) -> Result<u32, String> {
    text.parse()
        .ok()
        .filter(|pid| (1..=PID_MAX).contains(pid))
        .ok_or_else(|| format!("must be a process id, from 1 to {PID_MAX}"))
}
