//! What is at a probe and should not be there is told, and never counted for a call.

use pytop::cpython::CodeProbe;
use pytop::probe::{Capacity, Description, Drained, Incomplete, Kernel, Program};
use pytop_common::code::CodeSpec;

use crate::probed::{CALLS, Caller, Probed};
use crate::support::interpreter;

/// What is drained after calls on a 3.13 whose handlers run a program that was told this of them,
/// and the process that made the calls.
fn drained(program: Program, describe: impl Fn(&CodeProbe) -> Description) -> (Drained, Caller) {
    let kernel = Kernel::load(Capacity::Fixed(1024)).expect("this machine can count");
    let interpreter = interpreter("3.13");
    let python = Probed::open(interpreter);
    let probes = python.method.probes().expect("it is counted");
    let places = probes
        .iter()
        .map(|probe| (probe.file_offset, None, describe(probe)));
    python.drained(kernel, program, places.collect())
}

/// What a wrong description of the handlers leads to.
fn misled(change: impl Fn(&mut CodeSpec)) -> (Drained, Caller) {
    drained(Program::Resume, |probe| {
        let mut spec = probe.spec;
        change(&mut spec);
        Description::Code(spec)
    })
}

#[test]
fn a_right_description_counts_every_call() {
    let (drained, caller) = misled(|_| {});
    assert_eq!(caller.called, CALLS);
    assert_eq!(drained.losses.implausible, 0);
    assert!(drained.incomplete.is_empty(), "{:?}", drained.incomplete);
}

#[test]
fn a_bytecode_outside_its_code_is_implausible() {
    let (drained, caller) = misled(|spec| spec.instruction.plus += 0x4000);
    assert!(drained.frames.is_empty(), "{:?}", drained.frames);
    let losses = drained.losses;
    assert!(
        losses.implausible + losses.unreadable_name >= CALLS,
        "{losses:?}"
    );
    assert!(losses.implausible > 0, "{losses:?}");
    assert_eq!(drained.incomplete, [(caller.pid, Incomplete::Implausible)]);
}

#[test]
fn another_object_than_a_code_is_implausible() {
    // A frame has its builtins, a dict, behind its function and its globals.
    let (drained, caller) = misled(|spec| spec.offsets.frame_to_code += 0x18);
    assert!(drained.frames.is_empty(), "{:?}", drained.frames);
    let losses = drained.losses;
    assert!(
        losses.implausible + losses.unreadable_name >= CALLS,
        "{losses:?}"
    );
    assert!(
        drained.incomplete.is_empty()
            || drained.incomplete == [(caller.pid, Incomplete::Implausible)],
        "{:?}",
        drained.incomplete
    );
}

#[test]
fn compiled_code_is_noticed() {
    let (drained, caller) = drained(Program::Compiled, |_| Description::Nothing);
    assert!(drained.frames.is_empty(), "{:?}", drained.frames);
    assert_eq!(drained.incomplete, [(caller.pid, Incomplete::Compiled)]);
}
