//! Loading the eBPF programs.
//!
//! aya makes the maps, but loads a uprobe's program for perf events only. A `uprobe_multi` link
//! takes a program that was loaded for it, so the programs are taken from the same object a
//! second time, tied to the maps that aya has made, and loaded here: when they are first needed,
//! because the kernel looks at each for some ten milliseconds.
//!
//! A quick program is loaded once for each kind of site, with the constants of the site in a map of
//! its own, which takes the kernel well below a millisecond.

use std::collections::HashMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd, RawFd};

use aya::features;
use aya::maps::{Map, MapData, MapError};
use aya_obj::generated::{BPF_F_RDONLY_PROG, BPF_PSEUDO_MAP_VALUE, bpf_insn, bpf_map_type};
use aya_obj::{Function, Object};
use pytop_common::quick::{Continuation, QuickSite};

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
    /// Counts entries at a `function__entry` marker, and begins to time them.
    TimedEntry,
    /// Ends that at a `function__return` marker.
    TimedReturn,
    /// Counts entries at the frame evaluation function, and begins to time them.
    TimedEvaluation,
    /// Ends that at the frame evaluation function.
    TimedEvaluated,
    /// Counts entries at the handler of a RESUME bytecode, and begins to time them.
    TimedResume,
    /// Ends that at the handler of a bytecode that leaves a frame.
    TimedLeave,
    /// Notes an entry by an exception, where durations are measured.
    TimedThrow,
    /// Notes that a generator was made, where durations are measured.
    TimedCreated,
    /// Notes that a frame has an exception, likewise.
    TimedRaised,
    /// Notes that code made by a just-in-time compiler runs.
    Compiled,
    /// Counts collections and imports at their markers.
    RuntimeEvent,
    /// Notes that a process starts to run Python code.
    Door,
    /// Counts passes of a milestone.
    Milestone,
    /// Does nothing: for measuring what the probe itself costs.
    Empty,
}

impl Program {
    /// Those that count, or see to it that counts are complete.
    pub const COUNTING: [Self; 5] = [
        Self::FunctionEntry,
        Self::Evaluation,
        Self::Resume,
        Self::Compiled,
        Self::RuntimeEvent,
    ];

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
            Self::TimedEntry => "timed_entry",
            Self::TimedReturn => "timed_return",
            Self::TimedEvaluation => "timed_evaluation",
            Self::TimedEvaluated => "timed_evaluated",
            Self::TimedResume => "timed_resume",
            Self::TimedLeave => "timed_leave",
            Self::TimedThrow => "timed_throw",
            Self::TimedCreated => "timed_created",
            Self::TimedRaised => "timed_raised",
            Self::Compiled => "compiled",
            Self::RuntimeEvent => "runtime_event",
            Self::Door => "door",
            Self::Milestone => "milestone",
            Self::Empty => "empty",
        }
    }
}

impl Program {
    /// Whether it runs at the entries of frames.
    pub(super) fn counts(self) -> bool {
        !matches!(
            self,
            Self::Door | Self::Compiled | Self::RuntimeEvent | Self::Milestone
        )
    }
}

/// A quick program, and how the one is found that takes over from it.
struct Quick {
    name: &'static str,
    /// `None` when it leaves nothing to others.
    continuation: Option<Continuation>,
}

impl Program {
    fn quick(self) -> Option<Quick> {
        match self {
            Self::FunctionEntry => Some(Quick {
                name: "quick_function_entry",
                continuation: Some(Continuation::FunctionEntry),
            }),
            Self::Resume => Some(Quick {
                name: "quick_resume",
                continuation: Some(Continuation::Resume),
            }),
            Self::Evaluation => Some(Quick {
                name: "quick_evaluation",
                continuation: Some(Continuation::Evaluation),
            }),
            Self::TimedEntry => Some(Quick {
                name: "quick_timed_entry",
                continuation: Some(Continuation::TimedEntry),
            }),
            Self::TimedResume => Some(Quick {
                name: "quick_timed_resume",
                continuation: Some(Continuation::TimedResume),
            }),
            Self::TimedEvaluation => Some(Quick {
                name: "quick_timed_evaluation",
                continuation: Some(Continuation::TimedEvaluation),
            }),
            Self::TimedReturn => Some(Quick {
                name: "quick_timed_return",
                continuation: None,
            }),
            Self::TimedEvaluated | Self::TimedLeave => Some(Quick {
                name: "quick_timed_exit",
                continuation: None,
            }),
            _ => None,
        }
    }
}

/// The map of the constants of a quick program.
const SITE: &str = ".rodata.site";
/// The table of the programs that take over from quick ones.
const CONTINUATIONS: &str = "CONTINUATIONS";

/// The instruction that loads 64 bits: `BPF_LD | BPF_IMM | BPF_DW`
/// (`bpf_common.h` and `bpf.h` of include/uapi/linux).
const LOAD_WIDE: u8 = 0x18;

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
    quick: HashMap<(Program, QuickSite), Option<OwnedFd>>,
    /// What stands for the constants of a quick program in the object's instructions.
    site: RawFd,
    continuations: OwnedFd,
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
        let maps: Vec<_> = maps.collect();
        let mut object = Object::parse(bytes).map_err(failed)?;
        let mut types = None;
        if let Some(features) = features().btf()
            && let Some(all) = object.fixup_and_sanitize_btf(features).map_err(failed)?
        {
            // The verifier wants them to look at each function once; without, it only takes longer.
            types = syscall::load_types(&all.to_bytes()).ok();
        }
        let descriptors: HashMap<&str, RawFd> = maps
            .iter()
            .filter_map(|(name, map)| Some((*name, data(map)?.fd().as_fd().as_raw_fd())))
            .collect();
        let sections = object
            .functions
            .keys()
            .map(|(section, _)| *section)
            .collect();
        let missing = |name| failed(format!("the object has no map {name}"));
        let site = *descriptors.get(SITE).ok_or_else(|| missing(SITE))?;
        let continuations = maps.iter().find(|(name, _)| *name == CONTINUATIONS);
        let continuations = continuations.and_then(|(_, map)| data(map));
        let continuations = continuations.ok_or_else(|| missing(CONTINUATIONS))?;
        let continuations = continuations.fd().as_fd().try_clone_to_owned();
        let continuations = continuations.map_err(failed)?;
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
            quick: HashMap::new(),
            site,
            continuations,
        })
    }

    /// A program, loaded into the kernel.
    pub(super) fn get(&mut self, program: Program) -> Result<BorrowedFd<'_>, ProgramError> {
        if !self.loaded.contains_key(&program) {
            let purpose = match program {
                // They are many, come and go, and are for one process.
                Program::Milestone => Purpose::Multi,
                _ => self.purpose,
            };
            let loaded = self.load(program.name(), purpose, false)?;
            self.loaded.insert(program, loaded);
        }
        borrow(self.loaded.get(&program))
    }

    /// A program for one kind of site: the quick one if there is any, and the kernel takes it.
    pub(super) fn get_for(
        &mut self,
        program: Program,
        site: Option<QuickSite>,
    ) -> Result<BorrowedFd<'_>, ProgramError> {
        if let Some(site) = site
            && let Some(quick) = program.quick()
        {
            let key = (program, site);
            if !self.quick.contains_key(&key) {
                // What it does the other one does as well, only slower.
                let loaded = self.load_quick(program, &quick, site).ok();
                self.quick.insert(key, loaded);
            }
            if self.quick.get(&key).is_some_and(Option::is_some) {
                return borrow(self.quick.get(&key).and_then(Option::as_ref));
            }
        }
        self.get(program)
    }

    /// Loads a quick program with the constants of a site, and sees to it that it can go on.
    fn load_quick(
        &mut self,
        program: Program,
        quick: &Quick,
        site: QuickSite,
    ) -> Result<OwnedFd, ProgramError> {
        let refused = |source| ProgramError::Refused {
            source,
            log: String::new(),
        };
        if let Some(continuation) = quick.continuation {
            let takes_over = self.get(program)?.as_raw_fd();
            let (table, index) = (self.continuations.as_fd(), continuation as u32);
            syscall::set_element(table, index, &takes_over).map_err(refused)?;
        }
        let constants = constants().map_err(|error| ProgramError::Object(error.to_string()))?;
        let constants = constants.fd().as_fd();
        syscall::set_element(constants, 0, &site).map_err(refused)?;
        syscall::freeze(constants).map_err(refused)?;
        let mut instructions = self.function(quick.name)?.instructions.clone();
        replace_map(&mut instructions, self.site, constants.as_raw_fd());
        self.load_instructions(quick.name, &instructions, self.purpose, false)
    }

    /// Loads the program that only kernels with lossless uprobes take, and drops it.
    pub(super) fn try_sleepable(&self) -> Result<(), ProgramError> {
        self.load(SLEEPABLE, self.purpose, true).map(drop)
    }

    /// Whether the kernel knows the types that the object describes itself with.
    pub(super) fn has_types(&self) -> bool {
        self.types.is_some()
    }

    /// What the programs are loaded for.
    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    /// Loads from now on for another purpose.
    pub(super) fn set_purpose(&mut self, purpose: Purpose) {
        if self.purpose != purpose {
            self.loaded.clear();
            self.quick.clear();
            self.purpose = purpose;
        }
    }

    fn load(&self, name: &str, purpose: Purpose, sleepable: bool) -> Result<OwnedFd, ProgramError> {
        let instructions = &self.function(name)?.instructions;
        self.load_instructions(name, instructions, purpose, sleepable)
    }

    fn load_instructions(
        &self,
        name: &str,
        instructions: &[bpf_insn],
        purpose: Purpose,
        sleepable: bool,
    ) -> Result<OwnedFd, ProgramError> {
        let function = self.function(name)?;
        let functions = function.func_info.func_info_bytes();
        let lines = function.line_info.line_info_bytes();
        let name = CString::new(name).unwrap_or_default();
        let load = ProgramLoad {
            name: &name,
            instructions,
            license: &self.object.license,
            types: self.types.as_ref().map(OwnedFd::as_fd),
            functions: (&functions, function.func_info_rec_size),
            lines: (&lines, function.line_info_rec_size),
            is_for_multi: purpose == Purpose::Multi,
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

    fn function(&self, name: &str) -> Result<&Function, ProgramError> {
        let program = self.object.programs.get(name);
        let function =
            program.and_then(|program| self.object.functions.get(&program.function_key()));
        function.ok_or_else(|| ProgramError::Object(format!("it has no program {name}")))
    }
}

fn borrow(program: Option<&OwnedFd>) -> Result<BorrowedFd<'_>, ProgramError> {
    let program = program.map(OwnedFd::as_fd);
    program.ok_or_else(|| ProgramError::Object("a program vanished".to_owned()))
}

/// A map for the constants of a quick program, which that one can only read.
fn constants() -> Result<MapData, MapError> {
    let size = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let definition = aya_obj::Map::new_from_params(
        bpf_map_type::BPF_MAP_TYPE_ARRAY as u32,
        size(size_of::<u32>()),
        size(size_of::<QuickSite>()),
        1,
        BPF_F_RDONLY_PROG,
    );
    MapData::create(definition, "pytop_site", None)
}

/// Makes instructions take the address of one map's memory instead of another's.
fn replace_map(instructions: &mut [bpf_insn], old: RawFd, new: RawFd) {
    for instruction in instructions {
        let is_address = instruction.code == LOAD_WIDE
            && u32::from(instruction.src_reg()) == BPF_PSEUDO_MAP_VALUE;
        if is_address && instruction.imm == old {
            instruction.imm = new;
        }
    }
}

/// The map itself, of the kinds that the object has.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::ArrayOfMaps(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::ProgramArray(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}
