//! The executable mappings of a process, from `/proc/PID/maps`.
//!
//! ```text
//! start        end          perm offset   dev   inode                      path
//! 7f3c5c021000-7f3c5c22d000 r-xp 00021000 fd:00 1835234                    /usr/lib/libpython3.9.so.1.0
//! 7f3c5d000000-7f3c5d001000 r-xp 00000000 fd:00 1835777                    /tmp/plugin.so (deleted)
//! 7ffd0a5f2000-7ffd0a5f4000 r-xp 00000000 00:00 0                          [vdso]
//! ```
//!
//! The kernel writes a newline of the path as `\012` and leaves every other byte alone, the
//! backslash included, so that a file which has `\012` in its name cannot be told from one which
//! has a newline there (`show_map_vma` in `fs/proc/task_mmu.c`). A path is therefore shown, and tried
//! as a last resort, but never taken for the identity of a file.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;

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

/// Text of `maps` that is read of one process, in bytes: twice what 65,530 mappings (the kernel's
/// default limit) usually need. What comes after is left out.
const LIMIT: u64 = 16 << 20;

/// Longest line, in bytes: a path of 4,096 bytes that are all newlines, and the columns before it.
const LONGEST_LINE: usize = 4 * 4096 + 256;

/// A file of which a process maps some part as executable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedFile {
    /// The device of the file's superblock. On btrfs, and for overlay file systems on some
    /// kernels, this is not the device that `stat(2)` gives.
    pub device: Device,
    /// The inode number.
    pub inode: u64,
    /// The path as the kernel shows it, without the mark of a deleted file.
    pub path: Vec<u8>,
    /// No directory has the file under that name any more.
    pub deleted: bool,
}

/// A range of addresses that is mapped from a file, and executable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Address of the first byte.
    pub start: u64,
    /// Address after the last byte.
    pub end: u64,
    /// Where in the file it starts, in bytes.
    pub offset: u64,
    /// Index into [`Mappings::files`].
    pub file: usize,
}

/// All executable mappings of files in a process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mappings {
    /// The files, each once, in the order of their addresses.
    pub files: Vec<MappedFile>,
    /// Where they are mapped, in the order of the addresses.
    pub segments: Vec<Segment>,
}

impl Mappings {
    /// Reads the text of `/proc/PID/maps`. Lines that are not as the kernel writes them are left
    /// out.
    pub fn read(maps: impl Read) -> io::Result<Self> {
        let mut mappings = Self::default();
        for_each_line(maps, |line| mappings.add(line))?;
        Ok(mappings)
    }

    fn add(&mut self, line: &[u8]) {
        let Some((mut segment, file)) = parse(line) else {
            return;
        };
        // The path is compared too: subvolumes of btrfs share a device and have the same inode
        // numbers.
        let known = self.files.iter().position(|other| *other == file);
        segment.file = known.unwrap_or_else(|| {
            self.files.push(file);
            self.files.len() - 1
        });
        self.segments.push(segment);
    }
}

/// Hands the lines of `/proc/PID/maps` to `take`, one by one.
pub(super) fn for_each_line(maps: impl Read, mut take: impl FnMut(&[u8])) -> io::Result<()> {
    let mut maps = maps.take(LIMIT);
    let mut buffer = vec![0; 4 * LONGEST_LINE];
    let mut filled = 0;
    loop {
        // The kernel gives at most a page at a time, and only whole lines.
        let free = buffer.get_mut(filled..).unwrap_or_default();
        let count = match maps.read(free) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        filled += count;
        let text = buffer.get(..filled).unwrap_or_default();
        let mut used = 0;
        while let Some(line) = text.get(used..).and_then(first_line) {
            used += line.len() + 1;
            take(line);
        }
        buffer.copy_within(used..filled, 0);
        filled -= used;
        if filled == buffer.len() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "a line is longer than any path",
            ));
        }
    }
    take(buffer.get(..filled).unwrap_or_default());
    Ok(())
}

fn first_line(text: &[u8]) -> Option<&[u8]> {
    let end = text.iter().position(|byte| *byte == b'\n')?;
    text.get(..end)
}

/// `None` for what is not an executable mapping of a file.
fn parse(line: &[u8]) -> Option<(Segment, MappedFile)> {
    let (range, rest) = split(line, b' ')?;
    let (permissions, rest) = split(rest, b' ')?;
    if permissions.get(2) != Some(&b'x') {
        return None;
    }
    let (offset, rest) = split(rest, b' ')?;
    let (device, rest) = split(rest, b' ')?;
    // A file whose name is empty has nothing after the inode, not even the blanks.
    let (inode, path) = split(rest, b' ').unwrap_or((rest, b""));
    let inode = decimal(inode)?;
    if inode == 0 {
        return None;
    }
    let (start, end) = split(range, b'-')?;
    let (major, minor) = split(device, b':')?;
    let segment = Segment {
        start: hexadecimal(start)?,
        end: hexadecimal(end)?,
        offset: hexadecimal(offset)?,
        file: 0,
    };
    let path = path.trim_ascii_start();
    let kept = path.strip_suffix(b" (deleted)");
    let file = MappedFile {
        device: Device {
            major: u32::try_from(hexadecimal(major)?).ok()?,
            minor: u32::try_from(hexadecimal(minor)?).ok()?,
        },
        inode,
        path: unescape(kept.unwrap_or(path)),
        deleted: kept.is_some(),
    };
    Some((segment, file))
}

/// The addresses of a mapping of memory that the process alone has, and of no file: its heap, and what
/// it has asked the kernel for. `None` for anything else.
pub(super) fn own_memory(line: &[u8]) -> Option<Range<u64>> {
    let (range, rest) = split(line, b' ')?;
    let (permissions, rest) = split(rest, b' ')?;
    if !permissions.starts_with(b"rw") || permissions.get(3) != Some(&b'p') {
        return None;
    }
    let (_, rest) = split(rest, b' ')?;
    let (_, rest) = split(rest, b' ')?;
    let (inode, name) = split(rest, b' ').unwrap_or((rest, b""));
    let name = name.trim_ascii_start();
    let is_own = name.is_empty() || name == b"[heap]" || name.starts_with(b"[anon:");
    if inode != b"0" || !is_own {
        return None;
    }
    let (start, end) = split(range, b'-')?;
    let (start, end) = (hexadecimal(start)?, hexadecimal(end)?);
    (start < end).then_some(start..end)
}

fn split(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let middle = text.iter().position(|byte| *byte == at)?;
    Some((text.get(..middle)?, text.get(middle + 1..)?))
}

fn hexadecimal(digits: &[u8]) -> Option<u64> {
    u64::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
}

fn decimal(digits: &[u8]) -> Option<u64> {
    str::from_utf8(digits).ok()?.parse().ok()
}

/// Turns `\012` back into the newline that it stands for.
fn unescape(path: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&byte, tail)) = rest.split_first() {
        if let Some(tail) = rest.strip_prefix(br"\012") {
            plain.push(b'\n');
            rest = tail;
        } else {
            plain.push(byte);
            rest = tail;
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(minor: u32, inode: u64, path: &str, deleted: bool) -> MappedFile {
        MappedFile {
            device: Device { major: 0xfd, minor },
            inode,
            path: path.into(),
            deleted,
        }
    }

    #[test]
    fn lines_become_mappings_of_files() {
        for (line, expected) in [
            (
                "7f3c5c021000-7f3c5c22d000 r-xp 00021000 fd:00 1835234                    /usr/lib/libpython3.9.so.1.0",
                Some(file(0, 1_835_234, "/usr/lib/libpython3.9.so.1.0", false)),
            ),
            (
                "7f3c5c021000-7f3c5c22d000 r-xp 00000000 fd:01 5                          /tmp/a b (deleted)",
                Some(file(1, 5, "/tmp/a b", true)),
            ),
            (
                "7f3c5c021000-7f3c5c22d000 --xs 00000000 fd:00 5                          /x\\012y\\z",
                Some(file(0, 5, "/x\ny\\z", false)),
            ),
            (
                "400000-401000 rwxp 00000000 fd:103 18446744073709551615 /memfd:jit (deleted)",
                Some(file(0x103, u64::MAX, "/memfd:jit", true)),
            ),
            (
                "400000-401000 r-xp 00000000 fd:00 7 ",
                Some(file(0, 7, "", false)),
            ),
            (
                "400000-401000 r-xp 00000000 fd:00 7",
                Some(file(0, 7, "", false)),
            ),
            // Not executable, not a file, not a line.
            ("400000-401000 rw-p 00000000 fd:00 7    /usr/bin/x", None),
            (
                "7ffd0a5f2000-7ffd0a5f4000 r-xp 00000000 00:00 0          [vdso]",
                None,
            ),
            ("7ffd0a5f2000-7ffd0a5f4000 r-xp 00000000 00:00 0 ", None),
            ("400000-401000 r-xp 00000000 fd:00", None),
            ("400000 r-xp 00000000 fd:00 7 /x", None),
            ("400000-401000 r-xp 00000000 fd:1ffffffff 7 /x", None),
            ("400000-g r-xp 00000000 fd:00 7 /x", None),
            ("400000-401000 r-xp 00000000 fd:00 -7 /x", None),
            ("400000-401000 r- 0 fd:00 7 /x", None),
            ("", None),
            ("   ", None),
        ] {
            let parsed = parse(line.as_bytes()).map(|(_, file)| file);
            assert_eq!(parsed, expected, "{line}");
        }
    }

    #[test]
    fn own_memory_is_what_is_written_to_and_of_no_file() {
        for (line, expected) in [
            ("01b7c000-01d63000 rw-p 00000000 00:00 0    [heap]", true),
            ("01b7c000-01d63000 rw-p 00000000 00:00 0 ", true),
            ("01b7c000-01d63000 rw-p 00000000 00:00 0", true),
            (
                "01b7c000-01d63000 rw-p 00000000 00:00 0    [anon:arena]",
                true,
            ),
            ("01b7c000-01d63000 rw-p 00000000 00:00 0    [stack]", false),
            ("01b7c000-01d63000 rw-s 00000000 00:00 0 ", false),
            ("01b7c000-01d63000 r--p 00000000 00:00 0 ", false),
            (
                "01b7c000-01d63000 rw-p 00000000 fd:00 7    /usr/bin/x",
                false,
            ),
            ("01d63000-01b7c000 rw-p 00000000 00:00 0 ", false),
            ("01b7c000 rw-p 00000000 00:00 0 ", false),
            ("", false),
        ] {
            let expected = expected.then_some(0x1b7_c000..0x1d6_3000);
            assert_eq!(own_memory(line.as_bytes()), expected, "{line}");
        }
    }

    #[test]
    fn a_path_need_not_be_text() {
        let (_, file) = parse(b"1000-2000 r-xp 0 fd:00 7   /\xff\x1b[31m").expect("a mapping");
        assert_eq!(file.path, b"/\xff\x1b[31m");
    }

    #[test]
    fn a_file_is_listed_once_however_often_it_is_mapped() {
        let mappings = Mappings::read(
            b"1000-2000 r-xp 00001000 fd:00 7   /lib/a\n\
              2000-3000 r--p 00002000 fd:00 7   /lib/a\n\
              3000-4000 r-xp 00003000 fd:00 7   /lib/a\n\
              4000-5000 r-xp 00000000 fd:00 7   /subvolume/a\n"
                .as_slice(),
        )
        .expect("readable");
        assert_eq!(
            mappings.files,
            [
                file(0, 7, "/lib/a", false),
                file(0, 7, "/subvolume/a", false)
            ]
        );
        let segment = |start, end, offset, file| Segment {
            start,
            end,
            offset,
            file,
        };
        assert_eq!(
            mappings.segments,
            [
                segment(0x1000, 0x2000, 0x1000, 0),
                segment(0x3000, 0x4000, 0x3000, 0),
                segment(0x4000, 0x5000, 0, 1),
            ]
        );
    }

    /// Gives its text in pieces of a few bytes, as a pipe may.
    struct Dribble<'a>(&'a [u8]);

    impl Read for Dribble<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = buffer.len().min(self.0.len()).min(7);
            let (piece, rest) = self.0.split_at(count);
            buffer[..count].copy_from_slice(piece);
            self.0 = rest;
            Ok(count)
        }
    }

    #[test]
    fn lines_may_come_in_pieces_and_be_as_long_as_paths_are() {
        let long = "\\012".repeat(4000);
        let text = format!("1000-2000 r-xp 0 fd:00 7 /{long}\n3000-4000 r-xp 0 fd:00 8 /b");
        let mappings = Mappings::read(Dribble(text.as_bytes())).expect("readable");
        assert_eq!(mappings.files.len(), 2);
        assert_eq!(mappings.files[0].path.len(), 4001);
        assert_eq!(mappings.files[1].path, b"/b");
    }

    #[test]
    fn a_line_without_end_is_an_error_and_not_a_memory_hog() {
        let error = Mappings::read(io::repeat(b'x')).expect_err("endless");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn the_own_executable_is_among_the_own_mappings() {
        let maps = std::fs::File::open("/proc/self/maps").expect("proc");
        let exe = std::fs::read_link("/proc/self/exe").expect("proc");
        let mappings = Mappings::read(maps).expect("readable");
        let exe = std::os::unix::ffi::OsStrExt::as_bytes(exe.as_os_str());
        assert!(mappings.files.iter().any(|file| file.path == exe));
    }
}
