//! The headers of an ELF file, of either class and byte order, and the way from the addresses of
//! its program to offsets in the file.
//!
//! ```text
//! 7f 45 4c 46 02 01 01 00  magic, class (02: 64-bit), byte order (01: little), version
//! 00 00 00 00 00 00 00 00
//! 02 00 3e 00 01 00 00 00  type (2: ET_EXEC, 3: ET_DYN), machine (3e: x86-64), version
//! ```
//!
//! Addresses and offsets differ in every file that a linker of the last years made:
//!
//! ```text
//! LOAD  offset 0x4f2db0  address 0x8f3db0  file 0x046420  memory 0x06ac90  RW
//! a semaphore at address 0x93a1b8 is at offset 0x93a1b8 - 0x8f3db0 + 0x4f2db0 = 0x5391b8
//! ```
//!
//! An address passed to the kernel where it wants an offset would put a breakpoint into the middle
//! of some instruction, so there is one function that converts, and it looks at what the segment
//! allows.

use std::borrow::Cow;

use object::elf::{self, FileHeader32, FileHeader64, FileType, Machine, ProgramType, SectionType};
use object::pod::{from_bytes, slice_from_bytes};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};
use object::{Endian as _, Endianness};

use super::source::{Fault, Source};

/// More program headers than this has no program.
const MAX_SEGMENTS: u16 = 512;
/// More sections than this has no linked program.
const MAX_SECTIONS: u16 = 8192;
/// Largest table of section names, in bytes.
const MAX_SECTION_NAMES: u64 = 1 << 20;

const PROGRAM_HEADERS: &str = "its program header table";
const SECTION_HEADERS: &str = "its section header table";

/// What a program header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) kind: ProgramType,
    pub(super) writable: bool,
    pub(super) executable: bool,
    pub(super) offset: u64,
    pub(super) address: u64,
    /// Bytes that come from the file; what follows them in memory is zeroed.
    pub(super) file_size: u64,
    pub(super) alignment: u64,
}

impl Segment {
    /// The file offset of `size` bytes at `address`, if all of them come from the file.
    fn file_offset(&self, address: u64, size: u64) -> Option<u64> {
        let start = address.checked_sub(self.address)?;
        let end = start.checked_add(size)?;
        (end <= self.file_size)
            .then(|| self.offset.checked_add(start))
            .flatten()
    }
}

/// What a section header says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Section {
    name: u32,
    pub(super) kind: SectionType,
    pub(super) allocated: bool,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
    pub(super) link: u32,
    pub(super) alignment: u64,
}

/// An executable or a shared library, with its headers read.
pub(super) struct Elf<'f> {
    pub(super) source: Source<'f>,
    pub(super) is_64: bool,
    pub(super) endian: Endianness,
    pub(super) machine: Machine,
    /// `ET_DYN`: the program is loaded at any address.
    pub(super) relocatable: bool,
    pub(super) segments: Vec<Segment>,
    /// Empty when the section headers were stripped.
    pub(super) sections: Vec<Section>,
    section_names: Vec<u8>,
}

/// Calls a function that is generic over the file header with the one of this file's class.
macro_rules! by_class {
    ($is_64:expr, $function:ident($($argument:expr),*)) => {
        if $is_64 {
            $function::<object::elf::FileHeader64<object::Endianness>>($($argument),*)
        } else {
            $function::<object::elf::FileHeader32<object::Endianness>>($($argument),*)
        }
    };
}
pub(super) use by_class;

impl<'f> Elf<'f> {
    /// Reads the headers. `None`: no ELF file, or one that is never mapped to be run.
    pub(super) fn open(source: Source<'f>) -> Result<Option<Self>, Fault> {
        let head = source.head();
        if !head.starts_with(&elf::ELFMAG) {
            return Ok(None);
        }
        let ident = |index: usize| head.get(index).copied();
        let is_64 = match ident(4) {
            Some(1) => false,
            Some(2) => true,
            _ => return Err(Fault::damaged("its ELF header", "names an unknown class")),
        };
        let endian = match ident(5) {
            Some(1) => Endianness::Little,
            Some(2) => Endianness::Big,
            _ => {
                let problem = "names an unknown byte order";
                return Err(Fault::damaged("its ELF header", problem));
            }
        };
        if is_64 {
            open::<FileHeader64<Endianness>>(source, endian)
        } else {
            open::<FileHeader32<Endianness>>(source, endian)
        }
    }

    /// The name of a section; empty when it lies outside the table of names.
    pub(super) fn section_name(&self, section: &Section) -> &[u8] {
        let start = usize::try_from(section.name).unwrap_or(usize::MAX);
        let rest = self.section_names.get(start..).unwrap_or_default();
        rest.split(|byte| *byte == 0).next().unwrap_or_default()
    }

    /// The first section of this name.
    pub(super) fn section(&self, name: &str) -> Option<&Section> {
        self.sections_named(name).next()
    }

    /// Every section of this name.
    pub(super) fn sections_named(&self, name: &str) -> impl Iterator<Item = &Section> {
        self.sections
            .iter()
            .filter(move |section| self.section_name(section) == name.as_bytes())
    }

    /// What a section holds in the file, if that is not more than `limit` bytes.
    pub(super) fn section_bytes(
        &self,
        section: &Section,
        limit: u64,
        part: &'static str,
    ) -> Result<Cow<'_, [u8]>, Fault> {
        if section.kind == elf::SHT_NOBITS {
            return Ok(Cow::Borrowed(&[]));
        }
        self.source.read(section.offset, section.size, limit, part)
    }

    /// The file offset of `size` bytes at `address`, in the first loaded segment that holds all of
    /// them in the file and that `wanted` accepts.
    pub(super) fn file_offset(
        &self,
        address: u64,
        size: u64,
        wanted: impl Fn(&Segment) -> bool,
    ) -> Option<u64> {
        self.segments
            .iter()
            .filter(|segment| segment.kind == elf::PT_LOAD && wanted(segment))
            .find_map(|segment| segment.file_offset(address, size))
    }

    /// Reads what the program has at an address when it starts.
    pub(super) fn read_at(
        &self,
        address: u64,
        size: u64,
        limit: u64,
        part: &'static str,
    ) -> Result<Cow<'_, [u8]>, Fault> {
        let Some(offset) = self.file_offset(address, size, |_| true) else {
            return Err(Fault::damaged(part, "lies outside the loaded segments"));
        };
        self.source.read(offset, size, limit, part)
    }

    /// Reads a 32-bit number at an address.
    pub(super) fn u32_at(&self, address: u64, part: &'static str) -> Result<u32, Fault> {
        let bytes = self.read_at(address, 4, 4, part)?;
        Ok(u32_of(self.endian, &bytes))
    }

    /// Reads a number of the file's class at an address: 64 bits, or 32.
    pub(super) fn word_at(&self, address: u64, part: &'static str) -> Result<u64, Fault> {
        let bytes = self.read_at(address, self.word_size(), 8, part)?;
        Ok(if self.is_64 {
            u64_of(self.endian, &bytes)
        } else {
            u32_of(self.endian, &bytes).into()
        })
    }

    /// 8 or 4.
    pub(super) fn word_size(&self) -> u64 {
        if self.is_64 { 8 } else { 4 }
    }
}

/// The 32-bit number that `bytes` begin with; 0 if they are too few.
pub(super) fn u32_of(endian: Endianness, bytes: &[u8]) -> u32 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| endian.read_u32(*bytes))
}

/// The 64-bit number that `bytes` begin with; 0 if they are too few.
pub(super) fn u64_of(endian: Endianness, bytes: &[u8]) -> u64 {
    bytes
        .first_chunk()
        .map_or(0, |bytes| endian.read_u64(*bytes))
}

fn open<H: FileHeader<Endian = Endianness>>(
    source: Source<'_>,
    endian: Endianness,
) -> Result<Option<Elf<'_>>, Fault> {
    let Ok((header, _)) = from_bytes::<H>(source.head()) else {
        return Err(Fault::damaged("its ELF header", "is cut off"));
    };
    let relocatable = match header.e_type(endian) {
        elf::ET_EXEC => false,
        elf::ET_DYN => true,
        FileType(_) => return Ok(None),
    };
    let machine = header.e_machine(endian);
    let segments = segments(&source, header, endian)?;
    let (sections, section_names) = sections(&source, header, endian)?;
    Ok(Some(Elf {
        is_64: header.is_type_64(),
        endian,
        machine,
        relocatable,
        segments,
        sections,
        section_names,
        source,
    }))
}

fn segments<H: FileHeader<Endian = Endianness>>(
    source: &Source<'_>,
    header: &H,
    endian: Endianness,
) -> Result<Vec<Segment>, Fault> {
    let count = header.e_phnum(endian);
    if count == 0 || count > MAX_SEGMENTS {
        let problem = "has an impossible number of entries";
        return Err(Fault::damaged(PROGRAM_HEADERS, problem));
    }
    let offset = header.e_phoff(endian).into();
    let entry_size = header.e_phentsize(endian);
    let table = table::<H::ProgramHeader>(source, offset, entry_size, count, PROGRAM_HEADERS)?;
    let headers = entries::<H::ProgramHeader>(&table, count, PROGRAM_HEADERS)?;
    let segments = headers.iter().map(|header| {
        let flags = header.p_flags(endian);
        Segment {
            kind: header.p_type(endian),
            writable: flags.contains(elf::PF_W),
            executable: flags.contains(elf::PF_X),
            offset: header.p_offset(endian).into(),
            address: header.p_vaddr(endian).into(),
            file_size: header.p_filesz(endian).into(),
            alignment: header.p_align(endian).into(),
        }
    });
    Ok(segments.collect())
}

/// The section headers and the table of their names; both empty when they were stripped.
fn sections<H: FileHeader<Endian = Endianness>>(
    source: &Source<'_>,
    header: &H,
    endian: Endianness,
) -> Result<(Vec<Section>, Vec<u8>), Fault> {
    let offset = header.e_shoff(endian).into();
    let count = header.e_shnum(endian);
    // A count of 0 with an offset would mean more than 65,279 sections: no linked program.
    if offset == 0 || count == 0 {
        return Ok((Vec::new(), Vec::new()));
    }
    if count > MAX_SECTIONS {
        let problem = "has an impossible number of entries";
        return Err(Fault::damaged(SECTION_HEADERS, problem));
    }
    let entry_size = header.e_shentsize(endian);
    let table = table::<H::SectionHeader>(source, offset, entry_size, count, SECTION_HEADERS)?;
    let headers = entries::<H::SectionHeader>(&table, count, SECTION_HEADERS)?;
    let sections: Vec<_> = headers
        .iter()
        .map(|header| Section {
            name: header.sh_name(endian),
            kind: header.sh_type(endian),
            allocated: header.sh_flags(endian).contains(elf::SHF_ALLOC),
            address: header.sh_addr(endian).into(),
            offset: header.sh_offset(endian).into(),
            size: header.sh_size(endian).into(),
            link: header.sh_link(endian),
            alignment: header.sh_addralign(endian).into(),
        })
        .collect();
    let part = "its table of section names";
    let index = usize::from(header.e_shstrndx(endian).0);
    let Some(names) = sections.get(index) else {
        return Err(Fault::damaged(part, "is missing"));
    };
    let names = source.read(names.offset, names.size, MAX_SECTION_NAMES, part)?;
    Ok((sections, names.into_owned()))
}

fn table<'s, T>(
    source: &'s Source<'_>,
    offset: u64,
    entry_size: u16,
    count: u16,
    part: &'static str,
) -> Result<Cow<'s, [u8]>, Fault> {
    if usize::from(entry_size) != size_of::<T>() {
        return Err(Fault::damaged(part, "has entries of a wrong size"));
    }
    let size = u64::from(entry_size) * u64::from(count);
    source.read(offset, size, size, part)
}

fn entries<'b, T: object::Pod>(
    bytes: &'b [u8],
    count: u16,
    part: &'static str,
) -> Result<&'b [T], Fault> {
    match slice_from_bytes(bytes, count.into()) {
        Ok((entries, _)) => Ok(entries),
        Err(()) => Err(Fault::damaged(part, "is cut off")),
    }
}
