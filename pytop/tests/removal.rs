//! Nothing stays behind: however pytop ends, the traced program is what it was before.

mod support;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nix::sys::signal::Signal;
use support::{Form, Marked, Python, Pytop, Running, live, machine_wide, processor_time};

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

/// Whatever counts the machine would be seen by the others, so that one runs at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    // A test that failed has left nothing behind.
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What pytop is asked to count.
#[derive(Clone, Copy, PartialEq)]
enum Scope {
    Named,
    Machine,
}

fn check(scope: Scope, end: impl FnOnce(Pytop)) {
    let _alone = alone();
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
    let pytop = match scope {
        Scope::Named => Pytop::start(["--pid", &pids.join(",")]),
        Scope::Machine => Pytop::start(machine_wide([])),
    };
    for target in &targets {
        assert!(target.marked.is_probed());
    }
    // Those that come later are no others than those that were there.
    for bystander in bystanders.iter().chain(&Target::all()) {
        if scope == Scope::Named {
            assert!(bystander.marked.is_untouched(), "it was not asked for");
        } else {
            assert!(bystander.marked.is_probed());
        }
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
    for scope in [Scope::Named, Scope::Machine] {
        check(scope, Pytop::kill);
    }
}

#[test]
fn after_an_orderly_end_the_target_runs_as_before() {
    for scope in [Scope::Named, Scope::Machine] {
        check(scope, |pytop| {
            pytop.signal(Signal::SIGTERM);
            pytop.finish();
        });
    }
}

/// Two of them share the breakpoint and the semaphore.
#[test]
fn one_of_two_pytops_leaves_the_other_alone() {
    let _alone = alone();
    for mut target in Target::all() {
        let pid = target.running.pid();
        let killed = Pytop::start(["-p", &pid.to_string()]);
        let stays = Pytop::start(["-p", &pid.to_string()]);
        target.running.run();
        killed.kill();
        target.running.run();
        assert!(target.marked.is_probed());
        let counted = stays.interrupt();
        assert_eq!(counted.calls(pid), 2 * CALLS);
        target.marked.await_untouched();
        target.running.end_well();
    }
}
