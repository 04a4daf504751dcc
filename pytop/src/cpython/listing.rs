//! Every marker of a file, whoever provides it: what `readelf -n` shows of them.
//!
//! ```text
//!   stapsdt              0x00000045       NT_STAPSDT (SystemTap probe descriptors)
//!     Provider: python
//!     Name: function__entry
//!     Location: 0x00000000004b66d4, Base: 0x000000000066c34f, Semaphore: 0x0000000000908d48
//!     Arguments: 8@%rax 8@%rdx -4@%ecx
//! ```

use std::fs::File;
use std::path::Path;

use object::elf;

use super::elf::{Elf, Segment};
use super::source::{Fault, ReadAt, Source};
use super::{Architecture, ExamineError, notes, symbols};
use crate::model::Text;

/// A program or shared library, and its markers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The processor that the file is for.
    pub architecture: Architecture,
    /// The linker's identification of the file (`NT_GNU_BUILD_ID`), if it has one.
    pub build_id: Option<Vec<u8>>,
    /// The library with an interpreter that it asks for, by its name.
    pub python_library: Option<Text>,
    /// Its markers, in the order of the file.
    pub markers: Vec<ListedMarker>,
    /// The table of markers makes no sense somewhere: there may be more than were found.
    pub damaged: bool,
    /// Where the file's instructions are.
    code: Vec<CodeRange>,
}

/// A marker as the file describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedMarker {
    /// Who provides it, such as `python` or `libc`.
    pub provider: Text,
    /// Its name.
    pub name: Text,
    /// Its address in the program as the file has it, before it is loaded anywhere.
    pub address: u64,
    /// Where its instruction is in the file; `None` if that is not among the instructions.
    pub file_offset: Option<u64>,
    /// The address of the section `.stapsdt.base` when the file was linked.
    pub base: u64,
    /// The address of its 16-bit semaphore; `None` for a marker that is always on.
    pub semaphore: Option<u64>,
    /// Where its semaphore is in the file; `None` if there is none, or it is not in the file.
    pub semaphore_file_offset: Option<u64>,
    /// Its arguments, as the assembler writes them.
    pub arguments: Text,
}

/// Instructions that are loaded together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct CodeRange {
    offset: u64,
    address: u64,
    size: u64,
}

impl Listing {
    /// What has to be added to an address in the file for the address in a process that has mapped
    /// the part of the file from `offset` on to `start` and may execute it. `None` if there are no
    /// instructions in this part.
    #[must_use]
    pub fn load_bias(&self, start: u64, offset: u64) -> Option<u64> {
        // What is mapped begins with a page.
        const LARGEST_PAGE: u64 = 1 << 16;
        let range = self.code.iter().find(|range| {
            let first = range.offset.saturating_sub(LARGEST_PAGE - 1);
            (first..range.offset.saturating_add(range.size)).contains(&offset)
        })?;
        let address = range
            .address
            .wrapping_sub(range.offset)
            .wrapping_add(offset);
        Some(start.wrapping_sub(address))
    }
}

/// Lists the markers of a file. `Ok(None)` is a file that is neither a program nor a shared library.
/// `path` names the file in errors. The file's position is neither used nor changed.
///
/// # Errors
/// The file cannot be read, or it is an ELF file that contradicts itself.
pub fn list_markers(file: &File, path: &Path) -> Result<Option<Listing>, ExamineError> {
    let error = |fault| ExamineError::new(path, fault);
    let metadata = file
        .metadata()
        .map_err(|source| error(Fault::Read(source)))?;
    // A read from a device can do anything, and no program is in one.
    if !metadata.is_file() {
        return Ok(None);
    }
    list(file, metadata.len()).map_err(error)
}

pub(super) fn list(file: &dyn ReadAt, length: u64) -> Result<Option<Listing>, Fault> {
    let Some(elf) = Elf::open(Source::new(file, length)?)? else {
        return Ok(None);
    };
    let notes = notes::read(&elf, |_, _| true);
    let markers = notes.found.iter().map(|note| {
        let moved = note.moved(&elf);
        let address = note.location.wrapping_add(moved);
        // As of markers that are probed: 0 says that there is none, and stays 0.
        let semaphore = (note.semaphore != 0).then(|| note.semaphore.wrapping_add(moved));
        let is_data = |segment: &Segment| segment.writable && !segment.executable;
        ListedMarker {
            provider: Text::from(&*note.provider),
            name: Text::from(&*note.name),
            address,
            file_offset: elf.file_offset(address, 1, |segment| segment.executable),
            base: note.base.wrapping_add(moved),
            semaphore,
            semaphore_file_offset: semaphore.and_then(|at| elf.file_offset(at, 2, is_data)),
            arguments: Text::from(&*note.arguments),
        }
    });
    // It is a hint: without it, the markers are told all the same.
    let mut libraries = symbols::needed(&elf).unwrap_or_default().into_iter();
    let python_library = libraries.find(|name| name.starts_with(b"libpython"));
    let code = elf.segments.iter();
    let code = code.filter(|segment| segment.kind == elf::PT_LOAD && segment.executable);
    Ok(Some(Listing {
        architecture: Architecture::of(&elf),
        build_id: notes::build_id(&elf),
        python_library: python_library.map(|name| Text::from(&*name)),
        markers: markers.collect(),
        damaged: notes.damaged,
        code: code
            .map(|segment| CodeRange {
                offset: segment.offset,
                address: segment.address,
                size: segment.file_size,
            })
            .collect(),
    }))
}
