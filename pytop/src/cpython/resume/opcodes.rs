//! The numbers of bytecodes that the method needs, by version.
//!
//! From `Include/opcode.h` (3.11, 3.12), `Include/opcode_ids.h` (3.13) and `Include/opcode_ids.h`
//! or `Lib/_opcode_metadata.py` (3.14, 3.15) of the releases. Numbers are fixed for all releases of
//! a minor version, because compiled files hold them.

use std::ops::RangeInclusive;

use super::{Family, Operand, Version};
use crate::cpython::Release;

/// Number of bytecodes in every version.
pub(super) const COUNT: usize = 256;

/// The bytecodes of a minor version.
#[derive(Debug)]
pub(super) struct Opcodes {
    /// The RESUME family.
    pub(super) family: &'static [(u8, Family)],
    /// `NOP`
    pub(super) nop: u8,
    /// `RETURN_VALUE` and `RETURN_CONST`. Their `INSTRUMENTED` forms are not among them, and neither is
    /// that of `YIELD_VALUE`: they call into Python before the frame is left.
    pub(super) returning: &'static [u8],
    /// `YIELD_VALUE`
    pub(super) yield_value: u8,
    /// `RETURN_GENERATOR`
    pub(super) return_generator: u8,
    /// `RERAISE`. Wanted in 3.11 alone, see [`super::Leaving`].
    pub(super) reraise: Option<u8>,
    /// `ENTER_EXECUTOR`
    pub(super) enter_executor: Option<u8>,
    /// Numbers without a bytecode. They share one handler, which raises `SystemError`.
    unused: &'static [RangeInclusive<u8>],
    /// Bytecodes that are never run: their handlers are `Py_UNREACHABLE()`, where a compiler may
    /// put any address.
    unreachable: &'static [u8],
    pub(super) operand: Operand,
}

impl Opcodes {
    /// Those of a version; `None` for one that is not known, or that could still change.
    pub(super) fn of(version: Version) -> Option<&'static Self> {
        if matches!(version.release, Release::Alpha(_) | Release::Beta(_)) {
            return None;
        }
        match version.minor() {
            (3, 11) => Some(&V3_11),
            (3, 12) => Some(&V3_12),
            (3, 13) => Some(&V3_13),
            (3, 14) => Some(&V3_14),
            (3, 15) => Some(&V3_15),
            _ => None,
        }
    }

    /// What a number is used for.
    pub(super) fn usage(&self, opcode: u8) -> Usage {
        if self.unused.iter().any(|range| range.contains(&opcode)) {
            Usage::Unused
        } else if self.unreachable.contains(&opcode) {
            Usage::Unreachable
        } else {
            Usage::Used
        }
    }
}

/// What the number of a bytecode is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Usage {
    /// It has a handler of its own.
    Used,
    /// It has that of all unused numbers.
    Unused,
    /// Its handler can be anywhere.
    Unreachable,
}

/// `RESUME_OPARG_LOCATION_MASK` in `Include/internal/pycore_opcode_utils.h`. Until 3.14 there are
/// four places, all of them entries.
const ANY_RESUME: Operand = Operand {
    mask: 3,
    not_entry: None,
};

static V3_11: Opcodes = Opcodes {
    family: &[(151, Family::Resume), (150, Family::ResumeQuick)],
    nop: 9,
    returning: &[83],
    yield_value: 86,
    return_generator: 75,
    reraise: Some(119),
    enter_executor: None,
    unused: &[181..=254],
    unreachable: &[0],
    operand: ANY_RESUME,
};

static V3_12: Opcodes = Opcodes {
    family: &[(151, Family::Resume), (240, Family::Instrumented)],
    nop: 9,
    returning: &[83, 121],
    yield_value: 150,
    return_generator: 75,
    reraise: None,
    enter_executor: None,
    unused: &[169..=170, 177..=236, 255..=255],
    unreachable: &[0, 17],
    operand: ANY_RESUME,
};

static V3_13: Opcodes = Opcodes {
    family: &[
        (149, Family::Resume),
        (207, Family::ResumeCheck),
        (236, Family::Instrumented),
    ],
    nop: 30,
    returning: &[36, 103],
    yield_value: 118,
    return_generator: 35,
    reraise: None,
    enter_executor: Some(70),
    unused: &[119..=148, 223..=235, 255..=255],
    unreachable: &[0, 17],
    operand: ANY_RESUME,
};

static V3_14: Opcodes = Opcodes {
    family: &[
        (128, Family::Resume),
        (196, Family::ResumeCheck),
        (245, Family::Instrumented),
    ],
    nop: 27,
    returning: &[35],
    yield_value: 120,
    return_generator: 34,
    reraise: None,
    enter_executor: Some(255),
    unused: &[121..=127, 212..=233],
    unreachable: &[0, 17],
    operand: ANY_RESUME,
};

static V3_15: Opcodes = Opcodes {
    family: &[
        (128, Family::Resume),
        (200, Family::ResumeCheck),
        (201, Family::ResumeCheckJit),
        (244, Family::Instrumented),
    ],
    nop: 25,
    returning: &[33],
    yield_value: 119,
    return_generator: 32,
    reraise: None,
    enter_executor: Some(254),
    unused: &[120..=127, 219..=232],
    unreachable: &[0, 17],
    operand: Operand {
        mask: 7,
        not_entry: Some(4),
    },
};
