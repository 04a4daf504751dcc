//! Where the kernel side finds a frame's code object at a probe without a marker, and what the
//! interpreter's structures look like, as data: one eBPF program serves every CPython.

use crate::marker::NO_REGISTER;

/// Where a 64-bit value is: in a register, or in memory at a register plus `displacement`. `plus`
/// is then added to it.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Location {
    /// Distance of the memory from the register's value, in bytes.
    pub displacement: i32,
    /// Added to the value, in bytes.
    pub plus: i16,
    /// Word of the register file, or [`NO_REGISTER`] when the value is nowhere.
    pub register: u8,
    /// 1 when the value is in memory, else 0.
    pub memory: u8,
}

impl Location {
    /// No place.
    pub const NONE: Self = Self {
        displacement: 0,
        plus: 0,
        register: NO_REGISTER,
        memory: 0,
    };
}

impl Default for Location {
    fn default() -> Self {
        Self::NONE
    }
}

/// Offsets in bytes of fields in CPython's structures.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Offsets {
    /// From a frame to the pointer to its code object.
    pub frame_to_code: u16,
    /// Bits of that pointer that are no part of the address.
    pub tag: u16,
    /// From an object to the pointer to its type.
    pub object_type: u16,
    /// From a type to the pointer to its name, a C string (`tp_name`).
    pub type_name: u16,
    /// In a code object: pointer to the filename, and after it pointer to the name.
    pub names: u16,
    /// In a code object: the first line, 32 bits.
    pub first_line: u16,
    /// In a code object: the first of its code units.
    pub bytecode: u16,
    /// In a code object: how many code units of two bytes there are, a word.
    pub code_units: u16,
    /// In a text: how many characters there are, a word.
    pub text_length: u16,
    /// In a text: the byte of its state.
    pub text_state: u16,
    /// In a text: the characters, when all are ASCII.
    pub ascii_data: u16,
    /// In a text: the characters when not all are ASCII, or the pointer to them.
    pub other_data: u16,
    /// From a frame to the pointer to the frame that called it.
    pub previous: u16,
    /// From a frame to the byte that tells what it belongs to; 0 where all frames run Python code.
    pub owner: u16,
}

/// The owner of a frame of the interpreter's own, and all numbers above it: `FRAME_OWNED_BY_CSTACK`
/// or `FRAME_OWNED_BY_INTERPRETER` (`Include/internal/pycore_frame.h`, 3.12 and later).
pub const FIRST_INTERNAL_OWNER: u8 = 3;

/// When a RESUME changes its code first and is dispatched a second time: [`RepeatRule::kind`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Repeat {
    /// Never: 3.11.
    #[default]
    Never = 0,
    /// When the code's version differs from that of the interpreter: 3.12.
    Interpreter = 1,
    /// When it differs from that of the thread, which is in no tracing function: 3.13 and later.
    Thread = 2,
}

/// How the first of two dispatches of the same RESUME is recognised.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RepeatRule {
    /// Bits of the version's word that are no version.
    pub event_bits: u64,
    /// In a code object: the version of its instrumentation, a word.
    pub code_version: u16,
    /// In the state of a thread: pointer to the interpreter's state, or the version's word.
    pub thread: u16,
    /// In the interpreter's state: the version, a word.
    pub interpreter: u16,
    /// In the state of a thread: 32 bits that are 0 outside of tracing functions.
    pub tracing: u16,
    /// A [`Repeat`].
    pub kind: u8,
    /// Always zero.
    pub reserved: [u8; 7],
}

/// What the processor's zero flag tells at the site: [`ResumeRule::proof`].
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Proof {
    /// Nothing.
    #[default]
    None = 0,
    /// When it is clear, the hit is an entry.
    Clear = 1,
    /// When it is set, the hit is an entry.
    Set = 2,
    /// Every hit is an entry.
    Always = 3,
}

/// Which hits at the handler of a RESUME are entries.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ResumeRule {
    /// How repeated dispatches are told.
    pub repeat: RepeatRule,
    /// The bytecode that belongs to the handler.
    pub opcode: u8,
    /// A [`Proof`].
    pub proof: u8,
    /// Bits of the operand that say where the RESUME is.
    pub operand_mask: u8,
    /// What those bits are when it is no entry; above the mask for never.
    pub not_entry: u8,
    /// Other bytecodes with which the handler may be reached, when they gave up on their own; such
    /// a hit has been counted at their own handlers. 0 for none.
    pub given_up: [u8; 4],
}

/// What the kernel side has to know of a probe without a marker, found by its attach cookie.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CodeSpec {
    /// Where the frame is.
    pub frame: Location,
    /// Where the address of the RESUME's code unit is.
    pub instruction: Location,
    /// Where the state of the thread is.
    pub thread: Location,
    /// The interpreter's structures.
    pub offsets: Offsets,
    /// Reserved; always zero.
    pub reserved: u32,
    /// Which hits are entries.
    pub rule: ResumeRule,
}

const _: () = {
    assert!(size_of::<Location>() == 8);
    assert!(size_of::<Offsets>() == 28);
    assert!(size_of::<RepeatRule>() == 24);
    assert!(size_of::<ResumeRule>() == 32);
    assert!(size_of::<CodeSpec>() == 88);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, made of integers only, without padding (asserted above).
unsafe impl aya::Pod for CodeSpec {}
