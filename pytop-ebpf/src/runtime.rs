//! Counting collections and imports, which are rare, at the interpreter's own markers.
//!
//! They are counted by process, in the one of two tables that takes turns with those of calls, so
//! that an interval has the same ends for both.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_current_pid_tgid, bpf_ktime_get_ns};
use aya_ebpf::programs::ProbeContext;
use pytop_common::count::SLOTS;
use pytop_common::runtime::{RuntimeCount, RuntimeMarker};

use crate::argument::{self, Copied};
use crate::maps::{
    self, ACTIVE, COLLECTING, RUNTIME, RUNTIME_FIRST, RUNTIME_LOSSES, RUNTIME_SECOND,
};

/// Notes a hit of a marker. `None` when it could not be counted.
#[inline(always)]
pub fn note(context: &ProbeContext) -> Option<()> {
    let spec = RUNTIME.get(argument::site(context))?;
    let thread = bpf_get_current_pid_tgid();
    if spec.marker == RuntimeMarker::CollectionStart as u32 {
        return COLLECTING.insert(&thread, &now(), 0).ok();
    }
    if spec.marker == RuntimeMarker::CollectionDone as u32 {
        // One that had begun before its probes were in place has no length.
        // SAFETY: only this thread writes to its entry; at worst it is dropped for want of room and
        // the time is that of another collection which begins now.
        let Some(start) = (unsafe { COLLECTING.get(&thread) }).copied() else {
            return Some(());
        };
        let _ = COLLECTING.remove(&thread);
        let pause = now().saturating_sub(start);
        let count = count(thread)?;
        maps::add(&raw mut count.collections, 1);
        maps::add(&raw mut count.pause, pause);
        maps::raise(&raw mut count.longest, pause);
        return Some(());
    }
    if Copied::of(context).fetch(&spec.found)? != 0 {
        let count = count(thread)?;
        maps::add(&raw mut count.imports, 1);
    }
    Some(())
}

/// Counts a hit that could not be counted.
#[inline(always)]
pub fn add_loss() {
    if let Some(counter) = RUNTIME_LOSSES.get_ptr_mut(0) {
        maps::add(counter, 1);
    }
}

/// What the thread's process did in this interval. `None` when there is no room.
#[inline(always)]
fn count<'a>(thread: u64) -> Option<&'a mut RuntimeCount> {
    let pid = (thread >> 32) as u32;
    let slots = ACTIVE.get(0)?;
    let table = match slots.get_ptr(SLOTS as u32) {
        // SAFETY: user space writes it before the slots are in use, and not any more.
        Some(index) if unsafe { (*index).calls } == 0 => &RUNTIME_FIRST,
        Some(_) => &RUNTIME_SECOND,
        None => return None,
    };
    if table.get_ptr(&pid).is_none() {
        // Fails when the table is full, or when another CPU was quicker; what follows tells which.
        let new = RuntimeCount::default();
        let _ = table.insert(&pid, &new, u64::from(BPF_NOEXIST));
    }
    // SAFETY: entries of the table in use are never deleted. Other CPUs may write to them, too, so
    // that all is added by atomic operations.
    table
        .get_ptr_mut(&pid)
        .and_then(|count| unsafe { count.as_mut() })
}

/// The monotonic time, in nanoseconds.
#[inline(always)]
fn now() -> u64 {
    // SAFETY: it takes nothing, and can be called always.
    unsafe { bpf_ktime_get_ns() }
}
