//! pytop's eBPF programs, one for each way to count the entries of frames.
//!
//! What a hit costs is what the traced program pays, and reading that program's memory is the
//! dearest part: each read costs as much as all the rest together. So the programs make a key of
//! what registers hold, and read memory only where the key is new: see `counting`.
#![no_std]
#![no_main]
#![allow(
    internal_features,
    reason = "the BPF target has no atomics in core::sync::atomic"
)]
#![feature(asm_experimental_arch, core_intrinsics)]

mod argument;
mod code;
mod counting;
mod door;
mod durations;
mod finished;
mod maps;
mod marker;
mod names;
mod quick;
mod running;
mod runtime;
mod trace;

use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;
use pytop_common::count::{Loss, METER_SITE, Problem};
use pytop_common::quick::Continuation;
use pytop_common::trace::Kind;

/// Counts an entry of a frame at a `function__entry` marker.
#[uprobe]
fn function_entry(context: ProbeContext) -> u32 {
    let pid = pid();
    finish(&context, pid, marker::count(&context, pid))
}

/// Counts an entry of a frame at the frame evaluation function, CPython 3.6 to 3.10.
#[uprobe]
fn evaluation(context: ProbeContext) -> u32 {
    let pid = pid();
    finish(&context, pid, code::count_evaluation(&context, pid))
}

/// Counts an entry of a frame at the handler of a RESUME bytecode, CPython 3.11 and later.
#[uprobe]
fn resume(context: ProbeContext) -> u32 {
    let pid = pid();
    finish(&context, pid, code::count_resume(&context, pid))
}

/// [`function_entry`], made for one form of the marker's arguments.
#[uprobe]
fn quick_function_entry(context: ProbeContext) -> u32 {
    if quick::count_marker(&context, pid()) {
        return 0;
    }
    go_on(&context, Continuation::FunctionEntry)
}

/// [`resume`], made for one register and one meaning of the processor's flags.
#[uprobe]
fn quick_resume(context: ProbeContext) -> u32 {
    if quick::count_resume(&context, pid()) {
        return 0;
    }
    go_on(&context, Continuation::Resume)
}

/// [`evaluation`], made for one register and one layout of frames.
#[uprobe]
fn quick_evaluation(context: ProbeContext) -> u32 {
    if quick::count_evaluation(&context, pid()) {
        return 0;
    }
    go_on(&context, Continuation::Evaluation)
}

/// Leaves the hit to a program that can deal with all of them.
#[inline(always)]
fn go_on(context: &ProbeContext, continuation: Continuation) -> u32 {
    // SAFETY: nothing here has to be dropped.
    unsafe { maps::CONTINUATIONS.tail_call(context, continuation as u32) };
    maps::add_loss(Loss::UnknownSite);
    0
}

/// [`function_entry`] where durations are measured.
#[uprobe]
fn timed_entry(context: ProbeContext) -> u32 {
    finish(&context, pid(), durations::entry(&context))
}

/// [`evaluation`] where durations are measured.
#[uprobe]
fn timed_evaluation(context: ProbeContext) -> u32 {
    finish(&context, pid(), durations::evaluation(&context))
}

/// [`resume`] where durations are measured.
#[uprobe]
fn timed_resume(context: ProbeContext) -> u32 {
    finish(&context, pid(), durations::resume(&context))
}

/// [`timed_entry`], made for one form of the marker's arguments.
#[uprobe]
fn quick_timed_entry(context: ProbeContext) -> u32 {
    if durations::quick_entry(&context) {
        return 0;
    }
    go_on(&context, Continuation::TimedEntry)
}

/// [`timed_evaluation`], made for one register and one layout of frames.
#[uprobe]
fn quick_timed_evaluation(context: ProbeContext) -> u32 {
    if durations::quick_evaluation(&context) {
        return 0;
    }
    go_on(&context, Continuation::TimedEvaluation)
}

/// [`timed_resume`], made for one register and one meaning of the processor's flags.
#[uprobe]
fn quick_timed_resume(context: ProbeContext) -> u32 {
    if durations::quick_resume(&context) {
        return 0;
    }
    go_on(&context, Continuation::TimedResume)
}

/// Times a call that ends at a `function__return` marker.
#[uprobe]
fn timed_return(context: ProbeContext) -> u32 {
    finish(&context, pid(), durations::marked_exit(&context))
}

/// [`timed_return`], made for one form of the marker's arguments.
#[uprobe]
fn quick_timed_return(context: ProbeContext) -> u32 {
    durations::quick_marked_exit(&context);
    0
}

/// Times a call that ends where the frame evaluation function returns, CPython 3.6 to 3.10.
#[uprobe]
fn timed_evaluated(context: ProbeContext) -> u32 {
    finish(&context, pid(), durations::evaluated(&context))
}

/// Times a call that ends at the handler of a bytecode, CPython 3.11 and later.
#[uprobe]
fn timed_leave(context: ProbeContext) -> u32 {
    finish(&context, pid(), durations::bytecode_exit(&context))
}

/// [`timed_evaluated`] and [`timed_leave`], made for one register.
#[uprobe]
fn quick_timed_exit(context: ProbeContext) -> u32 {
    durations::quick_exit(&context);
    0
}

/// Notes an entry by an exception, where the marker tells the exit alone.
#[uprobe]
fn timed_throw(context: ProbeContext) -> u32 {
    finish(&context, pid(), durations::throw(&context))
}

/// Notes that a generator was made, where the marker has told that its frame was entered.
#[uprobe]
fn timed_created(_context: ProbeContext) -> u32 {
    durations::created();
    0
}

/// Notes that a frame has an exception, where those that it leaves are not seen leaving.
#[uprobe]
fn timed_raised(_context: ProbeContext) -> u32 {
    durations::raised();
    0
}

/// Tells an entry of a frame at a `function__entry` marker.
#[uprobe]
fn trace_entry(context: ProbeContext) -> u32 {
    finish_traced(&context, trace::marked(&context, Kind::Entry))
}

/// Tells an exit of a frame at a `function__return` marker.
#[uprobe]
fn trace_return(context: ProbeContext) -> u32 {
    finish_traced(&context, trace::marked(&context, Kind::Return))
}

/// Tells an entry of a frame at the frame evaluation function, CPython 3.6 to 3.10.
#[uprobe]
fn trace_evaluation(context: ProbeContext) -> u32 {
    finish_traced(&context, trace::evaluation(&context))
}

/// Tells an exit of a frame where the frame evaluation function returns, CPython 3.6 to 3.10.
#[uprobe]
fn trace_evaluated(context: ProbeContext) -> u32 {
    finish_traced(&context, trace::evaluated(&context))
}

/// Tells an entry of a frame at the handler of a RESUME bytecode, CPython 3.11 and later.
#[uprobe]
fn trace_resume(context: ProbeContext) -> u32 {
    finish_traced(&context, trace::resume(&context))
}

/// Tells an exit of a frame at the handler of a bytecode that leaves it, CPython 3.11 and later.
#[uprobe]
fn trace_leave(context: ProbeContext) -> u32 {
    finish_traced(&context, trace::leave(&context))
}

/// Tells an entry of a frame by an exception, CPython 3.11 and later.
#[uprobe]
fn trace_throw(context: ProbeContext) -> u32 {
    finish_traced(&context, trace::throw(&context))
}

/// Tells that a generator was made, where its marker has told that its frame was entered.
#[uprobe]
fn trace_created(context: ProbeContext) -> u32 {
    finish_traced(&context, trace::created(&context))
}

/// Notes that an interpreter collects garbage or has imported a module.
#[uprobe]
fn runtime_event(context: ProbeContext) -> u32 {
    if runtime::note(&context).is_none() {
        runtime::add_loss();
    }
    0
}

/// Notes that a process runs what a just-in-time compiler made, which enters frames uncounted.
#[uprobe]
fn compiled(_context: ProbeContext) -> u32 {
    maps::add_problem(pid(), Problem::Compiled);
    0
}

/// Notes that a process starts to run Python code.
#[uprobe]
fn door(context: ProbeContext) -> u32 {
    door::pass(&context, pid());
    0
}

/// Counts a pass of a milestone, by the thread that it is for.
#[uprobe]
fn milestone(context: ProbeContext) -> u32 {
    let Some(milestone) = maps::MILESTONES.get_ptr_mut(argument::site(&context)) else {
        return 0;
    };
    // SAFETY: user space writes it before the place is probed, and not any more.
    let thread = unsafe { (*milestone).thread };
    if thread == 0 || thread == bpf_get_current_pid_tgid() & u64::from(u32::MAX) {
        // SAFETY: an entry of an array stays where it is.
        maps::add(unsafe { &raw mut (*milestone).passes }, 1);
        // SAFETY: as above, and to read a clock needs nothing. Of several threads that pass it at once, any
        // may be the last.
        unsafe { (&raw mut (*milestone).last).write_volatile(bpf_ktime_get_ns()) };
    }
    0
}

/// The process, as user space numbers them.
#[inline(always)]
fn pid() -> u32 {
    (bpf_get_current_pid_tgid() >> 32) as u32
}

/// Counts a hit that could not be put into a row under its reason.
#[inline(always)]
fn finish(context: &ProbeContext, pid: u32, result: Result<(), Loss>) -> u32 {
    if let Err(loss) = result
        && argument::site(context) != METER_SITE
    {
        maps::add_loss(loss);
        if loss as u32 == Loss::Implausible as u32 {
            maps::add_problem(pid, Problem::Implausible);
        }
    }
    0
}

/// [`finish`], and the trace of the thread tells that something is missing.
#[inline(always)]
fn finish_traced(context: &ProbeContext, result: Result<(), Loss>) -> u32 {
    if result.is_err() {
        trace::lose();
    }
    finish(context, pid(), result)
}

/// Does nothing: what remains is the cost of the probe itself, the floor of any counter.
#[uprobe]
fn empty(_context: ProbeContext) -> u32 {
    0
}

/// Never attached. A kernel that loads it runs uprobe programs without passing over a hit, because
/// both came with the same change of Linux 6.0.
#[uprobe(sleepable)]
fn sleepable(_context: ProbeContext) -> u32 {
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
