//! All knowledge of CPython: bytes of a file in, facts about the interpreter in it out.
//!
//! What is here is true of a file, whoever runs it, so it is found once for each file. Where a
//! process has loaded the file, and how the kernel counts, others know.
//!
//! An interpreter is recognised by what it defines, not by its name: programs that embed CPython
//! have any name, while `python3` may be an empty shell around `libpython3.9.so.1.0`, and every
//! extension module refers to the same symbols without defining them. Hundreds of files are no
//! interpreter and are dismissed with some five to ten small reads each.
//!
//! An interpreter can be counted by a *method*: the live marker, or without one the bytecodes and
//! functions with which frames are entered.
//!
//! ```text
//! source      bounded reads
//! elf         headers, addresses to file offsets
//! symbols     names to addresses
//! version     which CPython
//! notes       where markers are, and with what arguments, as the linker wrote it
//! arguments   the operands of the assembler to specifications for the kernel side
//! marker      the method `marker`: notes to sites
//! layout      where the fields of the interpreter's structures are
//! block       what straight-line instructions do with registers
//! jumps       who jumps where
//! site        which instruction gets the probe
//! eval        the method `eval` of 3.6 to 3.10: the frame evaluation function
//! resume      the method `resume` of 3.11 and later: the handlers of the RESUME bytecodes
//! code        what the last two have in common
//! listing     every marker of a file, whoever provides it
//! milestones  what a process passes in step with its calls, but less often
//! exits       where frames are left, for a trace
//! returns     where a function returns
//! runtime     the markers of collections and imports
//! ```
//!
//! The marker is found with every examination ([`examine`]). The other two read the whole text of
//! an interpreter, some tens of milliseconds, and are asked for where they are wanted
//! ([`examine_code`]).

mod arguments;
mod block;
mod code;

mod elf;
mod eval;
mod exits;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod jumps;
mod layout;
mod listing;
mod marker;
mod milestones;
mod notes;
mod reason;
mod resume;
mod returns;
mod runtime;
mod site;
mod source;
mod specification;
mod symbols;
#[cfg(test)]
mod tests;
mod version;

use std::fs::File;
use std::path::Path;

use object::elf as constants;
use pytop_common::marker::MarkerSpec;

pub use code::{
    ANALYSIS, CodeMethod, EvalSite, Examined, Stepping, Value, examine_code, examine_image,
};
pub use exits::{Entries, Says, TraceProbe, examine_exits};
pub use layout::{
    BytecodeLayout, CodeLayout, CurrentFrame, Layout, Repeats, TextLayout, ThreadLayout,
};
pub use listing::{ListedMarker, Listing, list_markers};
pub use milestones::find_milestones;
pub use reason::{ExamineError, NotCountable};
pub use resume::{Family, Handler, Operand, Resume};
pub use runtime::{RuntimeSite, RuntimeSites};
pub use specification::CodeProbe;
pub use version::{Release, Version};

use elf::Elf;
use source::{Fault, ReadAt, Source};
use symbols::{Dynamic, MAX_TABLE, MAX_UNKNOWN_TABLE, in_full_table};
use version::Landmarks;

/// A file that holds a CPython interpreter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interpreter {
    /// Which CPython; `None` when the file does not tell.
    pub version: Option<Version>,
    /// The linker's identification of the file (`NT_GNU_BUILD_ID`), if it has one.
    pub build_id: Option<Vec<u8>>,
    /// The processor that the file is for.
    pub architecture: Architecture,
    /// Where functions begin in the file that are called before a process runs its first bytecode,
    /// after its start or as a child of a fork. None where they are not exported.
    pub doors: Vec<u64>,
    /// Every site of the `function__entry` marker, at least one, or why they cannot be counted.
    pub entry: Result<Vec<Site>, NotCountable>,
    /// Where its collections and imports can be counted.
    pub runtime: RuntimeSites,
}

impl Interpreter {
    /// What its `function__entry` marker does.
    #[must_use]
    pub fn entry_marker(&self) -> EntryMarker {
        match &self.entry {
            Ok(_) => EntryMarker::Live,
            Err(NotCountable::DeadMarker { .. }) => EntryMarker::Dead,
            Err(NotCountable::NoMarker { .. }) => EntryMarker::None,
            Err(_) => EntryMarker::Unusable,
        }
    }
}

/// What the `function__entry` marker of an interpreter does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EntryMarker {
    /// It fires at every entry of a frame.
    Live,
    /// It is in the file, but fires under a tracing function only.
    Dead,
    /// It is not in the file.
    None,
    /// Whether it fires is not known, or it cannot be probed.
    Unusable,
}

/// A copy of the `function__entry` marker, and all that the kernel has to know to count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Site {
    /// Address in the program as the file has it, before it is loaded anywhere.
    pub address: u64,
    /// Where the instruction is in the file: what the kernel wants for a uprobe.
    pub file_offset: u64,
    /// Where the 16-bit semaphore is in the file. The marker's arguments are computed only while
    /// it is above zero. Fits 32 bits. `None` for a marker that is always on.
    pub semaphore_file_offset: Option<u64>,
    /// Where the arguments are when the marker is hit.
    pub spec: MarkerSpec,
}

/// A processor architecture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Architecture {
    /// AMD64, Intel 64.
    X86_64,
    /// 64-bit Arm.
    Aarch64,
    /// One on which pytop does not run, by its number in ELF files (`e_machine`).
    Other(u16),
}

impl Architecture {
    /// The architecture that this program was built for.
    pub const HOST: Self = if cfg!(target_arch = "x86_64") {
        Self::X86_64
    } else if cfg!(target_arch = "aarch64") {
        Self::Aarch64
    } else {
        Self::Other(0)
    };

    fn of(elf: &Elf<'_>) -> Self {
        let little = elf.endian == object::Endianness::Little;
        match elf.machine {
            constants::EM_X86_64 if little => Self::X86_64,
            constants::EM_AARCH64 if little => Self::Aarch64,
            machine => Self::Other(machine.0),
        }
    }
}

/// Finds out whether a file holds a CPython interpreter, and which.
///
/// `Ok(None)` is a file that holds none, an ELF file or not. `path` names the file in errors, and
/// is a last hint at the version. The file's position is neither used nor changed.
///
/// # Errors
/// The file cannot be read, or it is an ELF file that contradicts itself.
pub fn examine(file: &File, path: &Path) -> Result<Option<Interpreter>, ExamineError> {
    let error = |fault| ExamineError::new(path, fault);
    let metadata = file
        .metadata()
        .map_err(|source| error(Fault::Read(source)))?;
    // A read from a device can do anything, and no interpreter is in one.
    if !metadata.is_file() {
        return Ok(None);
    }
    examine_for(Architecture::HOST, file, metadata.len(), path).map_err(error)
}

/// [`examine`] on a machine of any architecture.
fn examine_for(
    host: Architecture,
    file: &dyn ReadAt,
    length: u64,
    path: &Path,
) -> Result<Option<Interpreter>, Fault> {
    let Some(elf) = Elf::open(Source::new(file, length)?)? else {
        return Ok(None);
    };
    let dynamic = Dynamic::read(&elf)?;
    let exported = exported_landmarks(&elf, &dynamic)?;
    let mut notes = notes::read(&elf, |provider, name| {
        marker::is_entry(provider, name) || runtime::is_told(provider, name)
    });
    let told = |note: &mut notes::Note| runtime::is_told(&note.provider, &note.name);
    let told = notes::Notes {
        found: notes.found.extract_if(.., told).collect(),
        damaged: notes.damaged,
    };
    let landmarks = if let Some(landmarks) = exported {
        landmarks
    } else if !notes.found.is_empty() || has_runtime_section(&elf) {
        // An interpreter whose symbols are hidden still has its notes, and from 3.10 on the section
        // of its runtime state.
        hidden_landmarks(&elf, MAX_TABLE)?.unwrap_or_default()
    } else if may_hide_symbols(&elf, &dynamic)
        && let Some(landmarks) = hidden_landmarks(&elf, MAX_UNKNOWN_TABLE)?
    {
        landmarks
    } else {
        return Ok(None);
    };
    let version = version::read(&elf, &dynamic, landmarks, path)?;
    let architecture = Architecture::of(&elf);
    Ok(Some(Interpreter {
        version,
        build_id: notes::build_id(&elf),
        architecture,
        doors: doors(&elf, &dynamic),
        entry: entry(&elf, &dynamic, host, version, &notes),
        runtime: RuntimeSites::of(&elf, &dynamic, host, &told),
    }))
}

/// The sites of the live marker, or why there are none.
fn entry(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    host: Architecture,
    version: Option<Version>,
    notes: &notes::Notes,
) -> Result<Vec<Site>, NotCountable> {
    let architecture = Architecture::of(elf);
    if !elf.is_64 {
        return Err(NotCountable::Not64Bit);
    }
    if let Architecture::Other(machine) = architecture {
        return Err(NotCountable::UnsupportedArchitecture { machine });
    }
    if architecture != host {
        return Err(NotCountable::ForeignArchitecture { architecture });
    }
    if let Some(version) = version.filter(|version| version.minor() < (3, 6)) {
        return Err(NotCountable::TooOld { version });
    }
    if notes.found.is_empty() {
        return Err(if notes.damaged {
            NotCountable::BadMarker("the table of markers is damaged")
        } else if notes::has_old_descriptors(elf) {
            NotCountable::OldProbesFormat
        } else if elf.sections.is_empty() {
            NotCountable::NoSectionHeaders
        } else {
            NotCountable::NoMarker { version }
        });
    }
    let Some(version) = version else {
        return Err(NotCountable::UnknownVersion);
    };
    // CPython lost the call that fires the marker from its evaluation loop in 3.11 and got it back
    // in the third alpha of 3.15; between them a marker may remain in the code for tracing, where it says nothing of
    // other calls (gh-98894).
    let returned = match version.release {
        Release::Alpha(serial) if version.minor() == (3, 15) => serial >= 3,
        _ => version.minor() >= (3, 15),
    };
    if version.minor() >= (3, 11) && !returned {
        return Err(NotCountable::DeadMarker { version });
    }
    marker::sites(elf, dynamic, architecture, notes)
}

/// Called in the child of a fork (3.7 and later, and 3.6), and to run the first module of an
/// interpreter, which is a frozen one, `_frozen_importlib`.
const DOORS: [&str; 3] = [
    "PyOS_AfterFork_Child",
    "PyOS_AfterFork",
    "PyImport_ImportFrozenModuleObject",
];

/// Where those functions begin that are exported.
fn doors(elf: &Elf<'_>, dynamic: &Dynamic) -> Vec<u64> {
    let functions = DOORS.iter().filter_map(|name| {
        let symbol = dynamic.find(elf, name).ok()??;
        let function = elf.file_offset(symbol.address, 1, |segment| segment.executable)?;
        symbol.is_function.then_some(function)
    });
    functions.collect()
}

/// The function that evaluates a frame, from 3.6 on and before, and one of them is in every
/// CPython that exports anything. `Py_GetVersion` alone may be somebody's wrapper.
const EVALUATORS: [&str; 2] = ["_PyEval_EvalFrameDefault", "PyEval_EvalFrameEx"];
const VERSION_FUNCTION: &str = "Py_GetVersion";
const VERSION_CONSTANT: &str = "Py_Version";

/// Where the symbols of the version are, if the file exports an interpreter.
fn exported_landmarks(elf: &Elf<'_>, dynamic: &Dynamic) -> Result<Option<Landmarks>, Fault> {
    let mut evaluates = false;
    for name in EVALUATORS {
        // A data symbol of this name would be a copy that a program made of a library's.
        evaluates |= dynamic
            .find(elf, name)?
            .is_some_and(|symbol| symbol.is_function);
    }
    if !evaluates {
        return Ok(None);
    }
    Ok(Some(Landmarks {
        constant: dynamic.find(elf, VERSION_CONSTANT)?,
        function: dynamic.find(elf, VERSION_FUNCTION)?,
    }))
}

/// Whether an interpreter can hide in the file from the table of exported symbols: in a program,
/// which exports nothing unless told to.
fn may_hide_symbols(elf: &Elf<'_>, dynamic: &Dynamic) -> bool {
    !elf.relocatable
        || !dynamic.has_hash_table()
        || dynamic.is_program()
        || elf
            .segments
            .iter()
            .any(|segment| segment.kind == constants::PT_INTERP)
}

/// The same in the table of all symbols, if its names have no more than `limit` bytes.
fn hidden_landmarks(elf: &Elf<'_>, limit: u64) -> Result<Option<Landmarks>, Fault> {
    let [first, second] = EVALUATORS;
    let names = [first, second, VERSION_FUNCTION, VERSION_CONSTANT];
    let found = in_full_table(elf, &names, limit)?;
    let symbol = |wanted: usize, function: bool| {
        found
            .iter()
            .find(|(name, symbol)| *name == wanted && symbol.is_function == function)
            .map(|(_, symbol)| *symbol)
    };
    if symbol(0, true).or(symbol(1, true)).is_none() {
        return Ok(None);
    }
    Ok(Some(Landmarks {
        constant: symbol(3, false),
        function: symbol(2, true),
    }))
}

/// From 3.10 on the state of the runtime has a section of its own, which no stripping removes
/// (`_PyRuntime` in Python/pylifecycle.c).
fn has_runtime_section(elf: &Elf<'_>) -> bool {
    elf.section(".PyRuntime")
        .is_some_and(|section| section.allocated && section.size > 0)
}
