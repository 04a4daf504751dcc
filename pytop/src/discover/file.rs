//! The files that processes execute: found, opened and examined once each.
//!
//! # Which file it is
//! A path does not say: it may have been deleted, replaced, or belong to another mount namespace.
//! `/proc/PID/map_files/START-END` leads to the very inode that is mapped. Where the kernel does
//! not let us follow it, `/proc/PID/exe` and `/proc/PID/root/PATH` are tried, and taken only if
//! they lead to the same inode.
//!
//! # Once each
//! Verdicts are kept by device and inode, as `stat(2)` has them:
//!
//! - *CPython*: the file stays open, so that its inode number cannot be given to another file.
//!   Size and time of modification are compared before each scan, and the file is examined again
//!   if it was written to. The record is replaced only if the facts differ: `touch` changes none.
//! - *no CPython*: nothing is kept open. An inode number that was freed and given to another file,
//!   and a file that was written to in place, both show in the time of the inode's last change,
//!   which nobody can set.
//!
//! `/proc/PID/maps` has a device and an inode too, and for most files the same. They save the
//! `stat`: within one pass, a file that was checked under them is not checked again for the next
//! process. On btrfs, where all subvolumes share that device and have the same inode numbers, and
//! wherever else the devices differ, each mapping is checked by itself.
//!
//! # One inode behind many
//! Containers made of one image see its files through overlay file systems of their own: different
//! devices, but one inode below, and one page cache. A uprobe goes to that inode, so that a probe
//! on each container's file would count every call once for each container:
//!
//! ```text
//! lower/python3.9    device fe:00  inode 10379280  changed 19:36:55.303380088
//! merged1/python3.9  device 00:27  inode 10379280  changed 19:36:55.303380088
//! merged2/python3.9  device 00:29  inode 10379280  changed 19:36:55.303380088
//! ```
//!
//! Overlay files therefore share their record with every file that has the same inode number,
//! size, and times of modification and change, to the nanosecond.

use std::collections::HashMap;
use std::error::Error;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::FileError;
use super::mapping::{Device, MappedFile, Segment};
use super::proc_root::{FileStat, ProcRoot, Timestamp, is_gone, path_of};
use crate::model::Text;

/// Scans after which a verdict that nobody asked for is dropped. Interpreters are kept that long
/// too, so that the next short-lived process of one is counted from its first bytecode.
const KEPT_SCANS: u64 = 60;

/// The same for interpreters on overlay file systems: while one is open, so is the file system of
/// its container, which may have ended and be about to start again.
const KEPT_SCANS_ON_OVERLAY: u64 = 5;

/// The same for interpreters without a name, which cannot be started again, but keep their disk
/// blocks while they are open.
const KEPT_SCANS_WITHOUT_NAME: u64 = 1;

/// Verdicts of files without CPython that are kept at most: about 100 bytes each.
const MOST_VERDICTS: usize = 1 << 16;

/// Tells what is in a file: `None` for no CPython. The path is to be shown, also by its errors.
pub type Examine<I> =
    Box<dyn FnMut(&File, &Path) -> Result<Option<I>, Box<dyn Error + Send + Sync>> + Send>;

/// Which file, and in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FileId {
    /// The device, as `stat(2)` has it.
    pub device: Device,
    /// The inode number.
    pub inode: u64,
    /// When it was last written to.
    pub modified: Timestamp,
    /// In bytes.
    pub size: u64,
}

/// A file that holds a CPython interpreter: an executable, or a libpython.
///
/// A scan has one record for each inode that a probe can be attached to, see the module's text.
#[derive(Debug)]
pub struct InterpreterFile<I> {
    /// Which file, when it was examined.
    pub id: FileId,
    /// Its path as the first process that was seen with it has it: to be shown, not to be opened.
    pub path: PathBuf,
    /// It had no name any more when it was found.
    pub deleted: bool,
    /// The file itself, whatever became of its path. `/proc/self/fd/N` names it for the kernel.
    pub file: File,
    /// It is seen through an overlay file system.
    pub on_overlay: bool,
    /// What was found in it.
    pub interpreter: I,
    /// The last scan in which a process had it.
    used: AtomicU64,
}

/// What is known of a file.
pub(super) enum Verdict<I> {
    CPython(Arc<InterpreterFile<I>>),
    Other,
    Unknown(Arc<FileError>),
}

impl<I> Clone for Verdict<I> {
    fn clone(&self) -> Self {
        match self {
            Self::CPython(file) => Self::CPython(Arc::clone(file)),
            Self::Other => Self::Other,
            Self::Unknown(error) => Self::Unknown(Arc::clone(error)),
        }
    }
}

type Inode = (Device, u64);

struct Entry<I> {
    stat: FileStat,
    verdict: Verdict<I>,
    examined: u64,
    used: u64,
}

/// All files that were examined.
pub(super) struct Files<I> {
    examine: Examine<I>,
    entries: HashMap<Inode, Entry<I>>,
    /// Inodes by what `/proc/PID/maps` calls them, as far as checked in this pass.
    checked: HashMap<Inode, Inode>,
    /// A record was dropped while processes may have it.
    replaced: bool,
    scan: u64,
}

impl<I: PartialEq> Files<I> {
    pub(super) fn new(examine: Examine<I>) -> Self {
        Self {
            examine,
            entries: HashMap::new(),
            checked: HashMap::new(),
            replaced: false,
            scan: 0,
        }
    }

    /// From here on, files are checked anew.
    pub(super) fn begin_pass(&mut self) {
        self.checked.clear();
    }

    /// Begins a scan: files that were written to are examined again, and what nobody used for long
    /// is dropped. Returns whether processes may have a record that is not valid any more.
    pub(super) fn begin_scan(&mut self) -> bool {
        self.begin_pass();
        self.scan += 1;
        let scan = self.scan;
        self.entries.retain(|_, entry| match &entry.verdict {
            Verdict::CPython(file) => {
                let named = FileStat::of(&file.file).is_ok_and(|stat| stat.links > 0);
                let kept = match (named, file.on_overlay) {
                    (false, _) => KEPT_SCANS_WITHOUT_NAME,
                    (true, true) => KEPT_SCANS_ON_OVERLAY,
                    (true, false) => KEPT_SCANS,
                };
                scan.saturating_sub(file.used.load(Ordering::Relaxed)) <= kept
            }
            Verdict::Other | Verdict::Unknown(_) => scan.saturating_sub(entry.used) <= KEPT_SCANS,
        });
        if self.entries.len() > MOST_VERDICTS {
            self.entries
                .retain(|_, entry| matches!(entry.verdict, Verdict::CPython(_)));
        }
        for file in self.interpreters() {
            if let Ok(stat) = FileStat::of(&file.file) {
                self.confirm(&file, &stat);
            }
        }
        std::mem::take(&mut self.replaced)
    }

    /// The records of all interpreters, each once.
    pub(super) fn interpreters(&self) -> Vec<Arc<InterpreterFile<I>>> {
        let mut files: Vec<Arc<InterpreterFile<I>>> = Vec::new();
        for entry in self.entries.values() {
            if let Verdict::CPython(file) = &entry.verdict
                && !files.iter().any(|other| Arc::ptr_eq(other, file))
            {
                files.push(Arc::clone(file));
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        files
    }

    /// Says that a process still uses this file.
    pub(super) fn keep(&self, file: &Arc<InterpreterFile<I>>) {
        file.used.store(self.scan, Ordering::Relaxed);
    }

    /// What is in a file that a process maps. `None` if the process, or the mapping, is gone.
    pub(super) fn verdict(
        &mut self,
        root: &ProcRoot,
        pid: u32,
        mapped: &MappedFile,
        segment: Segment,
    ) -> Option<Verdict<I>> {
        let seen = (mapped.device, mapped.inode);
        if let Some(inode) = self.checked.get(&seen).copied()
            && let Some(verdict) = self.recall(inode)
        {
            return Some(verdict);
        }
        let (name, stat) = match locate(root, pid, mapped, segment) {
            Ok(located) => located,
            Err(error) if is_gone(&error) => return None,
            Err(source) => return Some(unreadable(mapped, source)),
        };
        let inode = (stat.device, stat.inode);
        let verdict = self.verdict_at(root, &name, mapped, &stat);
        if verdict.is_some() && inode == seen {
            self.checked.insert(seen, inode);
        }
        verdict
    }

    /// The interpreter in a file that no process may have mapped yet; `None` if it holds none.
    pub(super) fn interpreter_at(
        &mut self,
        root: &ProcRoot,
        path: &Path,
    ) -> Result<Option<Arc<InterpreterFile<I>>>, Arc<FileError>> {
        let stat = match root.file_stat(path) {
            Ok(stat) => stat,
            Err(source) => {
                let path = path.into();
                return Err(Arc::new(FileError::Unreadable { path, source }));
            }
        };
        let unmapped = MappedFile {
            device: stat.device,
            inode: stat.inode,
            path: path.as_os_str().as_bytes().to_owned(),
            deleted: false,
        };
        match self.verdict_at(root, path, &unmapped, &stat) {
            Some(Verdict::CPython(file)) => Ok(Some(file)),
            Some(Verdict::Unknown(error)) => Err(error),
            Some(Verdict::Other) | None => Ok(None),
        }
    }

    /// What is in the file that `name` leads to, and that `stat` describes.
    fn verdict_at(
        &mut self,
        root: &ProcRoot,
        name: &Path,
        mapped: &MappedFile,
        stat: &FileStat,
    ) -> Option<Verdict<I>> {
        let inode = (stat.device, stat.inode);
        if let Some(Verdict::CPython(file)) = self.recall(inode) {
            self.confirm(&file, stat);
        }
        let known = self
            .entries
            .get(&inode)
            .is_some_and(|entry| entry.holds(stat, self.scan));
        if !known {
            let verdict = self.examine(root, name, mapped, stat)?;
            self.entries.insert(
                inode,
                Entry {
                    stat: *stat,
                    verdict,
                    examined: self.scan,
                    used: self.scan,
                },
            );
        }
        self.recall(inode)
    }

    fn recall(&mut self, inode: Inode) -> Option<Verdict<I>> {
        let entry = self.entries.get_mut(&inode)?;
        entry.used = self.scan;
        if let Verdict::CPython(file) = &entry.verdict {
            file.used.store(self.scan, Ordering::Relaxed);
        }
        Some(entry.verdict.clone())
    }

    /// `None` if the name leads to another file by now.
    fn examine(
        &mut self,
        root: &ProcRoot,
        name: &Path,
        mapped: &MappedFile,
        stat: &FileStat,
    ) -> Option<Verdict<I>> {
        if !stat.regular {
            return Some(Verdict::Other);
        }
        let (file, on_overlay) = match open(root, name, stat) {
            Ok(Some(opened)) => opened,
            Ok(None) => return None,
            Err(error) if is_gone(&error) => return None,
            Err(source) => return Some(unreadable(mapped, source)),
        };
        if let Some(same) = self.same_inode(stat, on_overlay) {
            return Some(Verdict::CPython(same));
        }
        let path = path_of(&mapped.path);
        Some(match (self.examine)(&file, path) {
            Ok(None) => Verdict::Other,
            Ok(Some(interpreter)) => Verdict::CPython(Arc::new(InterpreterFile {
                id: stat.into(),
                path: path.to_owned(),
                deleted: mapped.deleted || stat.links == 0,
                file,
                on_overlay,
                interpreter,
                used: AtomicU64::new(self.scan),
            })),
            Err(error) => Verdict::Unknown(Arc::new(FileError::Damaged(error))),
        })
    }

    /// The record of the inode below, if it is known under another device already.
    fn same_inode(&self, stat: &FileStat, on_overlay: bool) -> Option<Arc<InterpreterFile<I>>> {
        self.entries
            .values()
            .find_map(|entry| match &entry.verdict {
                Verdict::CPython(file)
                    if (on_overlay || file.on_overlay)
                        && file.id.inode == stat.inode
                        && file.id.size == stat.size
                        && file.id.modified == stat.modified
                        && entry.stat.changed == stat.changed =>
                {
                    Some(Arc::clone(file))
                }
                _ => None,
            })
    }

    /// Drops the record of a file that was written to in place, unless its facts are the same.
    fn confirm(&mut self, file: &Arc<InterpreterFile<I>>, stat: &FileStat) {
        let Some(entry) = self.entries.get_mut(&(stat.device, stat.inode)) else {
            return;
        };
        if entry.holds(stat, self.scan) {
            return;
        }
        // Writing to a file of a lower layer makes a copy of it in the upper one: another inode,
        // which needs probes of its own, whatever is in it.
        if !file.on_overlay
            && let Ok(Some(interpreter)) = (self.examine)(&file.file, &file.path)
            && interpreter == file.interpreter
        {
            entry.stat = *stat;
            return;
        }
        self.entries.retain(
            |_, entry| !matches!(&entry.verdict, Verdict::CPython(other) if Arc::ptr_eq(other, file)),
        );
        self.replaced = true;
    }
}

impl<I> Entry<I> {
    /// Whether the verdict is still true of a file that is in this state.
    fn holds(&self, stat: &FileStat, scan: u64) -> bool {
        let written = self.stat.modified != stat.modified || self.stat.size != stat.size;
        let changed = written || self.stat.changed != stat.changed;
        match &self.verdict {
            // Kept open, so that it is the same inode: a new name for it changes no fact.
            Verdict::CPython(file) if !file.on_overlay => !written,
            Verdict::CPython(_) | Verdict::Other => !changed,
            Verdict::Unknown(_) => !changed && scan.saturating_sub(self.examined) < KEPT_SCANS,
        }
    }
}

impl From<&FileStat> for FileId {
    fn from(stat: &FileStat) -> Self {
        Self {
            device: stat.device,
            inode: stat.inode,
            modified: stat.modified,
            size: stat.size,
        }
    }
}

fn unreadable<I>(mapped: &MappedFile, source: io::Error) -> Verdict<I> {
    Verdict::Unknown(Arc::new(FileError::Unreadable {
        path: Text::from(path_of(&mapped.path)),
        source,
    }))
}

/// A name below the root that leads to the file that is mapped, and what is there.
///
/// The error of a mapping that is gone is that of a file that does not exist.
fn locate(
    root: &ProcRoot,
    pid: u32,
    mapped: &MappedFile,
    segment: Segment,
) -> io::Result<(PathBuf, FileStat)> {
    let name = PathBuf::from(format!(
        "{pid}/map_files/{:x}-{:x}",
        segment.start, segment.end
    ));
    let error = match root.file_stat(&name) {
        Ok(stat) => return Ok((name, stat)),
        Err(error) => error,
    };
    // The path is absolute, and is appended as bytes: `join` would let it replace what it is
    // joined to.
    let mut below = format!("{pid}/root").into_bytes();
    below.extend_from_slice(&mapped.path);
    // Outside of containers, the kernel tells the path of a process in a chroot from our root.
    let names = [
        PathBuf::from(format!("{pid}/exe")),
        path_of(&below).into(),
        path_of(&mapped.path).into(),
    ];
    for name in names {
        if let Ok(stat) = root.file_stat(&name)
            && stat.inode == mapped.inode
            && (stat.device == mapped.device || hides_device(root, &name))
        {
            return Ok((name, stat));
        }
    }
    Err(error)
}

/// Whether this is on a file system for which `/proc/PID/maps` and `stat(2)` have different
/// devices.
fn hides_device(root: &ProcRoot, name: &Path) -> bool {
    root.open_path(name)
        .and_then(|file| Ok(rustix::fs::fstatfs(file)?))
        .is_ok_and(|system| {
            [libc::BTRFS_SUPER_MAGIC, libc::OVERLAYFS_SUPER_MAGIC].contains(&system.f_type)
        })
}

/// Opens a regular file for reading, and tells whether it is on an overlay file system. `None` if
/// it is not the one that `stat` describes.
fn open(root: &ProcRoot, name: &Path, stat: &FileStat) -> io::Result<Option<(File, bool)>> {
    // In two steps, so that nothing but the regular file that was checked is opened: opening a
    // device may start it, and opening a pipe may wake the process at its other end.
    let handle = root.open_path(name)?;
    let now = FileStat::of(&handle)?;
    if !now.regular || (now.device, now.inode) != (stat.device, stat.inode) {
        return Ok(None);
    }
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_CLOEXEC | libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(format!("/proc/self/fd/{}", handle.as_raw_fd()))?;
    let system = rustix::fs::fstatfs(&file)?;
    Ok(Some((file, system.f_type == libc::OVERLAYFS_SUPER_MAGIC)))
}
