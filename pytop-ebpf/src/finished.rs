//! Durations of calls that have ended: a function has a record by its names, found without a search.
//! Who finds his place taken goes to a hash table.

use aya_ebpf::bindings::BPF_NOEXIST;
use pytop_common::durations::{
    Activation, BUCKETS, RECORDS, Record, Spilled, SpilledKey, Untimed, bucket, record,
};

use crate::counting;
use crate::maps::{self, ACTIVE, FINISHED, SPILLED_EVEN, SPILLED_ODD};
use crate::running::add_untimed;

/// Keeps a duration.
#[inline(always)]
pub fn keep(pid: u32, ended: &Activation, elapsed: u64) {
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
        if let Some(calls) = record
            .buckets
            .get_mut(maps::unproven(u64::from(number)) as usize)
        {
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
