//! Why a file could not be examined, and why an interpreter cannot be counted.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::path::Path;

use thiserror::Error;

use super::source::Fault;
use super::{Architecture, Version};
use crate::model::Text;
use crate::os_error::describe;

/// Why a file could not be examined.
#[derive(Debug, Error)]
pub enum ExamineError {
    /// The kernel refused a read.
    #[error("cannot read {path}: {}", describe(source))]
    Read {
        /// The file.
        path: Text,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file is an ELF file that contradicts itself, or is shorter than it says.
    #[error(
        "{path} is a damaged ELF file: {part} {problem}; no interpreter in it can be counted \
         until the file is installed again"
    )]
    Damaged {
        /// The file.
        path: Text,
        /// The part that is damaged.
        part: &'static str,
        /// What is wrong with the part.
        problem: &'static str,
    },
}

impl ExamineError {
    pub(super) fn new(path: &Path, fault: Fault) -> Self {
        let path = path.into();
        match fault {
            Fault::Read(source) => Self::Read { path, source },
            Fault::Damaged { part, problem } => Self::Damaged {
                path,
                part,
                problem,
            },
        }
    }
}

/// Why an interpreter cannot be counted. Completes the sentence "not counted: …".
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum NotCountable {
    /// Built without markers, as most are.
    #[error("{}", no_marker(*version))]
    NoMarker {
        /// Which CPython.
        version: Option<Version>,
    },
    /// The marker is there, but only the code for tracing reaches it.
    #[error(
        "CPython {version} has a function__entry marker that fires only under sys.settrace and \
         sys.setprofile"
    )]
    DeadMarker {
        /// Which CPython.
        version: Version,
    },
    /// A marker without the knowledge whether it is live.
    #[error(
        "the file does not tell its CPython version, so its marker may be one that never fires"
    )]
    UnknownVersion,
    /// Where frames are left is not known, so that it can be counted, but not traced.
    #[error("it cannot be traced: it {0}")]
    NoExits(&'static str),
    /// A CPython before 3.6, 2.7 among them.
    #[error("CPython {version} is too old: pytop counts 3.6 and later")]
    TooOld {
        /// Which CPython.
        version: Version,
    },
    /// `SystemTap`'s formats of before the notes.
    #[error(
        "its markers are in SystemTap's old .probes format, which has no notes to find them by"
    )]
    OldProbesFormat,
    /// The section headers, by which markers are found, were removed.
    #[error("its section headers were stripped, and with them the way to its markers")]
    NoSectionHeaders,
    /// A 32-bit program.
    #[error("it is a 32-bit program: pytop counts 64-bit ones")]
    Not64Bit,
    /// A processor that pytop does not know.
    #[error("it is built for {}: pytop counts on x86-64 and aarch64", machine_name(*machine))]
    UnsupportedArchitecture {
        /// The number of the architecture in ELF files (`e_machine`).
        machine: u16,
    },
    /// A processor that is not this machine's: the program runs under emulation.
    #[error(
        "it is built for {architecture}, and runs emulated on this {} machine",
        Architecture::HOST
    )]
    ForeignArchitecture {
        /// What the file is built for.
        architecture: Architecture,
    },
    /// An argument that the kernel side cannot fetch.
    #[error("the argument {argument} of its function__entry marker {why}")]
    UnsupportedArgument {
        /// The argument as the file has it.
        argument: Text,
        /// What is the matter with it.
        why: Cow<'static, str>,
    },
    /// Not CPython's `function__entry`, which has three.
    #[error("its function__entry marker has {found} arguments instead of 3")]
    WrongArgumentCount {
        /// How many it has.
        found: usize,
    },
    /// The description of the marker does not fit the file.
    #[error("its function__entry marker cannot be trusted: {0}")]
    BadMarker(&'static str),
    /// A processor for which no method but the marker is known.
    #[error("it is built for {architecture}: without a live marker pytop counts on x86-64 only")]
    MethodArchitecture {
        /// What the file is built for.
        architecture: Architecture,
    },
    /// The bytecodes of this version are not known.
    #[error(
        "CPython {version} has bytecodes that this pytop does not know (it knows those of the \
         releases 3.11 to 3.15)"
    )]
    UnknownOpcodes {
        /// Which CPython.
        version: Version,
    },
    /// The evaluation function is not where it should be.
    #[error("its function _PyEval_EvalFrameDefault {0}")]
    BadEvaluator(&'static str),
    /// The table of the handlers of all bytecodes is not there, or not what it should be.
    #[error("its table of bytecode handlers {0}")]
    BadOpcodeTable(&'static str),
    /// The interpreter calls a function for each bytecode.
    #[error(
        "it was built with a tail-calling interpreter (--with-tail-call-interp), which pytop \
         cannot count yet"
    )]
    TailCalling,
    /// No global lock.
    #[error("it is a free-threaded build (--disable-gil), which pytop cannot count yet")]
    FreeThreaded,
    /// Structures with more fields.
    #[error("it is a debug build (--with-pydebug), which pytop cannot count yet")]
    DebugBuild,
    /// The handler of a bytecode is not what it should be.
    #[error("its handler of {bytecode} {why}")]
    BadHandler {
        /// The name of the bytecode.
        bytecode: &'static str,
        /// What is the matter with it.
        why: &'static str,
    },
    /// The offsets of the interpreter's own structures that the file has are impossible.
    #[error("its table of offsets for debuggers (_Py_DebugOffsets) {0}")]
    BadDebugOffsets(&'static str),
}

impl NotCountable {
    /// What the owner of the interpreter can do, where there is something.
    #[must_use]
    pub fn remedy(&self) -> Option<&'static str> {
        match self {
            Self::NoMarker { .. } | Self::DeadMarker { .. } => {
                Some("leave out --method, and it is counted without its marker")
            }
            Self::TooOld { .. } => Some("run it on CPython 3.6 or later"),
            Self::NoSectionHeaders => Some("install the interpreter without stripping it further"),
            _ => None,
        }
    }
}

/// From 3.11 to 3.14 the evaluation loop has none, however CPython is built (Python/ceval.c).
fn no_marker(version: Option<Version>) -> String {
    let name = name(version);
    match version.map(Version::minor) {
        Some((3, 11..=14)) => {
            format!(
                "{name} has no function__entry marker (none of 3.11 to 3.14 would fire at calls)"
            )
        }
        _ => format!("{name} was built without function__entry markers (--with-dtrace)"),
    }
}

fn name(version: Option<Version>) -> String {
    version.map_or_else(
        || "this CPython".into(),
        |version| format!("CPython {version}"),
    )
}

/// The names of the processors that Linux distributions run on, by their numbers in ELF files.
fn machine_name(machine: u16) -> Cow<'static, str> {
    match machine {
        3 => "x86".into(),
        20 | 21 => "PowerPC".into(),
        22 => "s390x".into(),
        40 => "Arm".into(),
        62 => "x86-64".into(),
        183 => "big-endian aarch64".into(),
        243 => "RISC-V".into(),
        258 => "LoongArch".into(),
        _ => format!("another processor (ELF machine {machine})").into(),
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::X86_64 => formatter.write_str("x86-64"),
            Self::Aarch64 => formatter.write_str("aarch64"),
            Self::Other(machine) => formatter.write_str(&machine_name(*machine)),
        }
    }
}
