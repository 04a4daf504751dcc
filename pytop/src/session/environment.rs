//! Whether pytop sees the machine from a place where it can count, and may look at it.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use anyhow::{Result, bail};

use crate::cpython::Interpreter;
use crate::discover::Scan;
use crate::os_error::describe;

/// The inode of the initial pid namespace (`PROC_PID_INIT_INO` in `include/linux/proc_ns.h`).
const INITIAL_PID_NAMESPACE: u64 = 0xEFFF_FFFC;

/// A capability, by its bit (include/uapi/linux/capability.h).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Capability {
    /// To open every file for reading.
    DacReadSearch = 2,
    /// To look at other users' processes.
    SysPtrace = 19,
    /// To place uprobes and to load eBPF programs.
    SysAdmin = 21,
}

/// Open files without which pytop does not start: the runtime's, the kernel's programs and tables,
/// and a few of `/proc` at a time.
const FEWEST_FILES: u64 = 96;

/// Sees to it that enough files can be open. Each interpreter of each container keeps three or
/// more open, so that the limit is raised as far as it goes: the usual one, 1024, is for programs
/// that use select(2). A command would inherit it, and may be such a program. Returns the limit.
pub(crate) fn allow_many_files(with_command: bool) -> Result<Option<u64>> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) else {
        return Ok(None);
    };
    let raised = !with_command && setrlimit(Resource::RLIMIT_NOFILE, most, most).is_ok();
    let limit = if raised { most } else { now };
    if limit < FEWEST_FILES {
        bail!(
            "at most {limit} files can be open, and pytop needs {FEWEST_FILES}, and some more for \
             each interpreter: raise the limit (ulimit -n)"
        );
    }
    Ok(Some(limit))
}

/// What a look at the whole machine could not see. Nobody has asked for these in particular, but
/// calls of theirs would be missing without a word.
pub(crate) fn passed_over(scan: &Scan<Interpreter>) -> Vec<String> {
    let mut notices = Vec::new();
    if scan.not_permitted > 0 && has(Capability::SysPtrace) == Some(false) {
        notices.push(format!(
            "not permitted to look at {} processes, which are not counted; run pytop as root \
             (sudo pytop), or with the capability CAP_SYS_PTRACE too",
            scan.not_permitted
        ));
    }
    if let Some(error) = scan.unexamined.first() {
        let more = match scan.unexamined.len() - 1 {
            0 => String::new(),
            more => format!(" (and {more} more files)"),
        };
        notices.push(format!(
            "processes may run CPython uncounted: {error}{more}"
        ));
    }
    notices
}

/// Whether pytop has a capability; `None` if the kernel does not tell. With the one to look at
/// processes, those that are kept from it are kept from everyone.
pub(crate) fn has(capability: Capability) -> Option<bool> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let effective = effective_capabilities(&status)?;
    Some(effective & (1 << capability as u32) != 0)
}

fn effective_capabilities(status: &str) -> Option<u64> {
    let mut lines = status.lines();
    let capabilities = lines.find_map(|line| line.strip_prefix("CapEff:"))?;
    u64::from_str_radix(capabilities.trim(), 16).ok()
}

/// Fails when pytop runs in a pid namespace of its own: the kernel's programs see the pids of the
/// machine, which mean nothing there.
pub(crate) fn check() -> Result<()> {
    match fs::metadata("/proc/self/ns/pid") {
        Ok(namespace) if namespace.ino() != INITIAL_PID_NAMESPACE => bail!(
            "cannot count from within a pid namespace: the process ids that the kernel tells mean \
             nothing there; run pytop on the host, or in a container that shares the host's \
             (docker run --privileged --pid=host)"
        ),
        Ok(_) => Ok(()),
        Err(error) => bail!(
            "cannot read /proc/self/ns/pid: {}; pytop needs the proc file system on /proc",
            describe(&error)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capabilities_are_read() {
        let status = "Name:\tpytop\nCapPrm:\t0\nCapEff:\t00000000000a0000\n";
        assert_eq!(effective_capabilities(status), Some(0xa_0000));
        assert_eq!(effective_capabilities("CapEff:\tx\n"), None);
        assert_eq!(effective_capabilities(""), None);
    }
}
