//! Counting a hit.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid, bpf_probe_read_user};
use aya_ebpf::programs::ProbeContext;
use pytop_common::count::{FrameCount, FrameKey, Loss, ProcessName};

use crate::maps::{self, ACTIVE, Counts, PROCESSES, SITES};
use crate::{argument, names};

/// Counts a hit of a `function__entry` marker.
#[inline(always)]
pub fn count_marker(context: &ProbeContext) -> Result<(), Loss> {
    let site = argument::site(context);
    let spec = SITES.get(site).ok_or(Loss::UnknownSite)?;
    let filename = argument::fetch(context, &spec.filename).ok_or(Loss::UnreadableName)?;
    let function = argument::fetch(context, &spec.function).ok_or(Loss::UnreadableName)?;
    let line = argument::fetch(context, &spec.line).ok_or(Loss::UnreadableName)?;
    let mut key = FrameKey {
        filename,
        function,
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        line: line as i32,
        generation: 0,
    };
    let counts = ACTIVE.get(0).ok_or(Loss::TableFull)?;

    // SAFETY: entries of the active table are never deleted, and user space leaves it alone.
    if let Some(count) = counts.get_ptr_mut(&key).and_then(|count| unsafe { count.as_mut() }) {
        if count.text != 0 && is_current(&key, count) {
            maps::add(&raw mut count.calls, 1);
            return Ok(());
        }
        if count.text != 0 {
            // Another string now lies at these addresses.
            key.generation = names::identify(&key).ok_or(Loss::UnreadableName)?.text;
        }
    }
    count_new(counts, &key, site)
}

/// Counts a hit of a function that has no names in this interval yet.
#[inline(never)]
fn count_new(counts: &Counts, key: &FrameKey, site: u32) -> Result<(), Loss> {
    if counts.get_ptr(key).is_none() {
        // Fails when the table is full, or when another CPU was quicker; the next line tells which.
        let _ = counts.insert(key, FrameCount::default(), u64::from(BPF_NOEXIST));
        remember_process(key.pid, site);
    }
    // SAFETY: as above.
    let count = counts
        .get_ptr_mut(key)
        .and_then(|count| unsafe { count.as_mut() })
        .ok_or(Loss::TableFull)?;
    maps::add(&raw mut count.calls, 1);
    if count.text == 0
        && let Some(names) = names::identify(key)
        && names::keep(key, &names)
    {
        count.site = site as u16;
        count.tails = names.tails;
        count.tail_offsets = names.tail_offsets;
        count.tail_shifts = names.tail_shifts;
        // Last, because it says that the rest is there.
        count.text = names.text;
    }
    Ok(())
}

/// Whether the strings at the key's addresses still end as they did when they were read.
///
/// A code object that was freed may have left its addresses to another one. A string of another
/// length has its NUL elsewhere; one of the same length is told by its last seven bytes.
#[inline(always)]
fn is_current(key: &FrameKey, count: &FrameCount) -> bool {
    let filename = key.filename.wrapping_add(u64::from(count.tail_offsets[0]));
    let function = key.function.wrapping_add(u64::from(count.tail_offsets[1]));
    // SAFETY: the helper checks the address and reports a fault as an error.
    let (Ok(filename), Ok(function)) = (unsafe {
        (
            bpf_probe_read_user(filename as *const u64),
            bpf_probe_read_user(function as *const u64),
        )
    }) else {
        return false;
    };
    (filename << (count.tail_shifts[0] & 63)) == count.tails[0]
        && (function << (count.tail_shifts[1] & 63)) == count.tails[1]
}

/// Notes the process, so that one that ends before user space has seen it still has a name.
#[inline(always)]
fn remember_process(pid: u32, site: u32) {
    let comm = bpf_get_current_comm().unwrap_or_default();
    // A full table costs the name of a process that has already ended, never a count.
    let _ = PROCESSES.insert(&pid, &ProcessName { comm, site, reserved: 0 }, 0);
}
