//! Where a symbol is, by name: first as the dynamic loader finds it, then in the full table.
//!
//! Hundreds of libraries are asked whether they define three names, and nearly all do not. The
//! GNU hash table answers that with two reads: its header, and one word of its Bloom filter.
//!
//! ```text
//! u32 buckets, u32 first symbol, u32 filter words, u32 shift
//! word filter[words]      bits h % 64 and (h >> shift) % 64 of word h / 64 are set for every name
//! u32  bucket[buckets]    bucket h % buckets: index of its first symbol, 0 if it has none
//! u32  chain[]            hashes from `first symbol` on, bit 0 set at the end of a bucket
//! ```

use object::Endianness;
use object::elf::{self, DynamicTag, SymbolType};
use object::pod::from_bytes;
use object::read::elf::{Dyn as _, FileHeader, Sym as _};
use regex::bytes::Regex;

use super::elf::{Elf, by_class, u32_of};
use super::source::Fault;

/// Largest dynamic section that is read, in bytes: some thousand entries.
const MAX_DYNAMIC: u64 = 1 << 16;
/// Longest chain of a hash table that is followed. A real one has a handful of symbols.
const MAX_CHAIN: u64 = 4096;
/// Largest tables of all symbols and of their names that are searched in an interpreter, in bytes.
pub(super) const MAX_TABLE: u64 = 64 << 20;
/// Largest table of names that is searched in a file of which nothing is known yet, in bytes:
/// some milliseconds.
pub(super) const MAX_UNKNOWN_TABLE: u64 = 8 << 20;
/// Bytes of a table that are in memory at once.
const CHUNK: u64 = 1 << 20;
/// Longest symbol name that is looked for, in bytes.
const MAX_NAME: u64 = 255;
/// More definitions of one name than this are not looked at.
const MAX_DEFINITIONS: usize = 16;

const DYNAMIC: &str = "its dynamic section";
const HASH: &str = "its symbol hash table";
const DYNAMIC_SYMBOLS: &str = "its dynamic symbol table";
const SYMBOLS: &str = "its symbol table";

/// A symbol that this file defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Symbol {
    pub(super) address: u64,
    /// Bytes; 0 when the file does not say.
    pub(super) size: u64,
    pub(super) is_function: bool,
}

/// What the dynamic section says of the exported symbols: addresses of their tables.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Dynamic {
    gnu_hash: Option<u64>,
    hash: Option<u64>,
    symbols: Option<u64>,
    strings: Option<u64>,
    strings_size: u64,
    soname: Option<u64>,
    position_independent_program: bool,
    relocations: Option<u64>,
    relocations_size: u64,
}

impl Dynamic {
    /// Reads the dynamic section; one without entries for a static program.
    pub(super) fn read(elf: &Elf<'_>) -> Result<Self, Fault> {
        Ok(Self::of(&entries(elf)?))
    }

    fn of(entries: &[(DynamicTag, u64)]) -> Self {
        let mut dynamic = Self::default();
        for (tag, value) in entries {
            let value = *value;
            match *tag {
                elf::DT_GNU_HASH => dynamic.gnu_hash = Some(value),
                elf::DT_HASH => dynamic.hash = Some(value),
                elf::DT_SYMTAB => dynamic.symbols = Some(value),
                elf::DT_STRTAB => dynamic.strings = Some(value),
                elf::DT_STRSZ => dynamic.strings_size = value,
                elf::DT_SONAME => dynamic.soname = Some(value),
                elf::DT_RELA => dynamic.relocations = Some(value),
                elf::DT_RELASZ => dynamic.relocations_size = value,
                elf::DT_FLAGS_1 => {
                    dynamic.position_independent_program = value & elf::DF_1_PIE.0 != 0;
                }
                _ => {}
            }
        }
        dynamic
    }

    /// Whether symbols can be found by name.
    pub(super) fn has_hash_table(&self) -> bool {
        self.gnu_hash.or(self.hash).is_some()
    }

    /// Whether the file says that it is a program although it is built like a library.
    pub(super) fn is_program(&self) -> bool {
        self.position_independent_program
    }

    /// The name under which other files ask for this library.
    pub(super) fn soname(&self, elf: &Elf<'_>) -> Option<Vec<u8>> {
        self.string(elf, self.soname?)
    }

    /// A name in the table of names.
    fn string(&self, elf: &Elf<'_>, start: u64) -> Option<Vec<u8>> {
        let address = self.strings?.checked_add(start)?;
        let size = self.strings_size.checked_sub(start)?.min(64);
        let bytes = elf.read_at(address, size, 64, DYNAMIC).ok()?;
        let end = bytes.iter().position(|byte| *byte == 0)?;
        Some(bytes.get(..end)?.to_vec())
    }

    /// Address and size in bytes of the table of relocations with addends, if there is one.
    pub(super) fn relocations(&self) -> Option<(u64, u64)> {
        Some((self.relocations?, self.relocations_size))
    }

    /// The exported symbol of this name, if this file defines it. A reference to a symbol of
    /// another file is none.
    pub(super) fn find(&self, elf: &Elf<'_>, name: &str) -> Result<Option<Symbol>, Fault> {
        if let Some(table) = self.gnu_hash {
            self.find_by_gnu_hash(elf, table, name)
        } else if let Some(table) = self.hash {
            self.find_by_hash(elf, table, name)
        } else {
            Ok(None)
        }
    }

    fn find_by_gnu_hash(
        &self,
        elf: &Elf<'_>,
        table: u64,
        name: &str,
    ) -> Result<Option<Symbol>, Fault> {
        let hash = elf::gnu_hash(name.as_bytes());
        let header = elf.read_at(table, 16, 16, HASH)?;
        let field = |index: usize| u32_of(elf.endian, header.get(index * 4..).unwrap_or_default());
        let (bucket_count, first_symbol, filter_words) = (field(0), field(1), field(2));
        if bucket_count == 0 || filter_words == 0 {
            return Ok(None);
        }
        let word_bits = if elf.is_64 { 64 } else { 32 };
        let filter = table.saturating_add(16);
        let index = u64::from((hash / word_bits) % filter_words);
        let word = elf.word_at(filter.saturating_add(index * elf.word_size()), HASH)?;
        let second = hash.checked_shr(field(3)).unwrap_or(0) % word_bits;
        if word >> (hash % word_bits) & word >> second & 1 == 0 {
            return Ok(None);
        }
        let buckets = filter.saturating_add(u64::from(filter_words) * elf.word_size());
        let bucket = buckets.saturating_add(u64::from(hash % bucket_count) * 4);
        let mut index = elf.u32_at(bucket, HASH)?;
        let chains = buckets.saturating_add(u64::from(bucket_count) * 4);
        for _ in 0..MAX_CHAIN {
            let Some(position) = index.checked_sub(first_symbol).filter(|_| index != 0) else {
                return Ok(None);
            };
            let value = elf.u32_at(chains.saturating_add(u64::from(position) * 4), HASH)?;
            if value | 1 == hash | 1
                && let Some(symbol) = self.symbol(elf, index, name)?
            {
                return Ok(Some(symbol));
            }
            if value & 1 == 1 {
                return Ok(None);
            }
            index = index.saturating_add(1);
        }
        Err(Fault::damaged(HASH, "has a chain without an end"))
    }

    /// The older table: u32 buckets, u32 symbols, u32 bucket[], u32 chain[] by symbol index.
    fn find_by_hash(&self, elf: &Elf<'_>, table: u64, name: &str) -> Result<Option<Symbol>, Fault> {
        let bucket_count = elf.u32_at(table, HASH)?;
        if bucket_count == 0 {
            return Ok(None);
        }
        let buckets = table.saturating_add(8);
        let bucket = u64::from(elf::hash(name.as_bytes()) % bucket_count);
        let chains = buckets.saturating_add(u64::from(bucket_count) * 4);
        let mut entry = buckets.saturating_add(bucket * 4);
        for _ in 0..MAX_CHAIN {
            let index = elf.u32_at(entry, HASH)?;
            if index == 0 {
                return Ok(None);
            }
            if let Some(symbol) = self.symbol(elf, index, name)? {
                return Ok(Some(symbol));
            }
            entry = chains.saturating_add(u64::from(index) * 4);
        }
        Err(Fault::damaged(HASH, "has a chain without an end"))
    }

    /// The dynamic symbol at `index`, if it has this name and is defined here.
    fn symbol(&self, elf: &Elf<'_>, index: u32, name: &str) -> Result<Option<Symbol>, Fault> {
        let (Some(symbols), Some(strings)) = (self.symbols, self.strings) else {
            return Ok(None);
        };
        let size = by_class!(elf.is_64, symbol_size()) as u64;
        let address = symbols.saturating_add(u64::from(index) * size);
        let bytes = elf.read_at(address, size, size, DYNAMIC_SYMBOLS)?;
        let Some((start, symbol)) = by_class!(elf.is_64, symbol(&bytes, elf.endian)) else {
            return Ok(None);
        };
        let length = name.len() as u64 + 1;
        if u64::from(start) + length > self.strings_size {
            return Ok(None);
        }
        let address = strings.saturating_add(start.into());
        let found = elf.read_at(address, length, MAX_NAME + 1, DYNAMIC_SYMBOLS)?;
        let same = found.strip_suffix(&[0]) == Some(name.as_bytes());
        Ok(same.then_some(symbol))
    }
}

/// Every definition of these names in the table of all symbols, which a stripped file lacks; each
/// with the index of its name. A name that is local to several object files has several. Nothing
/// is found where the table of names has more than `limit` bytes.
pub(super) fn in_full_table(
    elf: &Elf<'_>,
    names: &[&str],
    limit: u64,
) -> Result<Vec<(usize, Symbol)>, Fault> {
    let Some(table) = elf.sections.iter().find(|s| s.kind == elf::SHT_SYMTAB) else {
        return Ok(Vec::new());
    };
    let index = usize::try_from(table.link).unwrap_or(usize::MAX);
    let Some(strings) = elf.sections.get(index) else {
        return Err(Fault::damaged(SYMBOLS, "has no table of names"));
    };
    if table.size > MAX_TABLE || strings.size > limit {
        return Ok(Vec::new());
    }
    // Names are fewer bytes than symbols and can be searched as text: usually none is there.
    let starts = name_offsets(elf, strings.offset, strings.size, names)?;
    if starts.is_empty() {
        return Ok(Vec::new());
    }
    let size = by_class!(elf.is_64, symbol_size());
    let step = CHUNK / size as u64 * size as u64;
    let mut found = Vec::new();
    let mut offset = table.offset;
    let end = table.offset.saturating_add(table.size);
    while offset < end {
        let length = (end - offset).min(step);
        let bytes = elf.source.read(offset, length, step, SYMBOLS)?;
        for bytes in bytes.chunks_exact(size) {
            if let Some((start, symbol)) = by_class!(elf.is_64, symbol(bytes, elf.endian))
                && let Some((_, name)) = starts.iter().find(|(offset, _)| *offset == start)
            {
                found.push((*name, symbol));
                if found.len() > MAX_DEFINITIONS * names.len() {
                    return Err(Fault::damaged(SYMBOLS, "repeats a name without end"));
                }
            }
        }
        offset = offset.saturating_add(length);
    }
    Ok(found)
}

/// Offsets into the table of names at which one of `names` is, with the index of the name.
fn name_offsets(
    elf: &Elf<'_>,
    table: u64,
    size: u64,
    names: &[&str],
) -> Result<Vec<(u32, usize)>, Fault> {
    let alternatives: Vec<_> = names.iter().map(|name| regex::escape(name)).collect();
    let pattern = format!(r"(?-u)\x00(?:{})", alternatives.join("|"));
    let Ok(pattern) = Regex::new(&pattern) else {
        return Ok(Vec::new());
    };
    // Chunks overlap by a name and its two NULs, so that none is cut.
    let overlap = MAX_NAME + 2;
    let mut offsets = Vec::new();
    let mut position = 0;
    while position < size {
        let length = (size - position).min(CHUNK);
        let offset = table.saturating_add(position);
        let bytes = elf.source.read(offset, length, CHUNK, SYMBOLS)?;
        for found in pattern.find_iter(&bytes) {
            let name = names.iter().position(|name| {
                let rest = bytes.get(found.start() + 1..).unwrap_or_default();
                rest.strip_prefix(name.as_bytes())
                    .is_some_and(|rest| rest.first() == Some(&0))
            });
            let start = u32::try_from(position + found.start() as u64 + 1);
            if let (Some(name), Ok(start)) = (name, start)
                && !offsets.contains(&(start, name))
                && offsets.len() < MAX_DEFINITIONS
            {
                offsets.push((start, name));
            }
        }
        position = if position + length < size {
            position + length.saturating_sub(overlap).max(1)
        } else {
            size
        };
    }
    Ok(offsets)
}

/// The names of the libraries that a file asks for, as far as they can be read.
pub(super) fn needed(elf: &Elf<'_>) -> Result<Vec<Vec<u8>>, Fault> {
    let entries = entries(elf)?;
    let dynamic = Dynamic::of(&entries);
    let needed = entries.iter().filter(|(tag, _)| *tag == elf::DT_NEEDED);
    let names = needed.filter_map(|(_, start)| dynamic.string(elf, *start));
    Ok(names.collect())
}

/// The entries of the dynamic section; none in a static program.
fn entries(elf: &Elf<'_>) -> Result<Vec<(DynamicTag, u64)>, Fault> {
    let Some(segment) = elf.segments.iter().find(|s| s.kind == elf::PT_DYNAMIC) else {
        return Ok(Vec::new());
    };
    let (offset, size) = (segment.offset, segment.file_size);
    let bytes = elf.source.read(offset, size, MAX_DYNAMIC, DYNAMIC)?;
    Ok(by_class!(elf.is_64, entries_in(&bytes, elf.endian)))
}

fn entries_in<H: FileHeader<Endian = Endianness>>(
    bytes: &[u8],
    endian: Endianness,
) -> Vec<(DynamicTag, u64)> {
    let entries = bytes.chunks_exact(size_of::<H::Dyn>());
    let entries = entries.map_while(|bytes| from_bytes::<H::Dyn>(bytes).ok());
    let entries = entries.map(|(entry, _)| (entry.tag(endian), entry.val(endian)));
    entries
        .take_while(|(tag, _)| *tag != elf::DT_NULL)
        .collect()
}

fn symbol_size<H: FileHeader>() -> usize {
    size_of::<H::Sym>()
}

/// A symbol and the offset of its name, if it is defined here.
fn symbol<H: FileHeader<Endian = Endianness>>(
    bytes: &[u8],
    endian: Endianness,
) -> Option<(u32, Symbol)> {
    let (symbol, _) = from_bytes::<H::Sym>(bytes).ok()?;
    if symbol.st_shndx(endian) == elf::SHN_UNDEF {
        return None;
    }
    let is_function = match symbol.st_type() {
        elf::STT_FUNC | elf::STT_GNU_IFUNC => true,
        elf::STT_OBJECT | elf::STT_NOTYPE | elf::STT_COMMON => false,
        // Names of sections and source files, and offsets into thread-local storage.
        SymbolType(_) => return None,
    };
    let found = Symbol {
        address: symbol.st_value(endian).into(),
        size: symbol.st_size(endian).into(),
        is_function,
    };
    Some((symbol.st_name(endian), found))
}
