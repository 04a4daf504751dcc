//! Whether pytop sees the machine from a place where it can count.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Result, bail};

/// The inode of the initial pid namespace (`PROC_PID_INIT_INO` in `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// Fails when pytop runs in a pid namespace of its own: the kernel's programs see the pids of the
/// machine, which mean nothing there.
pub(super) fn check() -> Result<()> {
    match fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) if namespace.ino() != INITIAL_PID_NAMESPACE => bail!(
            "pytop runs in a pid namespace of its own, where the kernel's process ids mean \
             nothing: run it on the host, or in a container with the host's pid namespace \
             (docker run --pid=host)"
        ),
        Ok(_) => Ok(()),
        Err(error) => bail!("cannot read /proc/self/ns/pid: {error}; pytop needs /proc mounted"),
    }
}
