//! However pytop leaves the screen, the terminal is as it was.

use std::fs;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd};

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::support::{DEADLINE, Form, Python, interpreter};
use super::tmux::Terminal;
use super::{fruit, pytop, wait_for_order, watching};

#[test]
fn keys_that_quit() {
    let running = fruit();
    let terminal = watching(&running);
    for key in ["q", "C-c", "F10", "Escape"] {
        if key != "q" {
            terminal.run(&pytop(&format!("-p {}", running.pid())));
            wait_for_order(&terminal, &["banana", "cherry", "apple"]);
        }
        terminal.press(key);
        let screen = terminal.wait_for_shell();
        assert!(!screen.contains("banana"), "{screen}");
        assert_eq!(terminal.status(), "0", "{key}");
        terminal.run("clear");
        terminal.wait("a clear screen", |screen| !screen.contains("status"));
    }
}

#[test]
fn signals_that_end_it() {
    let running = fruit();
    for signal in [
        Signal::SIGTERM,
        Signal::SIGINT,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        let terminal = watching(&running);
        terminal.signal(signal);
        terminal.wait_for_shell();
        assert_eq!(terminal.status(), "0", "{signal}");
    }
}

/// Under a bound the kernel takes its time, and the screen is gone before.
#[test]
fn what_the_end_waits_for() {
    let names = ["3.9", "3.11", "3.13", "3.14", "3.15"];
    let running =
        names.map(|name| Python::new(interpreter(name), Form::Chroot, "fruit.py").start());
    let pids = running.each_ref().map(|running| running.pid().to_string());
    let terminal = Terminal::open(120, 30);
    terminal.run(&pytop(&format!("--max-overhead 5 -p {}", pids.join(","))));
    terminal.wait_for(&["banana", "cherry", "apple"]);
    terminal.press("q");
    let screen = terminal.wait_for_shell();
    let message =
        "pytop: waiting for the kernel to take out the probes, which nobody runs into any more";
    assert!(screen.contains(message), "{screen}");
    assert_eq!(terminal.status(), "0");
}

#[test]
fn all_snapshots_were_taken() {
    let running = fruit();
    let terminal = Terminal::open(120, 30);
    terminal.run(&pytop(&format!("-n 2 -p {}", running.pid())));
    terminal.wait("a screen", |_| terminal.variable("alternate_on") == "1");
    terminal.wait_for_shell();
    assert_eq!(terminal.status(), "0");
}

/// Ctrl-Z, and the shell's fg.
#[test]
fn it_is_suspended() {
    let running = fruit();
    let terminal = watching(&running);
    terminal.press("C-z");
    let screen = terminal.wait_for_shell();
    assert!(screen.contains("Stopped"), "{screen}");
    // While nobody looks, the terminal becomes another size.
    terminal.resize(100, 20);
    terminal.run("fg");
    let screen = wait_for_order(&terminal, &["banana", "cherry", "apple"]);
    assert_eq!(screen.lines().count(), 20, "{screen}");
    assert_eq!(terminal.variable("alternate_on"), "1");

    // The same, asked for by another process.
    terminal.signal(Signal::SIGTSTP);
    terminal.wait_for_shell();
    terminal.run("fg");
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
    terminal.press("q");
    terminal.wait_for_shell();
    assert_eq!(terminal.status(), "0");
}

#[test]
fn a_failure_is_told_without_a_screen() {
    let terminal = Terminal::open(120, 30);
    terminal.run(&pytop("-p 2"));
    let screen = terminal.wait_for_shell();
    assert!(
        screen.contains("pytop: process 2 (kthreadd) is a thread of the kernel"),
        "{screen}"
    );
    assert_eq!(terminal.status(), "1");
}

/// pytop ends when the command does. Its output comes when the screen is gone, and its status is
/// that of pytop.
#[test]
fn a_command_on_the_screen() {
    let text = "import os, sys, time\n\
        def apple(): pass\n\
        print('printed by the command', flush=True)\n\
        print('and told', file=sys.stderr, flush=True)\n\
        while not os.path.exists(sys.argv[1]): apple(); time.sleep(0.01)\n\
        sys.exit(7)\n";
    let python = Python::of_text(interpreter("3.9"), Form::Chroot, text.to_owned());
    let end = format!("{}/end", python.script.folder_inside());
    let terminal = Terminal::open(120, 30);
    terminal.run(&pytop(&format!(
        "-- {}",
        python.clone().argument(&end).words().join(" ")
    )));
    let screen = terminal.wait_for(&[" apple ", "calls/s"]);
    assert!(!screen.contains("printed by the command"), "{screen}");
    fs::write(python.script.folder().join("end"), "").expect("the folder is ours");
    let screen = terminal.wait_for_shell();
    for text in ["printed by the command", "and told"] {
        assert!(screen.contains(text), "no {text}:\n{screen}");
    }
    assert_eq!(terminal.status(), "7");
}

/// The last process that was named ends, and pytop with it.
#[test]
fn a_process_that_ends() {
    let mut running = fruit();
    let terminal = watching(&running);
    running.kill();
    terminal.wait_for_shell();
    assert_eq!(terminal.status(), "0");
}

/// Leaving the screen ends the command.
#[test]
fn a_command_that_goes_on() {
    let python = Python::new(interpreter("3.9"), Form::Chroot, "fruit.py");
    let terminal = Terminal::open(120, 30);
    terminal.run(&pytop(&format!("-- {}", python.words().join(" "))));
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
    terminal.press("q");
    let screen = terminal.wait_for_shell();
    assert!(screen.contains("ready"), "{screen}");
    assert_eq!(terminal.children(), "", "{screen}");
}

/// The terminal goes away, and pytop with it.
#[test]
fn the_terminal_is_closed() {
    let running = fruit();
    let terminal = watching(&running);
    let pytop = terminal.child();
    drop(terminal);
    wait_until_gone(pytop);
}

/// Waits for the end of a process that is not ours to wait for.
fn wait_until_gone(pid: Pid) {
    // SAFETY: the call takes integers only.
    let descriptor = unsafe { libc::syscall(libc::SYS_pidfd_open, pid.as_raw(), 0) };
    let Ok(descriptor @ 0..) = i32::try_from(descriptor) else {
        return assert_eq!(Errno::last(), Errno::ESRCH);
    };
    // SAFETY: the kernel has just opened it for us alone.
    let process = unsafe { OwnedFd::from_raw_fd(descriptor) };
    let mut ended = [PollFd::new(process.as_fd(), PollFlags::POLLIN)];
    let deadline = PollTimeout::try_from(DEADLINE).expect("it is short");
    assert_eq!(
        poll(&mut ended, deadline),
        Ok(1),
        "process {pid} has not ended"
    );
}
