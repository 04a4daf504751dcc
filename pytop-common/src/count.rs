//! Keys and values of the maps in which calls are counted.

/// Longest filename that is read, in bytes, the terminating NUL included.
pub const FILENAME_CAPACITY: usize = 512;
/// Longest function name that is read, in bytes, the terminating NUL included.
pub const FUNCTION_CAPACITY: usize = 256;

/// One function of one process, by addresses there that only it has while it lives.
///
/// | method   | `first`                          | `second`                      | `line`    |
/// |----------|----------------------------------|-------------------------------|-----------|
/// | `marker` | the NUL-terminated filename      | the NUL-terminated name       | marker's  |
/// | `eval`   | the code object                  | [`CODE_OBJECT`]               | 0         |
/// | `resume` | the RESUME in the code's bytes   | [`RESUME`]                    | 0         |
/// | any      | [`NameCheck::text`]              | [`BY_NAME`]                   | the row's |
///
/// The last form is that of a function whose addresses had belonged to another one earlier in the
/// interval.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FrameKey {
    /// See the table above; never 0.
    pub first: u64,
    /// See the table above.
    pub second: u64,
    /// Thread group id: what user space calls the process id, in the initial pid namespace.
    pub pid: u32,
    /// The line that the marker reported; below 1 when it does not know.
    pub line: i32,
}

/// [`FrameKey::second`] of a function that is known by its names.
pub const BY_NAME: u64 = 0;
/// [`FrameKey::second`] of a function that is known by its code object.
pub const CODE_OBJECT: u64 = 1;
/// [`FrameKey::second`] of a function that is known by a RESUME bytecode of it.
pub const RESUME: u64 = 2;

impl FrameKey {
    /// The process and the line in one word, which is never 0.
    #[inline]
    #[must_use]
    pub const fn owner(&self) -> u64 {
        (self.pid as u64) << 32 | self.line.cast_unsigned() as u64
    }

    /// The slot that the function may have in the table of slots.
    #[inline]
    #[must_use]
    pub const fn slot(&self) -> u32 {
        let mixed = (self.first ^ self.second.rotate_left(23) ^ self.owner().rotate_left(41))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (u64::BITS - SLOT_BITS)) as u32
    }
}

/// How the names of a function are recognised without being kept.
///
/// A code object that is freed may leave its addresses to another one, so who finds a function by
/// these addresses has to look whether the names there are still the same.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameCheck {
    /// Key of the names in the table of texts; 0 while they could not be read.
    pub text: u64,
    /// A hash that is quicker to make, of as many bytes as `sizes` says. While `text` is 0: an
    /// address that could not be read.
    pub quick: u64,
    /// Bytes of the filename and of the function name that are hashed: without the NUL, and no
    /// more than there is room for.
    pub sizes: [u16; 2],
    /// The [`Encoding`] of each.
    pub encodings: [u8; 2],
    /// Always zero.
    pub reserved: u16,
}

/// What the bytes of a name are.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8, as the interpreter's C interface gives it; ASCII is the same.
    #[default]
    Utf8 = 0,
    /// One byte a character (`PyUnicode_1BYTE_KIND`, Include/cpython/unicodeobject.h).
    Latin1 = 1,
    /// Two bytes a character (`PyUnicode_2BYTE_KIND`).
    Ucs2 = 2,
    /// Four bytes a character (`PyUnicode_4BYTE_KIND`).
    Ucs4 = 4,
}

/// The calls of one function in one interval, but for those that are in its slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCount {
    /// Entries of the function in this interval.
    pub calls: u64,
    /// The names that it is counted under.
    pub names: NameCheck,
    /// The line of the row; below 1 when it is not known.
    pub line: i32,
    /// One more than the number of the slot that the function was given in this interval, which has the
    /// rest of the entries; 0 for none.
    pub slot: u32,
    /// A [`Trust`].
    pub trust: u32,
    /// The attach cookie of the probe that saw the function first: which interpreter it runs on.
    pub site: u32,
}

/// A place to count the entries of a function that has shown to last, found without a search.
///
/// Looking a function up in a hash table costs more than everything else that is done at a hit.
/// So the table of slots lies before it: an array in which each function has one place, that of
/// [`FrameKey::slot`], which the first of those that share it takes. A function that finds its place
/// taken is counted in the hash table.
///
/// A slot stays with its function until an interval in which that was not called. It has all that
/// is to be known of the function, so one that goes on being called is in no other table, and to
/// read what was counted takes user space no system call. It fills one line of a processor's cache.
///
/// Whoever puts a value to `first` has the slot and then writes the other words, `second` as the last
/// one. None of the three of the key is 0 in the end, so one who sees his own key sees a finished slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slot {
    /// [`FrameKey::first`], or 0 when the slot is free.
    pub first: u64,
    /// [`FrameKey::second`], or [`CLOSED`].
    pub second: u64,
    /// [`FrameKey::owner`].
    pub owner: u64,
    /// Entries of the function in this interval, beside those in [`FrameCount::calls`].
    pub calls: u64,
    /// As [`FrameCount::names`].
    pub names: NameCheck,
    /// As [`FrameCount::line`].
    pub line: i32,
    /// As [`FrameCount::site`].
    pub site: u32,
}

impl Slot {
    /// The process, from [`Slot::owner`].
    #[inline]
    #[must_use]
    pub const fn pid(&self) -> u32 {
        (self.owner >> 32) as u32
    }
}

/// How often a process has passed a milestone: a place that it passes now and then as it gets on with its
/// work, counted all the time where its calls are not.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Milestone {
    /// Passes since the start.
    pub passes: u64,
    /// Only those of this thread, by its number in the initial pid namespace; 0 for all.
    pub thread: u64,
    /// When it was passed last, in nanoseconds of `CLOCK_MONOTONIC`; 0 before that.
    pub last: u64,
}

/// Milestones that can be counted at a time.
pub const MILESTONES: usize = 4096;

/// Places in which hits are counted by process that are not counted in slots.
pub const CAREFUL_PLACES: usize = 0x1_0000;

/// The place of a process there, which it may share with others.
#[must_use]
pub const fn careful_at(pid: u32) -> u32 {
    pid & 0xffff
}

/// Power of two of the number of slots.
pub const SLOT_BITS: u32 = 16;
/// Number of slots.
pub const SLOTS: usize = 1 << SLOT_BITS;
/// [`Slot::second`] when the names of the slot's function were found to have changed: no key has it.
pub const CLOSED: u64 = u64::MAX;

/// How often a function's names are checked.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// At each hit, until it has shown to last.
    New = 0,
    /// At the first hit of each interval and at one hit of [`CHECK_INTERVAL`].
    Lasting = 1,
    /// At each hit: other names have been seen at its addresses in this interval.
    Replaced = 2,
}

/// A lasting function's names are checked at one of so many hits. A power of two.
pub const CHECK_INTERVAL: u64 = 64;
/// Hits within one interval after which a function is taken to last.
pub const LASTING_CALLS: u64 = 1024;
/// Intervals in which a function was seen after which it is taken to last.
pub const LASTING_INTERVALS: u32 = 3;

/// What is remembered of a function from one interval to the next.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownFrame {
    /// Its names.
    pub names: NameCheck,
    /// Its line.
    pub line: i32,
    /// Intervals in which it was seen with these names.
    pub intervals: u32,
}

/// The names of a function, kept once for all processes and intervals.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FrameText {
    /// Bytes of `filename` in use, without a NUL.
    pub filename_length: u16,
    /// Bytes of `function` in use, without a NUL.
    pub function_length: u16,
    /// 1 when the filename was cut.
    pub filename_cut: u8,
    /// 1 when the function name was cut.
    pub function_cut: u8,
    /// The [`Encoding`] of each.
    pub encodings: [u8; 2],
    /// The filename.
    pub filename: [u8; FILENAME_CAPACITY],
    /// The function name.
    pub function: [u8; FUNCTION_CAPACITY],
}

/// What the kernel knows of a process that called a function, for those that end before user
/// space has looked at them.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ProcessName {
    /// The process's `comm` when it was last seen with a new function, NUL-padded.
    pub comm: [u8; 16],
    /// The attach cookie of the probe that saw it.
    pub site: u32,
    /// Always zero.
    pub reserved: u32,
}

/// Why a probe hit is in no row. The discriminant is the index into the table of losses.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// The table of counts, or that of texts, was full.
    TableFull = 0,
    /// A name was no readable string: a null pointer, or a page that was not in memory.
    UnreadableName = 1,
    /// The probe's specification was missing. It never should be.
    UnknownSite = 2,
    /// What is at a probe without a marker was not what has to be there: no code object, or a
    /// bytecode of another kind.
    Implausible = 3,
}

impl Loss {
    /// Number of reasons.
    pub const COUNT: u32 = 4;
}

/// The attach cookie of the probe by which pytop measures what a hit costs: the last one. Its hits are
/// no calls of anybody's.
pub const METER_SITE: u32 = 4095;
/// Number of attach cookies.
pub const SITES: usize = METER_SITE as usize + 1;

/// Something that makes the counts of a process incomplete, by the process.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ProblemKey {
    /// The process.
    pub pid: u32,
    /// A [`Problem`].
    pub problem: u32,
}

/// What makes the counts of a process incomplete.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// Hits at which there was not what has to be there: [`Loss::Implausible`].
    Implausible = 0,
    /// A just-in-time compiler ran: it enters frames without a RESUME.
    Compiled = 1,
}

const _: () = {
    assert!(size_of::<FrameKey>() == 24);
    assert!(size_of::<NameCheck>() == 24);
    assert!(size_of::<FrameCount>() == 48);
    assert!(size_of::<Slot>() == 64);
    assert!(size_of::<KnownFrame>() == 32);
    assert!(size_of::<FrameText>() == 776);
    assert!(size_of::<ProcessName>() == 24);
    assert!(size_of::<ProblemKey>() == 8);
    assert!(size_of::<Milestone>() == 24);
};

#[cfg(feature = "user")]
mod pod {
    use super::{FrameCount, FrameKey, FrameText, Milestone, ProblemKey, ProcessName, Slot};

    // SAFETY: `repr(C)`, made of integers only, without padding (asserted above).
    unsafe impl aya::Pod for FrameKey {}
    // SAFETY: as for `FrameKey`.
    unsafe impl aya::Pod for FrameCount {}
    // SAFETY: as for `FrameKey`.
    unsafe impl aya::Pod for FrameText {}
    // SAFETY: as for `FrameKey`.
    unsafe impl aya::Pod for ProcessName {}
    // SAFETY: as for `FrameKey`.
    unsafe impl aya::Pod for ProblemKey {}
    // SAFETY: as for `FrameKey`.
    unsafe impl aya::Pod for Slot {}
    // SAFETY: as for `FrameKey`.
    unsafe impl aya::Pod for Milestone {}
}
