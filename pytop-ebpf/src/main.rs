//! pytop's eBPF programs.
//!
//! `function_entry` runs at each hit of a `function__entry` marker and counts it. What a hit costs
//! is what the traced program pays, so the common path (a function already seen in this interval)
//! does four small helper calls to find its arguments and its counter, two to see that the names
//! are still the same, and one atomic addition; everything else happens once per function and
//! interval.
#![no_std]
#![no_main]
#![allow(
    internal_features,
    reason = "the BPF target has no atomics in core::sync::atomic"
)]
#![feature(core_intrinsics)]

mod argument;
mod counting;
mod maps;
mod names;

use aya_ebpf::macros::uprobe;
use aya_ebpf::programs::ProbeContext;

/// Counts one entry of a Python frame.
#[uprobe]
fn function_entry(context: ProbeContext) -> u32 {
    if let Err(loss) = counting::count_marker(&context) {
        maps::add_loss(loss);
    }
    0
}

/// Does nothing: what remains is the cost of the probe itself, the floor of any counter.
#[uprobe]
fn empty(_context: ProbeContext) -> u32 {
    0
}

/// Never attached. A kernel that loads it runs uprobe programs without passing over a hit, because
/// both came with the same change of Linux 6.0.
#[uprobe(sleepable)]
fn sleepable(_context: ProbeContext) -> u32 {
    0
}

#[cfg(not(test))]
#[panic_handler]
fn panic(_info: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";
