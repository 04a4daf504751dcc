//! Runs commands on a kernel that lacks something: a seccomp filter answers some of their system
//! calls in its stead.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd};
use std::os::unix::fs::FileExt as _;
use std::process::Command;
use std::sync::mpsc::channel;
use std::thread;

use libc::{c_int, c_long, seccomp_notif, seccomp_notif_resp, sock_filter, sock_fprog};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::outcome::Outcome;

/// Runs a command for which `call` fails with `errno`.
pub(crate) fn without(call: c_long, errno: c_int, command: Command) -> Outcome {
    let answer = libc::SECCOMP_RET_ERRNO | errno.cast_unsigned();
    // A filter is for the thread that asks for it and for what that thread starts.
    let run = thread::spawn(move || {
        filter(call, answer, 0).expect("root may filter system calls");
        Outcome::of(command)
    });
    run.join().expect("the command was run")
}

/// Runs a command on a kernel that takes no sleepable uprobe programs. Linux 5.15 has all that it
/// takes to count, but for counting every call.
pub(crate) fn without_sleepable_uprobes(command: Command) -> Outcome {
    let is_sleepable_uprobe = |call: &Call| {
        const BPF_PROG_LOAD: u64 = 5;
        const BPF_PROG_TYPE_KPROBE: u32 = 2;
        const BPF_F_SLEEPABLE: u32 = 1 << 4;
        let [command, attributes, ..] = call.arguments;
        if command != BPF_PROG_LOAD {
            return None;
        }
        // Places of prog_type and prog_flags in union bpf_attr (include/uapi/linux/bpf.h).
        let kind = u32::from_ne_bytes(call.read(attributes));
        let flags = u32::from_ne_bytes(call.read(attributes + 44));
        (kind == BPF_PROG_TYPE_KPROBE && flags & BPF_F_SLEEPABLE != 0).then_some(libc::EINVAL)
    };
    when(libc::SYS_bpf, is_sleepable_uprobe, command)
}

/// A system call that waits for its answer.
pub(crate) struct Call {
    pid: u32,
    /// Its arguments.
    pub(crate) arguments: [u64; 6],
}

impl Call {
    /// Reads from the memory of the process that makes the call.
    pub(crate) fn read<const N: usize>(&self, address: u64) -> [u8; N] {
        let mut bytes = [0; N];
        File::open(format!("/proc/{}/mem", self.pid))
            .and_then(|memory| memory.read_exact_at(&mut bytes, address))
            .expect("the arguments of a call can be read");
        bytes
    }
}

/// Runs a command for which `call` fails whenever `errno` says so.
pub(crate) fn when(
    call: c_long,
    errno: impl Fn(&Call) -> Option<c_int>,
    command: Command,
) -> Outcome {
    let (sender, receiver) = channel();
    let run = thread::spawn(move || {
        let listener = filter(
            call,
            libc::SECCOMP_RET_USER_NOTIF,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
        );
        let listener = listener.expect("root may filter system calls");
        sender
            // SAFETY: with this flag the call returns a descriptor that nobody else has.
            .send(unsafe { OwnedFd::from_raw_fd(listener) })
            .expect("the listener is awaited");
        Outcome::of(command)
    });
    let listener = receiver.recv().expect("the filter was made");
    while let Some(call) = next(&listener) {
        let pid = call.pid;
        let (id, arguments) = (call.id, call.data.args);
        let errno = errno(&Call { pid, arguments });
        // SAFETY: the structure is made of integers; all zeroes is a value of it.
        let mut answer: seccomp_notif_resp = unsafe { std::mem::zeroed() };
        answer.id = id;
        match errno {
            Some(errno) => answer.error = -errno,
            None => {
                answer.flags =
                    u32::try_from(libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE).expect("a flag");
            }
        }
        let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
        // SAFETY: the structure is that of this request, and outlives the call. It fails when the
        // process was killed meanwhile.
        unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut answer) };
    }
    run.join().expect("the command was run")
}

/// The next call; `None` when nobody is left to make one.
fn next(listener: &OwnedFd) -> Option<seccomp_notif> {
    use std::os::fd::AsFd as _;
    loop {
        let mut ready = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        poll(&mut ready, PollTimeout::NONE).expect("a listener can be waited for");
        let events = ready[0].revents().expect("the kernel's own flags");
        if events.contains(PollFlags::POLLIN) {
            // SAFETY: the structure is made of integers; all zeroes is a value of it, and the one
            // that the kernel asks for.
            let mut call: seccomp_notif = unsafe { std::mem::zeroed() };
            let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
            // SAFETY: the structure is that of this request, and outlives the call.
            if unsafe { libc::ioctl(listener.as_raw_fd(), request, &raw mut call) } == 0 {
                return Some(call);
            }
        } else if events.contains(PollFlags::POLLHUP) {
            return None;
        }
    }
}

/// Has `call` answered by `answer` from now on, in this thread.
fn filter(call: c_long, answer: u32, flags: libc::c_ulong) -> io::Result<c_int> {
    let number = u32::try_from(call).expect("numbers of system calls are small");
    let statement = |code: u32, k| sock_filter {
        code: u16::try_from(code).expect("an instruction"),
        jt: 0,
        jf: 0,
        k,
    };
    // The number of the call is the first field of what the filter sees (struct seccomp_data).
    let mut program = [
        statement(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0),
        sock_filter {
            jf: 1,
            ..statement(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number)
        },
        statement(libc::BPF_RET | libc::BPF_K, answer),
        statement(libc::BPF_RET | libc::BPF_K, libc::SECCOMP_RET_ALLOW),
    ];
    let program = sock_fprog {
        len: u16::try_from(program.len()).expect("a short program"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program outlives the call, which copies it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            flags,
            &raw const program,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(c_int::try_from(result).expect("descriptors are small"))
}
