//! ELF files made in memory.
//!
//! Offsets and addresses differ in each segment, as they do in real files, so that taking one for
//! the other shows:
//!
//! ```text
//! segment                        offset  address - base
//! headers, dynamic symbols       0x0000  0x0000
//! read-only data                 0x1000  0x2000
//! instructions                   0x2000  0x4000
//! writable data, dynamic         0x3000  0x6000
//! ```

use object::Endianness;
use object::elf;
use object::write::StringId;
use object::write::elf::{FileHeader, ProgramHeader, SectionHeader, Sym, Writer};

pub(super) const RODATA: (u64, u64) = (0x1000, 0x2000);
pub(super) const TEXT: (u64, u64) = (0x2000, 0x4000);
pub(super) const DATA: (u64, u64) = (0x3000, 0x6000);
const SEGMENT_SIZE: u64 = 0x1000;

/// The table by which exported symbols are found.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Gnu,
    SysV,
    None,
}

/// What a symbol is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Function,
    Object,
    /// A reference to another file's symbol.
    Undefined,
}

#[derive(Clone, Copy)]
pub(super) struct Symbol {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) address: u64,
    pub(super) size: u64,
}

/// A section with nothing but a name, a type, and a place.
#[derive(Clone, Copy)]
pub(super) struct Named {
    pub(super) name: &'static str,
    pub(super) kind: elf::SectionType,
    pub(super) allocated: bool,
    pub(super) address: u64,
    pub(super) offset: u64,
    pub(super) size: u64,
}

/// One marker, as `sys/sdt.h` describes it.
#[derive(Clone, Copy)]
pub(super) struct Marker {
    pub(super) provider: &'static str,
    pub(super) name: &'static str,
    pub(super) location: u64,
    pub(super) base: u64,
    pub(super) semaphore: u64,
    pub(super) arguments: &'static str,
}

#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "a test changes one of many properties"
)]
pub(super) struct Program {
    pub(super) is_64: bool,
    pub(super) endian: Endianness,
    pub(super) machine: elf::Machine,
    pub(super) relocatable: bool,
    pub(super) has_loader: bool,
    pub(super) rodata: Vec<u8>,
    pub(super) text: Vec<u8>,
    pub(super) data: Vec<u8>,
    pub(super) hash: Hash,
    pub(super) soname: Option<&'static str>,
    pub(super) needed: Vec<&'static str>,
    pub(super) exports: Vec<Symbol>,
    /// The table of all symbols; a stripped file has none.
    pub(super) symbols: Vec<Symbol>,
    pub(super) build_id: Option<Vec<u8>>,
    pub(super) markers: Vec<Marker>,
    pub(super) sections: Vec<Named>,
    pub(super) section_headers: bool,
    /// The notes are in a segment of notes too.
    pub(super) notes_segment: bool,
    /// Address and size of a table of relocations.
    pub(super) relocations: Option<(u64, u64)>,
}

impl Program {
    /// A stripped x86-64 program at a fixed address, with nothing in it.
    pub(super) fn new() -> Self {
        Self {
            is_64: true,
            endian: Endianness::Little,
            machine: elf::EM_X86_64,
            relocatable: false,
            has_loader: true,
            rodata: Vec::new(),
            text: vec![0xcc; 256],
            data: vec![0; 64],
            hash: Hash::Gnu,
            soname: None,
            needed: Vec::new(),
            exports: Vec::new(),
            symbols: Vec::new(),
            build_id: Some((1..=20).collect()),
            markers: Vec::new(),
            sections: Vec::new(),
            section_headers: true,
            notes_segment: false,
            relocations: None,
        }
    }

    /// Address of the first byte of the file.
    pub(super) fn base(&self) -> u64 {
        if self.relocatable { 0 } else { 0x40_0000 }
    }

    pub(super) fn rodata_at(&self, position: u64) -> u64 {
        self.base() + RODATA.1 + position
    }

    pub(super) fn text_at(&self, position: u64) -> u64 {
        self.base() + TEXT.1 + position
    }

    pub(super) fn data_at(&self, position: u64) -> u64 {
        self.base() + DATA.1 + position
    }

    /// Appends to the read-only data; returns the address.
    pub(super) fn add_rodata(&mut self, bytes: &[u8]) -> u64 {
        let address = self.rodata_at(self.rodata.len() as u64);
        self.rodata.extend_from_slice(bytes);
        address
    }

    pub(super) fn word(&self, value: u64) -> Vec<u8> {
        let bytes = value.to_le_bytes();
        let mut bytes = bytes[..if self.is_64 { 8 } else { 4 }].to_vec();
        if self.endian == Endianness::Big {
            bytes.reverse();
        }
        bytes
    }

    fn half(&self, value: usize) -> [u8; 4] {
        let value = u32::try_from(value).unwrap();
        if self.endian == Endianness::Big {
            value.to_be_bytes()
        } else {
            value.to_le_bytes()
        }
    }

    fn note(&self, owner: &str, kind: usize, description: &[u8]) -> Vec<u8> {
        let mut note = Vec::new();
        for word in [owner.len() + 1, description.len(), kind] {
            note.extend(self.half(word));
        }
        for bytes in [owner.as_bytes(), &[0]] {
            note.extend_from_slice(bytes);
        }
        note.resize(note.len().next_multiple_of(4), 0);
        note.extend_from_slice(description);
        note.resize(note.len().next_multiple_of(4), 0);
        note
    }

    /// The section `.note.stapsdt`.
    pub(super) fn notes(&self) -> Vec<u8> {
        let notes = self.markers.iter().flat_map(|marker| {
            let mut description = Vec::new();
            for word in [marker.location, marker.base, marker.semaphore] {
                description.extend(self.word(word));
            }
            for text in [marker.provider, marker.name, marker.arguments] {
                description.extend_from_slice(text.as_bytes());
                description.push(0);
            }
            self.note("stapsdt", 3, &description)
        });
        notes.collect()
    }

    /// The bytes of the file.
    pub(super) fn build(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut writer = Writer::new(self.endian, self.is_64, &mut bytes);
        let layout = Layout::reserve(self, &mut writer);
        self.write_program_headers(&mut writer, &layout);
        self.write_contents(&mut writer, &layout);
        if self.section_headers {
            self.write_section_headers(&mut writer, &layout);
        }
        bytes
    }

    fn has_dynamic(&self) -> bool {
        self.hash != Hash::None || !self.exports.is_empty()
    }

    fn contents(&self) -> [(u64, &[u8]); 3] {
        [
            (RODATA.0, &self.rodata),
            (TEXT.0, &self.text),
            (DATA.0, &self.data),
        ]
    }

    fn write_program_headers(&self, writer: &mut Writer<'_>, layout: &Layout) {
        let header = FileHeader {
            os_abi: elf::ELFOSABI_SYSV,
            abi_version: 0,
            e_type: if self.relocatable {
                elf::ET_DYN
            } else {
                elf::ET_EXEC
            },
            e_machine: self.machine,
            e_entry: self.text_at(0),
            e_flags: elf::FileFlags(0),
        };
        writer.write_file_header(&header).unwrap();
        writer.write_align_program_headers();
        for (kind, flags, offset, address, size) in self.segments(layout) {
            writer.write_program_header(&ProgramHeader {
                p_type: kind,
                p_flags: flags,
                p_offset: offset,
                p_vaddr: address,
                p_paddr: address,
                p_filesz: size,
                // The memory goes on where the file ends.
                p_memsz: size + 0x100,
                p_align: if kind == elf::PT_LOAD { 0x1000 } else { 4 },
            });
        }
    }

    fn segments(
        &self,
        layout: &Layout,
    ) -> Vec<(elf::ProgramType, elf::ProgramFlags, u64, u64, u64)> {
        let base = self.base();
        let (read, execute, write) = (elf::PF_R, elf::PF_X, elf::PF_W);
        let mut segments = Vec::new();
        if self.has_loader {
            let offset = layout.loader;
            segments.push((elf::PT_INTERP, read, offset, base + offset, 8));
        }
        let data = layout.data_end - DATA.0;
        for ((offset, address), flags, size) in [
            ((0, 0), read, layout.headers_end),
            (RODATA, read, self.rodata.len() as u64),
            (TEXT, read | execute, self.text.len() as u64),
            (DATA, read | write, data),
        ] {
            segments.push((elf::PT_LOAD, flags, offset, base + address, size));
        }
        if self.has_dynamic() {
            let offset = layout.dynamic;
            let address = base + DATA.1 + (offset - DATA.0);
            let size = layout.data_end - offset;
            segments.push((elf::PT_DYNAMIC, read | write, offset, address, size));
        }
        let offset = layout.build_id;
        let size = self.build_id_note().len() as u64;
        segments.push((elf::PT_NOTE, read, offset, base + offset, size));
        if self.notes_segment {
            let size = self.notes().len() as u64;
            segments.push((elf::PT_NOTE, read, layout.notes, 0, size));
        }
        segments
    }

    fn build_id_note(&self) -> Vec<u8> {
        self.build_id
            .as_ref()
            .map(|id| self.note("GNU", 3, id))
            .unwrap_or_default()
    }

    fn write_contents(&self, writer: &mut Writer<'_>, layout: &Layout) {
        writer.pad_until(layout.build_id);
        writer.write(&self.build_id_note());
        writer.pad_until(layout.loader);
        writer.write(b"/ld.so\0\0");
        let exports = &layout.exports;
        let (undefined, count) = (layout.undefined, u32::try_from(exports.len()).unwrap());
        match self.hash {
            Hash::Gnu => {
                let defined = count - undefined;
                writer.write_gnu_hash(1 + undefined, 6, BLOOM, BUCKETS, defined, |at| {
                    let symbol = &exports[(at + undefined) as usize];
                    elf::gnu_hash(symbol.name.as_bytes())
                });
            }
            Hash::SysV => {
                writer.write_hash(BUCKETS, count + 1, |at| {
                    let symbol = exports.get((at as usize).checked_sub(1)?)?;
                    Some(elf::hash(symbol.name.as_bytes()))
                });
            }
            Hash::None => {}
        }
        writer.write_null_dynamic_symbol();
        for (symbol, name) in exports.iter().zip(&layout.export_names) {
            let offset = writer.dynamic_string_offset(Some(*name));
            writer.write_dynamic_symbol(&entry(symbol, offset));
        }
        writer.write_dynstr();
        for (offset, bytes) in self.contents() {
            writer.pad_until(offset);
            writer.write(bytes);
        }
        if self.has_dynamic() {
            self.write_dynamic(writer, layout);
        }
        writer.pad_until(layout.notes);
        writer.write(&self.notes());
        writer.write_null_symbol();
        for (symbol, name) in self.symbols.iter().zip(&layout.names) {
            let offset = writer.string_offset(Some(*name));
            writer.write_symbol(&entry(symbol, offset));
        }
        writer.write_strtab();
        if self.section_headers {
            writer.write_shstrtab();
        }
    }

    fn write_dynamic(&self, writer: &mut Writer<'_>, layout: &Layout) {
        let base = self.base();
        let hash = match self.hash {
            Hash::Gnu => elf::DT_GNU_HASH,
            Hash::SysV => elf::DT_HASH,
            Hash::None => elf::DT_DEBUG,
        };
        let names_size = writer.dynstr_len().into();
        writer.write_align_dynamic();
        for (tag, value) in [
            (hash, base + layout.hash),
            (elf::DT_SYMTAB, base + layout.dynamic_symbols),
            (elf::DT_STRTAB, base + layout.dynamic_names),
            (elf::DT_STRSZ, names_size),
        ] {
            writer.write_dynamic(tag, value).unwrap();
        }
        let (address, size) = self.relocations.unwrap_or_default();
        for (tag, value) in [(elf::DT_RELA, address), (elf::DT_RELASZ, size)] {
            let tag = if size == 0 { elf::DT_DEBUG } else { tag };
            writer.write_dynamic(tag, value).unwrap();
        }
        match layout.soname {
            Some(name) => writer.write_dynamic_string(elf::DT_SONAME, name),
            None => writer.write_dynamic(elf::DT_DEBUG, 0),
        }
        .unwrap();
        for name in &layout.needed {
            writer.write_dynamic_string(elf::DT_NEEDED, *name).unwrap();
        }
        writer.write_dynamic(elf::DT_NULL, 0).unwrap();
    }

    fn write_section_headers(&self, writer: &mut Writer<'_>, layout: &Layout) {
        writer.write_null_section_header();
        let base = self.base();
        writer.write_gnu_hash_section_header(base + layout.hash);
        writer.write_hash_section_header(base + layout.hash);
        writer.write_dynsym_section_header(base + layout.dynamic_symbols, 1);
        writer.write_dynstr_section_header(base + layout.dynamic_names);
        writer.write_dynamic_section_header(base + DATA.1 + layout.dynamic.saturating_sub(DATA.0));
        writer.write_strtab_section_header();
        writer.write_symtab_section_header(1);
        let notes = Named {
            name: ".note.stapsdt",
            kind: elf::SHT_NOTE,
            allocated: false,
            address: 0,
            offset: layout.notes,
            size: self.notes().len() as u64,
        };
        let sections = self.sections.iter().chain([&notes]);
        for (section, name) in sections.zip(&layout.section_names) {
            writer.write_section_header(&SectionHeader {
                sh_name: writer.section_name_offset(Some(*name)),
                sh_type: section.kind,
                sh_flags: elf::SectionFlags(if section.allocated { 2 } else { 0 }),
                sh_addr: section.address,
                sh_offset: section.offset,
                sh_size: section.size,
                sh_link: 0,
                sh_info: 0,
                sh_addralign: 4,
                sh_entsize: 0,
            });
        }
        writer.write_shstrtab_section_header();
    }
}

/// Where the pieces of a file are.
struct Layout {
    exports: Vec<Symbol>,
    undefined: u32,
    build_id: u64,
    loader: u64,
    hash: u64,
    dynamic_symbols: u64,
    dynamic_names: u64,
    headers_end: u64,
    dynamic: u64,
    data_end: u64,
    notes: u64,
    export_names: Vec<StringId>,
    names: Vec<StringId>,
    section_names: Vec<StringId>,
    soname: Option<StringId>,
    needed: Vec<StringId>,
}

impl Layout {
    fn reserve<'p>(program: &'p Program, writer: &mut Writer<'p>) -> Self {
        // The hash table wants the undefined symbols first, then the others by bucket.
        let mut exports = program.exports.clone();
        exports.sort_by_key(|symbol| {
            let hash = elf::gnu_hash(symbol.name.as_bytes());
            (symbol.kind != Kind::Undefined, hash % BUCKETS)
        });
        let undefined = exports.iter().filter(|s| s.kind == Kind::Undefined).count();
        let undefined = u32::try_from(undefined).unwrap();
        let count = u32::try_from(exports.len()).unwrap();
        writer.reserve_file_header();
        let optional = [
            program.has_loader,
            program.has_dynamic(),
            program.notes_segment,
        ];
        writer.reserve_program_headers(5 + optional.map(u32::from).iter().sum::<u32>());
        let build_id = writer.reserve(program.build_id_note().len() as u64, 4);
        let loader = writer.reserve(8, 1);
        let hash = match program.hash {
            Hash::Gnu => writer.reserve_gnu_hash(BLOOM, BUCKETS, count - undefined),
            Hash::SysV => writer.reserve_hash(BUCKETS, count + 1),
            Hash::None => 0,
        };
        // The writer wants a section for each of its tables, even where none is written.
        match program.hash {
            Hash::Gnu => Some(writer.reserve_gnu_hash_section_index()),
            Hash::SysV => Some(writer.reserve_hash_section_index()),
            Hash::None => None,
        };
        writer.reserve_dynsym_section_index();
        writer.reserve_dynstr_section_index();
        if program.has_dynamic() {
            writer.reserve_dynamic_section_index();
        }
        if !program.symbols.is_empty() {
            writer.reserve_strtab_section_index();
            writer.reserve_symtab_section_index();
        }
        writer.reserve_null_dynamic_symbol_index();
        let export_names = exports
            .iter()
            .map(|symbol| {
                writer.reserve_dynamic_symbol_index();
                writer.add_dynamic_string(symbol.name.as_bytes())
            })
            .collect();
        let soname = program
            .soname
            .map(|name| writer.add_dynamic_string(name.as_bytes()));
        let needed = program.needed.iter();
        let needed: Vec<_> = needed
            .map(|name| writer.add_dynamic_string(name.as_bytes()))
            .collect();
        let dynamic_symbols = writer.reserve_dynsym();
        let dynamic_names = writer.reserve_dynstr().unwrap();
        let headers_end = writer.reserved_len();
        assert!(headers_end <= RODATA.0);
        for (offset, bytes) in program.contents() {
            // The last segment can be of any size.
            assert!(offset == DATA.0 || bytes.len() as u64 <= SEGMENT_SIZE);
            writer.reserve_until(offset);
            writer.reserve(bytes.len() as u64, 1);
        }
        let dynamic = writer.reserve_dynamic(if program.has_dynamic() {
            8 + needed.len()
        } else {
            0
        });
        let data_end = writer.reserved_len();
        let notes = writer.reserve(program.notes().len() as u64, 4);
        let names = program
            .symbols
            .iter()
            .map(|symbol| {
                writer.reserve_symbol_index(None);
                writer.add_string(symbol.name.as_bytes())
            })
            .collect();
        writer.reserve_symtab();
        writer.reserve_strtab().unwrap();
        let section_names = if program.section_headers {
            program.reserve_sections(writer)
        } else {
            Vec::new()
        };
        Self {
            exports,
            undefined,
            build_id,
            loader,
            hash,
            dynamic_symbols,
            dynamic_names,
            headers_end,
            dynamic,
            data_end,
            notes,
            export_names,
            names,
            section_names,
            soname,
            needed,
        }
    }
}

impl Program {
    fn reserve_sections<'p>(&'p self, writer: &mut Writer<'p>) -> Vec<StringId> {
        let mut names: Vec<_> = self.sections.iter().map(|section| section.name).collect();
        if !self.markers.is_empty() {
            names.push(".note.stapsdt");
        }
        let names = names
            .into_iter()
            .map(|name| {
                writer.reserve_section_index();
                writer.add_section_name(name.as_bytes())
            })
            .collect();
        writer.reserve_shstrtab_section_index();
        writer.reserve_shstrtab().unwrap();
        writer.reserve_section_headers();
        names
    }
}

const BUCKETS: u32 = 3;
const BLOOM: u32 = 2;

fn entry(symbol: &Symbol, name: u32) -> Sym {
    let kind = match symbol.kind {
        Kind::Function | Kind::Undefined => elf::STT_FUNC,
        Kind::Object => elf::STT_OBJECT,
    };
    let section = match symbol.kind {
        Kind::Undefined => elf::SHN_UNDEF,
        // Which section it is in does not matter, as long as it is in one.
        Kind::Function | Kind::Object => elf::SymbolSection(1),
    };
    Sym {
        section: None,
        st_name: name,
        st_info: elf::SymbolInfo((elf::STB_GLOBAL.0 << 4) | kind.0),
        st_other: elf::SymbolOther(0),
        st_shndx: section,
        st_value: symbol.address,
        st_size: symbol.size,
    }
}
