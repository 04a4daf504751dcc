//! Measuring how long calls take.
//!
//! Each thread has a stack of the calls that run. An entry puts one on it; an exit takes off the one
//! that it belongs to, whose time is the difference:
//!
//! ```text
//! elapsed   now - entered
//! own       elapsed - what its callees took
//! ```
//!
//! Which one an exit belongs to is told by its identity: the frame, where the evaluation function
//! returns to, or at a marker the addresses of the names. In nearly every case it is the innermost
//! one. What was put on the stack above it has ended unseen, and is not timed; an exit that belongs to
//! none is that of a call from before pytop began.
//!
//! As for counting, the usual way is one without a search: a thread has a place for its stack by its
//! number, and a function one for its record by its names. Who finds his place taken goes to a hash
//! table.

use core::cell::Cell;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::programs::ProbeContext;
use pytop_common::count::{FrameKey, Loss};
use pytop_common::durations::{Activation, Named, Untimed};
use pytop_common::trace::{Condition, FrameSpec};

use crate::argument::{self, Registers};
use crate::code;
use crate::counting::{self, Subject};
use crate::finished::keep;
use crate::maps::{ACTIVE, FRAMES};
use crate::marker::Marked;
use crate::names::Located;
use crate::quick::{self, site};
use crate::running::{
    MOST, activation, add_untimed, calls_within, doubt, ends, forget_same, forget_unseen,
    is_doubtful, is_running, new_stack_of, stack_of, unwind,
};

/// What an entry tells of calls that have ended unseen.
#[derive(Clone, Copy)]
enum Caller {
    /// Nothing: several calls that run may have the same identity.
    Counted,
    /// That with the same identity has, if it is the innermost one.
    Any,
    /// All have that are not called from the frame's caller. It has the pointer to that one here, in
    /// bytes from its begin. It is looked at where an exception may have left calls.
    At {
        previous: u16,
        /// Whether exceptions are not told at all, so that each call is [`Activation::doubtful`].
        always: bool,
    },
}

/// An entry at a marker.
#[inline(always)]
pub fn entry(context: &ProbeContext) -> Result<(), Loss> {
    let thread = bpf_get_current_pid_tgid();
    let marked = Marked::of(context)?;
    let key = marked.key(pid(thread));
    let identity = identity(marked.filename, marked.function);
    let site = argument::site(context);
    count(thread, &key, marked, site, identity, Caller::Counted)
}

/// [`entry`] at one form of the marker. `false` when it is left to that.
#[inline(always)]
pub fn quick_entry(context: &ProbeContext) -> bool {
    let thread = bpf_get_current_pid_tgid();
    quick::at_marker(context, pid(thread)).is_some_and(|key| {
        quick_enter(
            thread,
            &key,
            Some(identity(key.first, key.second)),
            Caller::Counted,
        )
    })
}

/// What a marker's entry and exit have in common.
#[inline(always)]
fn identity(filename: u64, function: u64) -> u64 {
    filename.rotate_left(32) ^ function
}

/// An exit at a marker.
#[inline(always)]
pub fn marked_exit(context: &ProbeContext) -> Result<(), Loss> {
    let now = now();
    let marked = Marked::of(context)?;
    leave_marked(now, marked.filename, marked.function);
    Ok(())
}

/// [`marked_exit`] at one form of the marker.
#[inline(always)]
pub fn quick_marked_exit(context: &ProbeContext) {
    let now = now();
    let registers = Registers::of(context);
    if let (Some(filename), Some(function)) =
        (registers.get(site!(first)), registers.get(site!(second)))
    {
        leave_marked(now, filename, function);
    }
}

#[inline(always)]
fn leave_marked(now: u64, filename: u64, function: u64) {
    // Otherwise it is a frame of the interpreter's own, which 3.15 tells leaving (see `trace`).
    if filename != function {
        leave(now, identity(filename, function), false);
    }
}

/// An entry at the frame evaluation function, CPython 3.6 to 3.10.
#[inline(always)]
pub fn evaluation(context: &ProbeContext) -> Result<(), Loss> {
    let thread = bpf_get_current_pid_tgid();
    let site = argument::site(context);
    let entered = code::entered(context, site)?;
    let key = entered.key(pid(thread));
    let stack = Registers::of(context).find(&spec(context)?.stack);
    let stack = stack.ok_or(Loss::Implausible)?;
    count(thread, &key, entered, site, stack, Caller::Any)
}

/// [`evaluation`] with one register and one layout of frames. `false` when it is left to that.
#[inline(always)]
pub fn quick_evaluation(context: &ProbeContext) -> bool {
    let thread = bpf_get_current_pid_tgid();
    quick::at_evaluation(context, pid(thread))
        .is_some_and(|key| quick_enter(thread, &key, quick_identity(context), Caller::Any))
}

/// An exit of the frame evaluation function.
#[inline(always)]
pub fn evaluated(context: &ProbeContext) -> Result<(), Loss> {
    let now = now();
    let spec = spec(context)?;
    let registers = Registers::of(context);
    if holds(spec.condition, &registers) {
        let stack = registers.find(&spec.stack).ok_or(Loss::Implausible)?;
        leave(now, stack, true);
    }
    Ok(())
}

/// An exit of a frame, by one register: that of the frame evaluation function, or by a bytecode.
#[inline(always)]
pub fn quick_exit(context: &ProbeContext) {
    let now = now();
    if holds(site!(condition), &Registers::of(context))
        && let Some(identity) = quick_identity(context)
    {
        leave(now, identity, true);
    }
}

#[inline(always)]
fn holds(condition: u8, registers: &Registers) -> bool {
    condition == Condition::Always as u8
        || (condition == Condition::Set as u8) == registers.zero_flag()
}

#[inline(always)]
fn quick_identity(context: &ProbeContext) -> Option<u64> {
    let value = Registers::of(context).get(site!(identity))?;
    Some(value.wrapping_add(i64::from(site!(identity_plus)) as u64))
}

/// An entry at the handler of a RESUME bytecode, CPython 3.11 and later.
#[inline(always)]
pub fn resume(context: &ProbeContext) -> Result<(), Loss> {
    let thread = bpf_get_current_pid_tgid();
    let site = argument::site(context);
    let Some(resumed) = code::resumed(context, site)? else {
        return Ok(());
    };
    let key = resumed.key(pid(thread));
    let frame = resumed.address()?;
    let caller = FRAMES.get(site).map_or(Caller::Any, |spec| {
        caller(spec.offsets.previous, spec.doubtful)
    });
    count(thread, &key, resumed, site, frame, caller)
}

/// [`resume`] with one register and one meaning of the flags. `false` when it is left to that.
#[inline(always)]
pub fn quick_resume(context: &ProbeContext) -> bool {
    let thread = bpf_get_current_pid_tgid();
    quick::at_resume(context, pid(thread)).is_some_and(|key| {
        let caller = caller(site!(previous), site!(doubtful));
        quick_enter(thread, &key, quick_identity(context), caller)
    })
}

/// What the description of a site tells of exceptions.
#[inline(always)]
fn caller(previous: u16, doubtful: u8) -> Caller {
    if previous == 0 {
        return Caller::Any;
    }
    Caller::At {
        previous,
        always: doubtful != 0,
    }
}

/// An exit at the handler of a bytecode that leaves a frame, CPython 3.11 and later.
#[inline(always)]
pub fn bytecode_exit(context: &ProbeContext) -> Result<(), Loss> {
    let now = now();
    let frame = Registers::of(context).find(&spec(context)?.frame);
    leave(now, frame.ok_or(Loss::Implausible)?, true);
    Ok(())
}

/// An entry by an exception, of which the marker tells the exit alone: 3.15.
#[inline(always)]
pub fn throw(context: &ProbeContext) -> Result<(), Loss> {
    let throws = Registers::of(context).find(&spec(context)?.throws);
    if throws.ok_or(Loss::Implausible)? as u32 != 0 {
        push(
            bpf_get_current_pid_tgid(),
            0,
            &Named::default(),
            Caller::Counted,
        );
    }
    Ok(())
}

/// The innermost frame has an exception: 3.11, where those that are left by one are not seen leaving.
///
/// It is noted at the innermost call on the stack. Where that is one that was left already, so that the
/// exception has come to one further out, that one takes the note over, see [`forget_unseen`].
#[inline(always)]
pub fn raised() {
    if let Some(stack) = stack_of(bpf_get_current_pid_tgid()) {
        doubt(stack);
    }
}

/// A generator was made, of which the marker tells the entry alone: 3.15.
#[inline(always)]
pub fn created() {
    let Some(stack) = stack_of(bpf_get_current_pid_tgid()) else {
        return;
    };
    if stack.beyond > 0 {
        stack.beyond -= 1;
    } else if stack.depth > 0 {
        add_untimed(Untimed::Made, 1);
        stack.depth = stack.depth.wrapping_sub(1);
        if let Some(top) = activation(stack, stack.depth) {
            let text = top.text;
            ends(stack, text);
        }
    }
}

#[inline(always)]
fn spec(context: &ProbeContext) -> Result<&FrameSpec, Loss> {
    FRAMES.get(argument::site(context)).ok_or(Loss::UnknownSite)
}

#[inline(always)]
fn pid(thread: u64) -> u32 {
    (thread >> 32) as u32
}

#[inline(always)]
fn now() -> u64 {
    // SAFETY: the helper only reads the clock.
    unsafe { bpf_ktime_get_ns() }
}

/// Counts an entry of a function that has a slot, and puts it on the stack. `false` when it has none.
#[inline(always)]
fn quick_enter(thread: u64, key: &FrameKey, identity: Option<u64>, caller: Caller) -> bool {
    let (Some(identity), Some(slots)) = (identity, ACTIVE.get(0)) else {
        return false;
    };
    let Some(slot) = counting::count_in_slot(slots, key) else {
        return false;
    };
    push(thread, identity, &counting::called(slot), caller);
    true
}

/// What is counted, with the names that it has of its own, not by its key.
struct Renamed<S> {
    subject: S,
    named: Cell<Named>,
}

impl<S: Subject> Subject for Renamed<S> {
    #[inline(always)]
    fn locate(&self) -> Result<Option<Located>, Loss> {
        self.subject.locate()
    }

    #[inline(always)]
    fn verify(&self) -> Result<(), Loss> {
        self.subject.verify()
    }

    #[inline(always)]
    fn is_called(&self, text: u64, line: i32) {
        self.named.set(Named {
            text,
            line,
            reserved: 0,
        });
    }
}

/// Counts an entry, and puts it on the stack, even if it could not be counted.
#[inline(always)]
fn count<S: Subject>(
    thread: u64,
    key: &FrameKey,
    subject: S,
    site: u32,
    identity: u64,
    caller: Caller,
) -> Result<(), Loss> {
    let subject = Renamed {
        subject,
        named: Cell::new(Named::default()),
    };
    // Another interval may begin before the name is looked up, and know nothing of it.
    let slots = ACTIVE.get(0).ok_or(Loss::TableFull)?;
    let counted = counting::count_in(slots, key, &subject, site);
    let mut named = subject.named.get();
    if named.text == 0 {
        match counting::names_of(slots, key) {
            Some(of_key) => named = of_key,
            // Not an entry after all.
            None if counted.is_ok() => return Ok(()),
            None => {}
        }
    }
    if named.text == 0 {
        add_untimed(Untimed::Unnamed, 1);
    }
    push(thread, identity, &named, caller);
    counted
}

#[inline(always)]
fn push(thread: u64, identity: u64, named: &Named, caller: Caller) {
    let Some(stack) = new_stack_of(thread) else {
        add_untimed(Untimed::Threads, 1);
        return;
    };
    match caller {
        Caller::Counted => {}
        Caller::Any => forget_same(stack, identity),
        Caller::At { previous, .. } if is_doubtful(stack) => {
            let pointer = identity.wrapping_add(u64::from(previous));
            if let Ok(caller) = code::read::<u64>(pointer) {
                forget_unseen(stack, identity, caller);
            }
        }
        Caller::At { .. } => forget_same(stack, identity),
    }
    let depth = stack.depth;
    if depth >= MOST {
        stack.beyond = stack.beyond.saturating_add(1);
        add_untimed(Untimed::Deep, 1);
        return;
    }
    let mut nested = 0;
    if let Some(running) = stack.running.get_mut((named.text & 0xff) as usize) {
        let others = *running;
        *running = others.wrapping_add(1);
        if others != 0 {
            nested = is_running(stack, named.text, named.line, depth) as u16;
        }
    }
    stack.depth = depth + 1;
    if let Some(new) = activation(stack, depth) {
        *new = Activation {
            text: named.text,
            identity,
            entered: now(),
            callees: 0,
            line: named.line,
            nested,
            doubtful: matches!(caller, Caller::At { always: true, .. }).into(),
        };
    }
}

/// Takes the call with this identity off the stack, and keeps its duration. An identity that is not
/// unique may be that of several calls that run.
#[inline(always)]
fn leave(now: u64, identity: u64, is_unique: bool) {
    let thread = bpf_get_current_pid_tgid();
    let Some(stack) = stack_of(thread) else {
        return;
    };
    let mut depth = stack.depth.wrapping_sub(1);
    if depth >= MOST {
        return;
    }
    let top = activation(stack, depth).map_or(0, |top| top.identity);
    // One of those on the stack has outlived all beyond it.
    if stack.beyond > 0
        && (!is_unique || (top != identity && calls_within(stack, identity) > u64::from(MOST)))
    {
        stack.beyond -= 1;
        return;
    }
    if top != identity && top != 0 {
        depth = unwind(stack, identity);
        if depth >= MOST {
            return;
        }
    }
    stack.beyond = 0;
    stack.depth = depth;
    let Some(&mut ended) = activation(stack, depth) else {
        return;
    };
    ends(stack, ended.text);
    let elapsed = now.saturating_sub(ended.entered);
    if depth > 0
        && let Some(caller) = activation(stack, depth - 1)
    {
        caller.callees = caller.callees.wrapping_add(elapsed);
    }
    if ended.text != 0 {
        keep(pid(thread), &ended, elapsed);
    }
}
