//! From the notes of a file to the places where its `function__entry` marker can be counted.
//!
//! Either every copy of the marker can be counted or none is: a count of some of them would be a
//! wrong number without a sign of it.

use object::elf;
use pytop_common::marker::{Argument, MarkerSpec};

use super::arguments::{self, Surroundings, Why};
use super::elf::Elf;
use super::notes::{Note, Notes};
use super::symbols::{Dynamic, MAX_TABLE, in_full_table};
use super::{Architecture, NotCountable, Site};
use crate::model::Text;

/// Name of the provider of CPython's markers (Include/pydtrace.d).
const PROVIDER: &[u8] = b"python";
/// Name of the marker at the entry of a frame.
const ENTRY: &[u8] = b"function__entry";
/// More copies of one marker than this has no interpreter.
const MAX_SITES: usize = 256;
/// Longest text of arguments that is read, in bytes.
const MAX_ARGUMENTS: usize = 512;
/// Largest file offset of a semaphore that the kernel takes: 32 bits of a perf event's `config`
/// (kernel/events/core.c, `PERF_UPROBE_REF_CTR_OFFSET_BITS`).
const MAX_SEMAPHORE_OFFSET: u64 = u32::MAX as u64;

/// Whether these are the provider and the name of the marker at the entry of a frame.
pub(super) fn is_entry(provider: &[u8], name: &[u8]) -> bool {
    provider == PROVIDER && name == ENTRY
}

/// Whether these are the provider and the name of the marker where a frame is left.
pub(super) fn is_return(provider: &[u8], name: &[u8]) -> bool {
    provider == PROVIDER && name == b"function__return"
}

/// The places of the marker that `notes` describe.
pub(super) fn sites(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    architecture: Architecture,
    notes: &Notes,
) -> Result<Vec<Site>, NotCountable> {
    if notes.damaged {
        return Err(NotCountable::BadMarker("the table of markers is damaged"));
    }
    if notes.found.len() > MAX_SITES {
        return Err(NotCountable::BadMarker("there are hundreds of copies"));
    }
    let mut sites: Vec<Site> = Vec::with_capacity(notes.found.len());
    for note in &notes.found {
        let site = site(elf, dynamic, architecture, note)?;
        // The same breakpoint twice would count every call twice.
        match sites.iter().find(|known| known.address == site.address) {
            None => sites.push(site),
            Some(known) if *known == site => {}
            Some(_) => {
                let why = "two descriptions of one copy contradict each other";
                return Err(NotCountable::BadMarker(why));
            }
        }
    }
    Ok(sites)
}

fn site(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    architecture: Architecture,
    note: &Note,
) -> Result<Site, NotCountable> {
    // Semaphores move with the rest of a prelinked file; 0 says that there is none and stays 0.
    let moved = note.moved(elf);
    let address = note.location.wrapping_add(moved);
    let file_offset = instruction_offset(elf, architecture, address)?;
    let semaphore_file_offset = match note.semaphore {
        0 => None,
        semaphore => Some(semaphore_offset(elf, semaphore.wrapping_add(moved))?),
    };
    let spec = spec(elf, dynamic, architecture, address, &note.arguments)?;
    Ok(Site {
        address,
        file_offset,
        semaphore_file_offset,
        spec,
    })
}

/// The file offset of the marker's instruction, once it is certain that a breakpoint there can
/// hurt nothing: a marker is an instruction that does nothing.
fn instruction_offset(
    elf: &Elf<'_>,
    architecture: Architecture,
    address: u64,
) -> Result<u64, NotCountable> {
    let size = match architecture {
        Architecture::Aarch64 => 4,
        Architecture::X86_64 | Architecture::Other(_) => 1,
    };
    let bad = NotCountable::BadMarker;
    let offset = elf
        .file_offset(address, size, |segment| segment.executable)
        .ok_or(bad("its address is not among the instructions"))?;
    // Longer no-operation instructions may end the segment.
    let code = (size..=4)
        .rev()
        .find_map(|size| elf.source.read(offset, size, 4, "its marker").ok())
        .ok_or(bad("its instruction cannot be read"))?;
    let does_nothing = match architecture {
        // nop; nop with an operand prefix; nop with operands.
        Architecture::X86_64 => {
            matches!(*code, [0x90, ..] | [0x66, 0x90, ..] | [0x0f, 0x1f, ..])
                || matches!(*code, [0x66, 0x0f, 0x1f, ..])
        }
        Architecture::Aarch64 => *code == [0x1f, 0x20, 0x03, 0xd5],
        Architecture::Other(_) => false,
    };
    if does_nothing {
        Ok(offset)
    } else {
        Err(bad("there is no nop instruction at its address"))
    }
}

/// The file offset of a semaphore that the kernel can raise: two bytes in a page that each process
/// has for itself and may write.
fn semaphore_offset(elf: &Elf<'_>, address: u64) -> Result<u64, NotCountable> {
    let bad = NotCountable::BadMarker;
    let offset = elf
        .file_offset(address, 2, |segment| {
            segment.writable && !segment.executable
        })
        .ok_or(bad("its semaphore is not in the writable data of the file"))?;
    if offset > MAX_SEMAPHORE_OFFSET {
        return Err(bad(
            "its semaphore is beyond the first 4 GiB of the file, which the kernel cannot reach",
        ));
    }
    // The segment may claim more than the file has.
    if elf.source.read(offset, 2, 2, "its semaphore").is_err() {
        return Err(bad("its semaphore lies beyond the end of the file"));
    }
    // kernel/events/uprobes.c, `uprobe_register`.
    if !offset.is_multiple_of(2) {
        return Err(bad("its semaphore is at an odd address"));
    }
    Ok(offset)
}

/// The specification of the three arguments: filename, function name and line
/// (Include/pydtrace.d).
fn spec(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    architecture: Architecture,
    site: u64,
    text: &[u8],
) -> Result<MarkerSpec, NotCountable> {
    let unsupported = |argument: &[u8], why: Why| {
        let shown = argument.get(..MAX_ARGUMENTS / 4).unwrap_or(argument);
        NotCountable::UnsupportedArgument {
            argument: Text::from(shown),
            why,
        }
    };
    let text = match str::from_utf8(text) {
        Ok(text) if text.len() <= MAX_ARGUMENTS => text,
        _ => return Err(unsupported(text, "is no text of arguments".into())),
    };
    let surroundings = Surroundings {
        site,
        relocatable: elf.relocatable,
        symbol: &|name| symbol_address(elf, dynamic, name),
    };
    let parse = |text: &str| {
        arguments::parse(architecture, text, &surroundings)
            .map_err(|why| unsupported(text.as_bytes(), why))
    };
    let pointer = |text: &str| {
        let argument: Argument = parse(text)?;
        if argument.right_shift == 0 {
            Ok(argument)
        } else {
            let why = "should be an address, which has 8 bytes".into();
            Err(unsupported(text.as_bytes(), why))
        }
    };
    match arguments::split(text).as_slice() {
        [filename, function, line] => Ok(MarkerSpec {
            filename: pointer(filename)?,
            function: pointer(function)?,
            line: parse(line)?,
        }),
        found => Err(NotCountable::WrongArgumentCount { found: found.len() }),
    }
}

fn symbol_address(elf: &Elf<'_>, dynamic: &Dynamic, name: &str) -> Result<u64, Why> {
    const DAMAGED: Why = Why::Borrowed("names a symbol, and the table of symbols is damaged");
    const LONGEST: usize = 200;
    if name.len() > LONGEST {
        return Err("names a symbol of hundreds of letters".into());
    }
    if let Some(symbol) = dynamic.find(elf, name).map_err(|_| DAMAGED)? {
        return Ok(symbol.address);
    }
    let mut found = in_full_table(elf, &[name], MAX_TABLE)
        .map_err(|_| DAMAGED)?
        .into_iter()
        .map(|(_, symbol)| symbol.address);
    match (found.next(), found.next()) {
        (Some(address), None) => Ok(address),
        (Some(_), Some(_)) => Err("names a symbol that the file has several times".into()),
        (None, _) if elf.sections.iter().any(|s| s.kind == elf::SHT_SYMTAB) => {
            Err("names a symbol that is not in the file".into())
        }
        (None, _) => Err("names a symbol that was stripped from the file".into()),
    }
}
