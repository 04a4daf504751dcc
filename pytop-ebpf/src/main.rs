//! pytop's eBPF programs.
//!
//! `function_entry` runs at each hit of a `function__entry` marker and counts it. What a hit costs
//! is what the traced program pays, and reading that program's memory is the dearest part: each of
//! the two reads that see whether a function's names are still the same costs as much as all the
//! rest together. So there are three paths:
//!
//! ```text
//! a function that has lasted          arguments from registers, one look-up, one atomic addition
//! a function that may be new          the same, and its names are checked: see `Trust`
//! its first call in the interval      its names are found, and kept if nobody has kept them yet
//! ```
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
