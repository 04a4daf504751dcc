//! All knowledge of the kernel: loading the programs, placing probes, draining the counts.
//!
//! Only this module talks to bpf(2) and perf_event_open(2).

mod counts;
mod kernel;
mod syscall;
mod texts;
mod uprobe;

pub use counts::{Drained, Frame, Losses, Seen};
pub use kernel::{Kernel, LoadError, Program, SiteId};
pub use texts::Names;
pub use uprobe::{AttachError, Probe, Target, detach};
