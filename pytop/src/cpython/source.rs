//! Bounded positioned reads of a file that may change or shrink while it is read.
//!
//! A mapped file would be quicker to write and would kill pytop with SIGBUS when somebody cuts
//! it, so every byte comes through `pread`, which touches no shared file position either. Most
//! ELF files keep everything that is asked of them first (headers, notes, hash table) in their
//! first page: it is read once and kept.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;

/// Bytes that are read at once when a file is opened.
const HEAD: usize = 4096;

/// Why a file could not be examined.
#[derive(Debug)]
pub(super) enum Fault {
    /// The kernel refused a read.
    Read(io::Error),
    /// The file contradicts itself: a part of it, and what is wrong with that part.
    Damaged {
        part: &'static str,
        problem: &'static str,
    },
}

impl Fault {
    pub(super) fn damaged(part: &'static str, problem: &'static str) -> Self {
        Self::Damaged { part, problem }
    }
}

/// What can be read at a position: a file, or bytes in a test.
pub(super) trait ReadAt {
    /// Reads at most `buffer.len()` bytes; 0 at the end.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
}

impl ReadAt for File {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        FileExt::read_at(self, buffer, offset)
    }
}

impl ReadAt for &[u8] {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|start| self.get(start..))
            .unwrap_or_default();
        let count = rest.len().min(buffer.len());
        if let (Some(buffer), Some(rest)) = (buffer.get_mut(..count), rest.get(..count)) {
            buffer.copy_from_slice(rest);
        }
        Ok(count)
    }
}

#[cfg(test)]
impl ReadAt for Vec<u8> {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.as_slice().read_at(buffer, offset)
    }
}

/// A file of known length, with its first page in memory.
pub(super) struct Source<'f> {
    file: &'f dyn ReadAt,
    length: u64,
    head: Vec<u8>,
}

impl<'f> Source<'f> {
    pub(super) fn new(file: &'f dyn ReadAt, length: u64) -> Result<Self, Fault> {
        let size = usize::try_from(length).map_or(HEAD, |length| length.min(HEAD));
        let mut head = vec![0; size];
        let count = fill(file, &mut head, 0).map_err(Fault::Read)?;
        head.truncate(count);
        Ok(Self { file, length, head })
    }

    /// The first bytes of the file, a page at most.
    pub(super) fn head(&self) -> &[u8] {
        &self.head
    }

    /// Reads `size` bytes at `offset`, all of them or none, and never more than `limit`. `part`
    /// names what is read, for the message.
    pub(super) fn read(
        &self,
        offset: u64,
        size: u64,
        limit: u64,
        part: &'static str,
    ) -> Result<Cow<'_, [u8]>, Fault> {
        // The end is checked before memory is taken: sizes in a hostile file are any number.
        let end = offset.checked_add(size).filter(|end| *end <= self.length);
        let Some(end) = end else {
            return Err(Fault::damaged(part, "lies beyond the end of the file"));
        };
        let (Ok(length), true) = (usize::try_from(size), size <= limit) else {
            return Err(Fault::damaged(part, "is larger than any that is real"));
        };
        if let (Ok(start), Ok(end)) = (usize::try_from(offset), usize::try_from(end))
            && let Some(bytes) = self.head.get(start..end)
        {
            return Ok(Cow::Borrowed(bytes));
        }
        let mut bytes = vec![0; length];
        if fill(self.file, &mut bytes, offset).map_err(Fault::Read)? < length {
            return Err(Fault::damaged(part, "was cut off while it was read"));
        }
        Ok(Cow::Owned(bytes))
    }
}

/// Reads until the buffer is full or the file ends.
fn fill(file: &dyn ReadAt, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut count = 0;
    while let Some(rest) = buffer.get_mut(count..)
        && !rest.is_empty()
    {
        match file.read_at(rest, offset.saturating_add(count as u64)) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
