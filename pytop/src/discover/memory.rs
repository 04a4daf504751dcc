//! What a process has in its memory: the pages in which its objects are.
//!
//! Only pages are read that are in memory, so that the process does not get any by it, nor any back from
//! the swap space: `/proc/PID/pagemap` has eight bytes for each page, of which the uppermost bit says
//! that (`Documentation/admin-guide/mm/pagemap.rst`).
//!
//! ```text
//! /proc/812/maps      01b7c000-01d63000 rw-p 00000000 00:00 0   [heap]
//! /proc/812/pagemap   …81800000000a4c11 0000000000000000 8180…   the first is there, the second is not
//! /proc/812/mem       …                                          the first, from 0x1b7c000 on
//! ```

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::mapping::{for_each_line, own_memory};
use super::proc_root::ProcRoot;

/// What is known of a page, in bytes, and the bit of it which says that it is in memory.
const KNOWN: usize = 8;
const PRESENT: u64 = 1 << 63;
/// Pages that are asked for at once.
const ASKED: u64 = 4096;
/// Bytes that are read at once.
const PART: u64 = 256 << 10;

/// The memory that a process has to itself, as far as it is not that of a file or of a stack.
#[derive(Debug)]
pub struct Memory {
    memory: File,
    /// The addresses of pages that are in memory, in their order, as ranges without gaps.
    ranges: Vec<Range<u64>>,
}

impl Memory {
    /// Finds what a process has, up to so many bytes.
    pub fn of(root: &ProcRoot, pid: u32, most: u64) -> io::Result<Self> {
        let mut own = Vec::new();
        for_each_line(root.maps(pid)?, |line| own.extend(own_memory(line)))?;
        let pages = root.page_map(pid)?;
        let page = rustix::param::page_size() as u64;
        let mut present = PresentPages::of_at_most(most, page);
        for mapping in own {
            let mut start = mapping.start;
            while start < mapping.end && !present.are_full() {
                let end = mapping.end.min(start.saturating_add(ASKED * page));
                present.add(start, &known(&pages, start / page..end / page)?);
                start = end;
            }
        }
        Ok(Self {
            memory: root.memory(pid)?,
            ranges: present.ranges,
        })
    }

    /// Takes a copy. What cannot be read any more is 0.
    #[must_use]
    pub fn copy(&self) -> Vec<u8> {
        let mut copy = Vec::new();
        self.for_each_part(|_, part| copy.extend_from_slice(part));
        copy
    }

    /// Hands parts of a copy to `take`, each with its offset in the copy.
    pub fn for_each_part(&self, mut take: impl FnMut(usize, &[u8])) {
        let mut buffer = Vec::new();
        let mut offset = 0;
        for range in &self.ranges {
            let mut start = range.start;
            while start < range.end {
                let length = PART.min(range.end - start);
                buffer.clear();
                buffer.resize(usize::try_from(length).unwrap_or(0), 0);
                // It may have been given back meanwhile, or the process has ended.
                let _ = self.memory.read_exact_at(&mut buffer, start);
                take(offset, &buffer);
                offset += buffer.len();
                start += length;
            }
        }
    }

    /// The address at which a byte of a copy was.
    #[must_use]
    pub fn address_of(&self, offset: usize) -> Option<u64> {
        let mut offset = u64::try_from(offset).ok()?;
        for range in &self.ranges {
            let length = range.end - range.start;
            if offset < length {
                return Some(range.start + offset);
            }
            offset -= length;
        }
        None
    }

    /// The four bytes at an address, as a number. `None` where nothing can be read any more.
    #[must_use]
    pub fn number_at(&self, address: u64) -> Option<u32> {
        let mut bytes = [0; 4];
        self.memory.read_exact_at(&mut bytes, address).ok()?;
        Some(u32::from_ne_bytes(bytes))
    }
}

/// What the kernel tells of pages, by their numbers: the eight bytes of each.
fn known(pages: &File, range: Range<u64>) -> io::Result<Vec<u8>> {
    let count = usize::try_from(range.end.saturating_sub(range.start)).unwrap_or(0);
    let mut known = vec![0; count * KNOWN];
    pages.read_exact_at(&mut known, range.start * KNOWN as u64)?;
    Ok(known)
}

/// Pages that are in memory, up to so many bytes.
struct PresentPages {
    ranges: Vec<Range<u64>>,
    left: u64,
    /// The size of a page.
    page: u64,
}

impl PresentPages {
    fn of_at_most(bytes: u64, page: u64) -> Self {
        Self {
            ranges: Vec::new(),
            left: bytes,
            page,
        }
    }

    fn are_full(&self) -> bool {
        self.left < self.page
    }

    /// Adds those of some pages in a row that are in memory; of each, the eight bytes are `known`.
    fn add(&mut self, start: u64, known: &[u8]) {
        let (known, _) = known.as_chunks::<KNOWN>();
        let addresses = (0..).map(|number| start + number * self.page);
        for (address, known) in addresses.zip(known) {
            if self.are_full() {
                break;
            }
            if u64::from_ne_bytes(*known) & PRESENT == 0 {
                continue;
            }
            self.left -= self.page;
            match self.ranges.last_mut() {
                Some(last) if last.end == address => last.end += self.page,
                _ => self.ranges.push(address..address + self.page),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: u64 = 4096;

    #[test]
    fn only_pages_in_memory_are_taken_and_not_too_many() {
        let known: Vec<u8> = [PRESENT | 7, PRESENT, 0, 1 << 62, PRESENT, PRESENT]
            .iter()
            .flat_map(|page: &u64| page.to_ne_bytes())
            .collect();
        let mut present = PresentPages::of_at_most(4 * PAGE - 1, PAGE);
        present.add(0x10000, &known);
        assert_eq!(present.ranges, [0x10000..0x12000, 0x14000..0x15000]);
        assert!(present.are_full());
        present.add(0x20000, &known);
        assert_eq!(present.ranges.len(), 2);
    }

    #[test]
    fn ranges_go_on_where_the_last_one_ended() {
        let mut present = PresentPages::of_at_most(1 << 20, PAGE);
        present.add(0x10000, &PRESENT.to_ne_bytes());
        present.add(0x11000, &PRESENT.to_ne_bytes());
        assert_eq!(present.ranges, vec![0x10000..0x12000]);
    }

    /// The own memory, as that of another process.
    #[test]
    fn what_is_written_is_read() {
        let root = ProcRoot::host().expect("proc");
        // A number that is nowhere else but in what is compared with it.
        let here = Box::new([0x1357_9bdf_u32 ^ std::process::id(); 2]);
        let memory = Memory::of(&root, std::process::id(), 1 << 30).expect("the own memory");
        let address = here.as_ptr().addr() as u64;
        assert_eq!(memory.number_at(address + 4), Some(here[1]));
        assert_eq!(memory.number_at(8), None);

        let is_in = |range: &&Range<u64>| range.contains(&address);
        let range = memory.ranges.iter().find(is_in).expect("it is on the heap");
        let before = memory
            .ranges
            .iter()
            .filter(|other| other.end <= range.start);
        let before: u64 = before.map(|range| range.end - range.start).sum();
        let offset = usize::try_from(before + address - range.start).expect("an offset");
        assert_eq!(memory.address_of(offset), Some(address));
        let copy = memory.copy();
        assert_eq!(copy[offset..offset + 4], here[0].to_ne_bytes());
        assert_eq!(memory.address_of(copy.len()), None);
    }
}
