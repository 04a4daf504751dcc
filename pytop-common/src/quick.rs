//! What a quick program is made for.
//!
//! Nearly all hits are those of functions that have a slot, and for them it is the look at the
//! probe's description, not the counting, that costs most. So there are programs that do nothing
//! but count such hits, with the description built in, and leave all others to the program that
//! can deal with any. They are small, and looked at by the kernel's verifier in no time: a
//! processor's register that is known when the program is loaded is one instruction.

/// The description that is built into a quick program: constants of its own.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QuickSite {
    /// Added to the value of the register `first`, in bytes. At the frame evaluation function: where
    /// in the frame the pointer to the code object is.
    pub plus: i32,
    /// Word of the register file that has [`FrameKey::first`](crate::count::FrameKey::first). At the
    /// frame evaluation function: the one that has the frame.
    pub first: u8,
    /// The same of [`FrameKey::second`](crate::count::FrameKey::second). Only of markers.
    pub second: u8,
    /// The same of the line, whose upper half is not looked at. Only of markers.
    pub line: u8,
    /// A [`Proof`](crate::code::Proof). Only of RESUME.
    pub proof: u8,
    /// Added to the value of the register `identity`, in bytes.
    pub identity_plus: i32,
    /// Word of the register file that tells which call it is. Only where durations are measured.
    pub identity: u8,
    /// A [`Condition`](crate::trace::Condition). Only of an exit.
    pub condition: u8,
    /// From a frame to the pointer to the one that called it, where that one has to be looked at.
    /// 0 elsewhere.
    pub previous: u16,
    /// [`FrameSpec::doubtful`](crate::trace::FrameSpec::doubtful).
    pub doubtful: u8,
    /// Always zero.
    pub reserved: [u8; 3],
}

/// The program that takes over from a quick one. The discriminant is the index into the table of
/// continuations.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuation {
    /// From one at a marker.
    FunctionEntry = 0,
    /// From one at the handler of a RESUME.
    Resume = 1,
    /// From one at the frame evaluation function.
    Evaluation = 2,
    /// From one at a marker, where durations are measured.
    TimedEntry = 3,
    /// From one at the handler of a RESUME, likewise.
    TimedResume = 4,
    /// From one at the frame evaluation function, likewise.
    TimedEvaluation = 5,
}

impl Continuation {
    /// Number of continuations.
    pub const COUNT: u32 = 6;
}

const _: () = assert!(size_of::<QuickSite>() == 20);

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, made of integers only, without padding (asserted above).
unsafe impl aya::Pod for QuickSite {}
