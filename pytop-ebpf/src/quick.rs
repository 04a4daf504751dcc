//! Counting a function that has a slot, at a site that is known when the program is loaded.

use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::programs::ProbeContext;
use pytop_common::code::Proof;
use pytop_common::count::{CODE_OBJECT, FrameKey, RESUME};
use pytop_common::quick::QuickSite;

use crate::argument::Registers;
use crate::counting;
use crate::maps::ACTIVE;

/// The site. It has a map of its own, so that each copy of a program can be given another one. The
/// verifier takes what is in it for constants, and drops the code for all other registers.
#[unsafe(no_mangle)]
#[unsafe(link_section = ".rodata.site")]
pub static SITE: QuickSite = QuickSite {
    plus: 0,
    first: 0,
    second: 0,
    line: 0,
    proof: 0,
    identity_plus: 0,
    identity: 0,
    condition: 0,
    previous: 0,
    doubtful: 0,
    reserved: [0; 3],
};

macro_rules! site {
    ($field:ident) => {
        // SAFETY: a field of a static variable. It is volatile because user space changes it before
        // the program is loaded.
        unsafe { (&raw const crate::quick::SITE.$field).read_volatile() }
    };
}
pub(crate) use site;

/// Counts a hit of a marker. `false` when it is left to others.
#[inline(always)]
pub fn count_marker(context: &ProbeContext, pid: u32) -> bool {
    at_marker(context, pid).is_some_and(|key| count(&key))
}

/// What is entered at a marker.
#[inline(always)]
pub fn at_marker(context: &ProbeContext, pid: u32) -> Option<FrameKey> {
    let registers = Registers::of(context);
    Some(FrameKey {
        first: registers.get(site!(first))?,
        second: registers.get(site!(second))?,
        pid,
        line: registers.get(site!(line))? as i32,
    })
}

/// Counts a hit of the handler of a RESUME bytecode. `false` when it is left to others.
#[inline(always)]
pub fn count_resume(context: &ProbeContext, pid: u32) -> bool {
    at_resume(context, pid).is_some_and(|key| count(&key))
}

/// What is entered at the handler of a RESUME bytecode; `None` when it is not sure that there is an
/// entry.
#[inline(always)]
pub fn at_resume(context: &ProbeContext, pid: u32) -> Option<FrameKey> {
    let registers = Registers::of(context);
    let proof = site!(proof);
    let proven = proof == Proof::Always as u8
        || proof == Proof::Clear as u8 + u8::from(registers.zero_flag());
    if !proven {
        return None;
    }
    let instruction = registers.get(site!(first))?;
    Some(FrameKey {
        first: instruction.wrapping_add(i64::from(site!(plus)) as u64),
        second: RESUME,
        pid,
        line: 0,
    })
}

/// Counts a hit of the frame evaluation function. `false` when it is left to others.
#[inline(always)]
pub fn count_evaluation(context: &ProbeContext, pid: u32) -> bool {
    at_evaluation(context, pid).is_some_and(|key| count(&key))
}

/// What is entered at the frame evaluation function.
#[inline(always)]
pub fn at_evaluation(context: &ProbeContext, pid: u32) -> Option<FrameKey> {
    let frame = Registers::of(context).get(site!(first))?;
    let pointer = frame.wrapping_add(i64::from(site!(plus)) as u64);
    // SAFETY: the helper checks the address and reports a fault as an error.
    let code = unsafe { bpf_probe_read_user(pointer as *const u64) }.ok()?;
    Some(FrameKey {
        first: code,
        second: CODE_OBJECT,
        pid,
        line: 0,
    })
}

#[inline(always)]
fn count(key: &FrameKey) -> bool {
    ACTIVE
        .get(0)
        .is_some_and(|slots| counting::count_in_slot(slots, key).is_some())
}
