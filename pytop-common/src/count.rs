//! Keys and values of the maps in which calls are counted.

/// Longest filename that is read, in bytes, the terminating NUL included.
pub const FILENAME_CAPACITY: usize = 512;
/// Longest function name that is read, in bytes, the terminating NUL included.
pub const FUNCTION_CAPACITY: usize = 256;

/// One function of one process, by the addresses that its names have there.
///
/// Two strings at the same addresses within one interval are told apart by `generation`, see
/// [`FrameCount::tails`].
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
    /// 0 for the first names seen at these addresses in an interval, the [`FrameCount::text`] of
    /// the later ones otherwise.
    pub generation: u64,
}

/// The calls of one function in one interval.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameCount {
    /// Entries of the function in this interval.
    pub calls: u64,
    /// Key of the names in the table of texts; 0 while they could not be read.
    pub text: u64,
    /// The last bytes of the filename and of the function name, by which a hit recognises that
    /// the strings at the key's addresses are still those that were read.
    pub tails: [u64; 2],
    /// Distance of each tail from the start of its string, in bytes.
    pub tail_offsets: [u16; 2],
    /// Bits by which each tail is shifted to the left, to drop what lies behind a short string.
    pub tail_shifts: [u8; 2],
    /// The attach cookie of the probe that saw the function first: which interpreter it runs on.
    pub site: u16,
}

/// The names of a function, kept once for all processes and intervals.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct FrameText {
    /// Bytes of `filename` in use, without a NUL.
    pub filename_length: u16,
    /// Bytes of `function` in use, without a NUL.
    pub function_length: u16,
    /// Always zero.
    pub reserved: u32,
    /// The filename. A value filled to `FILENAME_CAPACITY - 1` bytes may have been cut.
    pub filename: [u8; FILENAME_CAPACITY],
    /// The function name. A value filled to `FUNCTION_CAPACITY - 1` bytes may have been cut.
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
    assert!(size_of::<FrameCount>() == 40);
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
