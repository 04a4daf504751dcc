//! What pytop says that counting costs is what it does cost.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aya::programs::loaded_programs;

use support::{Counted, Form, Interpreter, Marker, Python, Pytop, Running, interpreters};
use support::{interpreter, processor_time};

/// Calls of one measurement, and how many there are: some seconds, of which other programs and other
/// machines on the same processors leave enough.
const CALLS: u64 = 400_009;
const MEASUREMENTS: u32 = 30;

/// Whatever else runs makes the processors slower, so that one test runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Processor time of one measurement.
fn time(running: &mut Running) -> Duration {
    let before = processor_time(running.pid());
    for _ in 0..MEASUREMENTS {
        running.run();
    }
    processor_time(running.pid()).saturating_sub(before) / MEASUREMENTS
}

/// The time that counting a process has taken, as pytop says.
fn told(counted: &Counted, pid: u32) -> Duration {
    let snapshots = counted.snapshots.iter();
    let seconds = snapshots.map(|snapshot| {
        let process = snapshot.processes.iter().find(|process| process.pid == pid);
        let share = process.map(|process| process.probe_cost.expect("the cost is known"));
        share.unwrap_or(0.0) * snapshot.interval_s
    });
    Duration::from_secs_f64(seconds.sum())
}

fn methods(interpreter: &Interpreter) -> Vec<&'static str> {
    let mut methods = vec![interpreter.method_without_marker()];
    if interpreter.marker == Marker::Live {
        methods.push("marker");
    }
    methods
}

#[test]
fn the_cost_that_is_told_is_within_a_third_of_the_real_slowdown() {
    let _alone = alone();
    for interpreter in interpreters() {
        for method in methods(interpreter) {
            let mut running = Python::new(interpreter, Form::Chroot, "loop.py")
                .argument(&CALLS)
                .start();
            let uncounted = time(&mut running);
            let pid = running.pid();
            let pytop = Pytop::start(["-p", &pid.to_string(), "--method", method]);
            let while_counted = time(&mut running);
            let counted = pytop.interrupt();
            let real = while_counted.saturating_sub(uncounted);
            let told = told(&counted, pid) / MEASUREMENTS;
            let ratio = told.as_secs_f64() / real.as_secs_f64();
            println!(
                "Python {} by {method}: {:.0} ns a call, told {ratio:.2} of it",
                interpreter.name,
                real.as_secs_f64() / CALLS as f64 * 1e9
            );
            assert!(
                (2.0 / 3.0..=4.0 / 3.0).contains(&ratio),
                "Python {} by {method}: told {told:?}, really {real:?}",
                interpreter.name
            );
            running.end_well();
        }
    }
}

#[test]
fn the_cost_of_a_command_is_told_at_its_end() {
    let _alone = alone();
    let python = Python::new(interpreter("3.9"), Form::Chroot, "short.py").argument(&CALLS);
    let words = python.words();
    let words = ["--"].into_iter().chain(words.iter().map(String::as_str));
    let mut pytop = Pytop::spawn(words);
    pytop.counting();
    let counted = pytop.finish();
    let [message] = counted.messages.as_slice() else {
        panic!("{:?}", counted.messages);
    };
    let seconds = message
        .strip_prefix("pytop: counting took some ")
        .and_then(|rest| rest.strip_suffix(" s of the command's time"))
        .and_then(|seconds| seconds.parse::<f64>().ok());
    let seconds = seconds.unwrap_or_else(|| panic!("pytop said {message}"));
    let snapshots = counted.snapshots.iter();
    let shares = snapshots.map(|snapshot| {
        let cost = snapshot.probe_cost.expect("the cost is known");
        cost * snapshot.interval_s
    });
    let sum: f64 = shares.sum();
    assert!(
        seconds > 0.0 && (seconds - sum).abs() < 0.002,
        "{seconds} s, {sum} s"
    );
}

/// The instructions of each loaded program of this name, as the kernel runs them.
fn instructions(name: &str) -> Vec<u32> {
    let programs = loaded_programs().filter_map(Result::ok);
    let named = programs.filter(|program| program.name_as_str() == Some(name));
    // Eight bytes are one instruction (include/uapi/linux/bpf.h, `struct bpf_insn`).
    named
        .filter_map(|program| program.size_translated())
        .map(|bytes| bytes / 8)
        .collect()
}

/// What nearly all hits run. A few instructions more are no matter, and a search or a copy would be
/// many more.
#[test]
fn quick_programs_stay_short() {
    const MOST: u32 = 120;
    let _alone = alone();
    for (name, method, program) in [
        ("3.9", "marker", "quick_function_"),
        ("3.9", "eval", "quick_evaluatio"),
        ("3.11", "resume", "quick_resume"),
        ("3.13", "resume", "quick_resume"),
        ("3.14", "resume", "quick_resume"),
        ("3.15", "marker", "quick_function_"),
        ("3.15", "resume", "quick_resume"),
    ] {
        let mut running = Python::new(interpreter(name), Form::Chroot, "loop.py")
            .argument(&CALLS)
            .start();
        let pid = running.pid().to_string();
        let pytop = Pytop::start(["-p", &pid, "--method", method]);
        let sizes = instructions(program);
        println!("Python {name} by {method}: {program} has {sizes:?} instructions");
        assert!(!sizes.is_empty(), "Python {name} has no quick program");
        assert!(sizes.iter().all(|size| *size <= MOST), "{sizes:?}");
        pytop.interrupt();
        running.end_well();
    }
}
