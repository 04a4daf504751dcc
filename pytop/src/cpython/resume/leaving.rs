//! The handlers of the bytecodes with which a frame is left.

use super::handlers::{block, family, others};
use super::opcodes::Opcodes;
use super::table::Table;
use super::{NO_BLOCK, registers, table};
use crate::cpython::block::Block;
use crate::cpython::code::{Failure, Value};
use crate::cpython::elf::Elf;
use crate::cpython::jumps;
use crate::cpython::symbols::Dynamic;
use crate::cpython::{NotCountable, Version, layout, site};

use registers::Registers;

/// Where frames are left.
#[derive(Debug)]
pub(in crate::cpython) struct Leaving {
    /// Where in the file, and where the frame is then.
    pub(in crate::cpython) exits: Vec<(u64, Value)>,
    /// Where in the file a generator is made.
    pub(in crate::cpython) created: u64,
}

/// Finds them in an interpreter of 3.11 or later.
pub(in crate::cpython) fn leaving(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    version: Version,
) -> Result<Leaving, Failure> {
    let Some(opcodes) = Opcodes::of(version) else {
        return Err(NotCountable::UnknownOpcodes { version }.into());
    };
    let layout = layout::read(elf, dynamic, version)?;
    let table = table::find(elf, dynamic, opcodes)?;
    let family = family(elf, opcodes, &table)?;
    let all = others(elf, opcodes, &table)?;
    let blocks: Vec<&Block> = family.iter().map(|handler| &handler.block).collect();
    let all: Vec<&Block> = all.iter().chain(blocks.iter().copied()).collect();
    let nop = block(elf, table.handler(opcodes.nop))?
        .ok_or(NotCountable::BadHandler {
            bytecode: "NOP",
            why: NO_BLOCK,
        })?
        .1;
    let registers = registers::tell(&blocks, &nop, &all, &layout)?;
    let mut exits = Vec::with_capacity(opcodes.leaving.len());
    for opcode in opcodes.leaving {
        exits.push(exit(elf, &table, *opcode, &registers)?);
    }
    exits.sort_unstable_by_key(|(offset, _)| *offset);
    exits.dedup_by_key(|(offset, _)| *offset);
    let (created, _) = exit(elf, &table, opcodes.return_generator, &registers)?;
    Ok(Leaving { exits, created })
}

/// The site of a handler: an instruction that everything passes that comes from the table. Others
/// may come, too; they leave a frame likewise.
fn exit(
    elf: &Elf<'_>,
    table: &Table,
    opcode: u8,
    registers: &Registers,
) -> Result<(u64, Value), Failure> {
    let start = table.handler(opcode);
    let bad = |why| NotCountable::BadHandler {
        bytecode: "RETURN_VALUE, YIELD_VALUE or RETURN_GENERATOR",
        why,
    };
    let (code, block) = block(elf, start)?.ok_or(bad(NO_BLOCK))?;
    let own = start..block.end();
    let shared = table.handlers.iter().filter(|other| **other == start);
    if shared.count() != 1 {
        return Err(bad("is also that of another bytecode").into());
    }
    let references = jumps::search(elf, std::slice::from_ref(&own), None)?.ok_or(bad(
        "is in a file too large to be searched for jumps into it",
    ))?;
    let entered = table.handlers.iter().filter(|other| own.contains(other));
    let inner: Vec<u64> = references
        .jumps
        .iter()
        .map(|jump| jump.to)
        .chain(entered.copied())
        .filter(|to| *to != start)
        .collect();
    let found = site::emulated(&block, &code, start, &inner)
        .chain(block.steps.first())
        .find_map(|step| {
            let frame = block.locate(step, registers.frame)?;
            Some((site::file_offset(elf, step)?, frame))
        });
    found.ok_or_else(|| bad("has no instruction that pytop can count at").into())
}
