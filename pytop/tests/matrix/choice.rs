//! `--method`: what happens with an interpreter that does not have it.

use crate::support::{
    Form, Interpreter, Outcome, Python, Pytop, Running, interpreter, machine_wide,
};
use crate::whole_machine;

/// A process of an interpreter, a method that it does not have, and what is said of that.
struct Refused {
    interpreter: &'static Interpreter,
    method: &'static str,
    reason: String,
}

fn refused() -> [Refused; 4] {
    let one = |name: &str, method, reason: fn(&str) -> String| {
        let interpreter = interpreter(name);
        let reason = reason(&interpreter.version);
        Refused {
            interpreter,
            method,
            reason,
        }
    };
    [
        one("3.13", "eval", |version| {
            format!(
                "the method 'eval' is for CPython 3.6 to 3.10, and this is CPython {version}; leave \
                 out --method"
            )
        }),
        one("3.9", "resume", |version| {
            format!(
                "the method 'resume' is for CPython 3.11 and later, and this is CPython {version}; \
                 leave out --method"
            )
        }),
        one("3.13", "marker", |version| {
            format!(
                "CPython {version} has no function__entry marker (none of 3.11 to 3.14 would \
                 fire at calls); leave out --method, and it is counted without its marker"
            )
        }),
        one("3.11", "marker", |version| {
            format!(
                "CPython {version} has a function__entry marker that fires only under sys.settrace \
                 and sys.setprofile; leave out --method, and it is counted without its marker"
            )
        }),
    ]
}

fn idle(interpreter: &'static Interpreter) -> Running {
    Python::new(interpreter, Form::Chroot, "loop.py")
        .option("-S")
        .argument(&1)
        .start()
}

#[test]
fn a_process_without_the_method_is_an_error_when_it_is_named() {
    for refused in refused() {
        let running = idle(refused.interpreter);
        let pid = running.pid();
        let path = refused.interpreter.executable.display();
        let pid_text = pid.to_string();
        let outcome = Outcome::of_pytop(["--once", "--method", refused.method, "-p", &pid_text]);
        let message = format!(
            "process {pid} ({path}) cannot be counted: {}",
            refused.reason
        );
        outcome.assert_failed(1, &message);
    }
}

#[test]
fn a_process_without_the_method_is_listed_with_the_reason() {
    let _turn = whole_machine();
    for refused in refused() {
        let running = idle(refused.interpreter);
        let pytop = Pytop::start(machine_wide(["-d", "0.1", "--method", refused.method]));
        let counted = pytop.interrupt();
        let listed = counted.process(running.pid());
        assert!(!listed.is_empty());
        for process in listed {
            assert_eq!(process.method, None);
            assert_eq!(process.reason.as_deref(), Some(refused.reason.as_str()));
        }
    }
}
