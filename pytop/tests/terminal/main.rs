//! The screen in a real terminal: keys are typed, and the screen is read.

mod environment;
mod keys;
mod leaving;
#[path = "../support/mod.rs"]
mod support;
mod tmux;

use support::{Form, Python, Running, interpreter};
use tmux::Terminal;

/// Three functions: most calls has `banana`, then `cherry`, then `apple`.
fn fruit() -> Running {
    Python::new(interpreter("3.9"), Form::Chroot, "fruit.py").start()
}

/// The command line of pytop with these arguments and short intervals.
fn pytop(arguments: &str) -> String {
    format!("{} -d 0.2 {arguments}", env!("CARGO_BIN_EXE_pytop"))
}

/// A terminal of the usual size with a pytop that shows `running`.
fn watching(running: &Running) -> Terminal {
    let terminal = Terminal::open(120, 30);
    terminal.run(&pytop(&format!("-p {}", running.pid())));
    wait_for_order(&terminal, &["banana", "cherry", "apple"]);
    terminal
}

/// The functions in the table, from the top.
fn functions(screen: &str) -> Vec<&str> {
    let rows = screen.lines().filter(|line| line.contains("/fruit.py "));
    rows.filter_map(|row| {
        row.split_whitespace()
            .find(|word| ["apple", "banana", "cherry"].contains(word))
    })
    .collect()
}

/// Waits until the table has these functions, in this order.
#[track_caller]
fn wait_for_order(terminal: &Terminal, expected: &[&str]) -> String {
    terminal.wait(&format!("{expected:?}"), |screen| {
        functions(screen) == expected
    })
}
