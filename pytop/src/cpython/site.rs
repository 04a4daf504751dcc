//! Which instruction of a block gets the probe.
//!
//! The kernel does the work of a few instructions itself, and has a copy of any other run by itself
//! and trap, which takes twenty times as long. So the first choice is an instruction of the first
//! kind, and among them one for which the kernel has nothing to write to the program's stack: a jump
//! rather than a `push` or a call, which cost 30 to 50 ns more. It must be passed by everything that
//! passes the first instruction and by nothing else, so no jump may lead to between the two. The first
//! instruction is right too, whatever jumps behind it.

use super::block::{Block, Step, stepping};
use super::code::Stepping;
use super::elf::Elf;

/// Longest block that is read, in bytes.
pub(super) const MAX_BLOCK: u64 = 512;

/// The instructions that can get the probe: those that the kernel emulates, in order. `code` are
/// the bytes from `start` on, `inner` the targets of jumps behind `start`.
pub(super) fn emulated<'b>(
    block: &'b Block,
    code: &'b [u8],
    start: u64,
    inner: &'b [u64],
) -> impl DoubleEndedIterator<Item = &'b Step> {
    let first_jump = inner.iter().min().copied().unwrap_or(u64::MAX);
    block.steps.iter().filter(move |step| {
        step.instruction.ip() < first_jump && stepping_of(step, code, start) == Stepping::Emulated
    })
}

/// The same and the first instruction, the quickest ones first.
pub(super) fn by_cost<'b>(
    block: &'b Block,
    code: &'b [u8],
    start: u64,
    inner: &'b [u64],
) -> impl Iterator<Item = &'b Step> {
    let found = move || emulated(block, code, start, inner);
    found()
        .filter(|step| !pushes(step))
        .chain(found().filter(|step| pushes(step)))
        .chain(block.steps.first())
}

/// Whether an instruction writes to the program's stack.
pub(super) fn pushes(step: &Step) -> bool {
    step.instruction.stack_pointer_increment() < 0
}

/// How the kernel carries the instruction out.
pub(super) fn stepping_of(step: &Step, code: &[u8], start: u64) -> Stepping {
    let at = step.instruction.ip().wrapping_sub(start);
    let bytes = usize::try_from(at)
        .ok()
        .and_then(|at| code.get(at..at.checked_add(step.instruction.len())?))
        .unwrap_or_default();
    stepping(&step.instruction, bytes)
}

/// Where the instruction is in the file.
pub(super) fn file_offset(elf: &Elf<'_>, step: &Step) -> Option<u64> {
    let size = step.instruction.len() as u64;
    elf.file_offset(step.instruction.ip(), size, |segment| segment.executable)
}

/// The name of the instruction.
pub(super) fn mnemonic(step: &Step) -> String {
    format!("{:?}", step.instruction.mnemonic()).to_ascii_lowercase()
}
