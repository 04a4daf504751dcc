//! What is told of a process that runs CPython.

use std::collections::HashMap;
use std::io;
use std::path::Path;
use std::sync::Arc;

use nix::unistd::{Uid, User};

use super::container::container;
use super::proc_root::{ProcRoot, ProcessStat, ProcessStatus, path_of};
use crate::model::Text;
use crate::model::text::visible;

/// A process, told apart from others that had its pid before, or will have it later.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProcessId {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks after boot.
    pub start_time: u64,
}

/// What is told of a process. All but the id may change while it runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// Which process.
    pub id: ProcessId,
    /// The process id of its parent.
    pub parent: u32,
    /// The kernel's name of it.
    pub comm: Text,
    /// The path of its executable, as the process has it.
    pub exe: Text,
    /// That path does not lead to its executable any more.
    pub exe_deleted: bool,
    /// The name of the user it runs as, or the number where there is no name.
    pub user: Arc<str>,
    /// A short name of the container that it runs in, or `chroot` or `namespace` if its root
    /// directory is not ours for another reason; `None` on the host itself.
    pub container: Option<Arc<str>>,
}

/// The names of users, each asked for once: the answer may come from a server.
#[derive(Debug, Default)]
pub(super) struct Users(HashMap<u32, Arc<str>>);

impl Users {
    fn name(&mut self, user: u32) -> Arc<str> {
        let name =
            self.0
                .entry(user)
                .or_insert_with(|| match User::from_uid(Uid::from_raw(user)) {
                    Ok(Some(user)) => visible(user.name.as_bytes()).into(),
                    Ok(None) | Err(_) => user.to_string().into(),
                });
        Arc::clone(name)
    }
}

impl Process {
    /// Reads what is told of a process, as far as it is not known from `stat` and `status`.
    pub(super) fn read(
        root: &ProcRoot,
        pid: u32,
        stat: &ProcessStat,
        status: ProcessStatus,
        users: &mut Users,
    ) -> io::Result<Self> {
        let (exe, exe_deleted) = executable(root, pid)?;
        let name = root
            .cgroup(pid)
            .ok()
            .and_then(|cgroup| container(&cgroup))
            .or_else(|| own_root(root, pid).map(str::to_owned));
        Ok(Self {
            id: ProcessId {
                pid,
                start_time: stat.start_time,
            },
            parent: stat.parent,
            comm: Text::from(stat.comm.as_slice()),
            exe,
            exe_deleted,
            user: users.name(status.user),
            container: name.map(Arc::from),
        })
    }
}

/// The path of the executable, and whether that file has lost it.
///
/// The kernel marks a lost path by ` (deleted)`, which may as well be the end of a file's name.
pub(super) fn executable(root: &ProcRoot, pid: u32) -> io::Result<(Text, bool)> {
    let link = root.link(&format!("{pid}/exe"))?;
    let shown = std::os::unix::ffi::OsStrExt::as_bytes(link.as_os_str());
    let Some(path) = shown.strip_suffix(b" (deleted)") else {
        return Ok((Text::from(shown), false));
    };
    let mut literal = format!("{pid}/root").into_bytes();
    literal.extend_from_slice(shown);
    let is_name = match (
        root.file_stat(Path::new(&format!("{pid}/exe"))),
        root.file_stat(path_of(&literal)),
    ) {
        (Ok(exe), Ok(named)) => (exe.device, exe.inode) == (named.device, named.inode),
        _ => false,
    };
    Ok(if is_name {
        (Text::from(shown), false)
    } else {
        (Text::from(path), true)
    })
}

/// What to call a process whose root directory is not ours although its control groups tell of no
/// container. Services with a mount namespace of their own but our root are part of the host.
fn own_root(root: &ProcRoot, pid: u32) -> Option<&'static str> {
    let theirs = root.file_stat(Path::new(&format!("{pid}/root"))).ok()?;
    let ours = root.file_stat(Path::new("self/root")).ok()?;
    if (theirs.device, theirs.inode) == (ours.device, ours.inode) {
        return None;
    }
    // Within a mount namespace of its own, a process sees its root as `/`, and so do we.
    let path = root.link(&format!("{pid}/root")).ok()?;
    Some(if path == Path::new("/") {
        "namespace"
    } else {
        "chroot"
    })
}
