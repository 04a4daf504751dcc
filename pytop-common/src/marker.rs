//! Where a marker's arguments are, as data: one eBPF program serves every interpreter, whatever
//! registers its compiler chose.

/// Number of 64-bit words of the register file that an argument can name.
///
/// x86-64 has 21 (`struct pt_regs`, arch/x86/include/asm/ptrace.h, r15 to ss); aarch64 has 34
/// (`struct user_pt_regs`, arch/arm64/include/uapi/asm/ptrace.h: x0 to x30, sp, pc, pstate).
pub const REGISTERS: usize = 34;

/// [`Argument::base`] or [`Argument::index`] when there is none.
pub const NO_REGISTER: u8 = u8::MAX;

/// How [`Argument`] finds its value.
#[repr(u8)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ArgumentKind {
    /// The value is `displacement` itself.
    #[default]
    Constant = 0,
    /// The value is the register `base`.
    Register = 1,
    /// The value is in the process's memory at `base + (index << scale) + displacement`.
    Memory = 2,
}

/// One argument of a marker.
///
/// Its value is taken as 64 bits, shifted left by `left_shift` and then right by `right_shift`,
/// keeping the sign when `signed`: this cuts it to its size, selects `%ah`, and extends the sign.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Argument {
    /// The constant, or the displacement in bytes.
    pub displacement: i64,
    /// An [`ArgumentKind`], as a number because the kernel side reads it from a map.
    pub kind: u8,
    /// Word of the register file, or [`NO_REGISTER`].
    pub base: u8,
    /// Word of the register file, or [`NO_REGISTER`].
    pub index: u8,
    /// Power of two by which `index` is multiplied: 0 to 3.
    pub scale: u8,
    /// 0 to 63.
    pub left_shift: u8,
    /// 0 to 63.
    pub right_shift: u8,
    /// 1 when the value is signed, else 0.
    pub signed: u8,
    /// Always zero.
    pub reserved: u8,
}

/// The arguments of one `function__entry` marker, found by the probe's attach cookie.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MarkerSpec {
    /// Address of the filename.
    pub filename: Argument,
    /// Address of the function name.
    pub function: Argument,
    /// The line.
    pub line: Argument,
}

const _: () = {
    assert!(size_of::<Argument>() == 16);
    assert!(size_of::<MarkerSpec>() == 48);
};

#[cfg(feature = "user")]
// SAFETY: `repr(C)`, made of integers only, without padding (asserted above).
unsafe impl aya::Pod for MarkerSpec {}
