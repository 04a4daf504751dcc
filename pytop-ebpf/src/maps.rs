//! The maps.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::Global;
use aya_ebpf::bindings::BPF_F_NO_PREALLOC;
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap};
use aya_ebpf::macros::btf_map;
use pytop_common::count::{FrameCount, FrameKey, FrameText, KnownFrame, Loss, ProcessName};
use pytop_common::marker::MarkerSpec;

/// Where calls are counted. User space makes two of them, of the size that it wants, and exchanges
/// them at the end of each interval; the size here is only that of the verifier's pattern.
pub type Counts = HashMap<FrameKey, FrameCount, 1>;

/// The table of counts of the current interval, at index 0.
///
/// The kernel waits for running programs when user space replaces it (`maybe_wait_bpf_programs`,
/// kernel/bpf/syscall.c), so the table that comes out is complete and changes no more.
#[btf_map]
pub static ACTIVE: ArrayOfMaps<Counts, 1> = ArrayOfMaps::new();

/// The arguments of the marker at each probe, by attach cookie.
#[btf_map]
pub static SITES: Array<MarkerSpec, 4096> = Array::new();

/// Functions seen in this interval or an earlier one. An entry that the kernel drops for want of
/// room costs no more than reading the names again.
#[btf_map]
pub static KNOWN: LruHashMap<FrameKey, KnownFrame, 65_536> = LruHashMap::new();

/// Names by their hash, for all processes and intervals. User space deletes what is out of use.
#[btf_map]
pub static TEXTS: HashMap<u64, FrameText, 131_072, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// What a new entry of [`TEXTS`] is made from: a program's stack has no room for one.
#[btf_map]
pub static EMPTY_TEXT: Array<FrameText, 1> = Array::new();

/// Processes that called a function, by pid.
#[btf_map]
pub static PROCESSES: HashMap<u32, ProcessName, 32_768, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Hits without a row since the start, by [`Loss`].
#[btf_map]
pub static LOSSES: Array<u64, { Loss::COUNT as usize }> = Array::new();

/// Seed of the hash of names. Random in each run, so that no program can choose its names to
/// collide with those of another.
#[unsafe(no_mangle)]
pub static SEED: Global<u64> = Global::new(0);

/// Counts a hit that is in no row.
#[inline(always)]
pub fn add_loss(loss: Loss) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        add(counter, 1);
    }
}

/// Adds to a counter in a map that other CPUs may be adding to.
#[inline(always)]
pub fn add(counter: *mut u64, value: u64) {
    // SAFETY: the pointer comes from a map lookup and is aligned; the kernel keeps it valid while
    // the program runs.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}
