//! Where the frames of an interpreter are left, and where they are entered by exceptions: what a
//! trace needs beside the places at which entries are counted.
//!
//! | method   | a frame is left at                                                              |
//! |----------|---------------------------------------------------------------------------------|
//! | `marker` | the `function__return` marker: by whatever way, once for each entry             |
//! | `eval`   | every return of the frame evaluation function: by whatever way, likewise        |
//! | `resume` | the function that takes a frame off the stack, and the handler of `YIELD_VALUE`; where there is no such function, the handlers of the bytecodes that return, and not by an exception |
//!
//! In 3.11 and later a suspended generator that is entered by `throw()` or `close()` runs no RESUME,
//! and passes no `function__entry`. It is always entered from C, though, by a call of the
//! evaluation function with a flag that says so. And in 3.15 the marker tells of an entry when a
//! generator is made, but of no exit: the handler of `RETURN_GENERATOR` stands for that.

use std::fs::File;
use std::path::Path as FilePath;

use pytop_common::code::{Location, Offsets};
use pytop_common::marker::MarkerSpec;
use pytop_common::trace::{Condition, FrameSpec, NO_CONTAINER};

use super::block::{Block, Path, RSP};
use super::code::Failure;
use super::elf::Elf;
use super::jumps::{self, code_at};
use super::layout::{self, CurrentFrame, Layout};
use super::resume::{Exit, Leaving};
use super::site::{self, MAX_BLOCK};
use super::source::{Fault, ReadAt, Source};
use super::specification::{location, offsets, small};
use super::symbols::{Dynamic, Symbol};
use super::version::Version;
use super::{
    Architecture, ExamineError, Interpreter, NotCountable, eval, marker, notes, resume, returns,
};

/// The arguments of a function, by their numbers in instructions.
const RDI: u8 = 7;
const RSI: u8 = 6;
const RDX: u8 = 2;
/// The version whose marker tells of generators that are made.
const MARKER_RETURNED: (u8, u8) = (3, 15);

/// A probe of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceProbe {
    /// Where the instruction is in the file: what the kernel wants for a uprobe.
    pub file_offset: u64,
    /// Where the semaphore of a marker is in the file.
    pub semaphore_file_offset: Option<u64>,
    /// What a hit says.
    pub says: Says,
}

/// What a hit of a probe of a trace says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Says {
    /// A `function__return` marker: a frame is left.
    MarkedReturn(MarkerSpec),
    /// The frame evaluation function of 3.6 to 3.10 begins.
    Evaluation(FrameSpec),
    /// It returns.
    Evaluated(FrameSpec),
    /// A bytecode leaves a frame.
    Leave(FrameSpec),
    /// A frame is taken off the stack by an exception, too.
    Unwind(FrameSpec),
    /// The frame evaluation function of 3.11 and later begins, perhaps with an exception.
    Throw(FrameSpec),
    /// A generator was made.
    Created,
    /// The innermost frame has an exception, which may leave it.
    Raised,
}

/// Which of an interpreter's entries a trace has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Entries {
    /// Those of its marker.
    Marker,
    /// Those of its bytecodes or of its evaluation function.
    Code,
    /// The same, and a call that returns is to cost as little as can be. Some exits are told twice
    /// then: by the bytecode, and where the frame is taken off the stack.
    QuickCode,
}

/// Finds the probes that a trace needs beside those with which entries are counted, in a file that
/// [`super::examine`] found to be `interpreter`. For the frame evaluation function of 3.6 to 3.10
/// they stand in place of those.
///
/// # Errors
/// The file cannot be read, or it is an ELF file that contradicts itself.
pub fn examine_exits(
    file: &File,
    path: &FilePath,
    interpreter: &Interpreter,
    entries: Entries,
) -> Result<Result<Vec<TraceProbe>, NotCountable>, ExamineError> {
    let error = |fault| ExamineError::new(path, fault);
    let metadata = file
        .metadata()
        .map_err(|source| error(Fault::Read(source)))?;
    match probes(file, metadata.len(), interpreter, entries) {
        Ok(probes) => Ok(Ok(probes)),
        Err(Failure::Reason(reason)) => Ok(Err(reason)),
        Err(Failure::Fault(fault)) => Err(error(fault)),
    }
}

pub(super) fn probes(
    file: &dyn ReadAt,
    length: u64,
    interpreter: &Interpreter,
    entries: Entries,
) -> Result<Vec<TraceProbe>, Failure> {
    let Some(elf) = Elf::open(Source::new(file, length)?)? else {
        return Err(Fault::damaged("the file", "is no interpreter any more").into());
    };
    let Some(version) = interpreter.version else {
        return Err(NotCountable::UnknownVersion.into());
    };
    let dynamic = Dynamic::read(&elf)?;
    match entries {
        Entries::Marker => marked(&elf, &dynamic, version),
        _ if version.minor() < (3, 11) => evaluated(&elf, &dynamic, version),
        Entries::Code => resumed(&elf, &dynamic, version),
        Entries::QuickCode => quickly_resumed(&elf, &dynamic, version),
    }
}

/// The exits that belong to the entries of a marker.
fn marked(elf: &Elf<'_>, dynamic: &Dynamic, version: Version) -> Result<Vec<TraceProbe>, Failure> {
    let notes = notes::read(elf, marker::is_return);
    if notes.found.is_empty() {
        return Err(NotCountable::NoExits("has no function__return marker").into());
    }
    let sites = marker::sites(elf, dynamic, Architecture::of(elf), &notes)?;
    let mut probes: Vec<_> = sites
        .iter()
        .map(|site| TraceProbe {
            file_offset: site.file_offset,
            semaphore_file_offset: site.semaphore_file_offset,
            says: Says::MarkedReturn(site.spec),
        })
        .collect();
    if version.minor() >= MARKER_RETURNED {
        let layout = layout::read(elf, dynamic, version)?;
        let leaving = resume::leaving(elf, dynamic, version)?;
        probes.push(unmarked(leaving.created, Says::Created));
        probes.push(thrown(elf, dynamic, &layout, true)?);
    }
    Ok(probes)
}

/// The entries and exits of the function that evaluates a frame, 3.6 to 3.10.
fn evaluated(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    version: Version,
) -> Result<Vec<TraceProbe>, Failure> {
    let symbol = eval::evaluator(elf, dynamic)?;
    let exits = returns::find(elf, &symbol)?;
    if exits.is_empty() {
        return Err(NotCountable::NoExits("does not tell where its evaluator returns").into());
    }
    // An instruction of its begin may be a jump to its end.
    let taken: Vec<u64> = exits.iter().map(|exit| exit.file_offset).collect();
    let site = eval::site(elf, dynamic, version, &taken)?;
    let spec = FrameSpec {
        offsets: offsets(&site.layout).ok_or(TOO_LARGE)?,
        ..FrameSpec::default()
    };
    let stack = stack_pointer(elf, &symbol, site.address)?;
    let mut probes = vec![unmarked(
        site.file_offset,
        Says::Evaluation(FrameSpec {
            frame: location(site.frame).ok_or(TOO_LARGE)?,
            stack,
            executing: if version.minor() == (3, 9) {
                EXECUTING
            } else {
                0
            },
            ..spec
        }),
    )];
    for exit in exits {
        let stack = Location {
            register: STACK_POINTER,
            plus: exit.plus.try_into().map_err(|_| TOO_LARGE)?,
            ..Location::NONE
        };
        let returned = FrameSpec {
            stack,
            condition: exit.condition as u8,
            ..spec
        };
        probes.push(unmarked(exit.file_offset, Says::Evaluated(returned)));
    }
    Ok(probes)
}

/// `f_executing` of `PyFrameObject` in 3.9 (Include/cpython/frameobject.h).
const EXECUTING: u16 = 0x74;
/// The word of `struct pt_regs` that holds the stack pointer.
const STACK_POINTER: u8 = 19;

/// Where the stack pointer of a function's begin is at one of its first instructions.
fn stack_pointer(elf: &Elf<'_>, symbol: &Symbol, address: u64) -> Result<Location, Failure> {
    let code = code_at(elf, symbol.address, MAX_BLOCK)?;
    Block::follow(&code, symbol.address)
        .and_then(|block| {
            let step = block
                .steps
                .iter()
                .find(|step| step.instruction.ip() == address)?;
            location(block.locate(step, Path::start(RSP))?)
        })
        .ok_or_else(|| NotCountable::BadEvaluator("moves its stack before the probe").into())
}

/// The exits that belong to the entries of the RESUME family, 3.11 and later.
fn resumed(elf: &Elf<'_>, dynamic: &Dynamic, version: Version) -> Result<Vec<TraceProbe>, Failure> {
    let leaving = resume::leaving(elf, dynamic, version)?;
    let layout = layout::read(elf, dynamic, version)?;
    let offsets = offsets(&layout).ok_or(TOO_LARGE)?;
    let mut probes = vec![at_handler(&leaving.yields, offsets)?];
    if let Some(place) = taken_off(elf, dynamic, version)? {
        let spec = of_frame(place.second, offsets);
        probes.push(unmarked(place.file_offset, Says::Leave(spec)));
    } else {
        for exit in &leaving.returns {
            probes.push(at_handler(exit, offsets)?);
        }
    }
    probes.push(thrown(elf, dynamic, &layout, false)?);
    Ok(probes)
}

/// An exit in the handler of a bytecode.
fn at_handler(exit: &Exit, offsets: Offsets) -> Result<TraceProbe, NotCountable> {
    let frame = location(exit.frame).ok_or(TOO_LARGE)?;
    let spec = of_frame(frame, offsets);
    Ok(unmarked(exit.file_offset, Says::Leave(spec)))
}

fn of_frame(frame: Location, offsets: Offsets) -> FrameSpec {
    FrameSpec {
        frame,
        offsets,
        ..FrameSpec::default()
    }
}

/// The same, where it costs least. That is at the bytecodes that return: the processor has foreseen where
/// a function that they call returns to, and a trap within it may make it forget that. Where nothing but
/// the call of that function can be probed, it is within it all the same, for all bytecodes: the kernel
/// would do the call with even more effort, and the processor would have foreseen as little.
fn quickly_resumed(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    version: Version,
) -> Result<Vec<TraceProbe>, Failure> {
    let leaving = resume::leaving(elf, dynamic, version)?;
    let layout = layout::read(elf, dynamic, version)?;
    let offsets = offsets(&layout).ok_or(TOO_LARGE)?;
    let mut probes = vec![at_handler(&leaving.yields, offsets)?];
    if leaving.returns.iter().any(|exit| exit.calls)
        && let Some(place) = taken_off(elf, dynamic, version)?
        && !place.pushes
    {
        let spec = of_frame(place.second, offsets);
        probes.push(unmarked(place.file_offset, Says::Unwind(spec)));
        return Ok(probes);
    }
    for exit in &leaving.returns {
        probes.push(at_handler(exit, offsets)?);
    }
    for (file_offset, frame) in unwound(elf, dynamic, version, &leaving)? {
        let spec = of_frame(frame, offsets);
        probes.push(unmarked(file_offset, Says::Unwind(spec)));
    }
    if let Some(again) = leaving.raised_again
        && let Some(file_offset) = raised(elf, dynamic)?
    {
        probes.push(unmarked(file_offset, Says::Raised));
        probes.push(unmarked(again, Says::Raised));
    }
    Ok(probes)
}

/// Where the evaluation function of 3.11 says that a frame has an exception: each one that it comes to,
/// whether it deals with it or not, but for one that raises it once more. `None` when the function that
/// it calls for that is a part of it, or is called through a table.
///
/// ```text
/// int PyTraceBack_Here(PyFrameObject *frame);
/// ```
fn raised(elf: &Elf<'_>, dynamic: &Dynamic) -> Result<Option<u64>, Failure> {
    let evaluator = eval::evaluator(elf, dynamic)?;
    let Some(symbol) = dynamic.find(elf, "PyTraceBack_Here")? else {
        return Ok(None);
    };
    let piece = symbol.address..symbol.address.saturating_add(1);
    let calls = jumps::search(elf, std::slice::from_ref(&piece), None)?;
    let calls = calls.map_or_else(Vec::new, |found| found.jumps);
    let own = evaluator.address..evaluator.address.saturating_add(evaluator.size);
    if !calls.iter().any(|call| own.contains(&call.from)) {
        return Ok(None);
    }
    Ok(begin(elf, &symbol)?.map(|begin| begin.file_offset))
}

/// Where else a frame is taken off the stack, and where the frame is then: at the calls of the
/// function that does so, or where it begins. None in 3.11, and where that function is not known.
fn unwound(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    version: Version,
    leaving: &Leaving,
) -> Result<Vec<(u64, Location)>, Failure> {
    let Some(symbol) = taker(elf, dynamic, version)? else {
        return Ok(Vec::new());
    };
    let piece = symbol.address..symbol.address.saturating_add(1);
    let calls = jumps::search(elf, std::slice::from_ref(&piece), None)?;
    let calls = calls.map_or_else(Vec::new, |found| found.jumps);
    let others = leaving.not_returning(calls.iter().map(|jump| jump.from).collect());
    let second = Location {
        register: SECOND_ARGUMENT,
        ..Location::NONE
    };
    let offset = |address| elf.file_offset(address, CALL, |segment| segment.executable);
    let places: Option<Vec<_>> = others
        .iter()
        .map(|call| Some((offset(*call)?, second)))
        .collect();
    match places {
        Some(places) if !places.is_empty() => Ok(places),
        _ => Ok(begin(elf, &symbol)?
            .map(|begin| (begin.file_offset, begin.second))
            .into_iter()
            .collect()),
    }
}

/// The word of `struct pt_regs` that holds the second argument of a function.
const SECOND_ARGUMENT: u8 = 13;
/// The least length of a direct call or jump, in bytes.
const CALL: u64 = 2;

/// The begin of the function that takes a frame off the stack when it has returned or was left by an
/// exception, 3.12 and later. 3.11 calls it only for frames that Python code has called.
///
/// ```text
/// void _PyEval_FrameClearAndPop(PyThreadState *tstate, _PyInterpreterFrame *frame);
/// ```
fn taken_off(elf: &Elf<'_>, dynamic: &Dynamic, version: Version) -> Result<Option<Begin>, Failure> {
    Ok(match taker(elf, dynamic, version)? {
        Some(symbol) => begin(elf, &symbol)?,
        None => None,
    })
}

fn taker(elf: &Elf<'_>, dynamic: &Dynamic, version: Version) -> Result<Option<Symbol>, Failure> {
    match version.minor() {
        (3, 11) => Ok(None),
        (3, 12) => eval::function(elf, dynamic, "_PyEvalFrameClearAndPop"),
        _ => eval::function(elf, dynamic, "_PyEval_FrameClearAndPop"),
    }
}

/// The begin of the function that evaluates a frame, 3.11 and later:
///
/// ```text
/// PyObject *_PyEval_EvalFrameDefault(PyThreadState *tstate, _PyInterpreterFrame *frame,
///                                    int throwflag);
/// ```
fn thrown(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    layout: &Layout,
    counted: bool,
) -> Result<TraceProbe, Failure> {
    let symbol = eval::evaluator(elf, dynamic)?;
    let begin = begin(elf, &symbol)?
        .ok_or_else(|| Failure::from(NotCountable::BadEvaluator("has no place for a probe")))?;
    let (current, contained) = match layout.thread.map(|thread| thread.current_frame) {
        Some(CurrentFrame::Field(field)) => (small(field), Some(NO_CONTAINER)),
        Some(CurrentFrame::Through { pointer, field }) => (small(pointer), small(field)),
        None => (None, None),
    };
    let spec = FrameSpec {
        frame: begin.second,
        thread: begin.first,
        throws: begin.third,
        stack: Location::NONE,
        offsets: offsets(layout).ok_or(TOO_LARGE)?,
        current: current.ok_or(TOO_LARGE)?,
        contained: contained.ok_or(TOO_LARGE)?,
        executing: 0,
        counted: counted.into(),
        condition: Condition::Always as u8,
        doubtful: 0,
        reserved: [0; 3],
    };
    Ok(unmarked(begin.file_offset, Says::Throw(spec)))
}

/// One of the first instructions of a function, and where its arguments are there.
struct Begin {
    file_offset: u64,
    pushes: bool,
    first: Location,
    second: Location,
    third: Location,
}

/// An instruction that every call of a function passes, once.
fn begin(elf: &Elf<'_>, symbol: &Symbol) -> Result<Option<Begin>, Failure> {
    let code = code_at(elf, symbol.address, MAX_BLOCK)?;
    let Some(block) = Block::follow(&code, symbol.address) else {
        return Ok(None);
    };
    let piece = symbol.address..block.end();
    let Some(references) = jumps::search(elf, std::slice::from_ref(&piece), None)? else {
        return Ok(None);
    };
    let jumps = references.jumps.iter().map(|jump| jump.to);
    let inner: Vec<u64> = jumps.filter(|to| *to != symbol.address).collect();
    let place = |step| {
        let at = |register| location(block.locate(step, Path::start(register))?);
        Some(Begin {
            file_offset: site::file_offset(elf, step)?,
            pushes: site::pushes(step),
            first: at(RDI)?,
            second: at(RSI)?,
            third: at(RDX)?,
        })
    };
    Ok(site::by_cost(&block, &code, symbol.address, &inner).find_map(place))
}

const TOO_LARGE: NotCountable =
    NotCountable::BadDebugOffsets("has offsets beyond those of any release");

fn unmarked(file_offset: u64, says: Says) -> TraceProbe {
    TraceProbe {
        file_offset,
        semaphore_file_offset: None,
        says,
    }
}
