//! The handlers of the RESUME family, and the instruction of each that gets the probe.

use std::collections::BTreeSet;

use iced_x86::{Decoder, DecoderOptions, FlowControl};

use super::opcodes::{Opcodes, Usage};
use super::registers::{Registers, thread_of, versions_compared};
use super::table::Table;
use super::{Family, Handler, NO_BLOCK};
use crate::cpython::NotCountable;
use crate::cpython::block::{Block, Step};
use crate::cpython::code::Failure;
use crate::cpython::elf::Elf;
use crate::cpython::jumps::{self, Jump, References, approach, code_at};
use crate::cpython::layout::Layout;
use crate::cpython::site::{self, MAX_BLOCK};
use crate::cpython::source::Fault;
use crate::cpython::symbols::Dynamic;

/// Instructions that are followed from the branch with which a specialised bytecode gives up.
const MAX_DETOUR: usize = 16;

/// The handler of a bytecode of the family.
#[derive(Debug)]
pub(super) struct Member {
    opcode: u8,
    family: Family,
    start: u64,
    code: Vec<u8>,
    pub(super) block: Block,
}

/// The instructions at an address up to the first branch, with their bytes.
pub(super) fn block(elf: &Elf<'_>, address: u64) -> Result<Option<(Vec<u8>, Block)>, Fault> {
    let code = code_at(elf, address, MAX_BLOCK)?;
    let block = Block::follow(&code, address);
    Ok(block.map(|block| (code, block)))
}

/// The handlers of the family, each address once.
pub(super) fn family(
    elf: &Elf<'_>,
    opcodes: &Opcodes,
    table: &Table,
) -> Result<Vec<Member>, Failure> {
    let mut members: Vec<Member> = Vec::with_capacity(opcodes.family.len());
    for (opcode, family) in opcodes.family {
        let start = table.handler(*opcode);
        let bad = |why| NotCountable::BadHandler {
            bytecode: family.name(),
            why,
        };
        let shared = (0..=u8::MAX).any(|other| {
            table.handler(other) == start
                && !opcodes.family.iter().any(|(member, _)| *member == other)
        });
        if shared {
            return Err(bad("is also that of another bytecode").into());
        }
        if members.iter().any(|member| member.start == start) {
            continue;
        }
        let (code, block) = block(elf, start)?.ok_or_else(|| bad(NO_BLOCK))?;
        members.push(Member {
            opcode: *opcode,
            family: *family,
            start,
            code,
            block,
        });
    }
    Ok(members)
}

/// The handlers of all bytecodes that are no members of the family, as far as they lead to a
/// branch.
pub(super) fn others(
    elf: &Elf<'_>,
    opcodes: &Opcodes,
    table: &Table,
) -> Result<Vec<Block>, Failure> {
    let addresses: BTreeSet<u64> = (0..=u8::MAX)
        .filter(|opcode| opcodes.usage(*opcode) == Usage::Used)
        .filter(|opcode| !opcodes.family.iter().any(|(member, _)| member == opcode))
        .map(|opcode| table.handler(opcode))
        .collect();
    let mut blocks = Vec::with_capacity(addresses.len());
    for address in addresses {
        blocks.extend(block(elf, address)?.map(|(_, block)| block));
    }
    Ok(blocks)
}

/// What leads to the family's handlers beside the table, and what does not.
#[derive(Debug)]
pub(super) struct Surroundings {
    /// The jumps into them.
    references: References,
    /// Functions that never return: nothing leads on from a call of one.
    no_return: Vec<u64>,
}

/// Looks at what surrounds the family's handlers. The table itself is checked to be in use.
pub(super) fn surroundings(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    family: &[Member],
    table: &Table,
) -> Result<Surroundings, Failure> {
    let pieces: Vec<_> = family
        .iter()
        .map(|member| member.start..member.block.end())
        .collect();
    let bad = NotCountable::BadOpcodeTable;
    let references = jumps::search(elf, &pieces, Some(table.address))?
        .ok_or(bad("is in a file too large to be searched for jumps"))?;
    if !references.refers {
        return Err(bad("is not used by any instruction").into());
    }
    Ok(Surroundings {
        references,
        no_return: jumps::no_return(elf, dynamic)?,
    })
}

impl Member {
    /// Chooses the instruction for the probe and tells where everything is at it.
    pub(super) fn site(
        &self,
        elf: &Elf<'_>,
        table: &Table,
        family: &[Self],
        surroundings: &Surroundings,
        registers: &Registers,
        layout: &Layout,
    ) -> Result<Handler, Failure> {
        let Surroundings {
            references,
            no_return,
        } = surroundings;
        let bad = |why| {
            Failure::from(NotCountable::BadHandler {
                bytecode: self.family.name(),
                why,
            })
        };
        if !approach(elf, self.start, no_return)?.is_closed {
            return Err(bad("may be entered from the instruction before it"));
        }
        let mut deopt_enters = false;
        let own = self.start..self.block.end();
        let jumps = || {
            references
                .jumps
                .iter()
                .filter(|jump| own.contains(&jump.to))
        };
        for jump in jumps().filter(|jump| jump.to == self.start) {
            deopt_enters = true;
            if !family.iter().any(|other| other.gives_up(elf, jump)) {
                return Err(bad("is entered by a jump from elsewhere"));
            }
        }
        let entered = table.handlers.iter().filter(|other| own.contains(other));
        let inner: Vec<u64> = jumps()
            .map(|jump| jump.to)
            .chain(entered.copied())
            .filter(|to| *to != self.start)
            .collect();
        let found = site::emulated(&self.block, &self.code, self.start, &inner)
            // At the branch at the end, the flags tell the most.
            .rev()
            .chain(self.block.steps.first())
            .find_map(|step| self.handler(elf, step, registers, layout));
        let found = found.ok_or_else(|| bad("has no instruction that pytop can count at"))?;
        Ok(Handler {
            deopt_enters,
            ..found
        })
    }

    fn handler(
        &self,
        elf: &Elf<'_>,
        step: &Step,
        registers: &Registers,
        layout: &Layout,
    ) -> Option<Handler> {
        let locate = |path| self.block.locate(step, path);
        let compared = versions_compared(Block::compared_before(step), registers.frame, layout);
        let with = compared.and_then(|other| thread_of(other, layout));
        let decides = with.is_some() && with == registers.thread;
        Some(Handler {
            opcode: self.opcode,
            family: self.family,
            address: step.instruction.ip(),
            file_offset: site::file_offset(elf, step)?,
            instruction: site::mnemonic(step),
            stepping: site::stepping_of(step, &self.code, self.start),
            frame: locate(registers.frame)?,
            next_instruction: locate(registers.next_instruction)?,
            thread_state: registers.thread.and_then(locate),
            current_when_zero_flag: decides.then_some(true),
            deopt_enters: false,
        })
    }

    /// Whether a jump is that with which this bytecode, a specialised one, gives up: the branch at
    /// its end, or what that leads to.
    fn gives_up(&self, elf: &Elf<'_>, jump: &Jump) -> bool {
        if !matches!(self.family, Family::ResumeCheck | Family::ResumeCheckJit) {
            return false;
        }
        let Some(last) = self.block.steps.last() else {
            return false;
        };
        if last.instruction.ip() == jump.from {
            return true;
        }
        let detour = last.instruction.near_branch_target();
        let Ok(code) = code_at(elf, detour, MAX_BLOCK) else {
            return false;
        };
        let mut decoder = Decoder::with_ip(64, &code, detour, DecoderOptions::NONE);
        for _ in 0..MAX_DETOUR {
            if !decoder.can_decode() {
                return false;
            }
            let instruction = decoder.decode();
            if instruction.ip() == jump.from {
                return true;
            }
            if instruction.flow_control() != FlowControl::Next {
                return false;
            }
        }
        false
    }
}
