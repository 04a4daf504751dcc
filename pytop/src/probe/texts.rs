//! The names of functions, each read from the kernel once.
//!
//! The kernel keeps names by their hash, and so does this cache, so that an interval in which the
//! same functions are called as before reads no string at all. When the kernel's table is half
//! full, the names that were not called lately are taken out of it. They stay in the cache for a
//! while longer: a program that found a name in the table just before it was taken out still
//! counts under its hash.

use std::borrow::Cow;

use aya::maps::{HashMap as BpfHashMap, MapData};
use foldhash::{HashMap, HashMapExt as _, HashSet, HashSetExt as _};
use pytop_common::count::{Encoding, FrameText};

use crate::model::Text;

/// Intervals for which a name is kept here after it was taken out there. One would do.
const KEPT_AFTER_REMOVAL: u64 = 3;

/// The names of a function, as its process has them; a name that was too long ends in `…`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
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
    /// Filenames, which many functions have in common.
    filenames: HashSet<Text>,
    in_kernel: usize,
    /// Names in the kernel's table above which those out of use are taken out.
    kept_in_kernel: usize,
    interval: u64,
}

impl Texts {
    /// Over the kernel's table, which has room for `size` names.
    pub(super) fn new(table: BpfHashMap<MapData, u64, FrameText>, size: u32) -> Self {
        Self {
            table,
            kept_in_kernel: usize::try_from(size / 2).unwrap_or(usize::MAX),
            cache: HashMap::new(),
            filenames: HashSet::new(),
            in_kernel: 0,
            interval: 0,
        }
    }

    pub(super) fn begin_interval(&mut self) {
        self.interval += 1;
    }

    /// Says that a function with these names was called, and whether its names are known.
    pub(super) fn mark(&mut self, hash: u64) -> bool {
        let interval = self.interval;
        if let Some(entry) = self.cache.get_mut(&hash) {
            entry.last_used = interval;
            if entry.removed.is_some_and(|removed| removed + 1 < interval) {
                // Used again long after it was taken out, so the kernel has put it in again.
                entry.removed = None;
                self.in_kernel += 1;
            }
            return true;
        }
        let Ok(text) = self.table.get(&hash, 0) else {
            return false;
        };
        let mut names = names(&text);
        if let Some(same) = self.filenames.get(&names.filename) {
            names.filename = same.clone();
        } else {
            self.filenames.insert(names.filename.clone());
        }
        self.in_kernel += 1;
        self.cache.insert(
            hash,
            Entry {
                names,
                last_used: interval,
                removed: None,
            },
        );
        true
    }

    /// Names that were marked in this interval.
    pub(super) fn get(&self, hash: u64) -> Option<&Names> {
        self.cache.get(&hash).map(|entry| &entry.names)
    }

    pub(super) fn end_interval(&mut self) {
        let interval = self.interval;
        if self.in_kernel > self.kept_in_kernel {
            for (hash, entry) in &mut self.cache {
                if entry.last_used < interval && entry.removed.is_none() {
                    // It is there, or the kernel has lost it already: either way it is out now.
                    let _ = self.table.remove(hash);
                    entry.removed = Some(interval);
                    self.in_kernel -= 1;
                }
            }
        }
        let before = self.cache.len();
        self.cache.retain(|_, entry| {
            entry
                .removed
                .is_none_or(|removed| removed.max(entry.last_used) + KEPT_AFTER_REMOVAL > interval)
        });
        if self.cache.len() < before {
            self.filenames.retain(Text::is_shared);
        }
    }
}

fn names(text: &FrameText) -> Names {
    let [filename, function] = text.encodings;
    Names {
        filename: name(
            &text.filename,
            text.filename_length,
            text.filename_cut,
            filename,
        ),
        function: name(
            &text.function,
            text.function_length,
            text.function_cut,
            function,
        ),
    }
}

/// The name that was read, and a mark where it went on.
fn name(bytes: &[u8], length: u16, cut: u8, encoding: u8) -> Text {
    let read = bytes.get(..usize::from(length)).unwrap_or(bytes);
    let mut name = decode(read, encoding);
    if cut != 0 {
        // The cut may have split a character; half of one is worth nothing.
        if let Err(error) = str::from_utf8(&name)
            && error.error_len().is_none()
        {
            name.to_mut().truncate(error.valid_up_to());
        }
        name.to_mut().extend_from_slice("…".as_bytes());
    }
    Text::from(&*name)
}

/// The bytes as UTF-8, as CPython writes it to files.
fn decode(bytes: &[u8], encoding: u8) -> Cow<'_, [u8]> {
    let mut name = Vec::with_capacity(bytes.len() * 2);
    if encoding == Encoding::Latin1 as u8 {
        for byte in bytes {
            push(&mut name, u32::from(*byte));
        }
    } else if encoding == Encoding::Ucs2 as u8 {
        for unit in bytes.as_chunks().0 {
            push(&mut name, u32::from(u16::from_ne_bytes(*unit)));
        }
    } else if encoding == Encoding::Ucs4 as u8 {
        for unit in bytes.as_chunks().0 {
            push(&mut name, u32::from_ne_bytes(*unit));
        }
    } else {
        return Cow::Borrowed(bytes);
    }
    Cow::Owned(name)
}

/// Appends a character. One that stands for a byte that was no UTF-8 becomes that byte again
/// (`surrogateescape`, PEP 383).
fn push(name: &mut Vec<u8>, character: u32) {
    if let 0xdc80..=0xdcff = character {
        name.push((character & 0xff) as u8);
    } else {
        let character = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
        name.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(bytes: &[u8], cut: u8, encoding: Encoding) -> String {
        let length = u16::try_from(bytes.len()).unwrap();
        name(bytes, length, cut, encoding as u8)
            .visible()
            .to_string()
    }

    #[test]
    fn a_cut_name_says_so_and_keeps_whole_characters() {
        for (bytes, cut, expected) in [
            ("main".as_bytes(), 0, "main"),
            (b"main", 1, "main…"),
            ("naïve".as_bytes(), 1, "naïve…"),
            (b"na\xc3", 1, "na…"),
            (b"na\xff", 1, "na\\xff…"),
            (b"", 0, ""),
        ] {
            assert_eq!(shown(bytes, cut, Encoding::Utf8), expected);
        }
    }

    #[test]
    fn names_of_every_width_become_utf8() {
        let units =
            |text: &str| -> Vec<u8> { text.encode_utf16().flat_map(u16::to_ne_bytes).collect() };
        let characters = |text: &str| -> Vec<u8> {
            text.chars()
                .flat_map(|character| u32::from(character).to_ne_bytes())
                .collect()
        };
        assert_eq!(shown(b"na\xefve", 0, Encoding::Latin1), "naïve");
        assert_eq!(shown(&units("名前"), 0, Encoding::Ucs2), "名前");
        assert_eq!(shown(&units("名前"), 1, Encoding::Ucs2), "名前…");
        assert_eq!(shown(&characters("f🎈"), 0, Encoding::Ucs4), "f🎈");
        // Half a character at the end, a byte that was no UTF-8, and no character at all.
        assert_eq!(shown(&units("名前")[..3], 1, Encoding::Ucs2), "名…");
        assert_eq!(shown(&[0xff, 0xdc], 0, Encoding::Ucs2), "\\xff");
        assert_eq!(shown(&[0, 0xd8], 0, Encoding::Ucs2), "\u{fffd}");
        assert_eq!(shown(&[0xff; 4], 0, Encoding::Ucs4), "\u{fffd}");
    }
}
