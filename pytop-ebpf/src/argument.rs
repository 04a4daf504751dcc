//! Fetching a marker's argument as its specification says.

use core::ffi::c_void;

use aya_ebpf::helpers::{bpf_probe_read_kernel, bpf_probe_read_user};
use aya_ebpf::programs::ProbeContext;
use aya_ebpf::EbpfContext as _;
use pytop_common::marker::{Argument, ArgumentKind, NO_REGISTER, REGISTERS};

/// The value of an argument, cut to its size and extended to 64 bits.
///
/// `None` when it lies in memory that cannot be read, or the specification makes no sense.
#[inline(always)]
pub fn fetch(context: &ProbeContext, argument: &Argument) -> Option<u64> {
    let raw = if argument.kind == ArgumentKind::Register as u8 {
        register(context, argument.base)?
    } else if argument.kind == ArgumentKind::Constant as u8 {
        argument.displacement as u64
    } else {
        memory(context, argument)?
    };
    let left = raw << (argument.left_shift & 63);
    let right_shift = argument.right_shift & 63;
    Some(if argument.signed != 0 {
        ((left as i64) >> right_shift) as u64
    } else {
        left >> right_shift
    })
}

#[inline(never)]
fn memory(context: &ProbeContext, argument: &Argument) -> Option<u64> {
    let mut address = argument.displacement as u64;
    if argument.base != NO_REGISTER {
        address = address.wrapping_add(register(context, argument.base)?);
    }
    if argument.index != NO_REGISTER {
        address = address.wrapping_add(register(context, argument.index)? << (argument.scale & 3));
    }
    // SAFETY: the helper checks the address and reports a fault as an error.
    unsafe { bpf_probe_read_user(address as *const u64) }.ok()
}

/// A word of the register file.
///
/// The verifier allows only constant offsets into the context, and this one comes from a map, so
/// it is read as kernel memory, as libbpf's usdt.bpf.h does.
#[inline(always)]
fn register(context: &ProbeContext, word: u8) -> Option<u64> {
    let word = usize::from(word);
    if word >= REGISTERS {
        return None;
    }
    let address = (context.as_ptr() as usize).wrapping_add(word * size_of::<u64>());
    // SAFETY: the helper checks the address and reports a fault as an error.
    unsafe { bpf_probe_read_kernel(address as *const u64) }.ok()
}

/// The attach cookie: the number of the probe in the table of sites.
#[inline(always)]
pub fn site(context: &ProbeContext) -> u32 {
    // SAFETY: the context is that of this program.
    let cookie =
        unsafe { aya_ebpf::helpers::generated::bpf_get_attach_cookie(context.as_ptr().cast::<c_void>()) };
    cookie as u32
}
