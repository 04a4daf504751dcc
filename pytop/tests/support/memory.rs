//! What a probe leaves in a traced process: a breakpoint and a raised semaphore.

use std::fs::{self, File};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::thread;
use std::time::Instant;

use ::pytop::cpython::{Site, examine};

use super::DEADLINE;

/// The markers of a file as they are in one process's memory.
pub(crate) struct Marked {
    memory: File,
    places: Vec<Place>,
}

struct Place {
    instruction: u64,
    semaphore: u64,
    /// The byte that the file has there.
    original: u8,
}

/// A line of `/proc/PID/maps`, as far as it is needed.
struct Mapping {
    start: u64,
    end: u64,
    offset: u64,
    executable: bool,
    writable: bool,
    inode: u64,
}

impl Marked {
    /// Finds the markers of `file` in a process that has loaded it.
    pub(crate) fn find(pid: u32, file: &Path) -> Self {
        let opened = File::open(file).expect("an interpreter can be opened");
        let interpreter = examine(&opened, file).expect("an interpreter can be examined");
        let interpreter = interpreter.expect("it is an interpreter");
        let sites = interpreter.entry.expect("it has markers");
        let inode = opened
            .metadata()
            .expect("an interpreter has metadata")
            .ino();
        let mappings = mappings(pid, inode);
        let places = sites
            .iter()
            .map(|site| Place::find(site, &opened, &mappings))
            .collect();
        let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory can be opened");
        Self { memory, places }
    }

    /// The semaphores of all markers.
    pub(crate) fn semaphores(&self) -> Vec<u16> {
        let read = |place: &Place| {
            let mut bytes = [0; 2];
            self.memory
                .read_exact_at(&mut bytes, place.semaphore)
                .expect("memory can be read");
            u16::from_ne_bytes(bytes)
        };
        self.places.iter().map(read).collect()
    }

    /// Whether each marker has a breakpoint instead of its own instruction.
    pub(crate) fn breakpoints(&self) -> Vec<bool> {
        let read = |place: &Place| {
            let mut byte = [0];
            self.memory
                .read_exact_at(&mut byte, place.instruction)
                .expect("memory can be read");
            byte[0] != place.original
        };
        self.places.iter().map(read).collect()
    }

    /// No semaphore is raised and no breakpoint is there.
    pub(crate) fn is_untouched(&self) -> bool {
        self.semaphores().iter().all(|semaphore| *semaphore == 0)
            && self.breakpoints().iter().all(|breakpoint| !breakpoint)
    }

    /// Waits until the kernel has taken the probes out, which it does after pytop has gone.
    pub(crate) fn await_untouched(&self) {
        let deadline = Instant::now() + DEADLINE;
        while !self.is_untouched() {
            assert!(
                Instant::now() < deadline,
                "semaphores {:?}",
                self.semaphores()
            );
            // Nobody tells what the kernel has done, so this asks again and again.
            thread::yield_now();
        }
    }

    /// Every semaphore is raised and every breakpoint is there.
    pub(crate) fn is_probed(&self) -> bool {
        self.semaphores().iter().all(|semaphore| *semaphore > 0)
            && self.breakpoints().iter().all(|breakpoint| *breakpoint)
    }
}

impl Place {
    fn find(site: &Site, file: &File, mappings: &[Mapping]) -> Self {
        let address = |offset: u64, wanted: fn(&Mapping) -> bool| {
            let mapping = mappings
                .iter()
                .filter(|mapping| wanted(mapping))
                .find(|mapping| {
                    let length = mapping.end - mapping.start;
                    (mapping.offset..mapping.offset + length).contains(&offset)
                });
            mapping.map(|mapping| mapping.start + (offset - mapping.offset))
        };
        let semaphore = site
            .semaphore_file_offset
            .expect("these markers have semaphores");
        let mut original = [0];
        file.read_exact_at(&mut original, site.file_offset)
            .expect("the file has the instruction");
        Self {
            instruction: address(site.file_offset, |mapping| mapping.executable)
                .expect("the marker is in memory"),
            semaphore: address(semaphore, |mapping| mapping.writable)
                .expect("the semaphore is in memory"),
            original: original[0],
        }
    }
}

/// Where a process has mapped the file with this inode.
fn mappings(pid: u32, inode: u64) -> Vec<Mapping> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).expect("a process has mappings");
    let parse = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (start, end) = words.next()?.split_once('-')?;
        let permissions = words.next()?;
        let offset = words.next()?;
        let inode = words.nth(1)?;
        Some(Mapping {
            start: u64::from_str_radix(start, 16).ok()?,
            end: u64::from_str_radix(end, 16).ok()?,
            offset: u64::from_str_radix(offset, 16).ok()?,
            executable: permissions.contains('x'),
            writable: permissions.contains('w'),
            inode: inode.parse().ok()?,
        })
    };
    maps.lines()
        .filter_map(parse)
        .filter(|mapping| mapping.inode == inode)
        .collect()
}

/// Whether the instructions of a file are in a process's memory as they are in the file: no probe
/// is anywhere among them.
pub(crate) fn has_own_code(pid: u32, file: &Path) -> bool {
    let content = fs::read(file).expect("an interpreter can be read");
    let inode = fs::metadata(file)
        .expect("an interpreter has metadata")
        .ino();
    let memory = File::open(format!("/proc/{pid}/mem")).expect("its memory can be opened");
    let mut mappings = mappings(pid, inode);
    mappings.retain(|mapping| mapping.executable);
    assert!(!mappings.is_empty(), "{} is not mapped", file.display());
    mappings.iter().all(|mapping| {
        let start = usize::try_from(mapping.offset).expect("a small file");
        let length = usize::try_from(mapping.end - mapping.start).expect("a small file");
        let of_file = &content[start..content.len().min(start + length)];
        let mut in_memory = vec![0; of_file.len()];
        memory
            .read_exact_at(&mut in_memory, mapping.start)
            .expect("memory can be read");
        in_memory == of_file
    })
}
