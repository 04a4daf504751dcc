//! Removing the debug information from which BTF was made: nine tenths of what the linker writes.

use anyhow::Result;
use object::build::elf::{Builder, SectionData};
use object::elf;

/// The object without its `.debug_*` sections. Code, maps, relocations, BTF and symbols stay.
pub(super) fn debug_sections(object: &[u8]) -> Result<Vec<u8>> {
    let mut builder = Builder::read64(object)?;
    for section in &mut builder.sections {
        let name = section.name.as_slice();
        let name = name.strip_prefix(b".rel".as_slice()).unwrap_or(name);
        section.delete = name.starts_with(b".debug_");
    }
    builder.delete_orphans();
    // LLVM keeps the names of sections and symbols in one table, the builder in two.
    let names = builder.sections.add();
    names.name = b".shstrtab".as_slice().into();
    names.sh_type = elf::SHT_STRTAB;
    names.sh_addralign = 1;
    names.data = SectionData::SectionString;
    let mut stripped = Vec::new();
    builder.write(&mut stripped)?;
    Ok(stripped)
}
