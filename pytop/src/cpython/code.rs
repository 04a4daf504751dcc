//! How the entries of an interpreter's frames are counted without a marker, by the code objects
//! that the frames run.
//!
//! Up to 3.10 each entry of a frame calls one function ([`EvalSite`]). From 3.11 on the evaluation
//! loop enters Python functions without leaving itself, but each of them begins with a bytecode
//! of the RESUME family ([`Resume`]).

use std::fs::File;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::elf::Elf;
use super::layout::Layout;
use super::resume::Resume;
use super::source::{Fault, ReadAt, Source};
use super::symbols::Dynamic;
use super::{Architecture, ExamineError, Interpreter, NotCountable, eval, resume};

/// A number of everything that is in this module: another one may understand a file in another way,
/// so that what it found is not what would be found now.
pub const ANALYSIS: &str = env!("PYTOP_ANALYSIS");

/// How the entries of frames are counted without a marker.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CodeMethod {
    /// The function that evaluates a frame: 3.6 to 3.10.
    Eval(EvalSite),
    /// The bytecodes with which the code of every frame begins: 3.11 and later.
    Resume(Resume),
}

impl CodeMethod {
    /// Where the fields of the interpreter's structures are.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        match self {
            Self::Eval(eval) => &eval.layout,
            Self::Resume(resume) => &resume.layout,
        }
    }

    /// Where a hit proves that a just-in-time compiler is at work.
    #[must_use]
    pub fn executor_file_offset(&self) -> Option<u64> {
        match self {
            Self::Eval(_) => None,
            Self::Resume(resume) => resume.executor_file_offset,
        }
    }
}

/// The first instruction of `_PyEval_EvalFrameDefault`, which every entry of a frame calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EvalSite {
    /// Address in the program as the file has it, before it is loaded anywhere.
    pub address: u64,
    /// Where the instruction is in the file: what the kernel wants for a uprobe.
    pub file_offset: u64,
    /// The mnemonic of the instruction, such as `push`.
    pub instruction: String,
    /// What a probe there costs.
    pub stepping: Stepping,
    /// Where the frame (`PyFrameObject *`) is at the instruction.
    pub frame: Value,
    /// Where the fields of the structures are.
    pub layout: Layout,
}

/// Where a 64-bit value is when a site is hit. Registers are named by their word in
/// `struct pt_regs` (arch/x86/include/asm/ptrace.h): 0 is r15, 19 is rsp.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Value {
    /// The content of a register, plus a constant.
    Register {
        /// Which register.
        word: u8,
        /// What is to be added to its content, in bytes.
        plus: i64,
    },
    /// What memory of the process has at a register plus a displacement, plus a constant.
    Memory {
        /// Which register.
        base: u8,
        /// The distance of the memory from what the register holds, in bytes.
        displacement: i64,
        /// What is to be added to the content of the memory, in bytes.
        plus: i64,
    },
}

/// How the kernel carries out the instruction that a probe has replaced
/// (arch/x86/kernel/uprobes.c).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Stepping {
    /// The kernel does itself what the instruction would do: some hundred nanoseconds.
    Emulated,
    /// A copy of the instruction is run by itself and traps: twenty times as long.
    SingleStepped,
}

/// Finds out how the entries of frames are counted without a marker in a file that
/// [`super::examine`] found to be `interpreter`. Reads the whole text of the interpreter, some
/// megabytes, where `examine` reads a few pages.
///
/// # Errors
/// The file cannot be read, or it is an ELF file that contradicts itself.
pub fn examine_code(
    file: &File,
    path: &Path,
    interpreter: &Interpreter,
) -> Result<Result<CodeMethod, NotCountable>, ExamineError> {
    let error = |fault| ExamineError::new(path, fault);
    let metadata = file
        .metadata()
        .map_err(|source| error(Fault::Read(source)))?;
    examine_code_for(Architecture::HOST, file, metadata.len(), interpreter).map_err(error)
}

/// All that is found in a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Examined {
    /// What [`super::examine`] finds.
    pub interpreter: Interpreter,
    /// What [`examine_code`] finds.
    pub code: Result<CodeMethod, NotCountable>,
}

/// [`super::examine`] and [`examine_code`] of a file whose bytes are `image`: the way in for
/// fuzzing, where there is no file.
///
/// # Errors
/// The bytes are an ELF file that contradicts itself.
pub fn examine_image(image: &[u8], path: &Path) -> Result<Option<Examined>, ExamineError> {
    let error = |fault| ExamineError::new(path, fault);
    let (host, length) = (Architecture::HOST, image.len() as u64);
    let found = super::examine_for(host, &image, length, path).map_err(error)?;
    let Some(interpreter) = found else {
        return Ok(None);
    };
    let code = examine_code_for(host, &image, length, &interpreter).map_err(error)?;
    Ok(Some(Examined { interpreter, code }))
}

/// [`examine_code`] on a machine of any architecture.
pub(super) fn examine_code_for(
    host: Architecture,
    file: &dyn ReadAt,
    length: u64,
    interpreter: &Interpreter,
) -> Result<Result<CodeMethod, NotCountable>, Fault> {
    let Some(elf) = Elf::open(Source::new(file, length)?)? else {
        return Err(Fault::damaged("the file", "is no interpreter any more"));
    };
    if !elf.is_64 {
        return Ok(Err(NotCountable::Not64Bit));
    }
    let architecture = Architecture::of(&elf);
    if architecture != Architecture::X86_64 {
        return Ok(Err(NotCountable::MethodArchitecture { architecture }));
    }
    if architecture != host {
        return Ok(Err(NotCountable::ForeignArchitecture { architecture }));
    }
    let Some(version) = interpreter.version else {
        return Ok(Err(NotCountable::UnknownVersion));
    };
    let dynamic = Dynamic::read(&elf)?;
    let method = match version.minor() {
        minor if minor < (3, 6) => Err(NotCountable::TooOld { version }.into()),
        minor if minor < (3, 11) => eval::site(&elf, &dynamic, version, &[]).map(CodeMethod::Eval),
        _ => resume::find(&elf, &dynamic, version).map(CodeMethod::Resume),
    };
    match method {
        Ok(method) => Ok(Ok(method)),
        Err(Failure::Reason(reason)) => Ok(Err(reason)),
        Err(Failure::Fault(fault)) => Err(fault),
    }
}

/// Why there is no method: the file cannot be read, or the interpreter cannot be counted.
#[derive(Debug)]
pub(super) enum Failure {
    Fault(Fault),
    Reason(NotCountable),
}

impl From<Fault> for Failure {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl From<NotCountable> for Failure {
    fn from(reason: NotCountable) -> Self {
        Self::Reason(reason)
    }
}
