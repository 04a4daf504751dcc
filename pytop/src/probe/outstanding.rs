//! What has to be done before the process may end.
//!
//! A thread that is killed while the kernel takes out a probe for it leaves the breakpoint behind, in
//! processes that then run into it for nothing until they end: `uprobe_unregister_nosync` of
//! `kernel/events/uprobes.c` gives up when a fatal signal is pending, and says "failed to unregister,
//! leaking uprobe" in the kernel's log. When the first thread of a process ends, all others are
//! killed. So whoever takes out probes in another thread holds an [`Outstanding`] there, and the first
//! thread ends with [`await_all`].

use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

/// How many there are.
static COUNT: Mutex<usize> = Mutex::new(0);
static LESS: Condvar = Condvar::new();

/// More than any number of probes has ever taken.
const PATIENCE: Duration = Duration::from_secs(30);

/// Something that has to be finished before the process may end.
#[derive(Debug)]
pub struct Outstanding(());

impl Outstanding {
    /// Begins something that is finished when this is dropped.
    #[must_use]
    pub fn new() -> Self {
        *COUNT.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Self(())
    }
}

impl Default for Outstanding {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Outstanding {
    fn drop(&mut self) {
        *COUNT.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        LESS.notify_all();
    }
}

/// Waits until nothing is outstanding.
pub fn await_all() {
    let _ = await_for(PATIENCE);
}

/// Waits until nothing is outstanding, for so long at most, and says whether that is so.
#[must_use]
pub fn await_for(patience: Duration) -> bool {
    let count = COUNT.lock().unwrap_or_else(PoisonError::into_inner);
    let waited = LESS.wait_timeout_while(count, patience, |count| *count > 0);
    let (count, _) = waited.unwrap_or_else(PoisonError::into_inner);
    *count == 0
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::channel;
    use std::thread;

    use super::*;

    #[test]
    fn what_another_thread_does_is_waited_for() {
        let outstanding = Outstanding::new();
        let (finished, is_finished) = channel();
        let other = thread::spawn(move || {
            finished.send(()).unwrap();
            drop(outstanding);
        });
        await_all();
        is_finished.try_recv().unwrap();
        other.join().unwrap();
    }
}
