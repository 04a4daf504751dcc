//! Loading the eBPF programs.
//!
//! aya makes the maps, but loads a uprobe's program for perf events only. A `uprobe_multi` link
//! takes a program that was loaded for it, so the programs are taken from the same object a
//! second time, tied to the maps that aya has made, and loaded here: when they are first needed,
//! because the kernel looks at each for some ten milliseconds.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use aya::features;
use aya::maps::{Map, MapData};
use aya_obj::{Function, Object};

use super::kernel::{LoadError, failed};
use super::syscall::{self, ProgramLoad};

/// A program to run at a probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Program {
    /// Counts entries at a `function__entry` marker.
    FunctionEntry,
    /// Counts entries at the frame evaluation function.
    Evaluation,
    /// Counts entries at the handler of a RESUME bytecode.
    Resume,
    /// Tells an entry at a `function__entry` marker.
    TraceEntry,
    /// Tells an exit at a `function__return` marker.
    TraceReturn,
    /// Tells an entry at the frame evaluation function.
    TraceEvaluation,
    /// Tells an exit at the frame evaluation function.
    TraceEvaluated,
    /// Tells an entry at the handler of a RESUME bytecode.
    TraceResume,
    /// Tells an exit at the handler of a bytecode that leaves a frame.
    TraceLeave,
    /// Tells an entry by an exception at the frame evaluation function.
    TraceThrow,
    /// Tells that a generator was made.
    TraceCreated,
    /// Notes that code made by a just-in-time compiler runs.
    Compiled,
    /// Does nothing: for measuring what the probe itself costs.
    Empty,
}

impl Program {
    fn name(self) -> &'static str {
        match self {
            Self::FunctionEntry => "function_entry",
            Self::Evaluation => "evaluation",
            Self::Resume => "resume",
            Self::TraceEntry => "trace_entry",
            Self::TraceReturn => "trace_return",
            Self::TraceEvaluation => "trace_evaluation",
            Self::TraceEvaluated => "trace_evaluated",
            Self::TraceResume => "trace_resume",
            Self::TraceLeave => "trace_leave",
            Self::TraceThrow => "trace_throw",
            Self::TraceCreated => "trace_created",
            Self::Compiled => "compiled",
            Self::Empty => "empty",
        }
    }
}

/// The program that only kernels with lossless uprobes take.
const SLEEPABLE: &str = "sleepable";

/// What a program is loaded for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A uprobe that is a perf event.
    Event,
    /// A link for many uprobes at once (`BPF_TRACE_UPROBE_MULTI`).
    Multi,
}

/// The programs of an object.
pub(super) struct Programs {
    object: Object,
    types: Option<OwnedFd>,
    purpose: Purpose,
    loaded: HashMap<Program, OwnedFd>,
}

/// Why a program was not loaded.
#[derive(Debug)]
pub(super) enum ProgramError {
    /// The object is not what it should be. It never should be.
    Object(String),
    /// The kernel refused; with what its verifier says, if anything.
    Refused { source: io::Error, log: String },
}

impl Programs {
    /// Takes the programs from an object and ties them to its maps.
    pub(super) fn new<'m>(
        bytes: &[u8],
        maps: impl Iterator<Item = (&'m str, &'m Map)>,
        purpose: Purpose,
    ) -> Result<Self, LoadError> {
        let mut object = Object::parse(bytes).map_err(failed)?;
        let mut types = None;
        if let Some(features) = features().btf()
            && let Some(all) = object.fixup_and_sanitize_btf(features).map_err(failed)?
        {
            // The verifier wants them to look at each function once; without, it only takes longer.
            types = syscall::load_types(&all.to_bytes()).ok();
        }
        let descriptors: HashMap<&str, RawFd> = maps
            .filter_map(|(name, map)| Some((name, data(map)?.fd().as_fd().as_raw_fd())))
            .collect();
        let sections = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let definitions = std::mem::take(&mut object.maps);
        let tied = definitions
            .iter()
            .filter_map(|(name, map)| Some((name.as_str(), *descriptors.get(name.as_str())?, map)));
        object.relocate_maps(tied, &sections).map_err(failed)?;
        object.relocate_calls(&sections).map_err(failed)?;
        object.sanitize_functions(features());
        Ok(Self {
            object,
            types,
            purpose,
            loaded: HashMap::new(),
        })
    }

    /// A program, loaded into the kernel.
    pub(super) fn get(&mut self, program: Program) -> Result<BorrowedFd<'_>, ProgramError> {
        if !self.loaded.contains_key(&program) {
            let loaded = self.load(program.name(), false)?;
            self.loaded.insert(program, loaded);
        }
        let loaded = self.loaded.get(&program).map(OwnedFd::as_fd);
        loaded.ok_or_else(|| ProgramError::Object("a program vanished".to_owned()))
    }

    /// Loads the program that only kernels with lossless uprobes take, and drops it.
    pub(super) fn try_sleepable(&self) -> Result<(), ProgramError> {
        self.load(SLEEPABLE, true).map(drop)
    }

    /// What the programs are loaded for.
    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Loads from now on for another purpose.
    pub(super) fn set_purpose(&mut self, purpose: Purpose) {
        if self.purpose != purpose {
            self.loaded.clear();
            self.purpose = purpose;
        }
    }

    fn load(&self, name: &str, sleepable: bool) -> Result<OwnedFd, ProgramError> {
        let function = self.function(name);
        let function =
            function.ok_or_else(|| ProgramError::Object(format!("it has no program {name}")))?;
        let functions = function.func_info.func_info_bytes();
        let lines = function.line_info.line_info_bytes();
        let name = CString::new(name).unwrap_or_default();
        let load = ProgramLoad {
            name: &name,
            instructions: &function.instructions,
            license: &self.object.license,
            types: self.types.as_ref().map(OwnedFd::as_fd),
            functions: (&functions, function.func_info_rec_size),
            lines: (&lines, function.line_info_rec_size),
            is_for_multi: self.purpose == Purpose::Multi,
            is_sleepable: sleepable,
        };
        // The log costs time, so it is asked for only when there is something to be read in it.
        syscall::load_program(&load, &mut []).map_err(|source| {
            let mut log = vec![0; 1 << 20];
            let _ = syscall::load_program(&load, &mut log);
            let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
            let log = String::from_utf8_lossy(log.get(..end).unwrap_or_default());
            ProgramError::Refused {
                source,
                log: log.trim().to_owned(),
            }
        })
    }

    fn function(&self, name: &str) -> Option<&Function> {
        let program = self.object.programs.get(name)?;
        self.object.functions.get(&program.function_key())
    }
}

/// The map itself, of the kinds that the object has.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}
