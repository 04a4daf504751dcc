//! Fetching a marker's argument as its specification says.
//!
//! Which registers hold the arguments is known only at run time, and the verifier lets a program
//! read its context at constant offsets only. Reading it with a helper, as libbpf's usdt.bpf.h
//! does, costs more than the counting itself. So the registers are copied to the stack, one plain
//! load and store each, where an index may vary within checked bounds.

use core::ffi::c_void;

use aya_ebpf::EbpfContext as _;
use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::helpers::generated::bpf_get_attach_cookie;
use aya_ebpf::programs::ProbeContext;
use pytop_common::marker::{Argument, ArgumentKind, NO_REGISTER};

/// Words of the register file of x86-64 (`struct pt_regs`).
const WORDS: usize = 21;

/// The registers at the probe.
pub struct Registers([u64; WORDS]);

impl Registers {
    /// Copies the registers out of the context.
    #[inline(always)]
    pub fn copy(context: &ProbeContext) -> Self {
        // SAFETY: a uprobe's context is the kernel's `struct pt_regs`, which is this many words.
        Self(unsafe { context.as_ptr().cast::<[u64; WORDS]>().read() })
    }

    #[inline(always)]
    fn get(&self, word: u8) -> Option<u64> {
        self.0.get(usize::from(word)).copied()
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
            self.memory(argument)?
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
    fn memory(&self, argument: &Argument) -> Option<u64> {
        let mut address = argument.displacement as u64;
        if argument.base != NO_REGISTER {
            address = address.wrapping_add(self.get(argument.base)?);
        }
        if argument.index != NO_REGISTER {
            address = address.wrapping_add(self.get(argument.index)? << (argument.scale & 3));
        }
        // SAFETY: the helper checks the address and reports a fault as an error.
        unsafe { bpf_probe_read_user(address as *const u64) }.ok()
    }
}

/// The attach cookie: the number of the probe in the table of sites.
#[inline(always)]
pub fn site(context: &ProbeContext) -> u32 {
    // SAFETY: the context is that of this program.
    unsafe { bpf_get_attach_cookie(context.as_ptr().cast::<c_void>()) as u32 }
}
