//! The memory of the slots, shared with the kernel.
//!
//! The slots of an interval that has ended change no more, so each that is in use is read with plain
//! loads and stores: no system call, and no look at the others.

use std::io;
use std::mem;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use pytop_common::count::{CLOSED, SLOTS, Slot};

/// Slots, and behind them the entry that names the table that belongs to them.
pub(super) const ENTRIES: usize = SLOTS + 1;
/// Bits of a word.
const WORD: usize = u64::BITS as usize;
const BYTES: NonZeroUsize = NonZeroUsize::new(ENTRIES * size_of::<Slot>()).unwrap();

/// An array map of [`Slot`]s in memory.
#[derive(Debug)]
pub(super) struct SlotMemory {
    first: NonNull<Slot>,
    /// A bit for each slot that is in use, and one for each that has come into use in this interval.
    in_use: Box<[[u64; 2]]>,
}

// SAFETY: the memory belongs to this value alone, as far as this program is concerned.
unsafe impl Send for SlotMemory {}

impl SlotMemory {
    /// Maps an array of [`ENTRIES`] slots, made with `BPF_F_MMAPABLE`, and says which table belongs
    /// to them.
    pub(super) fn map(array: impl AsFd, table: u32) -> io::Result<Self> {
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: the kernel chooses the place, so nothing is mapped over.
        let memory = unsafe { mmap(None, BYTES, access, MapFlags::MAP_SHARED, array, 0) }?;
        let slots = Self {
            first: memory.cast(),
            in_use: vec![[0; 2]; SLOTS / WORD].into(),
        };
        let header = Slot {
            calls: u64::from(table),
            ..Slot::default()
        };
        // SAFETY: the last of the entries that were mapped, page-aligned memory of the right size.
        unsafe { slots.first.add(SLOTS).write_volatile(header) };
        Ok(slots)
    }

    /// Notes that the kernel side has given a slot to a function. A number that no slot has is passed
    /// over.
    pub(super) fn add(&mut self, number: u32) {
        if let Some([_, new]) = self.in_use.get_mut(number as usize / WORD) {
            *new |= 1 << (number as usize % WORD);
        }
    }

    /// Has a slot be free for another function that was entered so often without it, if its own was
    /// entered less.
    pub(super) fn yield_to(&mut self, number: u32, calls: u64) {
        if number as usize >= SLOTS {
            return;
        }
        // SAFETY: the number is below that of the mapped slots, which are aligned, and whose bit
        // patterns are all values.
        unsafe {
            let slot = self.first.add(number as usize);
            if (*slot.as_ptr()).calls < calls {
                (&raw mut (*slot.as_ptr()).second).write_volatile(CLOSED);
            }
        }
    }

    /// Shows the slots that have entries, and takes these out. Frees the slots that have none, unless
    /// they are new, and those that have been closed. Only while the kernel side does not use them.
    pub(super) fn take_all(&mut self, mut visit: impl FnMut(&Slot)) {
        for ([in_use, new], base) in self.in_use.iter_mut().zip((0..).step_by(WORD)) {
            let added = mem::take(new);
            *in_use |= added;
            let mut left = *in_use;
            while left != 0 {
                let bit = left & left.wrapping_neg();
                left ^= bit;
                // SAFETY: there is a bit for each of the mapped slots and for nothing else; they are
                // aligned, and every bit pattern is a `Slot`.
                unsafe {
                    let place = self.first.add(base + bit.trailing_zeros() as usize);
                    let slot = place.read_volatile();
                    if slot.calls != 0 {
                        visit(&slot);
                        (&raw mut (*place.as_ptr()).calls).write_volatile(0);
                    }
                    if slot.second == CLOSED || (slot.calls == 0 && added & bit == 0) {
                        place.write_volatile(Slot::default());
                        *in_use ^= bit;
                    }
                }
            }
        }
    }

    /// Shows each slot in use to `visit`. The kernel side may count on meanwhile, and give slots to
    /// functions: each is read at a time of its own, and some words of a new one may still be 0.
    pub(super) fn visit(&self, mut visit: impl FnMut(&Slot)) {
        for number in 0..SLOTS {
            // SAFETY: the number is below that of the mapped slots, which are aligned; a word is read
            // in one piece, and every bit pattern is a `Slot`.
            unsafe {
                let place = self.first.add(number);
                if (&raw const (*place.as_ptr()).owner).read_volatile() != 0 {
                    visit(&place.read_volatile());
                }
            }
        }
    }
}

impl Drop for SlotMemory {
    fn drop(&mut self) {
        // SAFETY: the memory was mapped by `map` with this size, and nothing refers to it any more.
        // A failure would leave it mapped, which is no harm at the end.
        let _ = unsafe { munmap(self.first.cast(), BYTES.get()) };
    }
}
