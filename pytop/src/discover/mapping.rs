//! The executable mappings of a process, from `/proc/PID/maps`.
//!
//! ```text
//! start        end          perm offset   dev   inode                      path
//! 7f3c5c021000-7f3c5c22d000 r-xp 00021000 fd:00 1835234                    /usr/lib/libpython3.9.so.1.0
//! 7ffd0a5f2000-7ffd0a5f4000 r-xp 00000000 00:00 0                          [vdso]
//! ```
//!
//! The kernel writes a newline of the path as `\012` and leaves every other byte alone, the
//! backslash included, so that a file which has `\012` in its name cannot be told from one which
//! has a newline there (`show_map_vma`, fs/proc/task_mmu.c). A path is therefore shown, and tried
//! as a last resort, but never taken for the identity of a file.

use std::fmt;

/// A device number, as its two halves: `makedev` packs them in different ways in the kernel and
/// in the C library.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Device {
    /// Which kind of device, or 0 for a file system without one of its own.
    pub major: u32,
    /// Which device of its kind.
    pub minor: u32,
}

impl fmt::Display for Device {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:02x}:{:02x}", self.major, self.minor)
    }
}
