//! Bounded reads of a `/proc` tree, which tests may replace by a folder.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, Statx, StatxFlags};

use super::mapping::{Device, Mappings};

/// Bytes that are read of a small file. `stat` and `status` have 2,000 at most; `cgroup` may have a
/// dozen lines of a path each.
const SMALL: u64 = 64 << 10;

/// A `/proc` tree.
#[derive(Debug)]
pub struct ProcRoot {
    directory: OwnedFd,
}

/// What is used of `/proc/PID/stat`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessStat {
    /// The kernel's name of the process: any bytes but NUL, at most 15.
    pub comm: Vec<u8>,
    /// The state letter, such as `S`, or `Z` for a process that has ended and was not waited for.
    pub state: u8,
    /// The process id of the parent; 0 when it is outside of the pid namespace.
    pub parent: u32,
    /// It is a thread of the kernel, and runs no program.
    pub kernel_thread: bool,
    /// Threads, ended ones that still have an entry included.
    pub threads: u64,
    /// When the process started, in clock ticks after boot. With the pid, this tells processes
    /// apart that had the same pid one after another.
    pub start_time: u64,
    /// The processor on which its first thread has run last.
    pub processor: Option<u32>,
    /// Its first thread has a real-time priority, so that others on that processor may wait for long.
    pub real_time: bool,
}

impl ProcessStat {
    /// Whether all of the process has ended. A process whose first thread has ended is in state
    /// `Z` while its other threads run on.
    #[must_use]
    pub fn has_ended(&self) -> bool {
        matches!(self.state, b'Z' | b'X' | b'x') && self.threads <= 1
    }
}

/// What is used of `/proc/PID/status`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProcessStatus {
    /// The process that the task belongs to: the pid itself, unless it is the id of a thread.
    pub thread_group: u32,
    /// The effective user id.
    pub user: u32,
}

/// A point in time of a file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp {
    /// Seconds after 1970.
    pub seconds: i64,
    /// And nanoseconds.
    pub nanoseconds: u32,
}

/// What `statx(2)` says of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileStat {
    /// The device, as `stat` has it.
    pub device: Device,
    /// The inode number.
    pub inode: u64,
    /// When the content was last modified, or whatever the owner of the file set instead.
    pub modified: Timestamp,
    /// When the inode was last changed, modifications included. Nobody can set it.
    pub changed: Timestamp,
    /// In bytes.
    pub size: u64,
    /// Names that the file has.
    pub links: u32,
    /// Whether it is a regular file.
    pub regular: bool,
}

impl ProcRoot {
    /// The kernel's own tree, at `/proc`.
    pub fn host() -> io::Result<Self> {
        Self::open(Path::new("/proc"))
    }

    /// A tree at another place.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::openat(CWD, path, flags, Mode::empty())?;
        Ok(Self { directory })
    }

    /// The ids of all processes, kernel threads and ended ones included.
    pub fn pids(&self) -> io::Result<Vec<u32>> {
        let mut pids = Vec::new();
        for entry in Dir::read_from(&self.directory)? {
            let entry = entry?;
            let name = entry.file_name().to_bytes();
            if let Some(pid) = str::from_utf8(name).ok().and_then(|name| name.parse().ok()) {
                pids.push(pid);
            }
        }
        Ok(pids)
    }

    /// `/proc/PID/stat`.
    pub fn stat(&self, pid: u32) -> io::Result<ProcessStat> {
        parse_stat(&self.read(&format!("{pid}/stat"))?).ok_or_else(|| malformed("stat"))
    }

    /// `/proc/PID/status`.
    pub fn status(&self, pid: u32) -> io::Result<ProcessStatus> {
        parse_status(&self.read(&format!("{pid}/status"))?).ok_or_else(|| malformed("status"))
    }

    /// `/proc/PID/cgroup`.
    pub fn cgroup(&self, pid: u32) -> io::Result<Vec<u8>> {
        self.read(&format!("{pid}/cgroup"))
    }

    /// `/proc/PID/maps`.
    pub fn mappings(&self, pid: u32) -> io::Result<Mappings> {
        Mappings::read(self.maps(pid)?)
    }

    /// The text of `/proc/PID/maps`, to read from.
    pub(super) fn maps(&self, pid: u32) -> io::Result<File> {
        self.open_file(&format!("{pid}/maps"))
    }

    /// `/proc/PID/pagemap`, to read from.
    pub(super) fn page_map(&self, pid: u32) -> io::Result<File> {
        self.open_file(&format!("{pid}/pagemap"))
    }

    /// `/proc/PID/mem`, to read from. What is read is at the address that is given as the position.
    pub fn memory(&self, pid: u32) -> io::Result<File> {
        self.open_file(&format!("{pid}/mem"))
    }

    /// The target of a symbolic link below the tree, such as `812/exe`.
    pub fn link(&self, name: &str) -> io::Result<PathBuf> {
        let target = rustix::fs::readlinkat(&self.directory, name, Vec::new())?;
        Ok(PathBuf::from(std::ffi::OsString::from_vec(
            target.into_bytes(),
        )))
    }

    /// What a name below the tree leads to, such as `812/exe`. Nothing is opened, and no server of
    /// a network file system is asked: one that does not answer must not stop us.
    pub fn file_stat(&self, name: &Path) -> io::Result<FileStat> {
        let stat = rustix::fs::statx(
            &self.directory,
            name,
            AtFlags::STATX_DONT_SYNC,
            StatxFlags::BASIC_STATS,
        )?;
        Ok(FileStat::from(&stat))
    }

    /// Opens what a name below the tree leads to without opening it for reading, so that devices
    /// and pipes notice nothing.
    pub(super) fn open_path(&self, name: &Path) -> io::Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(
            &self.directory,
            name,
            flags,
            Mode::empty(),
        )?)
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        let mut text = Vec::with_capacity(1024);
        self.open_file(name)?.take(SMALL).read_to_end(&mut text)?;
        Ok(text)
    }

    fn open_file(&self, name: &str) -> io::Result<File> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let descriptor = rustix::fs::openat(&self.directory, name, flags, Mode::empty())?;
        Ok(File::from(descriptor))
    }
}

impl FileStat {
    /// What is known of an open file.
    pub(super) fn of(descriptor: impl rustix::fd::AsFd) -> io::Result<Self> {
        let stat = rustix::fs::statx(
            descriptor,
            c"",
            AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC,
            StatxFlags::BASIC_STATS,
        )?;
        Ok(Self::from(&stat))
    }
}

impl From<&Statx> for FileStat {
    fn from(stat: &Statx) -> Self {
        let time = |time: &rustix::fs::StatxTimestamp| Timestamp {
            seconds: time.tv_sec,
            nanoseconds: time.tv_nsec,
        };
        Self {
            device: Device {
                major: stat.stx_dev_major,
                minor: stat.stx_dev_minor,
            },
            inode: stat.stx_ino,
            modified: time(&stat.stx_mtime),
            changed: time(&stat.stx_ctime),
            size: stat.stx_size,
            links: stat.stx_nlink,
            regular: rustix::fs::FileType::from_raw_mode(stat.stx_mode.into())
                == rustix::fs::FileType::RegularFile,
        }
    }
}

/// Whether an error only says that the process has ended meanwhile, or has no program: kernel
/// threads and ended processes have neither executable nor mappings.
pub(super) fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ESRCH)
}

/// The bytes of a path.
pub(super) fn path_of(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{what} is not as Linux writes it"),
    )
}

/// `812 (any bytes) S 1 812 …`: the name may hold blanks, newlines and parentheses, so that what
/// follows is counted from the last parenthesis. The numbers are those of `proc_pid_stat(5)`.
///
/// The flags are those of include/linux/sched.h.
pub(super) fn parse_stat(text: &[u8]) -> Option<ProcessStat> {
    const PF_KTHREAD: u32 = 0x0020_0000;
    let open = text.iter().position(|byte| *byte == b'(')?;
    let close = text.iter().rposition(|byte| *byte == b')')?;
    let comm = text.get(open + 1..close)?.to_vec();
    let mut fields = str::from_utf8(text.get(close + 1..)?)
        .ok()?
        .split_ascii_whitespace();
    // Fields 3, 4, 9, 20, 22, 39 and 40; each `nth` goes on after the one before.
    let state = *fields.next()?.as_bytes().first()?;
    let parent = fields.next()?.parse().ok()?;
    let flags: u32 = fields.nth(9 - 5)?.parse().ok()?;
    let threads = fields.nth(20 - 10)?.parse().ok()?;
    let start_time = fields.nth(22 - 21)?.parse().ok()?;
    let processor = fields.nth(39 - 23).and_then(|field| field.parse().ok());
    let priority = fields.next().and_then(|field| field.parse::<u32>().ok());
    Some(ProcessStat {
        comm,
        state,
        parent,
        kernel_thread: flags & PF_KTHREAD != 0,
        threads,
        start_time,
        processor,
        real_time: priority.unwrap_or(0) > 0,
    })
}

/// Lines such as `Tgid:\t812` and `Uid:\t0\t0\t0\t0` (real, effective, saved, file system).
pub(super) fn parse_status(text: &[u8]) -> Option<ProcessStatus> {
    let value = |name: &[u8], index| {
        let line = text
            .split(|byte| *byte == b'\n')
            .find_map(|line| line.strip_prefix(name))?;
        let mut values = str::from_utf8(line).ok()?.split_ascii_whitespace();
        values.nth(index)?.parse().ok()
    };
    Some(ProcessStatus {
        thread_group: value(b"Tgid:", 0)?,
        user: value(b"Uid:", 1)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER_COMM: &str = " S 1 812 812 0 -1 4194304 100 0 0 0 5 6 0 0 20 0 3 0 264927 3133440 374 \
         18446744073709551615 1 1 0 0 0 0 0 4096 0 1 0 0 17 5 40 1 0 0 0";

    #[test]
    fn a_process_name_cannot_forge_the_fields_after_it() {
        for comm in [
            b"python3.9".as_slice(),
            b"",
            b"a b",
            b") Z 7 (",
            b"\n(\n",
            b"\xff\x1b[31m)",
        ] {
            let text = [b"812 (", comm, b")", AFTER_COMM.as_bytes(), b"\n"].concat();
            let stat = parse_stat(&text).expect("well-formed");
            assert_eq!(
                stat,
                ProcessStat {
                    comm: comm.to_vec(),
                    state: b'S',
                    parent: 1,
                    kernel_thread: false,
                    threads: 3,
                    start_time: 264_927,
                    processor: Some(5),
                    real_time: true,
                }
            );
        }
    }

    #[test]
    fn what_is_no_stat_is_refused() {
        for text in [
            "",
            "812",
            "812 (x",
            "812 x) S",
            ")(",
            "812 (x) S 1 2 3",
            "812 (x) S -1",
        ] {
            assert_eq!(parse_stat(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn a_process_ends_with_its_last_thread() {
        let mut stat = parse_stat(format!("1 (x){AFTER_COMM}").as_bytes()).expect("well-formed");
        assert!(!stat.has_ended());
        stat.state = b'Z';
        assert!(!stat.has_ended(), "two threads are left");
        stat.threads = 1;
        assert!(stat.has_ended());
    }

    #[test]
    fn status_gives_the_effective_user() {
        let status = parse_status(
            b"Name:\tUid:\\nTgid:\nState:\tS\nTgid:\t812\nPid:\t813\nUid:\t1000\t33\t0\t0\n",
        );
        assert_eq!(
            status,
            Some(ProcessStatus {
                thread_group: 812,
                user: 33,
            })
        );
        assert_eq!(parse_status(b"Name:\tx\nTgid:\t812\nUid:\t1000\n"), None);
        assert_eq!(parse_status(b""), None);
    }

    #[test]
    fn only_numbers_are_processes() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["1", "812", "self", "12a", "sys", "99999999999"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let root = ProcRoot::open(folder.path()).expect("a folder");
        let mut pids = root.pids().expect("readable");
        pids.sort_unstable();
        assert_eq!(pids, [1, 812]);
    }

    #[test]
    fn a_missing_process_is_gone_and_not_an_error_of_its_own() {
        let root = ProcRoot::host().expect("proc");
        // Above the kernel's largest possible limit of pids, 2^22.
        let error = root.stat(5_000_000).expect_err("no such process");
        assert!(is_gone(&error), "{error}");
    }

    #[test]
    fn the_own_process_is_read() {
        let root = ProcRoot::host().expect("proc");
        let pid = std::process::id();
        let stat = root.stat(pid).expect("alive");
        assert_eq!(stat.parent, nix::unistd::getppid().as_raw().cast_unsigned());
        assert!(!stat.has_ended());
        let status = root.status(pid).expect("alive");
        assert_eq!(status.thread_group, pid);
        assert_eq!(status.user, nix::unistd::geteuid().as_raw());
        assert!(root.pids().expect("readable").contains(&pid));
        let exe = root.file_stat(Path::new("self/exe")).expect("alive");
        assert!(exe.regular && exe.size > 0);
    }
}
