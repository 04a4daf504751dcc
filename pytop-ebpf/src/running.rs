//! The calls of each thread that run, where durations are measured: its stack.
//!
//! What ends unseen stays on the stack until something else tells that it has: an exit of a call
//! further out, or an entry of a frame that another one has called. It is counted, and not timed.

use aya_ebpf::bindings::BPF_NOEXIST;
use pytop_common::durations::{ACTIVATIONS, Activation, STACKS, Stack, Untimed};

use crate::maps::{self, EMPTY_STACK, MORE_RUNNING, RUNNING, UNTIMED};

/// Calls that a stack takes: one less than it has places, see [`ACTIVATIONS`].
pub const MOST: u32 = ACTIVATIONS as u32 - 1;
const MASK: u32 = ACTIVATIONS as u32 - 1;

/// Notes that the innermost call may be left unseen.
#[inline(always)]
pub fn doubt(stack: &mut Stack) {
    let depth = stack.depth;
    if depth > 0
        && let Some(top) = activation(stack, depth - 1)
    {
        top.doubtful = 1;
    }
}

/// Whether the innermost call may have been left by an exception.
#[inline(always)]
pub fn is_doubtful(stack: &mut Stack) -> bool {
    let depth = stack.depth;
    stack.beyond > 0
        || (depth > 0 && activation(stack, depth - 1).is_some_and(|top| top.doubtful != 0))
}

/// One call less of a function.
#[inline(always)]
pub fn ends(stack: &mut Stack, text: u64) {
    if let Some(running) = stack.running.get_mut((text & 0xff) as usize) {
        *running = running.wrapping_sub(1);
    }
}

#[inline(always)]
pub fn activation(stack: &mut Stack, depth: u32) -> Option<&mut Activation> {
    let place = maps::unproven(u64::from(depth)) & u64::from(MASK);
    stack.activations.get_mut(place as usize)
}

/// Takes the innermost call off the stack if it is the one that is entered: a generator that was not
/// seen yielding, which it is not under a tracing function.
#[inline(always)]
pub fn forget_same(stack: &mut Stack, identity: u64) {
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
pub fn forget_unseen(stack: &mut Stack, frame: u64, caller: u64) {
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
pub fn unwind(stack: &mut Stack, identity: u64) -> u32 {
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
pub extern "C" fn calls_within(stack: *const Stack, identity: u64) -> u64 {
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
pub extern "C" fn is_running(stack: *const Stack, text: u64, line: i32, depth: u32) -> u64 {
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
pub fn stack_of<'a>(thread: u64) -> Option<&'a mut Stack> {
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
pub fn new_stack_of<'a>(thread: u64) -> Option<&'a mut Stack> {
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

/// Counts calls that are not timed.
#[inline(always)]
pub fn add_untimed(reason: Untimed, calls: u64) {
    if let Some(counter) = UNTIMED.get_ptr_mut(reason as u32) {
        maps::add(counter, calls);
    }
}
