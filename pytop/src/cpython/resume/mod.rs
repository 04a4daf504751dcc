//! The method for 3.11 and later: the handlers of the bytecodes with which every code begins.
//!
//! Since 3.11 a call from Python to Python does not leave the evaluation loop, so there is no
//! function to put a probe on. But the code of every function begins with a bytecode `RESUME`,
//! and goes on with one after each `yield`; the loop reaches its handler, a piece of one huge
//! function, through a table of 256 addresses. Nothing of that has a symbol. From bytes to sites:
//!
//! ```text
//! opcodes     the numbers of the bytecodes of a version
//! table       the table of the handlers, by the shape that the unused numbers give it
//! registers   where the loop keeps its variables, by the first instructions of all handlers
//! handlers    the handlers of the RESUME family, who jumps into them, and the site of each
//! ```
//!
//! A handler as GCC 13 makes it (`RESUME_CHECK` of a 3.13), with the site at the `jne`: the kernel
//! emulates it, and its zero flag tells that the code is current without a read of memory.
//!
//! ```text
//! 49 8b 46 18              mov  0x18(%r14),%rax      tstate->eval_breaker
//! 48 89 6b 38              mov  %rbp,0x38(%rbx)      frame->instr_ptr = next_instr
//! 48 83 c5 02              add  $0x2,%rbp            next_instr++
//! 48 8b 3b                 mov  (%rbx),%rdi          frame->f_executable
//! 48 39 87 a8 00 00 00     cmp  %rax,0xa8(%rdi)      == _co_instrumentation_version?
//! 0f 85 9e a3 00 00        jne  …                    no: RESUME does it
//! ```
//!
//! The generator of 3.11 and later is created by another bytecode (`RETURN_GENERATOR`), which is
//! not counted: its code begins to run with a RESUME like any other.

mod handlers;
mod leaving;
mod opcodes;
mod registers;
mod table;

use serde::{Deserialize, Serialize};

use super::block::Block;
use super::code::{Failure, Stepping, Value};
use super::elf::Elf;
use super::layout::{self, Layout};
use super::symbols::Dynamic;
use super::{NotCountable, Version};

use opcodes::Opcodes;

/// Everything that is needed to count the entries of frames by the RESUME family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resume {
    /// The handlers to be probed, at most one for each address.
    pub handlers: Vec<Handler>,
    /// What the operand of a RESUME says.
    pub operand: Operand,
    /// Where the handler of `ENTER_EXECUTOR` is in the file, in 3.13 and later: a hit there proves
    /// that traces are run, by the just-in-time compiler or interpreted, which enter frames
    /// without a RESUME. `None` also where no other bytecode's handler is apart from it.
    pub executor_file_offset: Option<u64>,
    /// Where the fields of the structures are.
    pub layout: Layout,
}

/// The site of one bytecode of the RESUME family.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operand {
    /// The bits that say where the RESUME is: 0 start of a function, 1 after `yield`, 2 after
    /// `yield from`, 3 after `await`.
    pub mask: u8,
    /// A RESUME that is no entry: the prologue of a generator expression (3.15).
    pub not_entry: Option<u8>,
}

pub(super) use leaving::{Exit, Leaving, leaving};

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
    if registers::are_arguments(&registers, &table.handlers) {
        return Err(NotCountable::TailCalling.into());
    }
    let surroundings = handlers::surroundings(elf, dynamic, &family, &table)?;
    let mut sites = Vec::with_capacity(family.len());
    for handler in &family {
        let site = handler.site(elf, &table, &family, &surroundings, &registers, &layout)?;
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
