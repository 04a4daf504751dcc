//! The requests that the tracer makes, and what it is told.
//!
//! They go to the kernel with plain signal numbers: a program may use real-time signals, for which
//! `nix::sys::signal::Signal` has no names, and they must be passed on like any other.

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::ExitStatusExt as _;
use std::process::ExitStatus;
use std::ptr;

use libc::{c_int, pid_t};
use nix::sys::ptrace::{self, Options};
use nix::unistd::Pid;

/// What a task (a thread, in the kernel's words) reports.
#[derive(Clone, Copy, Debug)]
pub(super) enum Change {
    /// It is gone.
    Ended(ExitStatus),
    /// A signal is about to be delivered to it.
    Signal(c_int),
    /// It has become another program.
    Exec,
    /// It has made the task with this number.
    NewTask(pid_t),
    /// Its process has been stopped, by SIGSTOP or the terminal.
    GroupStop,
    /// Any other stop: its first, one that was asked for, or the end of a group stop.
    Trap,
}

/// Makes the calling thread the tracer of `task`. Its descendants will be traced too, and all of
/// them killed if the tracer ends first.
pub(super) fn seize(task: pid_t) -> io::Result<()> {
    let options = Options::PTRACE_O_TRACEEXEC
        | Options::PTRACE_O_TRACEFORK
        | Options::PTRACE_O_TRACEVFORK
        | Options::PTRACE_O_TRACECLONE
        | Options::PTRACE_O_EXITKILL;
    Ok(ptrace::seize(Pid::from_raw(task), options)?)
}

/// Asks for a [`Change::Trap`].
pub(super) fn interrupt(task: pid_t) {
    // It fails when the task has ended, which will be reported.
    let _ = ptrace::interrupt(Pid::from_raw(task));
}

/// Lets a stopped task run on, with a signal, or with none for 0.
pub(super) fn resume(task: pid_t, signal: c_int) {
    request(libc::PTRACE_CONT, task, signal);
}

/// Leaves a task in its group stop, but hears of its end, as `PTRACE_CONT` would not.
pub(super) fn listen(task: pid_t) {
    request(PTRACE_LISTEN, task, 0);
}

/// Lets a stopped task go for good, with a signal, or with none for 0.
pub(super) fn detach(task: pid_t, signal: c_int) {
    request(libc::PTRACE_DETACH, task, signal);
}

// include/uapi/linux/ptrace.h; the libc crate has it for some targets only.
#[cfg(not(target_env = "musl"))]
const PTRACE_LISTEN: libc::c_uint = 0x4208;
#[cfg(target_env = "musl")]
const PTRACE_LISTEN: c_int = 0x4208;

#[cfg(not(target_env = "musl"))]
type Request = libc::c_uint;
#[cfg(target_env = "musl")]
type Request = c_int;

/// A request that can only fail because the task was killed in its stop; its end is then reported.
fn request(request: Request, task: pid_t, signal: c_int) {
    let data = ptr::without_provenance_mut::<libc::c_void>(signal.unsigned_abs() as usize);
    // SAFETY: these requests take a signal number in place of the data pointer, and touch no memory
    // of this process.
    unsafe { libc::ptrace(request, task, ptr::null_mut::<libc::c_void>(), data) };
}

/// Waits for a task that the calling thread traces.
///
/// `ECHILD` when there is none. Children of other threads are left to those (`__WNOTHREAD`).
pub(super) fn wait_traced() -> io::Result<(pid_t, Change)> {
    wait(-1, libc::__WALL | libc::__WNOTHREAD)
}

/// Waits for the end of a process that a thread of this process has forked.
pub(super) fn wait_child(pid: pid_t) -> io::Result<(pid_t, Change)> {
    wait(pid, libc::__WALL)
}

/// Waits until a child stops or ends, takes no notice of it, and tells whether it has ended.
pub(super) fn has_ended(child: pid_t) -> bool {
    use nix::sys::wait::{Id, WaitPidFlag, WaitStatus};
    let flags =
        WaitPidFlag::WEXITED | WaitPidFlag::WSTOPPED | WaitPidFlag::WNOWAIT | WaitPidFlag::__WALL;
    loop {
        match nix::sys::wait::waitid(Id::Pid(Pid::from_raw(child)), flags) {
            Err(nix::errno::Errno::EINTR) => {}
            Ok(WaitStatus::Exited(..) | WaitStatus::Signaled(..))
            | Err(nix::errno::Errno::ECHILD) => return true,
            // Stopped; by a real-time signal for an error.
            Ok(_) | Err(_) => return false,
        }
    }
}

fn wait(which: pid_t, flags: c_int) -> io::Result<(pid_t, Change)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        let task = unsafe { libc::waitpid(which, &raw mut status, flags) };
        if task >= 0 {
            return Ok((task, decode(task, status)));
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn decode(task: pid_t, status: c_int) -> Change {
    if !libc::WIFSTOPPED(status) {
        return Change::Ended(ExitStatus::from_raw(status));
    }
    // A stop's status holds the signal in its second byte, and an event in its third.
    match (status >> 16, libc::WSTOPSIG(status)) {
        (0, signal) => Change::Signal(signal),
        (libc::PTRACE_EVENT_EXEC, _) => Change::Exec,
        (libc::PTRACE_EVENT_FORK | libc::PTRACE_EVENT_VFORK | libc::PTRACE_EVENT_CLONE, _) => {
            let made = ptrace::getevent(Pid::from_raw(task));
            made.ok()
                .and_then(|task| task.try_into().ok())
                .map_or(Change::Trap, Change::NewTask)
        }
        (
            libc::PTRACE_EVENT_STOP,
            libc::SIGSTOP | libc::SIGTSTP | libc::SIGTTIN | libc::SIGTTOU,
        ) => Change::GroupStop,
        _ => Change::Trap,
    }
}

/// Kills a process that has not been waited for, so that its number is still its own.
pub(super) fn kill(process: pid_t) {
    // It fails when the process has ended, which will be reported.
    let _ = nix::sys::signal::kill(Pid::from_raw(process), nix::sys::signal::Signal::SIGKILL);
}

/// Whether two processes run in the same memory, as after vfork(2). False when it cannot be told.
pub(super) fn share_memory(one: pid_t, other: pid_t) -> bool {
    // include/uapi/linux/kcmp.h
    const KCMP_VM: c_int = 1;
    // SAFETY: compares two tasks; no pointer is passed.
    unsafe { libc::syscall(libc::SYS_kcmp, one, other, KCMP_VM, 0, 0) == 0 }
}

pub(super) fn pidfd_open(pid: pid_t) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) };
    match RawFd::try_from(descriptor) {
        // SAFETY: the kernel has just made this descriptor for us alone.
        Ok(descriptor) if descriptor >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(descriptor) }),
        _ => Err(io::Error::last_os_error()),
    }
}

pub(super) fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: c_int) -> io::Result<()> {
    let none = ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo makes the kernel fill in what kill(2) would.
    let sent = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            none,
            0,
        )
    };
    if sent == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// Closes a descriptor that nothing here owns: the copy that a fork has made of a parent's.
pub(super) fn close(descriptor: RawFd) {
    // SAFETY: called in a child between fork and exec, where nothing will use the number again.
    unsafe { libc::close(descriptor) };
}

/// One trap instruction at a program's entry point.
#[derive(Clone, Copy, Debug)]
pub(super) struct Breakpoint {
    address: u64,
    /// The aligned word that was at `address`, and around it.
    original: i64,
}

#[cfg(target_arch = "x86_64")]
const TRAP: [u8; 1] = [0xcc]; // int3
#[cfg(target_arch = "aarch64")]
const TRAP: [u8; 4] = 0xd420_0000_u32.to_le_bytes(); // brk #0

/// Distance from the trap to the program counter after it: x86 stops behind it, ARM on it.
#[cfg(target_arch = "x86_64")]
const ADVANCE: u64 = 1;
#[cfg(target_arch = "aarch64")]
const ADVANCE: u64 = 0;

const WORD: u64 = size_of::<libc::c_long>() as u64;

impl Breakpoint {
    /// Puts a trap at `address` of a stopped task.
    pub(super) fn plant(task: pid_t, address: u64) -> io::Result<Self> {
        let task = Pid::from_raw(task);
        let original = ptrace::read(task, Self::word(address))?;
        let mut bytes = original.to_ne_bytes();
        let offset = usize::try_from(address % WORD).unwrap_or_default();
        match bytes
            .get_mut(offset..)
            .and_then(|tail| tail.get_mut(..TRAP.len()))
        {
            Some(place) => place.copy_from_slice(&TRAP),
            None => return Err(io::Error::other("the entry point is not aligned")),
        }
        ptrace::write(task, Self::word(address), i64::from_ne_bytes(bytes))?;
        Ok(Self { address, original })
    }

    /// Puts back what was there, in a stopped task.
    pub(super) fn remove(self, task: pid_t) {
        // It fails when the task was killed, which will be reported.
        let _ = ptrace::write(Pid::from_raw(task), Self::word(self.address), self.original);
    }

    /// Whether a task that got SIGTRAP got it from this.
    pub(super) fn is_hit(self, task: pid_t) -> bool {
        ptrace::getregs(Pid::from_raw(task))
            .is_ok_and(|registers| counter(&registers) == self.address.wrapping_add(ADVANCE))
    }

    /// Removes it, and lets the task that hit it start again from the instruction that was there.
    pub(super) fn step_back(self, task: pid_t) {
        self.remove(task);
        let task = Pid::from_raw(task);
        if let Ok(mut registers) = ptrace::getregs(task) {
            set_counter(&mut registers, self.address);
            let _ = ptrace::setregs(task, registers);
        }
    }

    fn word(address: u64) -> ptrace::AddressType {
        let aligned = address - address % WORD;
        ptr::without_provenance_mut(usize::try_from(aligned).unwrap_or_default())
    }
}

#[cfg(target_arch = "x86_64")]
fn counter(registers: &libc::user_regs_struct) -> u64 {
    registers.rip
}
#[cfg(target_arch = "aarch64")]
fn counter(registers: &libc::user_regs_struct) -> u64 {
    registers.pc
}
#[cfg(target_arch = "x86_64")]
fn set_counter(registers: &mut libc::user_regs_struct, address: u64) {
    registers.rip = address;
}
#[cfg(target_arch = "aarch64")]
fn set_counter(registers: &mut libc::user_regs_struct, address: u64) {
    registers.pc = address;
}
