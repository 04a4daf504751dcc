//! Placing a probe on an instruction of a file.
//!
//! A uprobe belongs to a file, not to a process: the kernel puts the breakpoint into every process
//! that maps the file, now or later, and takes it out of all of them when the last descriptor is
//! closed, however the owner ended. With the probe it raises the marker's semaphore, without which
//! the interpreter passes the marker by. With a pid, only the pages of that process get the
//! breakpoint, and every other process pays nothing.
//!
//! Linux 6.6 can place all probes of a file in one call, with a `uprobe_multi` link. A hit costs the
//! same as with a perf event for each, but they are in place sooner and, above all, go sooner: the
//! kernel takes perf events out one after the other and waits some 90 ms for each, under one lock
//! for all of them (`event_mutex`), and for links at the same time.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::thread;

use thiserror::Error;

use super::gate::Gate;
use super::kernel::SiteId;
use super::program::Purpose;
use super::syscall::{self, UprobeEvent, UprobeMulti};
use super::tracefs::{Definition, Tracefs};
use crate::model::Text;
use crate::os_error::describe;

/// Length of the longest instruction, in bytes.
const LONGEST: usize = 15;

/// The file that gets probes.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The file. It may have been deleted or replaced on disk: the open file is what counts.
    pub file: &'a File,
    /// Its path, for messages only.
    pub path: &'a Path,
    /// Only this process; `None` for every process that maps the file.
    pub pid: Option<u32>,
}

/// Where in the file a probe goes.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    /// Offset of the instruction in the file, in bytes.
    pub offset: u64,
    /// Offset of the marker's semaphore in the file, in bytes.
    pub semaphore_offset: Option<u64>,
    /// What tells the probe from others when it is hit.
    pub site: SiteId,
}

/// Probes in place. Dropping them takes them out, and waits until the kernel has done so.
#[derive(Debug)]
pub struct Probe {
    // Closed in this order: what makes for breakpoints, the program, the event that it is linked to,
    // and the name.
    gate: Option<Gate>,
    _link: OwnedFd,
    _event: Option<OwnedFd>,
    _definition: Option<Definition>,
}

impl Probe {
    /// Who gets the breakpoint, where that can be chosen.
    pub fn gate(&mut self) -> Option<&mut Gate> {
        self.gate.as_mut()
    }
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
    /// The kernel refused the program that is to run at the probe.
    #[error("cannot place a probe in {path}: {reason}")]
    NotLoaded {
        /// The file.
        path: Text,
        /// Why, and what the user can do.
        reason: String,
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

/// Places probes that run `program` at each hit: all of them, or none.
pub(super) fn place(
    program: BorrowedFd<'_>,
    purpose: Purpose,
    pmu_type: u32,
    target: &Target<'_>,
    places: &[Place],
) -> Result<Vec<Probe>, AttachError> {
    read(target, places);
    // The magic link leads to the very file that was examined, whatever its path means now.
    let path =
        CString::new(format!("/proc/self/fd/{}", target.file.as_raw_fd())).unwrap_or_default();
    match purpose {
        Purpose::Multi if places.is_empty() => Ok(Vec::new()),
        Purpose::Multi => Ok(vec![link(program, &path, target, places)?]),
        Purpose::Event => places
            .iter()
            .map(|place| open(program, pmu_type, &path, target, place))
            .collect(),
    }
}

/// Reads the instructions, so that the kernel finds them in its page cache. It reads them itself if need
/// be, and without the locks that ext4 wants for that: Linux 6.18 logs a warning with a trace of its calls
/// (`ext4_check_map_extents_env` in fs/ext4/inode.c, `__copy_insn` in kernel/events/uprobes.c), which ends
/// the machine if it is set to end at warnings (`kernel.panic_on_warn`).
fn read(target: &Target<'_>, places: &[Place]) {
    for place in places {
        // The kernel tells what is wrong with the file.
        let _ = target.file.read_at(&mut [0; LONGEST], place.offset);
    }
}

fn link(
    program: BorrowedFd<'_>,
    path: &CStr,
    target: &Target<'_>,
    places: &[Place],
) -> Result<Probe, AttachError> {
    let offsets: Vec<u64> = places.iter().map(|place| place.offset).collect();
    let semaphores = places
        .iter()
        .map(|place| place.semaphore_offset.unwrap_or(0));
    let cookies = places.iter().map(|place| u64::from(place.site.0));
    let link = syscall::link_uprobes(
        program,
        &UprobeMulti {
            path,
            offsets: &offsets,
            semaphore_offsets: &semaphores.collect::<Vec<_>>(),
            cookies: &cookies.collect::<Vec<_>>(),
            pid: target.pid.unwrap_or(0),
        },
    );
    let offset = offsets.first().copied().unwrap_or(0);
    Ok(Probe {
        gate: None,
        _link: link.map_err(|error| refused(target, offset, error))?,
        _event: None,
        _definition: None,
    })
}

fn open(
    program: BorrowedFd<'_>,
    pmu_type: u32,
    path: &CStr,
    target: &Target<'_>,
    place: &Place,
) -> Result<Probe, AttachError> {
    let semaphore_offset = u32::try_from(place.semaphore_offset.unwrap_or(0)).map_err(|_| {
        AttachError::SemaphoreOutOfReach {
            path: target.path.into(),
        }
    })?;
    let event = syscall::open_uprobe(&UprobeEvent {
        pmu_type,
        path,
        offset: place.offset,
        semaphore_offset,
        pid: target.pid.map(u32::cast_signed),
    })
    .map_err(|error| refused(target, place.offset, error))?;
    let link = syscall::link_perf_event(program, event.as_fd(), place.site.0.into())
        .map_err(|error| refused(target, place.offset, error))?;
    Ok(Probe {
        gate: None,
        _link: link,
        _event: Some(event),
        _definition: None,
    })
}

/// Places a probe with a gate, which is open to the process or to everyone.
pub(super) fn place_gated(
    program: BorrowedFd<'_>,
    tracefs: &mut Tracefs,
    target: &Target<'_>,
    place: &Place,
) -> Result<Probe, AttachError> {
    read(target, std::slice::from_ref(place));
    let mut placed = || {
        let definition = tracefs.define(target.file, place)?;
        // The program belongs to the definition, and stays while one event does that it is linked
        // to. This one is for ourselves, who run no such file.
        let own = syscall::open_trace_event(definition.id, Some(std::process::id()), false)?;
        let link = syscall::link_perf_event(program, own.as_fd(), place.site.0.into())?;
        let mut gate = Gate::new(&definition);
        match target.pid {
            Some(pid) => gate.admit(pid, false)?,
            None => gate.admit_all()?,
        }
        Ok(Probe {
            gate: Some(gate),
            _link: link,
            _event: Some(own),
            _definition: Some(definition),
        })
    };
    placed().map_err(|error| refused(target, place.offset, error))
}

fn refused(target: &Target<'_>, offset: u64, source: io::Error) -> AttachError {
    match (source.raw_os_error(), target.pid) {
        (Some(libc::ESRCH), Some(pid)) => AttachError::ProcessEnded { pid },
        _ => AttachError::Refused {
            path: target.path.into(),
            offset,
            hint: hint(&source),
            source,
        },
    }
}

/// Whether the kernel has `uprobe_multi` links that keep to a process if they are for one.
///
/// Kernels that do (Linux 6.10, and fixes of 6.6 and 6.9) look at the process id before the path
/// and refuse -1 as no number (EINVAL); those before them get to the path, a folder (EBADF); those
/// without such links know nothing of the kind. `program` has been loaded for such links.
pub(super) fn has_links(program: BorrowedFd<'_>) -> bool {
    let link = |pid| {
        let uprobes = UprobeMulti {
            path: c"/",
            offsets: &[0],
            semaphore_offsets: &[0],
            cookies: &[0],
            pid,
        };
        let refused = syscall::link_uprobes(program, &uprobes).err();
        refused.and_then(|error| error.raw_os_error())
    };
    link(0) == Some(libc::EBADF) && link(u32::MAX) == Some(libc::EINVAL)
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

/// Takes probes out, all at once: the kernel waits for each, and the waits for links can be shared.
/// The breakpoints are gone long before.
pub fn detach(mut probes: Vec<Probe>) {
    const THREADS: usize = 16;
    // For events with a name, the kernel waits for one after the other; not to close their gates.
    for probe in &mut probes {
        probe.gate = None;
    }
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
