//! What the kernel tells of processes as they come and go.

use std::time::Duration;

use super::mapping::Device;

/// Something that happened to a process.
///
/// Events come in the order in which they happened, but late: an event is a reason to look at a
/// process, never a statement of what it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProcessEvent {
    /// A process made another one. New threads are no event.
    Fork {
        /// The process that called `fork` or `clone`.
        parent: u32,
        /// The new process: a copy of `parent`, mappings included, for which no
        /// [`MappedExecutable`] is told.
        child: u32,
        /// The thread of `parent` that did it.
        thread: u32,
        /// When, by the monotonic clock.
        at: Duration,
    },
    /// A process replaced its program; its [`MappedExecutable`] events follow.
    Exec {
        /// The process.
        pid: u32,
    },
    /// The first thread of a process ended.
    ///
    /// That is nearly always the end of the process. It is not when the first thread calls
    /// `pthread_exit` while others run on, and when another thread calls `execve`: the process
    /// then goes on under the same pid.
    Exit {
        /// The process.
        pid: u32,
    },
    /// A process mapped a file, or a part of one, as executable.
    MappedExecutable(MappedExecutable),
    /// Events were lost: whatever is known of processes may be out of date.
    Lost {
        /// How many.
        events: u64,
    },
}

/// An executable mapping of a file, as the kernel tells it at the time of the `mmap` call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MappedExecutable {
    /// The process.
    pub pid: u32,
    /// The file.
    pub file: MappedInode,
    /// Address of the first byte.
    pub start: u64,
    /// Length in bytes, a multiple of the page size.
    pub length: u64,
    /// Where in the file the mapping starts, in bytes.
    pub offset: u64,
}

/// A file as `perf_event_open(2)`'s MMAP2 records name it.
///
/// On overlay and btrfs file systems, and depending on the kernel's version, this may be neither
/// what `stat(2)` nor what `/proc/PID/maps` says of the same file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct MappedInode {
    /// The device of the file's superblock.
    pub device: Device,
    /// The inode number.
    pub inode: u64,
    /// Which of the files that had this inode number one after another. Always 0 on file systems
    /// that do not tell, overlay among them.
    pub generation: u64,
}
