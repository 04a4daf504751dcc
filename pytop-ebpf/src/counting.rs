//! Counting an entry of a function that is known by a key.
//!
//! Whatever the probe, there are three paths, each as dear as all before it together:
//!
//! ```text
//! a function that has lasted          its slot, by the key alone; one atomic addition
//! a function that may be new          its place in the table, and a check of its names
//! its first entry in the interval     its names are found, and kept if nobody has kept them yet
//! ```

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_get_current_comm;
use pytop_common::count::{
    BY_NAME, CHECK_INTERVAL, CLOSED, FrameCount, FrameKey, KnownFrame, LASTING_CALLS,
    LASTING_INTERVALS, Loss, ProcessName, SLOTS, Slot, Trust, careful_at,
};
use pytop_common::durations::Named;

use crate::maps::{self, ACTIVE, CAREFUL, Counts, KNOWN, PROCESSES, Slots, TABLES};
use crate::names::{self, Located};

/// What was entered, seen from the probe.
pub trait Subject {
    /// Finds where the names are. `None` when this is no entry after all.
    fn locate(&self) -> Result<Option<Located>, Loss>;

    /// Makes sure that it is what the probe takes it for. Asked once, before the names are kept.
    fn verify(&self) -> Result<(), Loss> {
        Ok(())
    }

    /// Is told the names under which it is counted, when they are not those of its key.
    #[inline(always)]
    fn is_called(&self, _text: u64, _line: i32) {}
}

/// Counts an entry.
#[inline(always)]
pub fn count<S: Subject>(key: &FrameKey, subject: &S, site: u32) -> Result<(), Loss> {
    count_in(ACTIVE.get(0).ok_or(Loss::TableFull)?, key, subject, site)
}

/// Counts an entry in the interval of these slots.
#[inline(always)]
pub fn count_in<S: Subject>(
    slots: &Slots,
    key: &FrameKey,
    subject: &S,
    site: u32,
) -> Result<(), Loss> {
    if count_in_slot(slots, key).is_some() {
        return Ok(());
    }
    count_with_care(slots, key, subject, site)
}

/// Counts an entry of a function that has a slot, and returns that. `None` when it has none, or is to
/// be looked at.
#[inline(always)]
pub fn count_in_slot<'a>(slots: &'a Slots, key: &FrameKey) -> Option<&'a Slot> {
    let slot = slot_of(slots, key).filter(|slot| slot.calls % CHECK_INTERVAL != 0)?;
    maps::add(&raw mut slot.calls, 1);
    Some(slot)
}

/// What the function of a slot is called.
#[inline(always)]
pub fn called(slot: &Slot) -> Named {
    Named {
        text: slot.names.text,
        line: slot.line,
        reserved: 0,
    }
}

/// The slot of a function that has one.
#[inline(always)]
fn slot_of<'a>(slots: &'a Slots, key: &FrameKey) -> Option<&'a mut Slot> {
    slot_mut(slots, key.slot()).filter(|slot| {
        slot.first == key.first && slot.second == key.second && slot.owner == key.owner()
    })
}

/// Counts an entry of a function that has no slot, or whose slot is to be looked at: at its first
/// entry in the interval, and at one of [`CHECK_INTERVAL`].
#[inline(never)]
fn count_with_care<S: Subject>(
    slots: &Slots,
    key: &FrameKey,
    subject: &S,
    site: u32,
) -> Result<(), Loss> {
    let index = slot_mut(slots, SLOTS as u32).ok_or(Loss::TableFull)?.calls;
    let counts = TABLES.get(index as u32).ok_or(Loss::TableFull)?;
    if let Some(slot) = slot_of(slots, key) {
        let Some(located) = subject.locate()? else {
            return Ok(());
        };
        if located.line == slot.line && names::are_current(&located, &slot.names) {
            maps::add(&raw mut slot.calls, 1);
            return Ok(());
        }
        close(counts, key, &located, slot);
    }
    count_in_table(slots, counts, key, subject, site)
}

/// Closes a slot at whose addresses there are other names now, or none that can be read. In the first
/// case the table gets an entry by which [`replace`] goes on.
#[inline(never)]
fn close(counts: &Counts, key: &FrameKey, located: &Located, slot: &mut Slot) {
    let _ = KNOWN.remove(key);
    if names::identify(located).is_ok() {
        let of_slot = FrameCount {
            names: slot.names,
            line: slot.line,
            site: slot.site,
            trust: Trust::Replaced as u32,
            ..FrameCount::default()
        };
        // Fails when the function was given its slot in this interval, and so has an entry.
        let _ = counts.insert(key, &of_slot, u64::from(BPF_NOEXIST));
    }
    slot.second = CLOSED;
}

#[inline(always)]
fn count_in_table<S: Subject>(
    slots: &Slots,
    counts: &Counts,
    key: &FrameKey,
    subject: &S,
    site: u32,
) -> Result<(), Loss> {
    if let Some(careful) = CAREFUL.get_ptr_mut(careful_at(key.pid)) {
        maps::add(careful, 1);
    }
    let Some(count) = count_mut(counts, key).filter(|count| count.names.text != 0) else {
        let Some(located) = subject.locate()? else {
            return Ok(());
        };
        subject.verify()?;
        return count_new(slots, counts, key, &located, site);
    };
    let trusted = count.trust == Trust::Lasting as u32 && count.slot == 0;
    if trusted && count.calls % CHECK_INTERVAL != 0 {
        maps::add(&raw mut count.calls, 1);
        return Ok(());
    }
    let Some(located) = subject.locate()? else {
        return Ok(());
    };
    if located.line == count.line && names::are_current(&located, &count.names) {
        record(slots, key, count);
        return Ok(());
    }
    replace(slots, key, count);
    subject.verify()?;
    let names = names::identify(&located).map_err(|_| Loss::UnreadableName)?;
    subject.is_called(names.text, located.line);
    let by_name = FrameKey {
        first: names.text,
        second: BY_NAME,
        pid: key.pid,
        line: located.line,
    };
    count_new(slots, counts, &by_name, &located, site)
}

/// Counts an entry of a function whose names are those of its place in the table.
#[inline(always)]
fn record(slots: &Slots, key: &FrameKey, count: &mut FrameCount) {
    maps::add(&raw mut count.calls, 1);
    if count.trust == Trust::New as u32 && count.calls >= LASTING_CALLS {
        trust(slots, key, count);
    }
}

/// Takes a function to last, and gives it its slot if that is free.
#[inline(always)]
fn trust(slots: &Slots, key: &FrameKey, count: &mut FrameCount) {
    count.trust = Trust::Lasting as u32;
    let number = key.slot();
    if key.second == BY_NAME {
        return;
    }
    if let Some(slot) = slot_mut(slots, number)
        && maps::claim(&raw mut slot.first, key.first)
    {
        slot.owner = key.owner();
        slot.names = count.names;
        slot.line = count.line;
        slot.site = count.site;
        slot.second = key.second;
        count.slot = number + 1;
    }
}

/// Which of the two halves of all intervals the current one is of, 0 or 1: the index of its table.
#[inline(always)]
pub fn half(slots: &Slots) -> u32 {
    slot_mut(slots, SLOTS as u32).map_or(0, |header| header.calls as u32 & 1)
}

/// Trusts a function no more: from here on each of its entries is looked at, and what it was in the
/// intervals before counts for nothing. Code that is made, run and freed again and again comes to
/// lie at the same address, and might be the same one whenever an interval begins.
#[inline(always)]
fn replace(slots: &Slots, key: &FrameKey, count: &mut FrameCount) {
    if count.trust == Trust::Replaced as u32 {
        return;
    }
    count.trust = Trust::Replaced as u32;
    let _ = KNOWN.remove(key);
    if let Some(number) = count.slot.checked_sub(1)
        && let Some(slot) = slot_mut(slots, number)
    {
        slot.second = CLOSED;
    }
}

/// Counts an entry of a function that has no names in this interval yet.
#[inline(never)]
fn count_new(
    slots: &Slots,
    counts: &Counts,
    key: &FrameKey,
    located: &Located,
    site: u32,
) -> Result<(), Loss> {
    if counts.get_ptr(key).is_none() {
        let new = FrameCount {
            line: located.line,
            site,
            ..FrameCount::default()
        };
        // Fails when the table is full, or when another CPU was quicker; what follows tells which.
        let _ = counts.insert(key, &new, u64::from(BPF_NOEXIST));
        remember_process(key.pid, site);
    }
    let count = count_mut(counts, key).ok_or(Loss::TableFull)?;
    maps::add(&raw mut count.calls, 1);
    if count.names.text == 0 {
        name(slots, key, located, count);
    }
    Ok(())
}

/// Finds the names of a function, and leaves it without when they cannot be read: user space then
/// knows how many calls had no name, and which address to look at.
#[inline(never)]
fn name(slots: &Slots, key: &FrameKey, located: &Located, count: &mut FrameCount) {
    // SAFETY: at worst the entry is reused for another function meanwhile, whose names then are
    // not those that were located.
    if let Some(known) = KNOWN
        .get_ptr_mut(key)
        .and_then(|known| unsafe { known.as_mut() })
        && known.line == located.line
        && names::are_current(located, &known.names)
        && names::are_kept(&known.names)
    {
        known.intervals += 1;
        count.names = known.names;
        if known.intervals >= LASTING_INTERVALS {
            trust(slots, key, count);
        }
        return;
    }
    match names::identify(located) {
        Ok(names) => {
            if names::keep(located, &names) {
                count.names = names;
                let known = KnownFrame {
                    names,
                    line: located.line,
                    intervals: 1,
                };
                let _ = KNOWN.insert(key, &known, 0);
            }
        }
        Err(address) => count.names.quick = address,
    }
}

/// Notes the process, so that one that ends before user space has seen it still has a name.
#[inline(always)]
pub fn remember_process(pid: u32, site: u32) {
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

/// What a function that was counted under this key, in the interval of these slots, is called; `None`
/// when none was. The key of names is 0 when they are not known.
#[inline(never)]
pub fn names_of(slots: &Slots, key: &FrameKey) -> Option<Named> {
    if let Some(slot) = slot_of(slots, key) {
        return Some(called(slot));
    }
    let counts = TABLES.get(half(slots))?;
    let count = count_mut(counts, key)?;
    Some(Named {
        text: count.names.text,
        line: count.line,
        reserved: 0,
    })
}

#[inline(always)]
fn slot_mut<'a>(slots: &'a Slots, number: u32) -> Option<&'a mut Slot> {
    // SAFETY: slots are never deleted, and user space leaves the active ones alone. Other CPUs write
    // to them too: see `Slot`.
    slots
        .get_ptr_mut(number)
        .and_then(|slot| unsafe { slot.as_mut() })
}

#[inline(always)]
fn count_mut<'a>(counts: &'a Counts, key: &FrameKey) -> Option<&'a mut FrameCount> {
    // SAFETY: entries of the active table are never deleted, and user space leaves it alone.
    counts
        .get_ptr_mut(key)
        .and_then(|count| unsafe { count.as_mut() })
}
