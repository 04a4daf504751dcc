//! What a hit costs on this machine.
//!
//! pytop places probes on functions of its own, counts them as it counts any other, and takes the
//! time of some hundred hits. Without a probe they take next to nothing, so this is what a hit
//! costs: the trap, the kernel's way to the program and back, and the counting.
//!
//! A function returns to where the processor foresees, unless a trap has made it forget that: on some
//! processors each return after a trap costs a third of the trap, on others nothing. So there are two
//! functions. One goes round a loop that passes its probe, and what it takes is the trap's alone. The
//! other has its probe two calls deep. Both probes are at a `nop`, which the kernel emulates, as it does
//! the instructions that are probed elsewhere.

use std::arch::global_asm;
use std::ffi::{CStr, c_char};
use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;
use pytop_common::count::{LASTING_CALLS, LASTING_INTERVALS};
use pytop_common::marker::{Argument, ArgumentKind, MarkerSpec, NO_REGISTER};

#[cfg(doc)]
use super::gate::Gate;
use super::kernel::{Description, Kernel, SiteId};
use super::program::Program;
use super::uprobe::{Place, Probe, Target};
use crate::discover::ProcRoot;

/// The two functions. `w3` and `ecx` are the fourth argument.
#[cfg(target_arch = "x86_64")]
macro_rules! passes {
    () => {
        "pytop_passed:
         nop
         dec ecx
         jnz pytop_passed
         ret"
    };
}
#[cfg(target_arch = "x86_64")]
macro_rules! calls {
    () => {
        "pytop_returned:
         call 2f
         dec ecx
         jnz pytop_returned
         ret
         2:
         call pytop_called
         ret
         pytop_called:
         nop
         ret"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! passes {
    () => {
        "pytop_passed:
         nop
         subs w3, w3, #1
         b.ne pytop_passed
         ret"
    };
}
#[cfg(target_arch = "aarch64")]
macro_rules! calls {
    () => {
        "pytop_returned:
         stp x29, x30, [sp, #-16]!
         1:
         bl 2f
         subs w3, w3, #1
         b.ne 1b
         ldp x29, x30, [sp], #16
         ret
         2:
         stp x29, x30, [sp, #-16]!
         bl pytop_called
         ldp x29, x30, [sp], #16
         ret
         pytop_called:
         nop
         ret"
    };
}

global_asm!(
    ".pushsection .text.pytop_metered,\"ax\",%progbits",
    ".hidden pytop_passed, pytop_returned, pytop_called",
    ".globl pytop_passed, pytop_returned, pytop_called",
    ".type pytop_passed, %function",
    ".type pytop_returned, %function",
    ".type pytop_called, %function",
    ".balign 16",
    passes!(),
    ".size pytop_passed, . - pytop_passed",
    ".balign 16",
    calls!(),
    ".size pytop_returned, . - pytop_returned",
    ".popsection",
);

/// Passes a probe so many `times`, at least once. The arguments before that are those of a
/// `function__entry` marker.
type Metered =
    unsafe extern "C" fn(filename: *const c_char, function: *const c_char, line: i32, times: u32);

unsafe extern "C" {
    /// Begins with its probe.
    fn pytop_passed(filename: *const c_char, function: *const c_char, line: i32, times: u32);
    /// Calls one that calls [`pytop_called`].
    fn pytop_returned(filename: *const c_char, function: *const c_char, line: i32, times: u32);
    /// Begins with its probe, and does nothing.
    fn pytop_called();
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

/// How many hits there are first, and in how many intervals: only a function that has lasted costs
/// what nearly all hits cost.
const WARM_UP: u32 = 2_048;
const _: () = assert!(WARM_UP as u64 > LASTING_CALLS);
const WARM_UPS: u32 = LASTING_INTERVALS + 1;

/// What a hit costs, in two parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HitCost {
    /// The trap, what the kernel does, and the counting.
    pub trap: Duration,
    /// What two returns cost that come after it, more than without the trap.
    pub returns: Duration,
}

/// Probes on functions of pytop's own, by which the cost of a hit is measured again and again:
/// machines are not equally quick at all times.
#[derive(Debug)]
pub struct Meter {
    probes: Vec<Probe>,
    /// Intervals in which the functions still have to be called more often than they are measured.
    warm_ups: u32,
    /// They have been, in this one.
    is_warm: bool,
}

impl Meter {
    /// Places the probes. `None` where pytop's own file cannot be probed; the cost is not known then.
    ///
    /// The hits are those of `site`.
    pub(super) fn place(kernel: &mut Kernel, site: SiteId) -> Option<Self> {
        let path = Path::new("/proc/self/exe");
        let file = File::open(path).ok()?;
        let [passed, called] = file_offsets([
            pytop_passed as *const () as u64,
            pytop_called as *const () as u64,
        ])?;
        let place = |offset| Place {
            offset,
            semaphore_offset: None,
            site,
        };
        let target = Target {
            file: &file,
            path,
            pid: Some(std::process::id()),
        };
        let probes = kernel.attach(
            Program::FunctionEntry,
            &target,
            &[place(passed), place(called)],
        );
        Some(Self {
            probes: probes.ok()?,
            warm_ups: WARM_UPS,
            is_warm: false,
        })
    }

    /// Measures what a hit costs a process that runs into it on this processor, or on any: some tenth
    /// of a millisecond of work, and a little more in the first intervals.
    pub fn measure(&mut self, processor: Option<u32>) -> HitCost {
        let _visit = processor.and_then(Visit::to);
        if self.warm_ups > 0 && !self.is_warm {
            self.warm_ups -= 1;
            self.is_warm = true;
            hit(pytop_passed, WARM_UP);
        }
        let shortest = |function| {
            let times = (0..MEASUREMENTS).map(|_| hit(function, HITS));
            times.min().unwrap_or_default() / HITS
        };
        let trap = shortest(pytop_passed);
        HitCost {
            trap,
            returns: shortest(pytop_returned).saturating_sub(trap),
        }
    }

    /// Has the kernel take breakpoints out without a wait for some milliseconds: see [`Gate`]. Nothing happens
    /// to the process, which is any that is counted: it has none of these functions.
    pub fn hasten_gates(&mut self, pid: u32) {
        if let Some(gate) = self.probes.first_mut().and_then(Probe::gate)
            && gate.admit(pid, false).is_ok()
        {
            gate.dismiss(pid);
        }
    }

    /// What was counted is drained, and with it what the kernel side has noted of these functions.
    pub fn end_interval(&mut self) {
        self.is_warm = false;
    }

    /// The probes, to be taken out together with others.
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

/// Passes the probe of a function so many times, at least once.
fn hit(function: Metered, times: u32) -> Duration {
    let start = Instant::now();
    // SAFETY: it is one of the functions above, which look at nothing.
    unsafe { function(FILENAME.as_ptr(), FUNCTION.as_ptr(), 1, times) };
    start.elapsed()
}

/// Where these addresses are in pytop's own file.
fn file_offsets<const N: usize>(addresses: [u64; N]) -> Option<[u64; N]> {
    let mappings = ProcRoot::host().ok()?.mappings(std::process::id()).ok()?;
    let mut offsets = addresses;
    for address in &mut offsets {
        let segment = mappings
            .segments
            .iter()
            .find(|segment| (segment.start..segment.end).contains(address))?;
        *address = *address - segment.start + segment.offset;
    }
    Some(offsets)
}
