//! Who jumps where: all direct branches of a file into a few pieces of its code.
//!
//! Decoding megabytes of instructions takes long and can lose its step among data, so the bytes
//! are searched instead: at every byte that could be the opcode of a direct branch, the target that
//! it would have is computed. No branch escapes that. What is found and is no branch, but a part of
//! another instruction, is told by decoding some instructions before it.
//!
//! ```text
//! 0f 85 a9 00 00 00     jne   +0xa9          7x xx     jcc    e0 to e3 xx  loop, jrcxz
//! e9 7b 1c ff ff        jmp   -0xe385        eb xx     jmp    e8 …         call
//! ```

use std::ops::Range;

use iced_x86::{Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic};
use object::elf as constants;

use super::elf::Elf;
use super::source::Fault;
use super::symbols::Dynamic;

/// Bytes of the text that are in memory at once.
const CHUNK: usize = 1 << 20;
/// Longest direct branch without its prefixes, in bytes.
const LONGEST: usize = 6;
/// Chunks overlap, so that no instruction is cut.
const LONGEST_READ: u64 = (CHUNK + LONGEST) as u64;
/// Bytes that are decoded before an instruction, to fall into step with the instructions.
const APPROACH: u64 = 256;
/// From how many places it is tried.
const ATTEMPTS: u64 = 16;
/// More text than this is not searched, in bytes.
const MAX_TEXT: u64 = 512 << 20;
/// More branches than this into a few short pieces of code has no program.
const MAX_BRANCHES: usize = 4096;

const TEXT: &str = "its text";

/// A direct branch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jump {
    pub(super) from: u64,
    pub(super) to: u64,
}

/// What the instructions of a file refer to.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Direct branches into the wanted pieces of code.
    pub(super) jumps: Vec<Jump>,
    /// Some instruction has the wanted address in it.
    pub(super) refers: bool,
}

/// Functions that end the process: a compiler puts nothing behind a call of one, so what follows is
/// not what comes next. Clang puts such calls in front of handlers.
const NO_RETURN: [&str; 3] = ["_Py_FatalErrorFunc", "Py_FatalError", "abort"];

/// Where the functions of the file are that never return.
pub(super) fn no_return(elf: &Elf<'_>, dynamic: &Dynamic) -> Result<Vec<u64>, Fault> {
    let mut addresses = Vec::new();
    for name in NO_RETURN {
        let symbol = dynamic.find(elf, name)?;
        addresses.extend(
            symbol
                .filter(|symbol| symbol.is_function)
                .map(|it| it.address),
        );
    }
    Ok(addresses)
}

/// Searches the executable segments for direct branches into `pieces`, and for the address
/// `wanted`. `None`: there is too much.
pub(super) fn search(
    elf: &Elf<'_>,
    pieces: &[Range<u64>],
    wanted: Option<u64>,
) -> Result<Option<References>, Fault> {
    let mut references = References::default();
    let mut searched = 0_u64;
    let executable =
        |segment: &&super::elf::Segment| segment.kind == constants::PT_LOAD && segment.executable;
    for segment in elf.segments.iter().filter(executable) {
        searched = searched.saturating_add(segment.file_size);
        if searched > MAX_TEXT {
            return Ok(None);
        }
        let mut position = 0;
        while position < segment.file_size {
            let length = (segment.file_size - position).min(LONGEST_READ);
            let offset = segment.offset.saturating_add(position);
            let mut bytes = elf
                .source
                .read(offset, length, LONGEST_READ, TEXT)?
                .into_owned();
            // At the end of the segment, branches may be shorter than the longest.
            bytes.extend([0; LONGEST]);
            let address = segment.address.wrapping_add(position);
            references.search(&bytes, address, pieces, wanted);
            if references.jumps.len() > MAX_BRANCHES {
                return Ok(None);
            }
            position += CHUNK as u64;
        }
    }
    let mut real = Vec::new();
    for jump in references.jumps {
        if approach(elf, jump.from, &[])?.is_instruction {
            real.push(jump);
        }
    }
    references.jumps = real;
    Ok(Some(references))
}

impl References {
    /// Searches the instructions that begin among the first [`CHUNK`] of these bytes.
    fn search(&mut self, bytes: &[u8], address: u64, pieces: &[Range<u64>], wanted: Option<u64>) {
        let lowest = pieces.iter().map(|piece| piece.start).min().unwrap_or(0);
        let highest = pieces.iter().map(|piece| piece.end).max().unwrap_or(0);
        // Absolute, as programs at fixed addresses have it.
        let absolute = wanted.and_then(|wanted| u32::try_from(wanted).ok());
        let windows = bytes.windows(LONGEST).take(CHUNK);
        for (position, window) in windows.enumerate() {
            let here = address.wrapping_add(position as u64);
            let Ok(window) = <&[u8; LONGEST]>::try_from(window) else {
                break;
            };
            if let Some(to) = branch_target(here, *window)
                && lowest <= to
                && to < highest
                && self.jumps.len() <= MAX_BRANCHES
                && pieces.iter().any(|piece| piece.contains(&to))
            {
                self.jumps.push(Jump { from: here, to });
            }
            if self.refers {
                continue;
            }
            let [a, b, c, d, ..] = *window;
            let word = u32::from_le_bytes([a, b, c, d]);
            let relative = here
                .wrapping_add(4)
                .wrapping_add_signed(i64::from(word.cast_signed()));
            self.refers = absolute == Some(word) || Some(relative) == wanted;
        }
    }
}

/// Searches bytes for branches.
#[cfg(feature = "fuzzing")]
pub(super) fn fuzz(bytes: &[u8], address: u64) {
    let end = address.saturating_add(bytes.len() as u64);
    let mut references = References::default();
    let piece = address..end;
    references.search(bytes, address, std::slice::from_ref(&piece), Some(address));
    for jump in references.jumps {
        assert!(piece.contains(&jump.to), "a branch to elsewhere");
    }
}

/// Where a branch leads that begins with these bytes at `here`.
fn branch_target(here: u64, bytes: [u8; LONGEST]) -> Option<u64> {
    let (size, distance) = match bytes {
        [0xe8 | 0xe9, a, b, c, d, _] => (5, i32::from_le_bytes([a, b, c, d])),
        [0x0f, 0x80..=0x8f, a, b, c, d] => (6, i32::from_le_bytes([a, b, c, d])),
        [0x70..=0x7f | 0xeb | 0xe0..=0xe3, a, ..] => (2, i32::from(a.cast_signed())),
        _ => return None,
    };
    let next = here.wrapping_add(size);
    Some(next.wrapping_add_signed(i64::from(distance)))
}

/// What is found on the way to an address.
#[derive(Clone, Copy, Debug)]
pub(super) struct Approach {
    /// An instruction begins there.
    pub(super) is_instruction: bool,
    /// The instruction before does not lead there: it jumps, returns or traps. Padding does not
    /// count.
    pub(super) is_closed: bool,
}

/// Decodes what is before an address. Instructions of x86-64 have no marks at which they begin,
/// but decoding falls into step after a few of them wherever it begins. `no_return` are the
/// addresses of functions that never return.
pub(super) fn approach(elf: &Elf<'_>, address: u64, no_return: &[u64]) -> Result<Approach, Fault> {
    let (mut arrived, mut closed, mut attempts) = (0, 0, 0);
    let start = address.saturating_sub(APPROACH);
    let lowest = elf
        .segments
        .iter()
        .filter(|segment| segment.kind == constants::PT_LOAD && segment.executable)
        .filter(|segment| segment.address <= address)
        .map(|segment| segment.address)
        .max()
        .unwrap_or(address);
    let start = start.max(lowest);
    let code = code_at(elf, start, address.saturating_sub(start).saturating_add(16))?;
    for attempt in 0..ATTEMPTS.min(address.saturating_sub(start).max(1)) {
        attempts += 1;
        let from = start.saturating_add(attempt);
        let skip = usize::try_from(attempt).unwrap_or(usize::MAX);
        let bytes = code.get(skip..).unwrap_or_default();
        let mut decoder = Decoder::with_ip(64, bytes, from, DecoderOptions::NONE);
        let mut last: Option<Instruction> = None;
        while decoder.can_decode() && decoder.ip() < address {
            let instruction = decoder.decode();
            if instruction.mnemonic() != Mnemonic::Nop {
                last = Some(instruction);
            }
        }
        if decoder.ip() == address {
            arrived += 1;
            closed += u64::from(last.is_some_and(|last| ends(&last, no_return)));
        }
    }
    // Most attempts fall into step; one that does not proves nothing.
    Ok(Approach {
        is_instruction: arrived * 4 >= attempts,
        is_closed: arrived * 4 >= attempts && closed * 4 >= arrived * 3,
    })
}

/// Whether nothing that follows this instruction is run after it.
fn ends(instruction: &Instruction, no_return: &[u64]) -> bool {
    let calls = instruction.flow_control() == FlowControl::Call;
    if calls && no_return.contains(&instruction.near_branch_target()) {
        return true;
    }
    matches!(
        instruction.flow_control(),
        FlowControl::UnconditionalBranch | FlowControl::IndirectBranch | FlowControl::Return
    ) || matches!(
        instruction.mnemonic(),
        Mnemonic::Ud2 | Mnemonic::Int3 | Mnemonic::Hlt
    )
}

/// Instructions at an address: `wanted` bytes, or as many as the segment has.
pub(super) fn code_at(elf: &Elf<'_>, address: u64, wanted: u64) -> Result<Vec<u8>, Fault> {
    let segment = elf.segments.iter().find(|segment| {
        segment.kind == constants::PT_LOAD
            && segment.executable
            && address
                .checked_sub(segment.address)
                .is_some_and(|start| start < segment.file_size)
    });
    let Some(segment) = segment else {
        return Ok(Vec::new());
    };
    let start = address - segment.address;
    let size = (segment.file_size - start).min(wanted);
    let offset = segment.offset.saturating_add(start);
    Ok(elf.source.read(offset, size, wanted, TEXT)?.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_follows_a_call_that_never_returns() {
        // call +0x10
        let mut decoder = Decoder::with_ip(64, &[0xe8, 0x10, 0, 0, 0], 0x1000, 0);
        let call = decoder.decode();
        assert!(ends(&call, &[0x2000, 0x1015]));
        assert!(!ends(&call, &[0x1014]));
        assert!(!ends(&call, &[]));
    }

    #[test]
    fn the_last_of_all_addresses_may_be_reached() {
        let mut references = References::default();
        // jmp to itself, and what would be behind the end.
        let bytes = [0xeb, 0xfe, 0xeb, 0xfe, 0, 0, 0, 0, 0, 0];
        let start = u64::MAX - 1;
        references.search(
            &bytes,
            start,
            std::slice::from_ref(&(start..u64::MAX)),
            None,
        );
        let to_itself = Jump {
            from: start,
            to: start,
        };
        assert_eq!(references.jumps, [to_itself]);
    }
}
