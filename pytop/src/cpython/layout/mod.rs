//! Where the fields of CPython's structures are that lead from a frame to the names of its code.
//!
//! All offsets are in bytes, for 64-bit builds.

mod debug_offsets;
mod versions;

use serde::{Deserialize, Serialize};

use super::code::Failure;
use super::elf::Elf;
use super::symbols::Dynamic;
use super::{NotCountable, Version};

/// From a frame to the address of its current instruction, in every version from 3.11 on
/// (`prev_instr`, from 3.13 on `instr_ptr`).
pub(super) const FRAME_TO_INSTRUCTION: u64 = 0x38;

/// The layout of an interpreter, if it has one that is known.
pub(super) fn read(elf: &Elf<'_>, dynamic: &Dynamic, version: Version) -> Result<Layout, Failure> {
    let Some(layout) = versions::layout(version.minor()) else {
        return Err(NotCountable::UnknownOpcodes { version }.into());
    };
    // Functions of builds that count all references (Include/object.h, Objects/object.c), among
    // them all with --with-pydebug and --with-trace-refs, whose objects begin with more fields.
    for name in ["_Py_NegativeRefcount", "_Py_RefTotal", "_Py_GetRefTotal"] {
        if dynamic.find(elf, name)?.is_some() {
            return Err(NotCountable::DebugBuild.into());
        }
    }
    debug_offsets::check(elf, dynamic, version, &layout)?;
    // A program may have a zeroed copy of the library's: that is not the one in this file.
    let code_type = dynamic.find(elf, "PyCode_Type")?;
    let code_type = code_type.filter(|symbol| !symbol.is_function);
    Ok(Layout {
        code_type: code_type.map(|symbol| symbol.address),
        ..layout
    })
}

/// Offsets of fields in the structures of one CPython.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layout {
    /// From a frame to the pointer to its code object: `f_code` of `PyFrameObject` (up to 3.10)
    /// or of `_PyInterpreterFrame` (3.11), `f_executable` (3.12 and later).
    pub frame_to_code: u64,
    /// That pointer is tagged: bit 0 is to be cleared (`_PyStackRef`, 3.14 and later).
    pub tagged_code_pointer: bool,
    /// From a frame to the pointer to the frame that called it: `f_back` of `PyFrameObject` (up to
    /// 3.10), `previous` of `_PyInterpreterFrame`.
    pub frame_to_previous: u64,
    /// From a frame to the byte that tells whether it is one of the interpreter's own (`owner`).
    /// 3.12 and later: before, there are no such frames.
    pub frame_to_owner: Option<u64>,
    /// From any object to the pointer to its type (`ob_type`).
    pub object_to_type: u64,
    /// The address of `PyCode_Type` in the program as the file has it, if the file exports it.
    pub code_type: Option<u64>,
    /// In a code object.
    pub code: CodeLayout,
    /// In a text.
    pub text: TextLayout,
    /// In the state of a thread. 3.11 and later.
    pub thread: Option<ThreadLayout>,
}

/// Offsets in a code object (`PyCodeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CodeLayout {
    /// Pointer to a text (`co_filename`).
    pub filename: u64,
    /// Pointer to a text (`co_name`).
    pub name: u64,
    /// Pointer to a text (`co_qualname`). 3.11 and later.
    pub qualified_name: Option<u64>,
    /// A signed 32-bit number (`co_firstlineno`).
    pub first_line: u64,
    /// The bytecode. 3.11 and later.
    pub bytecode: Option<BytecodeLayout>,
    /// The version of the code's instrumentation, a word (`_co_instrumentation_version`). 3.12 and
    /// later.
    pub instrumentation_version: Option<u64>,
}

/// Offsets in a code object that has its bytecode in itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BytecodeLayout {
    /// Where the first code unit is (`co_code_adaptive`).
    pub start: u64,
    /// A word: how many code units of two bytes there are (`ob_size`).
    pub code_units: u64,
}

/// Offsets in a text (`PyASCIIObject`, `PyCompactUnicodeObject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TextLayout {
    /// A word: how many characters there are (`length`).
    pub length: u64,
    /// A byte: bits 2 to 4 are the bytes of a character (`kind`), bit 5 tells that the characters
    /// follow the object (`compact`), bit 6 that all of them are ASCII (`ascii`).
    pub state: u64,
    /// The characters of a compact ASCII text.
    pub ascii_data: u64,
    /// The characters of any other compact text.
    pub other_data: u64,
}

/// Offsets in the state of a thread (`PyThreadState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ThreadLayout {
    /// The frame that runs.
    pub current_frame: CurrentFrame,
    /// How a RESUME is told that comes again because it first had to change its code. 3.12 and
    /// later.
    pub repeats: Option<Repeats>,
}

/// The way from the state of a thread to its current frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CurrentFrame {
    /// A pointer at an offset.
    Field(u64),
    /// A pointer at an offset of what the pointer at another offset points at (`cframe`).
    Through {
        /// Of the pointer in the state of the thread.
        pointer: u64,
        /// Of the pointer to the frame in what it points at.
        field: u64,
    },
}

/// When a RESUME changes its code first and is then dispatched a second time. The first time is to
/// be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Repeats {
    /// 3.12: when the code's instrumentation version differs from the interpreter's.
    Interpreter {
        /// From the state of a thread to the pointer to the state of its interpreter.
        interpreter: u64,
        /// From there to the version, a word (`monitoring_version`).
        version: u64,
    },
    /// 3.13 and later: when the code's instrumentation version differs from that in the
    /// thread's eval breaker, and the thread is in no tracing function.
    Thread {
        /// A word (`eval_breaker`).
        eval_breaker: u64,
        /// The bits of the word that are no version (`_PY_EVAL_EVENTS_MASK`).
        event_bits: u64,
        /// A signed 32-bit number, 0 outside of tracing functions (`tracing`).
        tracing: u64,
    },
}
