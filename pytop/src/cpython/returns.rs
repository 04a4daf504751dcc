//! Where a function returns.
//!
//! Its `ret` is the surest place: whatever leaves the function passes it, and there the stack pointer
//! is what it was at the function's first instruction. But the kernel has to have a copy of a `ret`
//! run by itself and trap, which takes twenty times as long as what it does itself. So the ways into
//! the last instructions are looked for, which are branches and calls, as GCC makes them:
//!
//! ```text
//! 6c32b:  call   _Py_CheckFunctionResult
//! 6c330:  jmp    6c34e ──────────┐        one way in
//! …                              │
//! 6c346:  je     6bfa5           │        another one: when the zero flag is clear
//! 6c34c:  xor    %eax,%eax       │
//! 6c34e:  add    $0x128,%rsp  ◀──┘
//! 6c355:  pop    %rbx                     so far is the stack pointer from where it was
//! …
//! 6c35f:  ret
//! ```

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use pytop_common::trace::Condition;

use super::block::stepping;
use super::code::{Failure, Stepping};
use super::elf::Elf;
use super::jumps::{self, approach, code_at};
use super::symbols::Symbol;

/// More of a function than this is not searched, in bytes.
const MAX_FUNCTION: u64 = 1 << 20;
/// The longest instruction, in bytes.
const LONGEST: u64 = 15;

/// A place at which a function is about to return.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Return {
    /// Where the instruction is in the file.
    pub(super) file_offset: u64,
    /// What is to be added to the stack pointer to have that of the function's begin, in bytes.
    pub(super) plus: i64,
    /// When it does so.
    pub(super) condition: Condition,
}

/// The places of a function at one of which every call of it passes as it returns. None: it is not
/// known where it ends, or it does not return.
pub(super) fn find(elf: &Elf<'_>, symbol: &Symbol) -> Result<Vec<Return>, Failure> {
    if symbol.size == 0 || symbol.size > MAX_FUNCTION {
        return Ok(Vec::new());
    }
    let code = code_at(elf, symbol.address, symbol.size)?;
    let decoder = Decoder::with_ip(64, &code, symbol.address, DecoderOptions::NONE);
    let instructions: Vec<Instruction> = decoder.into_iter().collect();
    let mut returns = Vec::new();
    for (index, instruction) in instructions.iter().enumerate() {
        if instruction.flow_control() != FlowControl::Return {
            continue;
        }
        let before = instructions.get(..=index).unwrap_or_default();
        let last = index.checked_sub(1).and_then(|last| before.get(last));
        // What follows instructions that give registers back is no data that looks like a return.
        if !last.is_some_and(gives_back) || !approach(elf, instruction.ip(), &[])?.is_instruction {
            return Ok(Vec::new());
        }
        match ways_in(elf, before)? {
            Some(ways) => returns.extend(ways),
            None => returns.extend(place(elf, instruction, 0, Condition::Always)),
        }
    }
    Ok(returns)
}

fn gives_back(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Pop | Mnemonic::Leave)
        || moves_stack(instruction).is_some_and(|by| by != 0)
}

/// The ways into the instructions before a return, which is the last of these; `None` when there is
/// one that the kernel would not do itself, or of which it is not known when it is taken.
fn ways_in(elf: &Elf<'_>, instructions: &[Instruction]) -> Result<Option<Vec<Return>>, Failure> {
    let Some((end, before)) = instructions.split_last() else {
        return Ok(None);
    };
    // Addresses, and how far the stack pointer is from where it was.
    let mut tail = vec![(end.ip(), 0)];
    let mut plus = 0_i64;
    let mut entrance = None;
    for instruction in before.iter().rev() {
        if instruction.flow_control() != FlowControl::Next {
            entrance = Some(instruction);
            break;
        }
        let Some(moved) = moves_stack(instruction) else {
            return Ok(None);
        };
        plus = plus.saturating_add(moved);
        tail.push((instruction.ip(), plus));
    }
    let (Some(entrance), Some((first, first_plus))) = (entrance, tail.last().copied()) else {
        return Ok(None);
    };
    if !approach(elf, entrance.ip(), &[])?.is_instruction {
        return Ok(None);
    }
    let mut ways = Vec::new();
    let condition = match entrance.flow_control() {
        FlowControl::Call => Some(Condition::Always),
        FlowControl::ConditionalBranch => match when(entrance) {
            // It falls through.
            Some(Condition::Set) => Some(Condition::Clear),
            Some(Condition::Clear) => Some(Condition::Set),
            _ => return Ok(None),
        },
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch | FlowControl::Return => {
            None
        }
        _ => return Ok(None),
    };
    if let Some(condition) = condition {
        ways.push((*entrance, first_plus, condition));
    }
    let piece = first..end.next_ip();
    let Some(references) = jumps::search(elf, std::slice::from_ref(&piece), None)? else {
        return Ok(None);
    };
    for jump in references.jumps {
        let to = tail.iter().find(|(address, _)| *address == jump.to);
        let code = code_at(elf, jump.from, LONGEST)?;
        let from = Decoder::with_ip(64, &code, jump.from, DecoderOptions::NONE).decode();
        let (Some((_, plus)), Some(condition)) = (to, when(&from)) else {
            return Ok(None);
        };
        ways.push((from, *plus, condition));
    }
    let mut returns = Vec::with_capacity(ways.len());
    for (instruction, plus, condition) in ways {
        let code = code_at(elf, instruction.ip(), LONGEST)?;
        let bytes = code.get(..instruction.len()).unwrap_or_default();
        if stepping(&instruction, bytes) != Stepping::Emulated {
            return Ok(None);
        }
        returns.extend(place(elf, &instruction, plus, condition));
    }
    Ok(Some(returns))
}

/// When a jump is taken; `None` when that is not for the zero flag to say.
fn when(jump: &Instruction) -> Option<Condition> {
    match jump.mnemonic() {
        Mnemonic::Jmp => Some(Condition::Always),
        Mnemonic::Je => Some(Condition::Set),
        Mnemonic::Jne => Some(Condition::Clear),
        _ => None,
    }
}

/// By how many bytes an instruction raises the stack pointer; `None` when that is not known.
fn moves_stack(instruction: &Instruction) -> Option<i64> {
    let changes = |register: Register| register.full_register() == Register::RSP;
    match instruction.mnemonic() {
        Mnemonic::Pop if instruction.op0_kind() == OpKind::Register => {
            (!changes(instruction.op0_register())).then_some(8)
        }
        Mnemonic::Add
            if instruction.op0_kind() == OpKind::Register
                && changes(instruction.op0_register()) =>
        {
            let by = instruction.try_immediate(1).ok()?.cast_signed();
            (by >= 0).then_some(by)
        }
        Mnemonic::Push | Mnemonic::Leave | Mnemonic::Enter | Mnemonic::Call => None,
        _ => {
            let writes = instruction.op_count() > 0
                && instruction.op0_kind() == OpKind::Register
                && changes(instruction.op0_register());
            (!writes).then_some(0)
        }
    }
}

fn place(
    elf: &Elf<'_>,
    instruction: &Instruction,
    plus: i64,
    condition: Condition,
) -> Option<Return> {
    let size = instruction.len() as u64;
    let file_offset = elf.file_offset(instruction.ip(), size, |segment| segment.executable)?;
    Some(Return {
        file_offset,
        plus,
        condition,
    })
}
