//! The notes in which `sys/sdt.h` describes markers.
//!
//! ```text
//! 08 00 00 00  45 00 00 00  03 00 00 00     size of the owner's name, of what follows, type 3
//! 73 74 61 70 73 64 74 00                   "stapsdt"
//! d4 66 4b 00 00 00 00 00                   address of the marker, as the linker placed it
//! 4f c3 66 00 00 00 00 00                   address of the section .stapsdt.base, likewise
//! 48 8d 90 00 00 00 00 00                   address of the semaphore, 0 if there is none
//! "python\0" "function__entry\0" "8@%rax 8@%rdx -4@%ecx\0"
//! ```
//!
//! Each copy that the compiler made of the code around a marker has its own note, with its own
//! arguments. The notes are not loaded with the program, so prelink, which moves a whole library
//! to another address, leaves them as they were; by how much the library moved is seen from
//! `.stapsdt.base`, which it did move.
//!
//! `SystemTap`'s first two formats kept descriptors in the loaded section `.probes` instead. Files
//! of today have a section of that name too: it holds just the semaphores.

use object::Endianness;
use object::elf::NT_GNU_BUILD_ID;
use object::read::elf::{FileHeader, NoteIterator};

use super::elf::{Elf, Section, by_class, u32_of, u64_of};
use super::source::Fault;

const OWNER: &[u8] = b"stapsdt";
const MARKER: u32 = 3;
/// Largest table of markers that is read, in bytes. That of CPython has about a thousand.
const MAX_TABLE: u64 = 1 << 20;
/// Longest identification of a file, in bytes. Those that linkers make have 8 to 20.
const MAX_BUILD_ID: usize = 64;
/// Largest `.probes` section that is searched for old descriptors, in bytes.
const MAX_PROBES: u64 = 1 << 16;
const TABLE: &str = "its table of markers (.note.stapsdt)";

/// One marker, with addresses as they were when the file was linked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Note {
    pub(super) provider: Vec<u8>,
    pub(super) name: Vec<u8>,
    pub(super) location: u64,
    pub(super) base: u64,
    pub(super) semaphore: u64,
    pub(super) arguments: Vec<u8>,
}

impl Note {
    /// By how much the file was moved to other addresses since it was linked.
    pub(super) fn moved(&self, elf: &Elf<'_>) -> u64 {
        elf.section(".stapsdt.base")
            .map_or(0, |base| base.address.wrapping_sub(self.base))
    }
}

/// What a file tells of its markers, or of some of them.
#[derive(Debug, Default)]
pub(super) struct Notes {
    pub(super) found: Vec<Note>,
    /// The table, or a note in it, makes no sense: what was found may not be all.
    pub(super) damaged: bool,
}

/// The markers whose provider and name are wanted. A file without section headers may still have
/// its notes in a segment of notes, where some linker scripts put them.
pub(super) fn read(elf: &Elf<'_>, is_wanted: impl Fn(&[u8], &[u8]) -> bool) -> Notes {
    let mut notes = Notes::default();
    // Of all tables together: a file can have thousands of headers for one table.
    let mut left = MAX_TABLE;
    let mut add = |bytes: Result<_, Fault>, alignment: u64| match bytes {
        Ok(bytes) => {
            let bytes: std::borrow::Cow<'_, [u8]> = bytes;
            let endian = elf.endian;
            let parsed = by_class!(elf.is_64, parse(&bytes, endian, alignment, &is_wanted));
            notes.found.extend(parsed.found);
            notes.damaged |= parsed.damaged;
        }
        Err(_) => notes.damaged = true,
    };
    if elf.sections.is_empty() {
        for segment in &elf.segments {
            if segment.kind == object::elf::PT_NOTE {
                let (offset, size) = (segment.offset, segment.file_size);
                let bytes = elf.source.read(offset, size, left, TABLE);
                left = left.saturating_sub(size);
                add(bytes, segment.alignment);
            }
        }
    } else {
        for section in elf.sections_named(".note.stapsdt") {
            let bytes = elf.section_bytes(section, left, TABLE);
            left = left.saturating_sub(section.size);
            add(bytes, section.alignment);
        }
    }
    notes
}

/// Whether markers are described by `SystemTap`'s first or second format: descriptors in
/// `.probes` that begin with `PRB1` or `UPB2` (`UPROBE1_TYPE` and `UPROBE2_TYPE` of its `sys/sdt.h`).
pub(super) fn has_old_descriptors(elf: &Elf<'_>) -> bool {
    let old = |section: &Section| {
        let bytes = elf.section_bytes(section, MAX_PROBES, "its section .probes");
        bytes.is_ok_and(|bytes| {
            bytes
                .chunks_exact(4)
                .any(|word| word == b"PRB1" || word == b"UPB2")
        })
    };
    elf.sections_named(".probes").any(old)
}

/// The identification that the linker gave the file, in one of its segments of notes.
pub(super) fn build_id(elf: &Elf<'_>) -> Option<Vec<u8>> {
    let segments = elf.segments.iter();
    segments
        .filter(|segment| segment.kind == object::elf::PT_NOTE)
        .find_map(|segment| {
            let (offset, size) = (segment.offset, segment.file_size);
            let bytes = elf.source.read(offset, size, MAX_TABLE, "its notes").ok()?;
            by_class!(
                elf.is_64,
                gnu_build_id(&bytes, elf.endian, segment.alignment)
            )
        })
}

/// Parses bytes as both readers of notes do.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(
    bytes: &[u8],
    is_64: bool,
    endian: Endianness,
    alignment: u64,
    is_wanted: impl Fn(&[u8], &[u8]) -> bool,
) {
    let _ = by_class!(is_64, parse(bytes, endian, alignment, &is_wanted));
    let _ = by_class!(is_64, gnu_build_id(bytes, endian, alignment));
}

fn gnu_build_id<H: FileHeader<Endian = Endianness, Word: TryFrom<u64>>>(
    bytes: &[u8],
    endian: Endianness,
    alignment: u64,
) -> Option<Vec<u8>> {
    let mut table = NoteIterator::<H>::new(endian, alignment.try_into().ok()?, bytes).ok()?;
    while let Ok(Some(note)) = table.next() {
        if note.name() == object::elf::ELF_NOTE_GNU && note.n_type(endian) == NT_GNU_BUILD_ID {
            return (note.desc().len() <= MAX_BUILD_ID).then(|| note.desc().to_vec());
        }
    }
    None
}

/// Reads the notes for the markers that are wanted out of a table of notes.
fn parse<H: FileHeader<Endian = Endianness, Word: TryFrom<u64>>>(
    bytes: &[u8],
    endian: Endianness,
    alignment: u64,
    is_wanted: &impl Fn(&[u8], &[u8]) -> bool,
) -> Notes {
    let mut notes = Notes::default();
    let word_size = if size_of::<H::Word>() == 8 { 8 } else { 4 };
    let Ok(table) = H::Word::try_from(alignment)
        .map_err(|_| ())
        .and_then(|alignment| NoteIterator::<H>::new(endian, alignment, bytes).map_err(|_| ()))
    else {
        notes.damaged = true;
        return notes;
    };
    for note in table {
        let Ok(note) = note else {
            notes.damaged = true;
            break;
        };
        if note.name() != OWNER || note.n_type(endian).0 != MARKER {
            continue;
        }
        match Marker::read(note.desc(), endian, word_size) {
            Some(marker) if is_wanted(marker.provider, marker.name) => {
                notes.found.push(marker.into());
            }
            Some(_) => {}
            None => notes.damaged = true,
        }
    }
    notes
}

/// One marker's description, as it is in the file.
struct Marker<'b> {
    provider: &'b [u8],
    name: &'b [u8],
    arguments: &'b [u8],
    location: u64,
    base: u64,
    semaphore: u64,
}

impl<'b> Marker<'b> {
    fn read(bytes: &'b [u8], endian: Endianness, word_size: usize) -> Option<Self> {
        let (words, strings) = bytes.split_at_checked(word_size * 3)?;
        let mut words = words.chunks_exact(word_size).map(|word| {
            if word_size == 8 {
                u64_of(endian, word)
            } else {
                u32_of(endian, word).into()
            }
        });
        let (location, base, semaphore) = (words.next()?, words.next()?, words.next()?);
        let mut strings = strings.split(|byte| *byte == 0);
        let (provider, name, arguments) = (strings.next()?, strings.next()?, strings.next()?);
        // The last of them ends with a NUL too, or the description was cut.
        strings.next()?;
        Some(Self {
            provider,
            name,
            arguments,
            location,
            base,
            semaphore,
        })
    }
}

impl From<Marker<'_>> for Note {
    fn from(marker: Marker<'_>) -> Self {
        Self {
            provider: marker.provider.to_vec(),
            name: marker.name.to_vec(),
            arguments: marker.arguments.to_vec(),
            location: marker.location,
            base: marker.base,
            semaphore: marker.semaphore,
        }
    }
}

#[cfg(test)]
mod tests {
    use object::elf::FileHeader64;

    use super::*;

    /// The section that CPython's howto "Instrumenting CPython with `SystemTap`" prints in hex.
    const HOWTO: &str = "\
        08000000 45000000 03000000 73746170 73647400 d4664b00 00000000 4fc36600 00000000 488d9000 \
        00000000 70797468 6f6e0066 756e6374 696f6e5f 5f656e74 72790038 40257261 78203840 25726478 \
        202d3440 25656378 00000000 08000000 46000000 03000000 73746170 73647400 0d674b00 00000000 \
        4fc36600 00000000 4a8d9000 00000000 70797468 6f6e0066 756e6374 696f6e5f 5f726574 75726e00 \
        38402572 61782038 40257264 78202d34 40256563 78000000";

    fn howto() -> Vec<u8> {
        let digits: Vec<_> = HOWTO.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits
            .chunks_exact(2)
            .map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn parse_64(bytes: &[u8], name: &str) -> Notes {
        let is_wanted =
            |provider: &[u8], other: &[u8]| provider == b"python" && other == name.as_bytes();
        parse::<FileHeader64<Endianness>>(bytes, Endianness::Little, 4, &is_wanted)
    }

    #[test]
    fn the_howtos_notes_are_read() {
        let entry = Note {
            provider: b"python".to_vec(),
            name: b"function__entry".to_vec(),
            location: 0x004b_66d4,
            base: 0x0066_c34f,
            semaphore: 0x0090_8d48,
            arguments: b"8@%rax 8@%rdx -4@%ecx".to_vec(),
        };
        let notes = parse_64(&howto(), "function__entry");
        assert!(!notes.damaged);
        assert_eq!(notes.found, std::slice::from_ref(&entry));
        let notes = parse_64(&howto(), "function__return");
        let returned = Note {
            name: b"function__return".to_vec(),
            location: 0x004b_670d,
            semaphore: 0x0090_8d4a,
            ..entry
        };
        assert_eq!(notes.found, [returned]);
        assert!(parse_64(&howto(), "line").found.is_empty());
    }

    #[test]
    fn a_table_cut_anywhere_is_never_taken_for_a_whole_one() {
        let bytes = howto();
        for length in 1..bytes.len() {
            let notes = parse_64(&bytes[..length], "function__return");
            // The last two bytes only pad the last note.
            assert_eq!(notes.found.is_empty(), length < bytes.len() - 2, "{length}");
            // The first note has 89 bytes, and three that pad it.
            let whole_first_note = (89..=92).contains(&length);
            assert_eq!(
                notes.damaged,
                notes.found.is_empty() && !whole_first_note,
                "{length}"
            );
        }
    }

    #[test]
    fn sizes_larger_than_the_table_are_damage() {
        for at in [0, 4] {
            let mut bytes = howto();
            bytes[at..at + 4].copy_from_slice(&[0xff; 4]);
            let notes = parse_64(&bytes, "function__entry");
            assert!(notes.damaged && notes.found.is_empty());
        }
    }

    #[test]
    fn notes_of_other_owners_and_types_are_passed_over() {
        for (at, byte) in [(12, b'S'), (8, 4)] {
            let mut bytes = howto();
            bytes[at] = byte;
            let notes = parse_64(&bytes, "function__entry");
            assert!(!notes.damaged && notes.found.is_empty());
        }
    }
}
