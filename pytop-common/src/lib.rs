//! What pytop's eBPF programs and its user space share: the keys and values of the maps, the
//! specification of a marker's arguments, and the reasons for which a call could not be counted.
//!
//! Everything here is plain old data with a fixed layout, read by one side and written by the
//! other. Sizes are asserted, and no type has padding, because the kernel compares map keys byte
//! by byte.
#![no_std]

pub mod code;
pub mod count;
pub mod durations;
pub mod marker;
pub mod quick;
pub mod runtime;
pub mod trace;
