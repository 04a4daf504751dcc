//! The offsets that CPython 3.13 and later have in themselves for debuggers: `_Py_DebugOffsets` at
//! the start of `_PyRuntime` (`Include/internal/pycore_debug_offsets.h`, in 3.13
//! `Include/internal/pycore_runtime.h`).
//!
//! ```text
//! 78 64 65 62 75 67 70 79     the cookie: xdebugpy
//! f0 00 0d 03 00 00 00 00     PY_VERSION_HEX: 3.13.0
//! 00 00 00 00 00 00 00 00     1 for a free-threaded build
//! b8 52 04 00 00 00 00 00     from here on numbers: sizes of structures, and offsets in them
//! ```

use crate::cpython::code::Failure;
use crate::cpython::elf::{Elf, u64_of};
use crate::cpython::symbols::Dynamic;
use crate::cpython::{NotCountable, Version};

use super::{CurrentFrame, Layout};

/// Numbers that are read.
const NUMBERS: u64 = 96;
const PART: &str = "its table of offsets for debuggers";

/// Where the numbers are that the layout is made of, counted from the one behind the flag.
struct Places {
    current_frame: usize,
    executable: usize,
    instruction_pointer: usize,
    filename: usize,
    name: usize,
    qualified_name: usize,
    first_line: usize,
    bytecode: usize,
    object_type: usize,
    text_state: usize,
    text_length: usize,
    text_data: usize,
}

const V3_13: Places = Places {
    current_frame: 20,
    executable: 27,
    instruction_pointer: 28,
    filename: 32,
    name: 33,
    qualified_name: 34,
    first_line: 36,
    bytecode: 40,
    object_type: 42,
    text_state: 65,
    text_length: 66,
    text_data: 67,
};

const V3_14: Places = Places {
    current_frame: 23,
    executable: 30,
    instruction_pointer: 31,
    filename: 37,
    name: 38,
    qualified_name: 39,
    first_line: 41,
    bytecode: 45,
    object_type: 48,
    text_state: 75,
    text_length: 76,
    text_data: 77,
};

const V3_15: Places = Places {
    current_frame: 23,
    executable: 38,
    instruction_pointer: 39,
    filename: 45,
    name: 46,
    qualified_name: 47,
    first_line: 49,
    bytecode: 53,
    object_type: 56,
    text_state: 87,
    text_length: 88,
    text_data: 89,
};

/// Compares a layout with the offsets in the file, if it has them. A release has the same
/// structures on every machine, so a difference means that one of the two is not what it seems.
pub(super) fn check(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    version: Version,
    layout: &Layout,
) -> Result<(), Failure> {
    let places = match version.minor() {
        (3, 13) => V3_13,
        (3, 14) => V3_14,
        (3, 15) => V3_15,
        _ => return Ok(()),
    };
    let bad = |why| Err(NotCountable::BadDebugOffsets(why).into());
    let address = match elf.section(".PyRuntime") {
        Some(section) if section.allocated => Some(section.address),
        _ => dynamic
            .find(elf, "_PyRuntime")?
            .map(|symbol| symbol.address),
    };
    let Some(address) = address else {
        // Every build exports the symbol. Without it a free-threaded build could not be told.
        return bad("is missing");
    };
    let size = 24 + 8 * NUMBERS;
    if elf.file_offset(address, size, |_| true).is_none() {
        return bad("is not in the file");
    }
    let bytes = elf.read_at(address, size, size, PART)?;
    let word = |index: usize| u64_of(elf.endian, bytes.get(index * 8..).unwrap_or_default());
    if !bytes.starts_with(b"xdebugpy") {
        return bad("does not begin with its cookie");
    }
    let same_version = Version::from_hex(word(1)).is_some_and(|found| {
        Version {
            modified: version.modified,
            ..found
        } == version
    });
    if !same_version {
        return bad("is of another version");
    }
    match word(2) {
        0 => {}
        1 => return Err(NotCountable::FreeThreaded.into()),
        _ => return bad("has an impossible flag"),
    }
    let offset = |index: usize| word(3 + index);
    let code = &layout.code;
    let current_frame = match layout.thread.map(|thread| thread.current_frame) {
        Some(CurrentFrame::Field(offset)) => Some(offset),
        _ => None,
    };
    let expected = [
        (places.current_frame, current_frame),
        // previous, executable, instr_ptr, localsplus, owner: one after the other.
        (places.executable - 1, Some(layout.frame_to_previous)),
        (places.executable, Some(layout.frame_to_code)),
        (places.executable + 3, layout.frame_to_owner),
        (
            places.instruction_pointer,
            Some(super::FRAME_TO_INSTRUCTION),
        ),
        (places.filename, Some(code.filename)),
        (places.name, Some(code.name)),
        (places.qualified_name, code.qualified_name),
        (places.first_line, Some(code.first_line)),
        (
            places.bytecode,
            code.bytecode.map(|bytecode| bytecode.start),
        ),
        (places.object_type, Some(layout.object_to_type)),
        (places.text_state, Some(layout.text.state)),
        (places.text_length, Some(layout.text.length)),
        (places.text_data, Some(layout.text.ascii_data)),
    ];
    if expected
        .iter()
        .any(|(index, expected)| Some(offset(*index)) != *expected)
    {
        return bad("is not that of its version: the interpreter was changed");
    }
    Ok(())
}
