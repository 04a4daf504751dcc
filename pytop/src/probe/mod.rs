//! All knowledge of the kernel: loading the programs, placing probes, draining the counts, and
//! starting a command under control.
//!
//! Only this module talks to `bpf(2)`, `perf_event_open(2)` and `ptrace(2)`.

mod counts;
mod durations;
mod events;
mod gate;
mod kernel;
pub mod launch;
mod meter;
mod outstanding;
mod process_clock;
mod process_end;
mod program;
mod quick;
mod runtime;
pub mod sideband;
mod slots;
mod syscall;
mod texts;
mod tracefs;
mod uprobe;

pub use counts::{Capacity, Drained, Frame, Incomplete, Losses, Noticed, Seen};
pub use durations::Ended;
pub use events::{Events, Thread};
pub use gate::{Apart, Gate};
pub use kernel::{Description, Kernel, LoadError, Loaded, Room, SiteId, Survey};
pub use meter::{HitCost, Meter};
pub use outstanding::{Outstanding, await_all, await_for};
pub use process_clock::{Busiest, ProcessClock};
pub use process_end::ProcessEnd;
pub use program::Program;
pub use texts::Names;
pub use uprobe::{AttachError, Place, Probe, Target, detach};
