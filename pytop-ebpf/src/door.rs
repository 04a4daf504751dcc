//! Noting when a process passes where it has run no Python code yet.

use aya_ebpf::bindings::BPF_NOEXIST;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::programs::ProbeContext;

use crate::argument;
use crate::counting::remember_process;
use crate::maps::DOORS;

/// Notes the time of the first pass, until user space has taken it.
#[inline(always)]
pub fn pass(context: &ProbeContext, pid: u32) {
    // SAFETY: the helper takes nothing.
    let now = unsafe { bpf_ktime_get_ns() };
    // A full table has thousands of processes that nobody has looked at; one more is as good as
    // marked, for what user space knows nothing of is incomplete.
    let _ = DOORS.insert(&pid, &now, u64::from(BPF_NOEXIST));
    remember_process(pid, argument::site(context));
}
