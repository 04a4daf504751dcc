//! The maps.

use core::arch::asm;
use core::intrinsics::{AtomicOrdering, atomic_cxchg, atomic_xadd};

use aya_ebpf::Global;
use aya_ebpf::bindings::{BPF_F_MMAPABLE, BPF_F_NO_PREALLOC};
use aya_ebpf::btf_maps::{Array, ArrayOfMaps, HashMap, LruHashMap, ProgramArray, RingBuf};
use aya_ebpf::macros::btf_map;
use pytop_common::code::CodeSpec;
use pytop_common::count::{
    CAREFUL_PLACES, FrameCount, FrameKey, FrameText, KnownFrame, Loss, Milestone, Problem,
    ProblemKey, ProcessName, SITES, SLOTS, Slot,
};
use pytop_common::durations::{
    MORE_STACKS, RECORDS, Record, SPILLED, STACKS, Spilled, SpilledKey, Stack, Untimed,
};
use pytop_common::marker::MarkerSpec;
use pytop_common::quick::Continuation;
use pytop_common::runtime::{RuntimeCount, RuntimeSpec};
use pytop_common::trace::{Event, FrameSpec, Thread};

/// Where a function that has lasted is counted. The last entry is no slot: its `calls` is the index
/// in [`TABLES`] of the table that belongs to these slots.
pub type Slots = Array<Slot, { SLOTS + 1 }, { BPF_F_MMAPABLE as usize }>;

/// Where all others are counted. User space makes the tables, of the size that it wants; the size
/// here is only that of the verifier's pattern.
pub type Counts = HashMap<FrameKey, FrameCount, 1>;

/// The slots of the current interval, at index 0.
///
/// User space exchanges them, and with them the table, at the end of each interval. The kernel then
/// waits for running programs (`maybe_wait_bpf_programs`, kernel/bpf/syscall.c), so the slots and
/// the table that come out are complete and change no more.
#[btf_map]
pub static ACTIVE: ArrayOfMaps<Slots, 1> = ArrayOfMaps::new();

/// The two tables, which take turns.
#[btf_map]
pub static TABLES: ArrayOfMaps<Counts, 2> = ArrayOfMaps::new();

/// The programs that take over where a quick one ends, by [`Continuation`].
#[btf_map]
pub static CONTINUATIONS: ProgramArray<{ Continuation::COUNT as usize }> = ProgramArray::new();

/// The arguments of the marker at each probe of one, by attach cookie.
#[btf_map]
pub static MARKERS: Array<MarkerSpec, SITES> = Array::new();

/// What is where at each probe without a marker, by attach cookie.
#[btf_map]
pub static CODES: Array<CodeSpec, SITES> = Array::new();

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

/// What makes the counts of a process incomplete, and how often it was seen.
#[btf_map]
pub static PROBLEMS: HashMap<ProblemKey, u64, 4096, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// Hits since the start that were counted in [`TABLES`], by [`careful_at`] of the pid.
#[btf_map]
pub static CAREFUL: Array<u64, CAREFUL_PLACES> = Array::new();

/// When processes were first where they have run no Python code yet, by the monotonic clock in
/// nanoseconds.
#[btf_map]
pub static DOORS: HashMap<u32, u64, 32_768, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Milestones, by attach cookie.
#[btf_map]
pub static MILESTONES: Array<Milestone, { pytop_common::count::MILESTONES }> = Array::new();

/// Hits without a row since the start, by [`Loss`].
#[btf_map]
pub static LOSSES: Array<u64, { Loss::COUNT as usize }> = Array::new();

/// Seed of the hash of names. Random in each run, so that no program can choose its names to
/// collide with those of another.
#[unsafe(no_mangle)]
pub static SEED: Global<u64> = Global::new(0);

/// What is where at each probe of a trace that is neither a marker nor a RESUME, by attach cookie.
#[btf_map]
pub static FRAMES: Array<FrameSpec, 4096> = Array::new();

/// What has happened, in its order. User space makes it larger for a trace; a top needs none.
#[btf_map]
pub static EVENTS: RingBuf<Event, 4096> = RingBuf::new();

/// The threads of a trace, by their number.
#[btf_map]
pub static THREADS: HashMap<u32, Thread, 65_536, { BPF_F_NO_PREALLOC as usize }> = HashMap::new();

/// Frames below so many others are not told.
#[unsafe(no_mangle)]
pub static MAX_DEPTH: Global<u32> = Global::new(u32::MAX);

/// Processes that collect garbage or import in one interval. More are told as not counted.
const RUNTIME_PROCESSES: usize = 8192;

/// The markers of collections and imports, by attach cookie.
#[btf_map]
pub static RUNTIME: Array<RuntimeSpec, SITES> = Array::new();

/// What processes did while the first of [`TABLES`] was in use, by pid.
#[btf_map]
pub static RUNTIME_FIRST: HashMap<u32, RuntimeCount, RUNTIME_PROCESSES> = HashMap::new();

/// What they did while the second one was.
#[btf_map]
pub static RUNTIME_SECOND: HashMap<u32, RuntimeCount, RUNTIME_PROCESSES> = HashMap::new();

/// When the collection of a thread has begun, by the thread. Those that were killed in it are
/// dropped when there is no more room.
#[btf_map]
pub static COLLECTING: LruHashMap<u64, u64, 8192> = LruHashMap::new();

/// Collections and imports since the start that could not be counted, at index 0.
#[btf_map]
pub static RUNTIME_LOSSES: Array<u64, 1> = Array::new();

/// The calls that run, by the number of the thread. This and all below are of a size that matters only
/// where durations are measured.
#[btf_map]
pub static RUNNING: Array<Stack, STACKS, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The calls that run in threads whose place there is taken, by the process and the thread.
#[btf_map]
pub static MORE_RUNNING: HashMap<u64, Stack, MORE_STACKS, { BPF_F_NO_PREALLOC as usize }> =
    HashMap::new();

/// What a new entry of [`MORE_RUNNING`] is made from: a program's stack has no room for one.
#[btf_map]
pub static EMPTY_STACK: Array<Stack, 1> = Array::new();

/// The calls that have ended: first those of one half of the intervals, then those of the other.
#[btf_map]
pub static FINISHED: Array<Record, { 2 * RECORDS }, { BPF_F_MMAPABLE as usize }> = Array::new();

/// The same of functions without a record, in the one half of the intervals. It has its memory from the
/// start: of many that come at once, the kernel does not always find some for each.
#[btf_map]
pub static SPILLED_EVEN: HashMap<SpilledKey, Spilled, SPILLED> = HashMap::new();

/// The same in the other half.
#[btf_map]
pub static SPILLED_ODD: HashMap<SpilledKey, Spilled, SPILLED> = HashMap::new();

/// Calls without a duration since the start, by [`Untimed`].
#[btf_map]
pub static UNTIMED: Array<u64, { Untimed::COUNT as usize }> = Array::new();

/// Counts a hit that is in no row.
#[inline(always)]
pub fn add_loss(loss: Loss) {
    if let Some(counter) = LOSSES.get_ptr_mut(loss as u32) {
        add(counter, 1);
    }
}

/// Notes what makes the counts of a process incomplete.
#[inline(never)]
pub fn add_problem(pid: u32, problem: Problem) {
    let key = ProblemKey {
        pid,
        problem: problem as u32,
    };
    if let Some(counter) = PROBLEMS.get_ptr_mut(&key) {
        add(counter, 1);
    } else {
        // A full table has thousands of incomplete processes already.
        let _ = PROBLEMS.insert(&key, &1, 0);
    }
}

/// Adds to a counter in a map that other CPUs may be adding to.
#[inline(always)]
pub fn add(counter: *mut u64, value: u64) {
    // SAFETY: the pointer comes from a map lookup and is aligned; the kernel keeps it valid while
    // the program runs.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// [`add`] for half a word.
#[inline(always)]
pub fn add_half(counter: *mut u32, value: u32) {
    // SAFETY: as for `add`.
    unsafe { atomic_xadd::<u32, u32, { AtomicOrdering::Relaxed }>(counter, value) };
}

/// Makes a word of a map at least as large as `value`.
#[inline(always)]
pub fn raise(word: *mut u64, value: u64) {
    const ORDER: AtomicOrdering = AtomicOrdering::SeqCst;
    /// Each failure is another CPU that has raised it.
    const ATTEMPTS: u32 = 16;
    // SAFETY: as above; read once, as the others may write meanwhile.
    let mut seen = unsafe { word.read_volatile() };
    for _ in 0..ATTEMPTS {
        if seen >= value {
            return;
        }
        // SAFETY: as above.
        let (before, _) = unsafe { atomic_cxchg::<u64, { ORDER }, { ORDER }>(word, seen, value) };
        if before == seen {
            return;
        }
        seen = before;
    }
}

/// Puts `value` into a word of a map if nobody has put anything there. `false` when somebody has.
#[inline(always)]
pub fn claim(word: *mut u64, value: u64) -> bool {
    const ORDER: AtomicOrdering = AtomicOrdering::SeqCst;
    // SAFETY: as above.
    let (before, _) = unsafe { atomic_cxchg::<u64, { ORDER }, { ORDER }>(word, 0, value) };
    before == 0
}

/// The same number, of which the compiler knows nothing: it would leave out a check that the verifier
/// has to see, and has made another one where that has lost sight of it.
#[inline(always)]
pub fn unproven(number: u64) -> u64 {
    let same;
    // SAFETY: a move.
    unsafe {
        asm!(
            "{same} = {number}",
            same = lateout(reg) same,
            number = in(reg) number,
            options(pure, nomem, nostack),
        );
    }
    same
}
