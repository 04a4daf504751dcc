//! Uprobes that the kernel lists by name.
//!
//! A uprobe is defined by a line that is written to a file of tracefs, and has a number from then on
//! by which perf events are opened for it (Documentation/trace/uprobetracer.rst):
//!
//! ```text
//! p:pytop_812/site_3 /proc/self/fd/17:0x2daa2(0x5391b8)    defines it
//! -:pytop_812/site_3                                        and forgets it
//! ```
//!
//! A definition alone does nothing: breakpoints are there while events are open. But it stays when
//! whoever made it is killed. So the group has the name of the process, and the next one that comes
//! here forgets what others have left behind.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, openat};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};

use super::uprobe::Place;

/// Where tracefs is mounted, if it is.
const MOUNTED: [&str; 2] = ["/sys/kernel/tracing", "/sys/kernel/debug/tracing"];
/// The list of definitions.
const LIST: &str = "uprobe_events";
/// What the names of groups begin with; the process id follows.
const GROUP: &str = "pytop_";

/// The kernel's list of uprobes.
#[derive(Debug)]
pub(super) struct Tracefs {
    root: Arc<OwnedFd>,
    group: String,
    next: u32,
}

/// A uprobe that is known by a number. It is forgotten when this is dropped, which no event may
/// outlive.
#[derive(Debug)]
pub(super) struct Definition {
    root: Arc<OwnedFd>,
    /// Group and name.
    name: String,
    /// The number, for perf events.
    pub(super) id: u64,
}

impl Tracefs {
    /// Opens the list, where tracefs is mounted or, where it is not, without mounting it for others.
    pub(super) fn open() -> io::Result<Self> {
        let mounted = MOUNTED.iter().find_map(|path| {
            let root = File::open(path).ok()?;
            Path::new(path).join(LIST).exists().then(|| root.into())
        });
        let root = match mounted {
            Some(root) => root,
            None => mount()?,
        };
        let tracefs = Self {
            root: Arc::new(root),
            group: format!("{GROUP}{}", std::process::id()),
            next: 0,
        };
        tracefs.forget_left()?;
        Ok(tracefs)
    }

    /// Defines a uprobe in an open file.
    pub(super) fn define(&mut self, file: &File, place: &Place) -> io::Result<Definition> {
        let name = format!("{}/site_{}", self.group, self.next);
        self.next += 1;
        // The magic link leads to the very file that was examined, whatever its path means now.
        let semaphore = place.semaphore_offset;
        let semaphore = semaphore.map_or_else(String::new, |offset| format!("({offset:#x})"));
        let (descriptor, offset) = (file.as_raw_fd(), place.offset);
        let line = format!("p:{name} /proc/self/fd/{descriptor}:{offset:#x}{semaphore}");
        write(&self.root, &line)?;
        let mut definition = Definition {
            root: Arc::clone(&self.root),
            name,
            id: 0,
        };
        let id = read(&self.root, &format!("events/{}/id", definition.name))?;
        definition.id = id.trim().parse().map_err(io::Error::other)?;
        Ok(definition)
    }

    /// Forgets the definitions of processes that are no more.
    fn forget_left(&self) -> io::Result<()> {
        for line in read(&self.root, LIST)?.lines() {
            if let Some(name) = left(line, |pid| Path::new("/proc").join(pid).exists()) {
                // Somebody else may just have done so.
                let _ = write(&self.root, &format!("-:{name}"));
            }
        }
        Ok(())
    }
}

impl Drop for Definition {
    fn drop(&mut self) {
        // What stays is forgotten by the next.
        let _ = write(&self.root, &format!("-:{}", self.name));
    }
}

/// The name of a definition that a pytop has left behind.
fn left(line: &str, is_alive: impl Fn(&str) -> bool) -> Option<&str> {
    let name = line.strip_prefix("p:")?.split(' ').next()?;
    let (pid, _) = name.strip_prefix(GROUP)?.split_once('/')?;
    let is_number = !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit());
    (is_number && !is_alive(pid)).then_some(name)
}

/// A tracefs that nobody else sees.
fn mount() -> io::Result<OwnedFd> {
    let context = fsopen("tracefs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(&context)?;
    let flags = FsMountFlags::FSMOUNT_CLOEXEC;
    Ok(fsmount(&context, flags, MountAttrFlags::empty())?)
}

fn read(root: &OwnedFd, path: &str) -> io::Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let mut file = File::from(openat(root, path, flags, Mode::empty())?);
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    Ok(text)
}

/// Adds to the list, or takes from it.
fn write(root: &OwnedFd, line: &str) -> io::Result<()> {
    let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC;
    let mut file = File::from(openat(root, LIST, flags, Mode::empty())?);
    file.write_all(line.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_a_dead_pytop_has_left_is_forgotten() {
        let alive = |pid: &str| pid == "12";
        for (line, expected) in [
            (
                "p:pytop_11/site_0 /proc/self/fd/7:0x10",
                Some("pytop_11/site_0"),
            ),
            ("p:pytop_12/site_0 /proc/self/fd/7:0x10", None),
            ("p:pytop_x/site_0 /bin/a:0x10", None),
            ("p:pytop_/site_0 /bin/a:0x10", None),
            ("p:uprobes/p_a_0x10 /bin/a:0x10", None),
            ("r:pytop_11/site_0 /bin/a:0x10", None),
            ("", None),
        ] {
            assert_eq!(left(line, alive), expected, "{line}");
        }
    }
}
