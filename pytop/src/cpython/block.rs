//! What straight-line instructions of x86-64 do with the values that they find in registers.
//!
//! From its first instruction to its first branch, a piece of code is followed once, with symbols
//! instead of numbers: every register begins as "what it held at the start", and a value is
//! known as long as it is made of such a one by additions and by following pointers.
//!
//! ```text
//! mov    %rbp,0x38(%rbx)      stores rbp at rbx+0x38
//! mov    0x18(%r14),%rax      rax = [r14+0x18]
//! add    $0x2,%rbp            rbp = rbp+2
//! mov    (%rbx),%rdi          rdi = [rbx]
//! cmp    %rax,0xa8(%rdi)      compares [[rbx]+0xa8] with [r14+0x18]
//! jne    …                    the end
//! ```

use iced_x86::{
    Decoder, DecoderOptions, FlowControl, Instruction, InstructionInfoFactory, MemorySize,
    Mnemonic, OpAccess, OpKind, Register, UsedMemory,
};

use super::code::{Stepping, Value};

/// Longest block that is followed, in instructions.
const MAX_INSTRUCTIONS: usize = 64;
/// Most pointers that are followed one after the other.
const MAX_HOPS: usize = 4;
/// Number of general registers.
const REGISTERS: usize = 16;
/// The number of `rsp` among them.
pub(super) const RSP: u8 = 4;

/// A value that is made of what a register held at the start of the block: pointers are followed
/// from it, a constant is added, bits are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Path {
    /// The register, by its number in instructions: 0 is rax, 4 is rsp.
    register: u8,
    hops: [i64; MAX_HOPS],
    count: u8,
    plus: i64,
    cleared: u64,
}

impl Path {
    /// What a register held at the start.
    pub(super) fn start(register: u8) -> Self {
        Self {
            register,
            hops: [0; MAX_HOPS],
            count: 0,
            plus: 0,
            cleared: 0,
        }
    }

    /// The same, with another constant added.
    fn add(self, constant: i64) -> Option<Self> {
        (self.cleared == 0).then_some(())?;
        let plus = self.plus.checked_add(constant)?;
        Some(Self { plus, ..self })
    }

    fn clear(self, bits: u64) -> Self {
        Self {
            cleared: self.cleared | bits,
            ..self
        }
    }

    /// What memory has at this address. A cleared bit 0 was the tag of a pointer and is forgotten.
    pub(super) fn load(self, displacement: i64) -> Option<Self> {
        (self.cleared <= 1).then_some(())?;
        let mut hops = self.hops;
        *hops.get_mut(usize::from(self.count))? = self.plus.checked_add(displacement)?;
        Some(Self {
            hops,
            count: self.count + 1,
            plus: 0,
            cleared: 0,
            ..self
        })
    }

    /// The address that this value was read from, if it is one that was read.
    pub(super) fn address(self) -> Option<Self> {
        (self.plus == 0).then_some(())?;
        let count = self.count.checked_sub(1)?;
        let mut hops = self.hops;
        let plus = std::mem::take(hops.get_mut(usize::from(count))?);
        Some(Self {
            hops,
            count,
            plus,
            cleared: 0,
            ..self
        })
    }

    /// What this is a field of, given how far into it the field is.
    pub(super) fn container(self, offset: u64) -> Option<Self> {
        let address = self.address()?;
        (u64::try_from(address.plus) == Ok(offset)).then_some(Self { plus: 0, ..address })
    }

    /// Whether this is what a register held at the start.
    pub(super) fn is_register(self) -> bool {
        self.count == 0 && self.plus == 0 && self.cleared == 0 && self.register != RSP
    }

    /// Whether this is what a place of the stack held at the start.
    pub(super) fn is_stack_slot(self) -> bool {
        // A program that is built with frame pointers has its stack at rbp.
        const RBP: u8 = 5;
        self.count == 1 && self.plus == 0 && self.cleared == 0 && matches!(self.register, RSP | RBP)
    }

    /// The bits of the value that were cleared.
    pub(super) fn cleared(self) -> u64 {
        self.cleared
    }

    fn same_but_for_constant(self, other: Self) -> bool {
        Self { plus: 0, ..self } == Self { plus: 0, ..other }
    }
}

/// What is known before an instruction of a block.
#[derive(Clone, Debug)]
struct State {
    registers: [Option<Path>; REGISTERS],
    /// The operands of the comparison whose result the flags hold.
    compared: Option<(Path, Path)>,
    /// How many of the block's stores came before.
    stores: usize,
}

/// An instruction of a block.
#[derive(Clone, Debug)]
pub(super) struct Step {
    pub(super) instruction: Instruction,
    before: State,
}

/// A write of eight bytes or fewer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Store {
    pub(super) address: Path,
    /// `None`: not known.
    pub(super) value: Option<Path>,
}

/// Instructions up to the first branch, and what is known of the values in them.
#[derive(Clone, Debug)]
pub(super) struct Block {
    pub(super) steps: Vec<Step>,
    /// Writes, in order.
    pub(super) stores: Vec<Store>,
    /// Addresses of reads, with their sizes in bytes.
    pub(super) reads: Vec<(Path, usize)>,
}

impl Block {
    /// Follows the instructions in `code`, which begins at `address`. `None`: they lead to no
    /// branch.
    pub(super) fn follow(code: &[u8], address: u64) -> Option<Self> {
        let mut block = Self {
            steps: Vec::new(),
            stores: Vec::new(),
            reads: Vec::new(),
        };
        let mut registers = [None; REGISTERS];
        for (number, register) in (0..).zip(&mut registers) {
            *register = Some(Path::start(number));
        }
        let mut state = State {
            registers,
            compared: None,
            stores: 0,
        };
        let mut information = InstructionInfoFactory::new();
        let mut decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
        for _ in 0..MAX_INSTRUCTIONS {
            if !decoder.can_decode() {
                return None;
            }
            let instruction = decoder.decode();
            if instruction.is_invalid() {
                return None;
            }
            let before = state.clone();
            block.steps.push(Step {
                instruction,
                before,
            });
            if instruction.flow_control() != FlowControl::Next {
                // A branch may read memory, but changes no register that matters behind it.
                return Some(block);
            }
            block.run(&mut state, &instruction, &mut information);
        }
        None
    }

    /// The address behind the last instruction.
    pub(super) fn end(&self) -> u64 {
        self.steps
            .last()
            .map_or(0, |step| step.instruction.next_ip())
    }

    /// Where a value is at an instruction, if it is anywhere.
    pub(super) fn locate(&self, step: &Step, wanted: Path) -> Option<Value> {
        let state = &step.before;
        let held = |register: u8| {
            let path = state.registers.get(usize::from(register)).copied()??;
            let plus = wanted.plus.checked_sub(path.plus)?;
            path.same_but_for_constant(wanted).then_some(())?;
            Some(Value::Register {
                word: word(register)?,
                plus,
            })
        };
        // First where it was at the start, or where it is unchanged.
        let unchanged = |value: &Value| matches!(value, Value::Register { plus: 0, .. });
        let mut places = (0..16).filter_map(held);
        if let Some(value) = held(wanted.register)
            .filter(unchanged)
            .or_else(|| places.clone().find(unchanged))
            .or_else(|| places.next())
        {
            return Some(value);
        }
        // Then in the place of the stack where it was and still is.
        let slot = wanted.is_stack_slot().then(|| wanted.address())??;
        let stores = self.stores.get(..state.stores)?;
        if stores.iter().any(|store| store.address == slot) {
            return None;
        }
        let base = state.registers.get(usize::from(slot.register)).copied()??;
        let displacement = slot.plus.checked_sub(base.plus)?;
        base.same_but_for_constant(slot).then_some(())?;
        Some(Value::Memory {
            base: word(slot.register)?,
            displacement,
            plus: 0,
        })
    }

    /// The operands of the comparison that decides the branch at the end.
    pub(super) fn decided_by(&self) -> Option<(Path, Path)> {
        self.steps.last()?.before.compared
    }

    /// The same for any instruction.
    pub(super) fn compared_before(step: &Step) -> Option<(Path, Path)> {
        step.before.compared
    }

    fn run(
        &mut self,
        state: &mut State,
        instruction: &Instruction,
        information: &mut InstructionInfoFactory,
    ) {
        let info = information.info(instruction);
        let used = info.used_memory();
        for memory in used {
            if reads(memory.access())
                && let Some(address) = used_address(state, memory)
            {
                self.reads.push((address, memory.memory_size().size()));
            }
        }
        let result = self.result(state, instruction);
        let compared = compared(self, state, instruction);
        for memory in used {
            if writes(memory.access())
                && let Some(address) = used_address(state, memory)
            {
                let value = (memory.memory_size().size() == 8)
                    .then(|| self.stored(state, instruction))
                    .flatten();
                self.stores.push(Store { address, value });
            }
        }
        for register in info.used_registers() {
            if writes(register.access())
                && let Some(number) = number(register.register())
                && let Some(known) = state.registers.get_mut(usize::from(number))
            {
                *known = None;
            }
        }
        if let Some((register, path)) = result
            && let Some(known) = state.registers.get_mut(usize::from(register))
        {
            *known = Some(path);
        }
        if instruction.rflags_modified() != 0 {
            state.compared = compared;
        }
        state.stores = self.stores.len();
    }

    /// The register that an instruction sets to a value that is known, and the value.
    fn result(&self, state: &State, instruction: &Instruction) -> Option<(u8, Path)> {
        if instruction.mnemonic() == Mnemonic::Push {
            let stack = state.registers.get(usize::from(RSP)).copied()??;
            let moved = stack.add(instruction.stack_pointer_increment().into())?;
            return Some((RSP, moved));
        }
        if instruction.op0_kind() != OpKind::Register {
            return None;
        }
        let register = instruction.op0_register();
        let target = number(register)?;
        let old = state.registers.get(usize::from(target)).copied()?;
        let constant = || {
            (instruction.op_count() == 2 && is_immediate(instruction.op1_kind()))
                .then(|| instruction.immediate(1))
        };
        if !register.is_gpr64() {
            // The lowest byte set to zero.
            let low = register.is_gpr8()
                && !matches!(
                    register,
                    Register::AH | Register::BH | Register::CH | Register::DH
                );
            let zero = match instruction.mnemonic() {
                Mnemonic::Xor => {
                    instruction.op1_kind() == OpKind::Register
                        && instruction.op1_register() == register
                }
                Mnemonic::Mov | Mnemonic::And => constant() == Some(0),
                _ => false,
            };
            return (low && zero).then(|| Some((target, old?.clear(0xff))))?;
        }
        let path = match instruction.mnemonic() {
            Mnemonic::Mov => self.operand(state, instruction, 1)?,
            Mnemonic::Lea => address(state, instruction)?,
            Mnemonic::Add => old?.add(constant()?.cast_signed())?,
            Mnemonic::Sub => old?.add(constant()?.cast_signed().checked_neg()?)?,
            Mnemonic::Inc => old?.add(1)?,
            Mnemonic::Dec => old?.add(-1)?,
            Mnemonic::And => old?.clear(!constant()?),
            _ => return None,
        };
        Some((target, path))
    }

    /// The 64-bit value of an operand.
    fn operand(&self, state: &State, instruction: &Instruction, index: u32) -> Option<Path> {
        match instruction.op_kind(index) {
            OpKind::Register => {
                let register = instruction.op_register(index);
                register.is_gpr64().then_some(())?;
                state
                    .registers
                    .get(usize::from(number(register)?))
                    .copied()?
            }
            OpKind::Memory if is_word(instruction.memory_size()) => {
                let address = address(state, instruction)?;
                // What this block has put there itself.
                match self.stores.iter().rev().find(|s| s.address == address) {
                    Some(store) => store.value,
                    None => address.load(0),
                }
            }
            _ => None,
        }
    }

    /// The value that an instruction writes to memory.
    fn stored(&self, state: &State, instruction: &Instruction) -> Option<Path> {
        (instruction.mnemonic() == Mnemonic::Mov && instruction.op0_kind() == OpKind::Memory)
            .then(|| self.operand(state, instruction, 1))?
    }
}

/// What the flags say after an instruction.
fn compared(block: &Block, state: &State, instruction: &Instruction) -> Option<(Path, Path)> {
    (instruction.mnemonic() == Mnemonic::Cmp).then_some(())?;
    Some((
        block.operand(state, instruction, 0)?,
        block.operand(state, instruction, 1)?,
    ))
}

/// The address of the memory operand.
fn address(state: &State, instruction: &Instruction) -> Option<Path> {
    let plain = instruction.memory_index() == Register::None
        && instruction.segment_prefix() == Register::None
        && instruction.memory_base().is_gpr64();
    plain.then_some(())?;
    let base = number(instruction.memory_base())?;
    let base = state.registers.get(usize::from(base)).copied()??;
    base.add_to_address(instruction.memory_displacement64().cast_signed())
}

/// The same for memory that an instruction uses in any way.
fn used_address(state: &State, memory: &UsedMemory) -> Option<Path> {
    (memory.index() == Register::None && memory.base().is_gpr64()).then_some(())?;
    let base = number(memory.base())?;
    let base = state.registers.get(usize::from(base)).copied()??;
    base.add_to_address(memory.displacement().cast_signed())
}

impl Path {
    /// An address at a displacement. The tag of a pointer is forgotten.
    fn add_to_address(self, displacement: i64) -> Option<Self> {
        (self.cleared <= 1).then_some(())?;
        Self { cleared: 0, ..self }.add(displacement)
    }
}

fn reads(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Read | OpAccess::CondRead | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

fn writes(access: OpAccess) -> bool {
    matches!(
        access,
        OpAccess::Write | OpAccess::CondWrite | OpAccess::ReadWrite | OpAccess::ReadCondWrite
    )
}

fn is_word(size: MemorySize) -> bool {
    size.size() == 8
}

fn is_immediate(kind: OpKind) -> bool {
    matches!(
        kind,
        OpKind::Immediate8
            | OpKind::Immediate32
            | OpKind::Immediate64
            | OpKind::Immediate8to64
            | OpKind::Immediate32to64
            | OpKind::Immediate8to32
            | OpKind::Immediate8to16
            | OpKind::Immediate16
    )
}

/// The number of the general register that a register is part of.
fn number(register: Register) -> Option<u8> {
    let full = register.full_register();
    full.is_gpr64()
        .then(|| u8::try_from(full.number()).ok())
        .flatten()
}

/// The word of `struct pt_regs` that a general register is in
/// (arch/x86/include/asm/ptrace.h).
pub(super) fn word(register: u8) -> Option<u8> {
    // rax rcx rdx rbx rsp rbp rsi rdi r8 to r15
    const WORDS: [u8; REGISTERS] = [10, 11, 12, 5, 19, 4, 13, 14, 9, 8, 7, 6, 3, 2, 1, 0];
    WORDS.get(usize::from(register)).copied()
}

/// How the kernel carries an instruction out under a probe, as in `branch_setup_xol_ops` and
/// `push_setup_xol_ops` of arch/x86/kernel/uprobes.c.
pub(super) fn stepping(instruction: &Instruction, bytes: &[u8]) -> Stepping {
    let emulated = matches!(
        bytes,
        // nop, push of a 64-bit register, short jcc, call, jmp; push of r8 to r15; long jcc.
        [
            0x90 | 0x50..=0x57 | 0x70..=0x7f | 0xe8 | 0xe9 | 0xeb,
            ..
        ] | [0x41, 0x50..=0x57]
            | [0x0f, 0x80..=0x8f, ..]
    );
    if emulated && !instruction.is_invalid() {
        Stepping::Emulated
    } else {
        Stepping::SingleStepped
    }
}
