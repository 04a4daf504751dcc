//! The handlers of the bytecodes with which a frame is left.

use std::ops::Range;

use super::handlers::{block, family, others};
use super::opcodes::Opcodes;
use super::table::Table;
use super::{NO_BLOCK, registers, table};
use crate::cpython::block::Block;
use crate::cpython::code::{Failure, Value};
use crate::cpython::elf::Elf;
use crate::cpython::jumps::{self, References};
use crate::cpython::symbols::Dynamic;
use crate::cpython::{NotCountable, Version, layout, site};

use registers::Registers;

/// Where frames are left.
#[derive(Debug)]
pub(in crate::cpython) struct Leaving {
    /// Where it returns.
    pub(in crate::cpython) returns: Vec<Exit>,
    /// Where it yields.
    pub(in crate::cpython) yields: Exit,
    /// Where in the file a generator is made.
    pub(in crate::cpython) created: u64,
    /// Where in the file an exception is raised once more, by a frame that has dealt with it. In 3.11
    /// alone, where the frames that it leaves are not seen leaving.
    pub(in crate::cpython) raised_again: Option<u64>,
    /// Where the handlers of all bytecodes are, in order.
    handlers: Vec<u64>,
    /// Where those are that return.
    returning: Vec<u64>,
}

/// An instruction of a handler that leaves a frame.
#[derive(Debug)]
pub(in crate::cpython) struct Exit {
    /// Where it is in the file.
    pub(in crate::cpython) file_offset: u64,
    /// Where the frame is then.
    pub(in crate::cpython) frame: Value,
    /// Whether it is a call, for want of something that costs less.
    pub(in crate::cpython) calls: bool,
}

impl Leaving {
    /// Which of the places from where a function is called are not passed by a return. The function
    /// takes a frame off the stack, so that each handler that returns has the first such place
    /// behind its start, before the next handler.
    pub(in crate::cpython) fn not_returning(&self, mut calls: Vec<u64>) -> Vec<u64> {
        calls.sort_unstable();
        calls.dedup();
        let mut before = None;
        calls.retain(|call| {
            let behind = self.handlers.partition_point(|handler| handler <= call);
            let handler = behind.checked_sub(1).and_then(|at| self.handlers.get(at));
            let is_first = before != handler;
            before = handler;
            let returns = handler.is_some_and(|handler| self.returning.contains(handler));
            !(returns && is_first)
        });
        calls
    }
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
    let others = [opcodes.yield_value, opcodes.return_generator];
    let others = others.iter().chain(&opcodes.reraise);
    let handlers = opcodes
        .returning
        .iter()
        .chain(others)
        .map(|opcode| handler(elf, &table, *opcode))
        .collect::<Result<Vec<_>, _>>()?;
    let pieces: Vec<_> = handlers.iter().map(Handler::piece).collect();
    let references = jumps::search(elf, &pieces, None)?.ok_or(bad(
        "is in a file too large to be searched for jumps into it",
    ))?;
    let mut returns = handlers
        .iter()
        .map(|handler| exit(elf, &table, handler, &references, &registers))
        .collect::<Result<Vec<_>, _>>()?;
    let raised_again = opcodes.reraise.and_then(|_| returns.pop());
    let created = returns.pop().ok_or(bad(NO_BLOCK))?.file_offset;
    let yields = returns.pop().ok_or(bad(NO_BLOCK))?;
    let mut all = table.handlers.clone();
    all.sort_unstable();
    Ok(Leaving {
        returns,
        yields,
        created,
        raised_again: raised_again.map(|exit| exit.file_offset),
        handlers: all,
        returning: opcodes
            .returning
            .iter()
            .map(|opcode| table.handler(*opcode))
            .collect(),
    })
}

fn bad(why: &'static str) -> NotCountable {
    NotCountable::BadHandler {
        bytecode: "RETURN_VALUE, YIELD_VALUE, RETURN_GENERATOR or RERAISE",
        why,
    }
}

/// The handler of a bytecode, up to its first branch.
struct Handler {
    start: u64,
    code: Vec<u8>,
    block: Block,
}

impl Handler {
    fn piece(&self) -> Range<u64> {
        self.start..self.block.end()
    }
}

fn handler(elf: &Elf<'_>, table: &Table, opcode: u8) -> Result<Handler, Failure> {
    let start = table.handler(opcode);
    let same = table.handlers.iter().filter(|other| **other == start);
    if same.count() != 1 {
        return Err(bad("is also that of another bytecode").into());
    }
    let (code, block) = block(elf, start)?.ok_or(bad(NO_BLOCK))?;
    Ok(Handler { start, code, block })
}

/// The site of a handler: an instruction that everything passes that comes from the table. Others
/// may come, too; they leave a frame likewise.
fn exit(
    elf: &Elf<'_>,
    table: &Table,
    handler: &Handler,
    references: &References,
    registers: &Registers,
) -> Result<Exit, Failure> {
    let own = handler.piece();
    let jumps = references.jumps.iter().map(|jump| jump.to);
    let inner: Vec<u64> = jumps
        .chain(table.handlers.iter().copied())
        .filter(|to| own.contains(to) && *to != handler.start)
        .collect();
    let Handler { start, code, block } = handler;
    let found = site::by_cost(block, code, *start, &inner).find_map(|step| {
        Some(Exit {
            file_offset: site::file_offset(elf, step)?,
            frame: block.locate(step, registers.frame)?,
            calls: site::pushes(step),
        })
    });
    found.ok_or_else(|| bad("has no instruction that pytop can count at").into())
}
