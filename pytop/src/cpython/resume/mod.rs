//! The method for 3.11 and later: the handlers of the bytecodes with which every code begins.

mod handlers;
mod opcodes;
mod registers;
mod table;

use super::block::Block;
use super::code::{Failure, Stepping, Value};
use super::elf::Elf;
use super::layout::{self, Layout};
use super::symbols::Dynamic;
use super::{NotCountable, Version};

use opcodes::Opcodes;

/// Everything that is needed to count the entries of frames by the RESUME family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// The handlers to be probed, at most one for each address.
    pub handlers: Vec<Handler>,
    /// What the operand of a RESUME says.
    pub operand: Operand,
    /// Where the handler of ENTER_EXECUTOR is in the file, in 3.13 and later: a hit there proves that a
    /// just-in-time compiler or its interpreter is at work, which enters frames without a RESUME.
    pub executor_file_offset: Option<u64>,
    /// Where the fields of the structures are.
    pub layout: Layout,
}

/// The site of one bytecode of the RESUME family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handler {
    /// The bytecode.
    pub opcode: u8,
    /// What it is.
    pub family: Family,
    /// Address of the instruction to be probed, in the program as the file has it.
    pub address: u64,
    /// Where the instruction is in the file: what the kernel wants for a uprobe.
    pub file_offset: u64,
    /// The mnemonic of the instruction, such as `jne`.
    pub instruction: String,
    /// What a probe there costs.
    pub stepping: Stepping,
    /// Where the frame (`_PyInterpreterFrame *`) is.
    pub frame: Value,
    /// Where the address of this bytecode's own code unit is: opcode, then operand, a byte each.
    pub next_instruction: Value,
    /// Where the state of the thread (`PyThreadState *`) is, if that is known at the site.
    pub thread_state: Option<Value>,
    /// The zero flag (bit 6 of `eflags`) with this value proves that the code's
    /// instrumentation is current: the hit is an entry, whatever memory says. The other value
    /// proves nothing.
    pub current_when_zero_flag: Option<bool>,
    /// A specialised bytecode of the family that gives up (`DEOPT_IF`) passes this site a second
    /// time, with its own opcode still in the code: a hit is to be dropped if the opcode in the
    /// code is that of another handler that is probed.
    pub deopt_enters: bool,
}

/// The bytecodes with which the code of a frame begins and goes on after a `yield`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Family {
    /// `RESUME`
    Resume,
    /// `RESUME_QUICK`: what it becomes in 3.11.
    ResumeQuick,
    /// `RESUME_CHECK`: what it becomes in 3.13 and later.
    ResumeCheck,
    /// `RESUME_CHECK_JIT`: what it becomes in 3.15 built with a just-in-time compiler.
    ResumeCheckJit,
    /// `INSTRUMENTED_RESUME`: what it becomes under `sys.monitoring`, 3.12 and later.
    Instrumented,
}

impl Family {
    /// The name of the bytecode.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resume => "RESUME",
            Self::ResumeQuick => "RESUME_QUICK",
            Self::ResumeCheck => "RESUME_CHECK",
            Self::ResumeCheckJit => "RESUME_CHECK_JIT",
            Self::Instrumented => "INSTRUMENTED_RESUME",
        }
    }
}

/// What the operand of a RESUME says: the byte behind the opcode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Operand {
    /// The bits that say where the RESUME is: 0 start of a function, 1 after `yield`, 2 after
    /// `yield from`, 3 after `await`.
    pub mask: u8,
    /// A RESUME that is no entry: the prologue of a generator expression (3.15).
    pub not_entry: Option<u8>,
}

/// Finds the sites in an interpreter of 3.11 or later.
pub(super) fn find(elf: &Elf<'_>, dynamic: &Dynamic, version: Version) -> Result<Resume, Failure> {
    let Some(opcodes) = Opcodes::of(version) else {
        return Err(NotCountable::UnknownOpcodes { version }.into());
    };
    let layout = layout::read(elf, dynamic, version)?;
    let table = table::find(elf, dynamic, opcodes)?;
    let family = handlers::family(elf, opcodes, &table)?;
    let all = handlers::others(elf, opcodes, &table)?;
    let blocks: Vec<&Block> = family.iter().map(|handler| &handler.block).collect();
    let all: Vec<&Block> = all.iter().chain(blocks.iter().copied()).collect();
    let nop = handlers::block(elf, table.handler(opcodes.nop))?
        .ok_or(NotCountable::BadHandler {
            bytecode: "NOP",
            why: NO_BLOCK,
        })?
        .1;
    let registers = registers::tell(&blocks, &nop, &all, &layout)?;
    let references = handlers::references(elf, &family, &table)?;
    let mut sites = Vec::with_capacity(family.len());
    for handler in &family {
        let site = handler.site(elf, &table, &family, &references, &registers, &layout)?;
        sites.push(site);
    }
    let executor_file_offset = opcodes.enter_executor.and_then(|opcode| {
        let address = table.handler(opcode);
        let own = table.handlers.iter().filter(|other| **other == address);
        let offset = elf.file_offset(address, 1, |segment| segment.executable)?;
        (own.count() == 1).then_some(offset)
    });
    Ok(Resume {
        handlers: sites,
        operand: opcodes.operand,
        executor_file_offset,
        layout,
    })
}

const NO_BLOCK: &str = "does not begin with instructions that pytop knows";
