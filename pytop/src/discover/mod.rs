//! Which processes run CPython, found by the content of the files they map.
//!
//! A name proves nothing: interpreters are embedded (`uwsgi`, `gdb`, `blender`), renamed, deleted
//! while they run, and live in containers whose paths mean nothing outside. What a process
//! executes is in its executable mappings, so those are what is looked at:
//!
//! ```text
//! /proc/812/maps                 55d0c0a00000-55d0c0c41000 r-xp … fd:00 1835234 /usr/bin/python3.9
//!   -> identity                  device and inode: already examined? then that is all
//! /proc/812/map_files/55d0…-55d0…  the file itself, whatever its path leads to by now
//!   -> examined once             kept open, so that a probe finds it when the process is gone
//! ```
//!
//! What is true of a file ([`mod@file`]) is found once, however many processes map it; what is true of
//! a process ([`process`]) is read only for those that run CPython. [`Finder`] puts both together,
//! and is driven by what the kernel tells of processes ([`event`]), with a scan every second that
//! would find everything without those events.
//!
//! The text of `/proc` is read by hand, because it holds bytes that other processes chose: no line
//! of it needs to be UTF-8, and nothing that a process does may stop the scan of the others. A
//! process that ends between two reads is normal, and never an error.

pub mod container;
pub mod error;
pub mod event;
pub mod family;
pub mod file;
pub mod finder;
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
pub mod installed;
pub mod mapping;
pub mod memory;
pub mod proc_root;
pub mod process;
#[cfg(test)]
mod tests;

pub use error::LookError;
pub use event::ProcessEvent;
pub use family::{ancestors, descendants};
pub use file::{FileId, InterpreterFile};
pub use finder::{Attention, Finder, Found, Scan};
pub use installed::Installed;
pub use memory::Memory;
pub use proc_root::ProcRoot;
pub use process::{Process, ProcessId};
