//! Placing a probe on an instruction of a file.
//!
//! A uprobe belongs to a file, not to a process: the kernel puts the breakpoint into every process
//! that maps the file, now or later, and takes it out of all of them when the last descriptor is
//! closed, however the owner ended. With the probe it raises the marker's semaphore, without which
//! the interpreter passes the marker by. With a pid, only the pages of that process get the
//! breakpoint, and every other process pays nothing.
//!
//! `uprobe_multi` links (Linux 6.6) place many probes in one call, but a hit costs the same there
//! (713 and 767 against 729 and 737 ns a call in two interleaved runs on Linux 6.18), so that
//! perf events, which older kernels have too, do for both.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::thread;

use thiserror::Error;

use super::syscall::{self, UprobeEvent};
use crate::model::Text;
use crate::os_error::describe;

/// Where a probe goes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The file. It may have been deleted or replaced on disk: the open file is what counts.
    pub file: &'a File,
    /// Its path, for messages only.
    pub path: &'a Path,
    /// Offset of the instruction in the file, in bytes.
    pub offset: u64,
    /// Offset of the marker's semaphore in the file, in bytes.
    pub semaphore_offset: Option<u64>,
    /// Only this process; `None` for every process that maps the file.
    pub pid: Option<u32>,
}

/// A probe in place. Dropping it takes the probe out, and waits until the kernel has done so.
#[derive(Debug)]
pub struct Probe {
    // Closed in this order: first the program, then the event that it is linked to.
    _link: OwnedFd,
    _event: OwnedFd,
}

/// Why a probe could not be placed.
#[derive(Debug, Error)]
pub enum AttachError {
    /// The offset of the semaphore does not fit the kernel's interface.
    #[error(
        "cannot place a probe in {path}: its semaphore lies beyond the first 4 GiB of the file"
    )]
    SemaphoreOutOfReach {
        /// The file.
        path: Text,
    },
    /// The process to be probed has ended.
    #[error("cannot place a probe in process {pid}: it has ended")]
    ProcessEnded {
        /// The process.
        pid: u32,
    },
    /// The kernel refused.
    #[error(
        "cannot place a probe at offset {offset:#x} of {path}: {}{hint}",
        describe(source)
    )]
    Refused {
        /// The file.
        path: Text,
        /// The offset in the file, in bytes.
        offset: u64,
        /// What the kernel answered.
        source: io::Error,
        /// What the user can do, or nothing.
        hint: &'static str,
    },
}

impl Probe {
    /// Places a probe that runs `program` with `cookie` at each hit.
    pub(super) fn attach(
        program: BorrowedFd<'_>,
        pmu_type: u32,
        target: &Target<'_>,
        cookie: u64,
    ) -> Result<Self, AttachError> {
        let path = || Text::from(target.path);
        let semaphore_offset = u32::try_from(target.semaphore_offset.unwrap_or(0))
            .map_err(|_| AttachError::SemaphoreOutOfReach { path: path() })?;
        // The magic link leads to the very file that was examined, whatever its path means now.
        let link =
            CString::new(format!("/proc/self/fd/{}", target.file.as_raw_fd())).unwrap_or_default();
        let refused = |source: io::Error| match (source.raw_os_error(), target.pid) {
            (Some(libc::ESRCH), Some(pid)) => AttachError::ProcessEnded { pid },
            _ => AttachError::Refused {
                path: path(),
                offset: target.offset,
                hint: hint(&source),
                source,
            },
        };
        let event = syscall::open_uprobe(&UprobeEvent {
            pmu_type,
            path: &link,
            offset: target.offset,
            semaphore_offset,
            pid: target.pid.map(u32::cast_signed),
        })
        .map_err(refused)?;
        let link = syscall::link_perf_event(program, event.as_fd(), cookie).map_err(refused)?;
        Ok(Self {
            _link: link,
            _event: event,
        })
    }
}

/// What the user can do about an answer of the kernel.
pub(super) fn hint(error: &io::Error) -> &'static str {
    match error.raw_os_error() {
        Some(libc::EACCES | libc::EPERM) => " (run pytop as root, or with CAP_SYS_ADMIN)",
        Some(libc::EMFILE | libc::ENFILE) => " (raise the limit of open files: ulimit -n)",
        Some(libc::ENOMEM | libc::ENOSPC) => " (the kernel is short of memory)",
        _ => "",
    }
}

/// Takes probes out, all at once: the kernel waits some hundred milliseconds for each, and these
/// waits can be shared. The breakpoints are gone long before.
pub fn detach(probes: Vec<Probe>) {
    const THREADS: usize = 16;
    let share = probes.len().div_ceil(THREADS).max(1);
    let mut probes = probes.into_iter();
    thread::scope(|scope| {
        loop {
            let chunk: Vec<Probe> = probes.by_ref().take(share).collect();
            if chunk.is_empty() {
                break;
            }
            // Without a thread, the chunk is dropped here and now, which only takes longer.
            let _ = thread::Builder::new().spawn_scoped(scope, move || drop(chunk));
        }
    });
}
