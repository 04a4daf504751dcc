//! The version number that the instructions of `Py_GetVersion` refer to.
//!
//! This is no disassembler: on x86-64 every four bytes are taken for a distance or an address, and
//! what they lead to must be a version number to the last character.
//!
//! ```text
//! b9 41 82 6a 00          mov $0x6a8241,%ecx        3.9 at a fixed address
//! 48 8d 0d 6d 1d 06 00    lea 0x61d6d(%rip),%rcx    2.7 in a library
//! ```

use std::collections::BTreeSet;

use object::elf;

use super::super::elf::{Elf, Segment, u32_of};
use super::super::source::Fault;
use super::super::symbols::Symbol;
use super::{Version, only};

/// Instructions of `Py_GetVersion` that are looked at, in bytes.
const MAX_FUNCTION: u64 = 512;
/// Longest text that can be a version, its NUL included.
const MAX_LITERAL: u64 = 16;
/// The one version number that the instructions of a function refer to.
pub(super) fn literal(elf: &Elf<'_>, function: Symbol) -> Result<Option<Version>, Fault> {
    let size = match function.size {
        0 => 128,
        size => size.min(MAX_FUNCTION),
    };
    let Some(offset) = elf.file_offset(function.address, size, |segment| segment.executable) else {
        return Ok(None);
    };
    let part = "its function Py_GetVersion";
    let code = elf.source.read(offset, size, MAX_FUNCTION, part)?;
    let targets = match elf.machine {
        elf::EM_X86_64 | elf::EM_386 => targets_on_x86(&code, function.address),
        elf::EM_AARCH64 => targets_on_aarch64(&code, function.address),
        _ => Vec::new(),
    };
    let mut versions = BTreeSet::new();
    for target in targets {
        let in_data = |segment: &Segment| !segment.writable;
        // A text near the end of its segment has fewer bytes behind it.
        let text = (6..=MAX_LITERAL)
            .rev()
            .find_map(|size| Some((elf.file_offset(target, size, in_data)?, size)));
        if let Some((offset, size)) = text {
            let bytes = elf.source.read(offset, size, MAX_LITERAL, part)?;
            versions.extend(Version::from_text(&bytes));
        }
    }
    Ok(only(&versions))
}

/// `lea disp32(%rip)` counts from its end, which the displacement is; `mov $imm32` is an address.
fn targets_on_x86(code: &[u8], start: u64) -> Vec<u64> {
    let mut targets = Vec::new();
    for (position, bytes) in code.windows(4).enumerate() {
        let end = start.wrapping_add(4).wrapping_add(position as u64);
        let value = u32_of(object::Endianness::Little, bytes);
        targets.push(end.wrapping_add_signed(value.cast_signed().into()));
        targets.push(value.into());
    }
    targets
}

/// `adrp` gives a page, a later `add` of the same register the place in it; `adr` gives both.
fn targets_on_aarch64(code: &[u8], start: u64) -> Vec<u64> {
    let mut targets = Vec::new();
    let mut pages = [None; 32];
    for (position, bytes) in code.chunks_exact(4).enumerate() {
        let address = start.wrapping_add(4 * position as u64);
        let word = u32_of(object::Endianness::Little, bytes);
        let register = (word & 0x1f) as usize;
        let immediate = (word >> 29 & 3) | (word >> 3 & 0x1f_fffc);
        // Sign-extended from 21 bits.
        let immediate = i64::from((immediate << 11).cast_signed() >> 11);
        if word & 0x9f00_0000 == 0x9000_0000 {
            let page = (address & !0xfff).wrapping_add_signed(immediate << 12);
            if let Some(slot) = pages.get_mut(register) {
                *slot = Some(page);
            }
        } else if word & 0x9f00_0000 == 0x1000_0000 {
            targets.push(address.wrapping_add_signed(immediate));
        } else if word & 0xffc0_0000 == 0x9100_0000 {
            let source = (word >> 5 & 0x1f) as usize;
            let place = u64::from(word >> 10 & 0xfff);
            if let Some(page) = pages.get(source).copied().flatten() {
                targets.push(page.wrapping_add(place));
            }
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_of_all_addresses_may_be_reached() {
        let code = [0; 32];
        assert_eq!(targets_on_x86(&code, u64::MAX - 8).len(), 2 * 29);
        assert!(targets_on_aarch64(&code, u64::MAX - 8).is_empty());
    }
}
