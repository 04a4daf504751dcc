//! Events of a trace: what the kernel side tells of every entry and every exit of a frame, and what
//! it has to know for that.

use crate::code::{Location, Offsets};

/// Why the frame is entered or left: [`Event::kind`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// The frame is entered.
    #[default]
    Entry = 0,
    /// A suspended generator or coroutine is entered by `throw()` or `close()`.
    Throw = 1,
    /// The frame is left: it returns or, where exceptions are seen leaving, by one.
    Return = 2,
    /// A generator or coroutine was made: its frame was entered and left without running.
    Created = 3,
}

/// One entry or exit of a frame, in the order in which a thread made them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds of `CLOCK_MONOTONIC`.
    pub time: u64,
    /// Key of the names in the table of texts. 0 when they could not be read, and where an exit
    /// need not tell them because the entry has.
    pub text: u64,
    /// What the frame is known by while it lives: an address that no other frame of the thread has
    /// at the same time. 0 for a marker's, which tells none.
    pub frame: u64,
    /// The same of the frame that called it; 0 when there is none or it is not known.
    pub caller: u64,
    /// Thread group id: what user space calls the process id.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// The line; below 1 when it is not known.
    pub line: i32,
    /// How many frames of the thread there are, this one among them. 0: not known.
    pub depth: u32,
    /// Events of this thread that found no room, between the one before and this one.
    pub lost: u32,
    /// A [`Kind`].
    pub kind: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}

/// What the kernel side remembers of a thread that has entered or left a frame.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Thread {
    /// The innermost frame; [`UNKNOWN`] when it is not known.
    pub frame: u64,
    /// The frame that called it; [`UNKNOWN`] when it is not known.
    pub caller: u64,
    /// The stack pointer at the entry of the innermost frame; 0 when it is not known.
    pub stack: u64,
    /// How many frames there are.
    pub depth: u32,
    /// So many of them, the outermost ones, may not be known to user space: they were entered before
    /// the trace began, or their events found no room.
    pub untold: u32,
    /// Events that found no room since the last one that did.
    pub lost: u32,
    /// The process.
    pub pid: u32,
    /// The thread's `comm` at its first event, NUL-padded.
    pub comm: [u8; 16],
}

/// What the kernel side has to know of a probe at which a frame is entered or left and that is
/// neither a marker nor the handler of a RESUME. Found by the probe's attach cookie.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameSpec {
    /// Where the frame is.
    pub frame: Location,
    /// Where the state of the thread is. Wanted where a frame has no caller yet.
    pub thread: Location,
    /// Where it is told whether the frame is entered by an exception, 32 bits.
    pub throws: Location,
    /// Where the stack pointer of the function's entry is.
    pub stack: Location,
    /// The interpreter's structures.
    pub offsets: Offsets,
    /// From the state of a thread to the pointer to the current frame, or to that to its container.
    pub current: u16,
    /// From the container to the pointer to the current frame; [`NO_CONTAINER`] when there is none.
    pub contained: u16,
    /// From a frame to the byte that is 0 while it is suspended. Wanted in 3.9 alone, where a
    /// generator that passes an exception on to another one counts as the caller of that one while
    /// it is suspended itself, and leads no further. 0 elsewhere.
    pub executing: u16,
    /// 1 when frames are known by their number alone, because the other probes tell no more.
    pub counted: u8,
    /// A [`Condition`].
    pub condition: u8,
    /// 1 when a frame may be left by an exception of which no probe tells. Wanted where durations are
    /// measured.
    pub doubtful: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}

/// When a hit of a probe counts: [`FrameSpec::condition`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Condition {
    /// Each time.
    #[default]
    Always = 0,
    /// When the processor's zero flag is set.
    Set = 1,
    /// When it is clear.
    Clear = 2,
}

/// [`FrameSpec::contained`] when the state of a thread has the pointer itself.
pub const NO_CONTAINER: u16 = u16::MAX;

/// [`Thread::frame`] or [`Thread::caller`] when it is not known.
pub const UNKNOWN: u64 = u64::MAX;

const _: () = {
    assert!(size_of::<Event>() == 56);
    assert!(size_of::<Thread>() == 56);
    assert!(size_of::<FrameSpec>() == 72);
};

#[cfg(feature = "user")]
mod pod {
    use super::{Event, FrameSpec, Thread};

    // SAFETY: `repr(C)`, made of integers only, without padding (asserted above).
    unsafe impl aya::Pod for Event {}
    // SAFETY: as for `Event`.
    unsafe impl aya::Pod for Thread {}
    // SAFETY: as for `Event`.
    unsafe impl aya::Pod for FrameSpec {}
}
