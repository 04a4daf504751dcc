//! The names of functions, each read from the kernel once.
//!
//! The kernel keeps names by their hash, and so does this cache, so that an interval in which the
//! same functions are called as before reads no string at all. When the kernel's table is half
//! full, the names that were not called lately are taken out of it. They stay in the cache for a
//! while longer: a program that found a name in the table just before it was taken out still
//! counts under its hash.

use std::collections::HashMap;

use aya::maps::{HashMap as BpfHashMap, MapData};
use pytop_common::count::FrameText;

use crate::model::Text;

/// Names in the kernel's table above which those out of use are taken out.
const KEPT_IN_KERNEL: usize = 65_536;
/// Intervals for which a name is kept here after it was taken out there. One would do.
const KEPT_AFTER_REMOVAL: u64 = 3;

/// The names of a function, as its process has them; a name that was too long ends in `…`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Names {
    /// The code object's filename.
    pub filename: Text,
    /// The code object's name.
    pub function: Text,
}

#[derive(Debug)]
struct Entry {
    names: Names,
    last_used: u64,
    removed: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Texts {
    table: BpfHashMap<MapData, u64, FrameText>,
    cache: HashMap<u64, Entry>,
    in_kernel: usize,
    interval: u64,
}

impl Texts {
    pub(super) fn new(table: BpfHashMap<MapData, u64, FrameText>) -> Self {
        Self {
            table,
            cache: HashMap::new(),
            in_kernel: 0,
            interval: 0,
        }
    }

    pub(super) fn begin_interval(&mut self) {
        self.interval += 1;
    }

    /// The names with this hash; `None` when the kernel has none.
    pub(super) fn get(&mut self, hash: u64) -> Option<Names> {
        let interval = self.interval;
        if let Some(entry) = self.cache.get_mut(&hash) {
            entry.last_used = interval;
            if entry.removed.is_some_and(|removed| removed + 1 < interval) {
                // Used again long after it was taken out, so the kernel has put it in again.
                entry.removed = None;
                self.in_kernel += 1;
            }
            return Some(entry.names.clone());
        }
        let text = self.table.get(&hash, 0).ok()?;
        let names = names(&text);
        self.in_kernel += 1;
        self.cache.insert(
            hash,
            Entry {
                names: names.clone(),
                last_used: interval,
                removed: None,
            },
        );
        Some(names)
    }

    pub(super) fn end_interval(&mut self) {
        let interval = self.interval;
        if self.in_kernel > KEPT_IN_KERNEL {
            for (hash, entry) in &mut self.cache {
                if entry.last_used < interval && entry.removed.is_none() {
                    // It is there, or the kernel has lost it already: either way it is out now.
                    let _ = self.table.remove(hash);
                    entry.removed = Some(interval);
                    self.in_kernel -= 1;
                }
            }
        }
        self.cache.retain(|_, entry| {
            entry
                .removed
                .is_none_or(|removed| removed.max(entry.last_used) + KEPT_AFTER_REMOVAL > interval)
        });
    }
}

fn names(text: &FrameText) -> Names {
    let filename = string(&text.filename, text.filename_length, text.filename_size);
    let function = string(&text.function, text.function_length, text.function_size);
    Names { filename, function }
}

/// The bytes that were read, and a mark where the string went on.
fn string(bytes: &[u8], length: u16, size: u16) -> Text {
    let read = bytes.get(..usize::from(length)).unwrap_or(bytes);
    if size <= length {
        return Text::from(read);
    }
    // The cut may have split a character; half of one is worth nothing.
    let whole = match str::from_utf8(read) {
        Err(error) if error.error_len().is_none() => error.valid_up_to(),
        _ => read.len(),
    };
    let mut cut = read.get(..whole).unwrap_or(read).to_vec();
    cut.extend_from_slice("…".as_bytes());
    Text::from(cut.as_slice())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_name_says_so_and_keeps_whole_characters() {
        for (bytes, size, shown) in [
            ("main".as_bytes(), 4, "main"),
            (b"main", 5, "main…"),
            ("naïve".as_bytes(), 9, "naïve…"),
            (b"na\xc3", 9, "na…"),
            (b"na\xff", 9, "na\\xff…"),
            (b"", 0, ""),
        ] {
            let length = u16::try_from(bytes.len()).unwrap();
            assert_eq!(string(bytes, length, size).visible(), shown);
        }
    }
}
