//! Registers by their number, and a marker's arguments as its specification says.
//!
//! Which registers matter is known only at run time, and the verifier lets a program read its
//! context at constant offsets only. Reading it with a helper, as libbpf's usdt.bpf.h does, costs
//! more than the counting itself. There are two other ways: to copy all registers to the stack,
//! where an index may vary within checked bounds, and to give each register a branch of its own.
//! The copy is quicker for a marker's three arguments, the branches are for a single register.

use core::arch::asm;
use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::bpf_get_attach_cookie;
use aya_ebpf::programs::ProbeContext;
use pytop_common::code::Location;
use pytop_common::marker::{Argument, ArgumentKind, NO_REGISTER};

/// Words of the register file of x86-64 (`struct pt_regs`).
const WORDS: usize = 21;
/// Word of `eflags`.
const FLAGS: usize = 18;
/// `X86_EFLAGS_ZF`
const ZERO_FLAG: u64 = 1 << 6;

/// The registers at the probe, where they are.
#[derive(Clone, Copy)]
pub struct Registers(*const u64);

impl Registers {
    /// Those of a program's context.
    #[inline(always)]
    pub fn of(context: &ProbeContext) -> Self {
        Self(context.as_ptr().cast::<u64>())
    }

    /// Reads one. The verifier refuses an address that the compiler has put together from those of
    /// several branches, which it does with any other read, a volatile one too.
    #[inline(always)]
    fn at<const WORD: usize>(&self) -> u64 {
        let value;
        // SAFETY: a uprobe's context is the kernel's `struct pt_regs`, which has `WORDS` words.
        unsafe {
            asm!(
                "{value} = *(u64 *)({registers} + {offset})",
                value = lateout(reg) value,
                registers = in(reg) self.0,
                offset = const WORD * size_of::<u64>(),
                options(pure, readonly, nostack),
            );
        }
        value
    }

    /// The zero flag of the processor.
    #[inline(always)]
    pub fn zero_flag(&self) -> bool {
        self.at::<FLAGS>() & ZERO_FLAG != 0
    }

    /// The value at a location. `None` when it is nowhere, or in memory that cannot be read.
    #[inline(always)]
    pub fn find(&self, location: &Location) -> Option<u64> {
        let mut value = self.get(location.register)?;
        if location.memory != 0 {
            value = read(value.wrapping_add(location.displacement as u64))?;
        }
        Some(value.wrapping_add(location.plus as u64))
    }

    /// The register with this number. `None` when there is none.
    #[inline(always)]
    pub fn get(&self, word: u8) -> Option<u64> {
        Some(match word {
            0 => self.at::<0>(),
            1 => self.at::<1>(),
            2 => self.at::<2>(),
            3 => self.at::<3>(),
            4 => self.at::<4>(),
            5 => self.at::<5>(),
            6 => self.at::<6>(),
            7 => self.at::<7>(),
            8 => self.at::<8>(),
            9 => self.at::<9>(),
            10 => self.at::<10>(),
            11 => self.at::<11>(),
            12 => self.at::<12>(),
            13 => self.at::<13>(),
            14 => self.at::<14>(),
            19 => self.at::<19>(),
            _ => return None,
        })
    }
}

/// The registers at the probe, on the stack.
pub struct Copied([u64; WORDS]);

impl Copied {
    /// Copies those of a program's context.
    #[inline(always)]
    pub fn of(context: &ProbeContext) -> Self {
        let from = Registers::of(context);
        Self([
            from.at::<0>(),
            from.at::<1>(),
            from.at::<2>(),
            from.at::<3>(),
            from.at::<4>(),
            from.at::<5>(),
            from.at::<6>(),
            from.at::<7>(),
            from.at::<8>(),
            from.at::<9>(),
            from.at::<10>(),
            from.at::<11>(),
            from.at::<12>(),
            from.at::<13>(),
            from.at::<14>(),
            from.at::<15>(),
            from.at::<16>(),
            from.at::<17>(),
            from.at::<18>(),
            from.at::<19>(),
            from.at::<20>(),
        ])
    }

    /// The value of an argument, cut to its size and extended to 64 bits.
    ///
    /// `None` when it lies in memory that cannot be read, or the specification makes no sense.
    #[inline(always)]
    pub fn fetch(&self, argument: &Argument) -> Option<u64> {
        let raw = if argument.kind == ArgumentKind::Register as u8 {
            self.get(argument.base)?
        } else if argument.kind == ArgumentKind::Constant as u8 {
            argument.displacement as u64
        } else {
            read(self.address(argument)?)?
        };
        let left = raw << (argument.left_shift & 63);
        let right_shift = argument.right_shift & 63;
        Some(if argument.signed != 0 {
            ((left as i64) >> right_shift) as u64
        } else {
            left >> right_shift
        })
    }

    #[inline(always)]
    fn address(&self, argument: &Argument) -> Option<u64> {
        let mut address = argument.displacement as u64;
        if argument.base != NO_REGISTER {
            address = address.wrapping_add(self.get(argument.base)?);
        }
        if argument.index != NO_REGISTER {
            address = address.wrapping_add(self.get(argument.index)? << (argument.scale & 3));
        }
        Some(address)
    }

    #[inline(always)]
    fn get(&self, word: u8) -> Option<u64> {
        self.0.get(usize::from(word)).copied()
    }
}

#[inline(always)]
fn read(address: u64) -> Option<u64> {
    // SAFETY: the helper checks the address and reports a fault as an error.
    unsafe { bpf_probe_read_user(address as *const u64) }.ok()
}

/// The attach cookie: the number of the probe's site.
#[inline(always)]
pub fn site(context: &ProbeContext) -> u32 {
    // SAFETY: the context is that of this program.
    unsafe { bpf_get_attach_cookie(context.as_ptr().cast::<c_void>()) as u32 }
}
