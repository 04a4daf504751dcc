//! Kernels, and places on them, where pytop cannot count.

use std::process::Command;

use super::support::{Outcome, Pytop, seccomp};

fn once() -> Command {
    let mut command = Pytop::command();
    command.arg("--once");
    command
}

/// pytop, after a shell in a mount namespace of its own has done something.
fn after(preparation: &str) -> Outcome {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c"])
        .arg(format!("{preparation} && exec \"$0\" --once"))
        .arg(env!("CARGO_BIN_EXE_pytop"));
    Outcome::of(command)
}

#[test]
fn no_uprobes() {
    after("mount -t tmpfs none /sys/bus/event_source").assert_failed(
        1,
        "this kernel cannot count calls: it lacks uprobes as perf events \
         (/sys/bus/event_source/devices/uprobe), which needs Linux 6.0 or later, built with \
         CONFIG_UPROBE_EVENTS, and sysfs mounted on /sys",
    );
}

#[test]
fn no_perf_events() {
    seccomp::without(libc::SYS_perf_event_open, libc::ENOSYS, once()).assert_failed(
        1,
        "this kernel cannot count calls: it lacks perf events (the perf_event_open system call), \
         which needs Linux 6.0 or later, built with CONFIG_PERF_EVENTS",
    );
}

#[test]
fn no_bpf() {
    seccomp::without(libc::SYS_bpf, libc::ENOSYS, once()).assert_failed(
        1,
        "this kernel cannot count calls: it lacks eBPF (the bpf system call), which needs Linux 6.0 \
         or later, built with CONFIG_BPF_SYSCALL",
    );
}

#[test]
fn uprobes_that_miss_hits() {
    seccomp::without_sleepable_uprobes(once()).assert_failed(
        1,
        "this kernel cannot count calls: it lacks uprobes that never miss a hit (sleepable uprobe \
         programs), which needs Linux 6.0 or later",
    );
}

#[test]
fn a_container_that_restricts_root() {
    for (call, refused) in [
        (libc::SYS_bpf, "an eBPF program"),
        (libc::SYS_perf_event_open, "a uprobe"),
    ] {
        seccomp::without(call, libc::EPERM, once()).assert_failed(
            1,
            &format!(
                "not enough privilege to count calls: the kernel refused {refused} (Operation not \
                 permitted); root is restricted here, as it is in a container: pytop needs the \
                 capabilities CAP_SYS_ADMIN, CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH, and a seccomp \
                 profile that lets it use bpf and perf_event_open (docker run --privileged \
                 --pid=host)"
            ),
        );
    }
}

#[test]
fn a_pid_namespace() {
    let mut command = Command::new("unshare");
    command
        .args(["--pid", "--fork", "--mount-proc"])
        .arg(env!("CARGO_BIN_EXE_pytop"))
        .arg("--once");
    Outcome::of(command).assert_failed(
        1,
        "cannot count from within a pid namespace: the process ids that the kernel tells mean \
         nothing there; run pytop on the host, or in a container that shares the host's (docker run \
         --privileged --pid=host)",
    );
}

#[test]
fn no_proc() {
    after("mount -t tmpfs none /proc").assert_failed(
        1,
        "cannot read /proc/self/ns/pid: No such file or directory; pytop needs the proc file system \
         on /proc",
    );
}

/// A shell that lowers a limit becomes pytop.
fn with_limit(limit: &str, arguments: &str) -> Outcome {
    let mut command = Command::new("sh");
    command
        .args(["-c", &format!("ulimit {limit} && exec \"$0\" {arguments}")])
        .arg(env!("CARGO_BIN_EXE_pytop"));
    Outcome::of(command)
}

#[test]
fn too_few_open_files() {
    let message = "at most 40 files can be open, and pytop needs 96, and some more for each \
        interpreter: raise the limit (ulimit -n)";
    with_limit("-n 40", "--once").assert_failed(1, message);
    // pytop may raise this one by itself, but not for a command too.
    with_limit("-S -n 40", "-b -- true").assert_failed(1, message);
    let raised = with_limit("-S -n 40", "--once -d 0.1");
    assert_eq!((raised.messages(), raised.status), (vec![], 0));
}

#[test]
fn a_table_that_no_kernel_has() {
    let outcome = Outcome::of_pytop(["--once", "--table-size", "4294967295"]);
    let [message] = outcome.messages()[..] else {
        panic!("one message expected: {outcome:?}");
    };
    let expected = "cannot load the eBPF programs into this kernel: cannot create the map ";
    assert!(message.starts_with(expected), "{message}");
    let answers = ["Argument list too long", "Cannot allocate memory"];
    assert!(
        answers.iter().any(|answer| message.contains(answer)),
        "{message}"
    );
    assert_eq!((outcome.stdout(), outcome.status), ("", 1));
}
