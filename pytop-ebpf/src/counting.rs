//! Counting a hit.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::{bpf_get_current_comm, bpf_get_current_pid_tgid};
use aya_ebpf::programs::ProbeContext;
use pytop_common::count::{
    CHECK_INTERVAL, FrameCount, FrameKey, KnownFrame, LASTING_CALLS, LASTING_INTERVALS, Loss,
    ProcessName, Trust,
};

use crate::maps::{self, ACTIVE, Counts, KNOWN, PROCESSES, SITES};
use crate::{argument, names};

/// Counts a hit of a `function__entry` marker.
#[inline(always)]
pub fn count_marker(context: &ProbeContext) -> Result<(), Loss> {
    let site = argument::site(context);
    let spec = SITES.get(site).ok_or(Loss::UnknownSite)?;
    let registers = argument::Registers::copy(context);
    let filename = registers
        .fetch(&spec.filename)
        .ok_or(Loss::UnreadableName)?;
    let function = registers
        .fetch(&spec.function)
        .ok_or(Loss::UnreadableName)?;
    let line = registers.fetch(&spec.line).ok_or(Loss::UnreadableName)?;
    let mut key = FrameKey {
        filename,
        function,
        pid: (bpf_get_current_pid_tgid() >> 32) as u32,
        line: line as i32,
        generation: 0,
    };
    let counts = ACTIVE.get(0).ok_or(Loss::TableFull)?;

    // SAFETY: entries of the active table are never deleted, and user space leaves it alone.
    if let Some(count) = counts
        .get_ptr_mut(&key)
        .and_then(|count| unsafe { count.as_mut() })
        && count.names.text != 0
    {
        let trusted = count.trust == Trust::Lasting as u32 && count.calls % CHECK_INTERVAL != 0;
        if trusted || names::are_current(&key, &count.names) {
            maps::add(&raw mut count.calls, 1);
            if count.trust == Trust::New as u32 && count.calls >= LASTING_CALLS {
                count.trust = Trust::Lasting as u32;
            }
            return Ok(());
        }
        count.trust = Trust::Replaced as u32;
        key.generation = names::identify(&key)
            .ok_or(Loss::UnreadableName)?
            .check
            .text;
    }
    count_new(counts, &key, site)
}

/// Counts a hit of a function that has no names in this interval yet.
#[inline(never)]
fn count_new(counts: &Counts, key: &FrameKey, site: u32) -> Result<(), Loss> {
    if counts.get_ptr(key).is_none() {
        let new = FrameCount {
            site,
            ..FrameCount::default()
        };
        // Fails when the table is full, or when another CPU was quicker; what follows tells which.
        let _ = counts.insert(key, &new, u64::from(BPF_NOEXIST));
        remember_process(key.pid, site);
    }
    // SAFETY: as above.
    let count = counts
        .get_ptr_mut(key)
        .and_then(|count| unsafe { count.as_mut() })
        .ok_or(Loss::TableFull)?;
    maps::add(&raw mut count.calls, 1);
    if count.names.text == 0 {
        name(key, count);
    }
    Ok(())
}

/// Finds the names of a function, and leaves it without when they cannot be read: user space then
/// knows how many calls had no name.
#[inline(never)]
fn name(key: &FrameKey, count: &mut FrameCount) {
    // SAFETY: at worst the entry is reused for another function meanwhile, whose names then do not
    // lie at this key's addresses.
    if let Some(known) = KNOWN
        .get_ptr_mut(key)
        .and_then(|known| unsafe { known.as_mut() })
        && names::are_current(key, &known.names)
        && names::are_kept(&known.names)
    {
        known.intervals += 1;
        count.names = known.names;
        if known.intervals >= LASTING_INTERVALS {
            count.trust = Trust::Lasting as u32;
        }
        return;
    }
    if let Some(found) = names::identify(key)
        && names::keep(key, &found)
    {
        count.names = found.check;
        let known = KnownFrame {
            names: found.check,
            intervals: 1,
        };
        let _ = KNOWN.insert(key, &known, 0);
    }
}

/// Notes the process, so that one that ends before user space has seen it still has a name.
#[inline(always)]
fn remember_process(pid: u32, site: u32) {
    let comm = bpf_get_current_comm().unwrap_or_default();
    // A full table costs the name of a process that has already ended, never a count.
    let _ = PROCESSES.insert(
        &pid,
        &ProcessName {
            comm,
            site,
            reserved: 0,
        },
        0,
    );
}
