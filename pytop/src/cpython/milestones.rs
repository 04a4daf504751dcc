//! Where a process passes as it gets on with its work, but less often than it calls functions.
//!
//! A process of which only a part of the calls can be counted, for what that costs, passes other places
//! of the interpreter in step with them: a loop begins, a list is made, a call waits for the kernel.
//! Which of these happens at a good rate depends on the program, so there is a list of functions
//! of the C interface to choose from, as Python.h has had them since 3.6. That one of them is never
//! passed, where the compiler has put copies of it into its callers, does no harm; nor that a part of
//! the calls goes another way. All that matters is that it is the same part always.

use std::fs::File;
use std::path::Path;

use iced_x86::{Decoder, DecoderOptions, FlowControl};

use super::block::stepping;
use super::code::Stepping;
use super::elf::Elf;
use super::jumps::code_at;
use super::source::{Fault, ReadAt, Source};
use super::symbols::{Dynamic, Symbol};
use super::{Architecture, ExamineError};

/// The functions.
const FUNCTIONS: [&str; 64] = [
    "PyBuffer_Release",
    "PyBytes_FromStringAndSize",
    "PyCFunction_Call",
    "PyDict_GetItem",
    "PyDict_GetItemWithError",
    "PyDict_New",
    "PyDict_SetItem",
    "PyErr_Clear",
    "PyErr_NormalizeException",
    "PyErr_SetObject",
    "PyErr_SetString",
    "PyEval_SaveThread",
    "PyFloat_FromDouble",
    "PyGILState_Ensure",
    "PyIter_Next",
    "PyList_Append",
    "PyList_AsTuple",
    "PyList_New",
    "PyList_Sort",
    "PyLong_AsLong",
    "PyLong_AsSsize_t",
    "PyLong_FromLong",
    "PyLong_FromLongLong",
    "PyLong_FromSsize_t",
    "PyLong_FromUnicodeObject",
    "PyMem_Malloc",
    "PyNumber_Add",
    "PyNumber_Multiply",
    "PyNumber_Subtract",
    "PyObject_Call",
    "PyObject_CallFunctionObjArgs",
    "PyObject_CallMethodObjArgs",
    "PyObject_Free",
    "PyObject_GetAttr",
    "PyObject_GetBuffer",
    "PyObject_GetItem",
    "PyObject_GetIter",
    "PyObject_Hash",
    "PyObject_IsTrue",
    "PyObject_Malloc",
    "PyObject_Repr",
    "PyObject_RichCompare",
    "PyObject_RichCompareBool",
    "PyObject_SetAttr",
    "PyObject_SetItem",
    "PyObject_Size",
    "PyObject_Str",
    "PyObject_Vectorcall",
    "PySequence_Contains",
    "PySet_New",
    "PySlice_New",
    "PyThread_acquire_lock_timed",
    "PyTraceBack_Here",
    "PyTuple_New",
    "PyTuple_Pack",
    "PyType_GenericAlloc",
    "PyType_IsSubtype",
    "PyUnicode_Concat",
    "PyUnicode_DecodeUTF8Stateful",
    "PyUnicode_FromFormat",
    "PyUnicode_Join",
    "PyUnicode_New",
    "_PyObject_GC_New",
    "_PyObject_MakeTpCall",
];

/// Bytes of a function in which its probe has to be.
const MAX_ENTRANCE: u64 = 64;

/// The places in a file with an interpreter that can be milestones: where their instructions are in the
/// file, in bytes. None on processors whose instructions pytop does not read.
///
/// # Errors
/// The file cannot be read, or it is an ELF file that contradicts itself.
pub fn find_milestones(file: &File, path: &Path) -> Result<Vec<u64>, ExamineError> {
    let error = |fault| ExamineError::new(path, fault);
    let metadata = file
        .metadata()
        .map_err(|source| error(Fault::Read(source)))?;
    find(file, metadata.len()).map_err(error)
}

pub(super) fn find(file: &dyn ReadAt, length: u64) -> Result<Vec<u64>, Fault> {
    let Some(elf) = Elf::open(Source::new(file, length)?)? else {
        return Ok(Vec::new());
    };
    if Architecture::of(&elf) != Architecture::X86_64 {
        return Ok(Vec::new());
    }
    let dynamic = Dynamic::read(&elf)?;
    let mut milestones = Vec::new();
    for name in FUNCTIONS {
        let symbol = dynamic.find(&elf, name)?;
        let symbol = symbol.filter(|symbol| symbol.is_function);
        if let Some(symbol) = symbol
            && let Some(milestone) = entrance(&elf, &symbol)?
        {
            milestones.push(milestone);
        }
    }
    // Two names may be one function.
    milestones.sort_unstable();
    milestones.dedup();
    Ok(milestones)
}

/// The first instruction of a function that the kernel does itself, and which every call passes. A jump
/// from behind may lead to it too, as the same part always does.
fn entrance(elf: &Elf<'_>, symbol: &Symbol) -> Result<Option<u64>, Fault> {
    let wanted = if symbol.size == 0 {
        MAX_ENTRANCE
    } else {
        symbol.size.min(MAX_ENTRANCE)
    };
    let code = code_at(elf, symbol.address, wanted)?;
    let decoder = Decoder::with_ip(64, &code, symbol.address, DecoderOptions::NONE);
    let mut bytes = code.as_slice();
    for instruction in decoder {
        if instruction.is_invalid() {
            break;
        }
        let Some((own, rest)) = bytes.split_at_checked(instruction.len()) else {
            break;
        };
        if stepping(&instruction, own) == Stepping::Emulated {
            let size = instruction.len() as u64;
            return Ok(elf.file_offset(instruction.ip(), size, |segment| segment.executable));
        }
        if instruction.flow_control() != FlowControl::Next {
            break;
        }
        bytes = rest;
    }
    Ok(None)
}
