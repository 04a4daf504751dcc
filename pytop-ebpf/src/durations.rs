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

use core::arch::asm;
use core::cell::Cell;

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::programs::ProbeContext;
use pytop_common::count::{FrameKey, Loss};
use pytop_common::durations::{
    ACTIVATIONS, Activation, BUCKETS, Named, RECORDS, Record, STACKS, Spilled, SpilledKey, Stack,
    Untimed, bucket, record,
};
use pytop_common::trace::{Condition, FrameSpec};

use crate::argument::{self, Registers};
use crate::code;
use crate::counting::{self, Subject};
use crate::maps::{
    self, ACTIVE, EMPTY_STACK, FINISHED, FRAMES, MORE_RUNNING, RUNNING, SPILLED_EVEN, SPILLED_ODD,
    UNTIMED,
};
use crate::marker::Marked;
use crate::names::Located;
use crate::quick::{self, site};

/// Calls that a stack takes: one less than it has places, see [`ACTIVATIONS`].
const MOST: u32 = ACTIVATIONS as u32 - 1;
const MASK: u32 = ACTIVATIONS as u32 - 1;

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

#[inline(always)]
fn doubt(stack: &mut Stack) {
    let depth = stack.depth;
    if depth > 0
        && let Some(top) = activation(stack, depth - 1)
    {
        top.doubtful = 1;
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

/// Whether the innermost call may have been left by an exception.
#[inline(always)]
fn is_doubtful(stack: &mut Stack) -> bool {
    let depth = stack.depth;
    stack.beyond > 0
        || (depth > 0 && activation(stack, depth - 1).is_some_and(|top| top.doubtful != 0))
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

/// One call less of a function.
#[inline(always)]
fn ends(stack: &mut Stack, text: u64) {
    if let Some(running) = stack.running.get_mut((text & 0xff) as usize) {
        *running = running.wrapping_sub(1);
    }
}

#[inline(always)]
fn activation(stack: &mut Stack, depth: u32) -> Option<&mut Activation> {
    let place = unproven(u64::from(depth)) & u64::from(MASK);
    stack.activations.get_mut(place as usize)
}

/// Takes the innermost call off the stack if it is the one that is entered: a generator that was not
/// seen yielding, which it is not under a tracing function.
#[inline(always)]
fn forget_same(stack: &mut Stack, identity: u64) {
    let depth = stack.depth;
    if depth == 0 || depth > MOST || stack.beyond > 0 {
        return;
    }
    let Some(&mut top) = activation(stack, depth - 1) else {
        return;
    };
    if top.identity == identity {
        stack.depth = depth - 1;
        ends(stack, top.text);
        add_untimed(Untimed::Unseen, 1);
    }
}

/// Takes everything off the stack that was left by an exception, now that a frame is entered, the
/// caller of which is this one. That may be left by the same exception as well.
#[inline(always)]
fn forget_unseen(stack: &mut Stack, frame: u64, caller: u64) {
    let depth = stack.depth;
    if depth == 0 || depth > MOST {
        return;
    }
    let top = activation(stack, depth - 1).map_or(0, |top| top.identity);
    if top == caller {
        stack.beyond = 0;
        return;
    }
    if caller == 0 {
        let _ = unwind(stack, 0);
        stack.depth = 0;
        stack.beyond = 0;
        return;
    }
    let found = unwind(stack, caller);
    if found < MOST {
        stack.depth = found + 1;
        stack.beyond = 0;
        doubt(stack);
        return;
    }
    // The caller is beyond the stack, or was entered before pytop began. Then those that it has called
    // lie one after the other at the same place.
    let found = unwind(stack, frame);
    if found < MOST {
        add_untimed(Untimed::Unseen, 1);
        if let Some(same) = activation(stack, found) {
            let text = same.text;
            ends(stack, text);
        }
        stack.depth = found;
        stack.beyond = 0;
    }
}

/// The place of the call with this identity, innermost first; [`MOST`] when there is none. Those
/// above it have ended unseen, and are counted as such. With the identity 0: all have.
#[inline(always)]
fn unwind(stack: &mut Stack, identity: u64) -> u32 {
    let passed = calls_within(stack, identity) as u32;
    if passed > MOST {
        return MOST;
    }
    let _ = discard(stack, passed);
    add_untimed(Untimed::Unseen, u64::from(passed));
    stack.depth.wrapping_sub(passed).wrapping_sub(1)
}

/// How many calls are above that with this identity; with the identity 0, how many there are. More
/// than [`MOST`] when there is no such call.
///
/// As the other functions with external linkage, it is looked at by the verifier once.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn calls_within(stack: *const Stack, identity: u64) -> u64 {
    const NONE: u64 = MOST as u64 + 1;
    // SAFETY: a reference is made into the pointer and nothing else.
    let Some(stack) = (unsafe { stack.as_ref() }) else {
        return NONE;
    };
    let depth = stack.depth;
    for passed in 0..MOST {
        if passed >= depth {
            return if identity == 0 {
                u64::from(passed)
            } else {
                NONE
            };
        }
        let at = depth.wrapping_sub(passed).wrapping_sub(1) & MASK;
        if let Some(call) = stack.activations.get(at as usize)
            && call.identity == identity
        {
            return u64::from(passed);
        }
    }
    NONE
}

/// Notes that the innermost calls, so many, run no more. Always 0.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn discard(stack: *mut Stack, calls: u32) -> u64 {
    // SAFETY: a reference is made into the pointer and nothing else.
    let Some(stack) = (unsafe { stack.as_mut() }) else {
        return 0;
    };
    let depth = stack.depth;
    for passed in 0..MOST {
        if passed >= calls {
            break;
        }
        let at = depth.wrapping_sub(passed).wrapping_sub(1) & MASK;
        let text = stack
            .activations
            .get(at as usize)
            .map_or(0, |call| call.text);
        ends(stack, text);
    }
    0
}

/// 1 when a call of this function runs, else 0.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn is_running(stack: *const Stack, text: u64, line: i32, depth: u32) -> u64 {
    // SAFETY: a reference is made into the pointer and nothing else.
    let Some(stack) = (unsafe { stack.as_ref() }) else {
        return 0;
    };
    for back in 1..=MOST {
        if back > depth {
            break;
        }
        let at = depth.wrapping_sub(back) & MASK;
        if let Some(other) = stack.activations.get(at as usize)
            && other.text == text
            && other.line == line
        {
            return 1;
        }
    }
    0
}

/// The stack of a thread, if it has one.
#[inline(always)]
fn stack_of<'a>(thread: u64) -> Option<&'a mut Stack> {
    // SAFETY: the entry is never deleted, and the thread alone uses it while it is its own.
    let stack = RUNNING
        .get_ptr_mut(thread as u32 & (STACKS as u32 - 1))
        .and_then(|stack| unsafe { stack.as_mut() })?;
    if stack.owner == thread {
        return Some(stack);
    }
    // SAFETY: user space deletes only the entries of threads that have ended.
    MORE_RUNNING
        .get_ptr_mut(&thread)
        .and_then(|stack| unsafe { stack.as_mut() })
}

/// The stack of a thread, which gets one if it has none.
#[inline(always)]
fn new_stack_of<'a>(thread: u64) -> Option<&'a mut Stack> {
    if let Some(stack) = stack_of(thread) {
        return Some(stack);
    }
    add_stack(thread);
    stack_of(thread)
}

#[inline(never)]
fn add_stack(thread: u64) {
    if let Some(stack) = RUNNING.get_ptr_mut(thread as u32 & (STACKS as u32 - 1))
        // SAFETY: the pointer comes from a map lookup.
        && maps::claim(unsafe { &raw mut (*stack).owner }, thread)
    {
        // SAFETY: it is this thread's from here on.
        if let Some(stack) = unsafe { stack.as_mut() } {
            stack.depth = 0;
            stack.beyond = 0;
            stack.running = [0; 256];
        }
        return;
    }
    if let Some(empty) = EMPTY_STACK.get(0) {
        // A full table is told by the one who looks for the stack.
        let _ = MORE_RUNNING.insert(&thread, empty, u64::from(BPF_NOEXIST));
    }
}

/// Keeps a duration.
#[inline(always)]
fn keep(pid: u32, ended: &Activation, elapsed: u64) {
    let Some(slots) = ACTIVE.get(0) else { return };
    let half = counting::half(slots);
    let owner = u64::from(pid) << 32 | u64::from(ended.line as u32);
    let number = bucket(elapsed);
    let place = half
        .wrapping_mul(RECORDS as u32)
        .wrapping_add(record(ended.text, owner));
    // SAFETY: entries are never deleted, and user space leaves those of the current half alone. Other
    // CPUs write to them too.
    if number < BUCKETS as u32
        && let Some(record) = FINISHED
            .get_ptr_mut(place)
            .and_then(|record| unsafe { record.as_mut() })
        && (is_of(record, ended.text, owner) || take(record, ended.text, owner))
    {
        let sum = if ended.nested == 0 {
            &raw mut record.outermost
        } else {
            &raw mut record.nested
        };
        maps::add(sum, elapsed);
        if ended.callees != 0 {
            maps::add(&raw mut record.callees, ended.callees);
        }
        maps::raise(&raw mut record.longest, elapsed);
        if let Some(calls) = record.buckets.get_mut(unproven(u64::from(number)) as usize) {
            maps::add_half(calls, 1);
        }
        return;
    }
    let key = SpilledKey {
        text: ended.text,
        owner,
        bucket: number,
        reserved: 0,
    };
    spill(half, &key, ended.nested, elapsed, ended.callees);
}

/// The same number, of which the compiler knows nothing: it would leave out a check that the verifier
/// has to see, and has made another one where that has lost sight of it.
#[inline(always)]
fn unproven(number: u64) -> u64 {
    let same;
    // SAFETY: a move.
    unsafe {
        asm!(
            "{same} = {number}",
            same = lateout(reg) same,
            number = in(reg) number,
            options(pure, nomem, nostack),
        );
    }
    same
}

#[inline(always)]
fn is_of(record: &Record, text: u64, owner: u64) -> bool {
    record.text == text && record.owner == owner
}

/// Takes a record that nobody has.
#[inline(always)]
fn take(record: &mut Record, text: u64, owner: u64) -> bool {
    if record.text == 0 && maps::claim(&raw mut record.text, text) {
        record.owner = owner;
        return true;
    }
    false
}

/// Keeps a duration for which there is no record.
#[inline(never)]
fn spill(half: u32, key: &SpilledKey, nested: u16, elapsed: u64, callees: u64) {
    let find = || {
        if half == 0 {
            SPILLED_EVEN.get_ptr_mut(key)
        } else {
            SPILLED_ODD.get_ptr_mut(key)
        }
    };
    let mut found = find();
    if found.is_none() {
        let new = Spilled::default();
        // Fails when the table is full, or when another CPU was quicker; what follows tells which.
        let _ = if half == 0 {
            SPILLED_EVEN.insert(key, &new, u64::from(BPF_NOEXIST))
        } else {
            SPILLED_ODD.insert(key, &new, u64::from(BPF_NOEXIST))
        };
        found = find();
    }
    // SAFETY: entries of the current half are never deleted.
    let Some(spilled) = found.and_then(|spilled| unsafe { spilled.as_mut() }) else {
        add_untimed(Untimed::Full, 1);
        return;
    };
    let sum = if nested == 0 {
        &raw mut spilled.outermost
    } else {
        &raw mut spilled.nested
    };
    maps::add(sum, elapsed);
    maps::add(&raw mut spilled.callees, callees);
    maps::raise(&raw mut spilled.longest, elapsed);
    maps::add(&raw mut spilled.finished, 1);
}

/// Counts calls that are not timed.
#[inline(always)]
fn add_untimed(reason: Untimed, calls: u64) {
    if let Some(counter) = UNTIMED.get_ptr_mut(reason as u32) {
        maps::add(counter, calls);
    }
}
