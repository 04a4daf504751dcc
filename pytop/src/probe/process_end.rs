//! Waiting for the end of a process that is not a child.

use std::io;
use std::os::fd::OwnedFd;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::syscall;

/// A process whose end can be awaited.
#[derive(Debug)]
pub struct ProcessEnd(AsyncFd<OwnedFd>);

impl ProcessEnd {
    /// Watches a process; `None` when there is none with this pid.
    ///
    /// Must be called within a tokio runtime that has I/O enabled.
    pub fn of(pid: u32) -> io::Result<Option<Self>> {
        match syscall::open_process(pid) {
            Ok(process) => {
                // SAFETY: the descriptor is ours alone, and lives as long as its registration.
                let process =
                    unsafe { AsyncFd::register_with_interest(process, Interest::READABLE)? };
                Ok(Some(Self(process)))
            }
            Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits until the process has ended. May be called again.
    pub async fn wait(&self) -> io::Result<()> {
        self.0.readable().await.map(drop)
    }
}
