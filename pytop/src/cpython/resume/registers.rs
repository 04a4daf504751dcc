//! Where the evaluation loop keeps its variables: the frame, the next instruction, and the state of
//! the thread.
//!
//! The compiler has chosen a register or a place on the stack for each of them, the same for all
//! handlers, because any handler may follow any other. Every handler begins with
//!
//! ```text
//! frame->instr_ptr = next_instr++;        3.13 and later
//! frame->prev_instr = next_instr++;       3.11, 3.12
//! ```
//!
//! a store of one register at a known distance from another. The handlers vote on which two. What
//! the RESUME family compares then shows the thread, and confirms the frame:
//!
//! ```text
//! frame->f_executable->_co_instrumentation_version    with
//! tstate->interp->monitoring_version                  3.12
//! tstate->eval_breaker & ~_PY_EVAL_EVENTS_MASK        3.13 and later
//! ```

use std::collections::HashMap;

use crate::cpython::NotCountable;
use crate::cpython::block::{Block, Path};
use crate::cpython::layout::{FRAME_TO_INSTRUCTION, Layout, Repeats};

/// Where the variables are at the start of every handler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Registers {
    pub(super) frame: Path,
    pub(super) next_instruction: Path,
    /// Not seen in 3.11, which has no need of it.
    pub(super) thread: Option<Path>,
}

/// Fewer votes than this elect nobody. GCC gives some 200 of them, Clang 32, because it keeps the
/// address of the field itself on the stack.
const MIN_VOTES: usize = 24;

const UNCLEAR: NotCountable = NotCountable::BadOpcodeTable(
    "leads to handlers whose registers pytop cannot tell apart, as in builds with the experimental \
     JIT compiler",
);

/// Finds the variables. `family` are the handlers of the RESUME family, `nop` that of NOP, `all`
/// those of all bytecodes.
pub(super) fn tell(
    family: &[&Block],
    nop: &Block,
    all: &[&Block],
    layout: &Layout,
) -> Result<Registers, NotCountable> {
    let mut votes: HashMap<(Path, Path), usize> = HashMap::new();
    for block in all {
        if let Some(pair) = frame_and_instruction(block) {
            *votes.entry(pair).or_default() += 1;
        }
    }
    let total: usize = votes.values().sum();
    let elected = votes.into_iter().max_by_key(|(_, count)| *count);
    let Some(((frame, next_instruction), count)) = elected else {
        return Err(UNCLEAR);
    };
    if count < MIN_VOTES || count * 10 < total * 9 {
        return Err(UNCLEAR);
    }
    // NOP does nothing but fetch the code unit of two bytes behind its own.
    let fetches = next_instruction
        .load(2)
        .and_then(Path::address)
        .is_some_and(|next| {
            nop.reads
                .iter()
                .any(|(address, size)| *address == next && *size <= 2)
        });
    if !fetches {
        return Err(UNCLEAR);
    }
    let mut thread = None;
    let mut sees_code = false;
    for block in family {
        match frame_and_instruction(block) {
            Some(pair) if pair == (frame, next_instruction) => {}
            _ => return Err(UNCLEAR),
        }
        let code = frame.load(i64::try_from(layout.frame_to_code).unwrap_or(i64::MAX));
        let code_pointer = code.and_then(Path::address);
        sees_code |= block
            .reads
            .iter()
            .any(|(address, size)| Some(*address) == code_pointer && *size == 8);
        let Some(compared) = versions_compared(block.decided_by(), frame, layout) else {
            continue;
        };
        let found = thread_of(compared, layout);
        if found.is_none() || (thread.is_some() && thread != found) {
            return Err(UNCLEAR);
        }
        thread = found;
    }
    let wants_thread = layout.thread.is_some_and(|thread| thread.repeats.is_some());
    if !sees_code || (wants_thread && thread.is_none()) {
        return Err(UNCLEAR);
    }
    Ok(Registers {
        frame,
        next_instruction,
        thread,
    })
}

/// Whether every handler is a function of its own that calls the next one last
/// (`--with-tail-call-interp`, 3.14 and later): functions begin at multiples of 16, and Clang's
/// convention for them (`preserve_none`) has the frame as the first argument in r12, the stack in
/// r13, the thread in r14 and the next instruction in r15.
pub(super) fn are_arguments(registers: &Registers, handlers: &[u64]) -> bool {
    registers.frame == Path::start(12)
        && registers.thread == Some(Path::start(14))
        && registers.next_instruction == Path::start(15)
        && handlers.iter().all(|handler| handler.is_multiple_of(16))
}

/// What a handler stores as the current instruction of what frame.
fn frame_and_instruction(block: &Block) -> Option<(Path, Path)> {
    block.stores.iter().find_map(|store| {
        let instruction = store.value.filter(|value| value.is_register())?;
        let field = store.address.load(0)?;
        let frame = field.container(FRAME_TO_INSTRUCTION)?;
        (frame.is_register() && frame != instruction).then_some((frame, instruction))
    })
}

/// The other side of a comparison with the instrumentation version of the frame's code.
pub(super) fn versions_compared(
    compared: Option<(Path, Path)>,
    frame: Path,
    layout: &Layout,
) -> Option<Path> {
    let (first, second) = compared?;
    let offset = |offset: u64| i64::try_from(offset).ok();
    let code = frame.load(offset(layout.frame_to_code)?)?;
    let version = code.load(offset(layout.code.instrumentation_version?)?)?;
    if first == version {
        Some(second)
    } else if second == version {
        Some(first)
    } else {
        None
    }
}

/// The state of the thread, given where the version was read that the code's was compared with.
pub(super) fn thread_of(compared: Path, layout: &Layout) -> Option<Path> {
    let cleared = compared.cleared();
    let thread = match layout.thread?.repeats? {
        Repeats::Interpreter {
            interpreter,
            version,
        } => (cleared == 0)
            .then_some(compared)?
            .container(version)?
            .container(interpreter)?,
        Repeats::Thread {
            eval_breaker,
            event_bits,
            ..
        } => (cleared == 0 || cleared == event_bits)
            .then_some(compared)?
            .container(eval_breaker)?,
    };
    (thread.is_register() || thread.is_stack_slot()).then_some(thread)
}
