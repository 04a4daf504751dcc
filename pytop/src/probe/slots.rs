//! The memory of the slots, shared with the kernel.
//!
//! The slots of an interval that has ended change no more, so each that was in use is read and freed
//! with plain loads and stores: no system call, and no look at the others.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::ptr::NonNull;

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use pytop_common::count::{SLOTS, Slot};

/// Slots, and behind them the entry that names the table that belongs to them.
pub(super) const ENTRIES: usize = SLOTS + 1;
const BYTES: NonZeroUsize = NonZeroUsize::new(ENTRIES * size_of::<Slot>()).unwrap();

/// An array map of [`Slot`]s in memory.
#[derive(Debug)]
pub(super) struct SlotMemory {
    first: NonNull<Slot>,
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
        };
        let header = Slot {
            calls: u64::from(table),
            ..Slot::default()
        };
        // SAFETY: the last of the entries that were mapped, page-aligned memory of the right size.
        unsafe { slots.first.add(SLOTS).write_volatile(header) };
        Ok(slots)
    }

    /// Takes the calls out of a slot and frees it. Only for slots that the kernel side does not use
    /// at the time. 0 for a number that no slot has.
    pub(super) fn take(&mut self, number: u32) -> u64 {
        let number = number as usize;
        if number >= SLOTS {
            return 0;
        }
        // SAFETY: the number is below that of the mapped slots, and every bit pattern is a `Slot`.
        unsafe {
            let slot = self.first.add(number);
            let calls = slot.read_volatile().calls;
            slot.write_volatile(Slot::default());
            calls
        }
    }

    /// Hands the owner and the calls of each slot in use to `visit`. The kernel side may count on
    /// meanwhile: each slot is read at a time of its own.
    pub(super) fn visit(&self, mut visit: impl FnMut(u64, u64)) {
        for number in 0..SLOTS {
            // SAFETY: the number is below that of the mapped slots; a word is read in one piece, and
            // every bit pattern is a number.
            let (owner, calls) = unsafe {
                let slot = self.first.add(number).as_ptr();
                let owner = (&raw const (*slot).owner).read_volatile();
                (owner, (&raw const (*slot).calls).read_volatile())
            };
            if owner != 0 {
                visit(owner, calls);
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
