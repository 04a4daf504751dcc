//! Counts on real interpreters are exact.

mod support;

use support::{Form, Python, Pytop, assert_functions, functions, live};

#[test]
fn a_named_process_is_counted() {
    for interpreter in live() {
        let python = Python::new(interpreter, Form::Chroot, "loop.py").argument(1009);
        let mut running = python.start();
        let pytop = Pytop::start(["-p", &running.pid().to_string()]);
        running.run();
        let counted = pytop.interrupt();
        let expected = functions([("called", Some(python.line("def called")), 1009)]);
        let what = format!("Python {}", interpreter.name);
        assert_functions(
            &what,
            &counted.functions(running.pid(), python.filename()),
            &expected,
        );
        running.end_well();
    }
}
