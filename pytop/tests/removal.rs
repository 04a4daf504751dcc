//! Nothing stays behind: however pytop ends, the traced program is what it was before.

mod support;

use std::time::Duration;

use nix::sys::signal::Signal;
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use support::{Form, Marked, Python, Pytop, Running, live};

/// Calls of one measurement.
const CALLS: u64 = 200_003;

/// A process that calls a function, with its markers.
struct Target {
    running: Running,
    marked: Marked,
}

impl Target {
    fn all() -> Vec<Self> {
        let start = |interpreter: &'static support::Interpreter| {
            let running = Python::new(interpreter, Form::Chroot, "loop.py")
                .argument(&CALLS)
                .start();
            let marked = Marked::find(running.pid(), &interpreter.executable);
            Self { running, marked }
        };
        live().into_iter().map(start).collect()
    }

    /// Processor time that the calls take, in the program itself and in the kernel.
    fn time(&mut self) -> Duration {
        let before = processor_time(self.running.pid());
        self.running.run();
        processor_time(self.running.pid()).saturating_sub(before)
    }
}

/// The processor time that a process has used so far.
fn processor_time(pid: u32) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).expect("it is alive");
    clock_gettime(clock).expect("it is alive").into()
}

fn check(end: impl FnOnce(Pytop)) {
    let mut targets = Target::all();
    // Of the same interpreters, but not asked for.
    let bystanders = Target::all();
    for target in targets.iter().chain(&bystanders) {
        target.marked.await_untouched();
    }
    let pids: Vec<_> = targets
        .iter()
        .map(|target| target.running.pid().to_string())
        .collect();
    let before: Vec<_> = targets.iter_mut().map(Target::time).collect();
    let pytop = Pytop::start(["--pid", &pids.join(",")]);
    for target in &targets {
        assert!(target.marked.is_probed());
    }
    for bystander in &bystanders {
        assert!(bystander.marked.is_untouched(), "it was not asked for");
    }
    let during: Vec<_> = targets.iter_mut().map(Target::time).collect();
    end(pytop);
    for target in &targets {
        target.marked.await_untouched();
    }
    let after: Vec<_> = targets.iter_mut().map(Target::time).collect();
    for ((before, during), after) in before.iter().zip(&during).zip(&after) {
        assert!(
            *during > *before * 3,
            "{before:?} before, {during:?} during"
        );
        assert!(*after < *during / 3, "{during:?} during, {after:?} after");
    }
    for target in &mut targets {
        target.running.end_well();
    }
}

#[test]
fn after_sigkill_the_target_runs_as_before() {
    check(Pytop::kill);
}

#[test]
fn after_an_orderly_end_the_target_runs_as_before() {
    check(|pytop| {
        pytop.signal(Signal::SIGTERM);
        pytop.finish();
    });
}
