//! What a hit costs on this machine.
//!
//! pytop places a probe on a function of its own, counts it as it counts any other, and takes the
//! time of some hundred hits. Without a probe they take next to nothing, so this is what a hit
//! costs: the trap, the kernel's way to the program and back, and the counting. The function goes
//! round a loop that begins with a `nop`, which the kernel emulates, as it does the instructions that
//! are probed elsewhere. Were it called for each hit, its return would cost as much again as a
//! quarter of the hit, and not always: the processor foresees where a function returns to, and
//! forgets that at a trap.

use std::arch::global_asm;
use std::ffi::{CStr, c_char};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use pytop_common::count::{LASTING_CALLS, LASTING_INTERVALS};
use pytop_common::marker::{Argument, ArgumentKind, MarkerSpec, NO_REGISTER};

use super::kernel::{Description, Kernel, SiteId};
use super::program::Program;
use super::uprobe::{Place, Probe, Target};
use crate::discover::ProcRoot;

/// Goes round once more if the fourth argument says so.
#[cfg(target_arch = "x86_64")]
macro_rules! again {
    () => {
        "dec ecx\njnz pytop_metered"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! again {
    () => {
        "subs w3, w3, #1\nb.ne pytop_metered"
    };
}

global_asm!(
    ".pushsection .text.pytop_metered,\"ax\",%progbits",
    ".hidden pytop_metered",
    ".globl pytop_metered",
    ".type pytop_metered, %function",
    ".balign 16",
    "pytop_metered:",
    "nop",
    again!(),
    "ret",
    ".size pytop_metered, . - pytop_metered",
    ".popsection",
);

unsafe extern "C" {
    /// Passes its first instruction so many `times`, at least once. The arguments before that are
    /// those of a `function__entry` marker.
    fn pytop_metered(filename: *const c_char, function: *const c_char, line: i32, times: u32);
}

/// Words of the register file in which a function finds its first three arguments.
const ARGUMENTS: [u8; 3] = if cfg!(target_arch = "x86_64") {
    // rdi, rsi, rdx (arch/x86/include/asm/ptrace.h)
    [14, 13, 12]
} else {
    [0, 1, 2]
};

const FILENAME: &CStr = c"pytop";
const FUNCTION: &CStr = c"metered";

/// Hits of one measurement, and how often it is made at a time. What is disturbed takes longer, so
/// the shortest one counts.
const HITS: u32 = 32;
const MEASUREMENTS: usize = 4;

/// How many hits there are first, and in how many measurements: only a function that has lasted costs
/// what nearly all hits cost.
const WARM_UP: u32 = 2_048;
const _: () = assert!(WARM_UP as u64 > LASTING_CALLS);
const WARM_UPS: u32 = LASTING_INTERVALS + 1;

/// A probe on a function of pytop's own, by which the cost of a hit is measured again and again:
/// machines are not equally quick at all times.
#[derive(Debug)]
pub struct Meter {
    probes: Vec<Probe>,
    measured: u32,
}

impl Meter {
    /// Places the probe. `None` where pytop's own file cannot be probed; the cost is not known then.
    ///
    /// The hits are those of `site`.
    pub(super) fn place(kernel: &mut Kernel, site: SiteId) -> Option<Self> {
        let path = Path::new("/proc/self/exe");
        let file = File::open(path).ok()?;
        let place = Place {
            offset: file_offset()?,
            semaphore_offset: None,
            site,
        };
        let target = Target {
            file: &file,
            path,
            pid: Some(std::process::id()),
        };
        let probes = kernel.attach(Program::FunctionEntry, &target, &[place]);
        Some(Self {
            probes: probes.ok()?,
            measured: 0,
        })
    }

    /// Measures what a hit costs a process that runs into it on this processor, or on any: less than a
    /// tenth of a millisecond of work, and a little more the first times.
    pub fn measure(&mut self, processor: Option<u32>) -> Duration {
        let _visit = processor.and_then(Visit::to);
        if self.measured < WARM_UPS {
            self.measured += 1;
            hit(WARM_UP);
        }
        let shortest = (0..MEASUREMENTS).map(|_| hit(HITS)).min();
        shortest.unwrap_or_default() / HITS
    }

    /// The probe, to be taken out together with others.
    #[must_use]
    pub fn into_probes(self) -> Vec<Probe> {
        self.probes
    }
}

/// The time that a thread spends on one of its processors.
struct Visit {
    home: CpuSet,
}

impl Visit {
    /// Goes to a processor. `None` where the thread may not run: those that are kept free of others
    /// are left alone.
    fn to(processor: u32) -> Option<Self> {
        let home = sched_getaffinity(CURRENT_THREAD).ok()?;
        let processor = usize::try_from(processor).ok()?;
        if !home.is_set(processor).ok()? {
            return None;
        }
        let mut there = CpuSet::new();
        there.set(processor).ok()?;
        sched_setaffinity(CURRENT_THREAD, &there).ok()?;
        Some(Self { home })
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        // Should it fail, the thread stays where it may run, too.
        let _ = sched_setaffinity(CURRENT_THREAD, &self.home);
    }
}

const CURRENT_THREAD: Pid = Pid::from_raw(0);

/// What the kernel side has to know of the probe.
pub(super) fn description() -> Description {
    let [filename, function, line] = ARGUMENTS.map(|register| Argument {
        kind: ArgumentKind::Register as u8,
        base: register,
        index: NO_REGISTER,
        ..Argument::default()
    });
    Description::Marker(MarkerSpec {
        filename,
        function,
        line,
    })
}

/// Passes the probe so many times, at least once.
fn hit(times: u32) -> Duration {
    let start = Instant::now();
    // SAFETY: the function is the one above, which looks at nothing.
    unsafe { pytop_metered(FILENAME.as_ptr(), FUNCTION.as_ptr(), 1, times) };
    start.elapsed()
}

/// Where the function is in pytop's own file.
fn file_offset() -> Option<u64> {
    let address = pytop_metered as *const () as u64;
    let mappings = ProcRoot::host().ok()?.mappings(std::process::id()).ok()?;
    let segment = mappings
        .segments
        .into_iter()
        .find(|segment| (segment.start..segment.end).contains(&address))?;
    Some(address - segment.start + segment.offset)
}
