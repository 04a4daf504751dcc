//! Keys and values of the maps in which calls are counted.

/// Longest filename that is read, in bytes, the terminating NUL included.
pub const FILENAME_CAPACITY: usize = 512;
/// Longest function name that is read, in bytes, the terminating NUL included.
pub const FUNCTION_CAPACITY: usize = 256;

/// One function of one process, by the addresses that its names have there.
///
/// Two strings at the same addresses within one interval are told apart by `generation`, see
/// [`NameCheck`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct FrameKey {
    /// Address of the NUL-terminated filename in the process.
    pub filename: u64,
    /// Address of the NUL-terminated function name in the process.
    pub function: u64,
    /// Thread group id: what user space calls the process id, in the initial pid namespace.
    pub pid: u32,
    /// The line that the interpreter reported; below 1 when it does not know.
    pub line: i32,
    /// 0 for the first names seen at these addresses in an interval, the [`NameCheck::text`] of
    /// the later ones otherwise.
    pub generation: u64,
}

/// How the names at a key's addresses are recognised without being read again.
///
/// A code object that is freed may leave the addresses of its names to those of another one. A
/// string of another length has its NUL elsewhere, and one of the same length mostly differs in
/// its last seven bytes, so eight bytes tell.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameCheck {
    /// Key of the names in the table of texts; 0 while they could not be read.
    pub text: u64,
    /// The last eight bytes of the filename and of the function name, the NUL included.
    pub tails: [u64; 2],
    /// Distance of each tail from the start of its string, in bytes.
    pub tail_offsets: [u16; 2],
    /// Bits by which each tail is shifted to the left, to drop what lies behind a short string.
    pub tail_shifts: [u8; 2],
    /// Always zero.
    pub reserved: u16,
}

/// The calls of one function in one interval.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCount {
    /// Entries of the function in this interval.
    pub calls: u64,
    /// The names that it is counted under.
    pub names: NameCheck,
    /// A [`Trust`].
    pub trust: u32,
    /// The attach cookie of the probe that saw the function first: which interpreter it runs on.
    pub site: u32,
}

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
pub const LASTING_INTERVALS: u64 = 3;

/// What is remembered of a function from one interval to the next.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KnownFrame {
    /// Its names.
    pub names: NameCheck,
    /// Intervals in which it was seen with these names.
    pub intervals: u64,
}

/// The names of a function, kept once for all processes and intervals.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FrameText {
    /// Bytes of `filename` in use, without a NUL.
    pub filename_length: u16,
    /// Bytes of `function` in use, without a NUL.
    pub function_length: u16,
    /// Length of the whole filename in its process, at least: larger than `filename_length` when
    /// it was cut.
    pub filename_size: u16,
    /// The same of the function name.
    pub function_size: u16,
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
}

impl Loss {
    /// Number of reasons.
    pub const COUNT: u32 = 3;
}

const _: () = {
    assert!(size_of::<FrameKey>() == 32);
    assert!(size_of::<NameCheck>() == 32);
    assert!(size_of::<FrameCount>() == 48);
    assert!(size_of::<KnownFrame>() == 40);
    assert!(size_of::<FrameText>() == 776);
    assert!(size_of::<ProcessName>() == 24);
};

#[cfg(feature = "user")]
mod pod {
    use super::{FrameCount, FrameKey, FrameText, ProcessName};

    // SAFETY: `repr(C)`, made of integers only, without padding (asserted above).
    unsafe impl aya::Pod for FrameKey {}
    // SAFETY: as for `FrameKey`.
    unsafe impl aya::Pod for FrameCount {}
    // SAFETY: as for `FrameKey`.
    unsafe impl aya::Pod for FrameText {}
    // SAFETY: as for `FrameKey`.
    unsafe impl aya::Pod for ProcessName {}
}
