//! What is at a probe and should not be there is told, and never counted for a call.

use std::fs::File;

use pytop::cpython::{CodeProbe, examine, examine_code};
use pytop::probe::{Description, Drained, Incomplete, Kernel, Place, Program, Target};
use pytop_common::code::CodeSpec;

use crate::support::{Form, Python, interpreter};

const CALLS: u64 = 1009;

/// What is drained after calls on a 3.13 whose handlers run a program that was told this of them,
/// and the process that made the calls.
fn drained(program: Program, describe: impl Fn(&CodeProbe) -> Description) -> (Drained, u32) {
    let interpreter = interpreter("3.13");
    let path = &interpreter.executable;
    let file = File::open(path).expect("it is there");
    let examined = examine(&file, path).expect("it is whole");
    let examined = examined.expect("it is a CPython");
    let method = examine_code(&file, path, &examined).expect("it is whole");
    let method = method.expect("it is counted");

    let python = Python::new(interpreter, Form::Chroot, "loop.py").argument(&CALLS);
    let mut running = python.start();
    let mut kernel = Kernel::load(1024).expect("this machine can count");
    let probes = method.probes().expect("it is counted");
    let sites: Vec<_> = probes
        .iter()
        .map(|probe| Place {
            offset: probe.file_offset,
            semaphore_offset: None,
            site: kernel.describe(&describe(probe)).expect("there is room"),
        })
        .collect();
    let target = Target {
        file: &file,
        path,
        pid: Some(running.pid()),
    };
    let placed = kernel.attach(program, &target, &sites);
    let placed = placed.unwrap_or_else(|error| panic!("{error}"));
    running.run();
    let drained = kernel.drain().expect("the table is there");
    drop(placed);
    let pid = running.pid();
    running.end_well();
    (drained, pid)
}

/// What a wrong description of the handlers leads to.
fn misled(change: impl Fn(&mut CodeSpec)) -> (Drained, u32) {
    drained(Program::Resume, |probe| {
        let mut spec = probe.spec;
        change(&mut spec);
        Description::Code(spec)
    })
}

#[test]
fn a_right_description_counts_every_call() {
    let (drained, pid) = misled(|_| {});
    let calls = drained.frames.iter().filter(|frame| frame.pid == pid);
    let called = calls.filter(|frame| frame.names.function.as_bytes() == b"called");
    assert_eq!(called.map(|frame| frame.calls).sum::<u64>(), CALLS);
    assert_eq!(drained.losses.implausible, 0);
    assert!(drained.incomplete.is_empty(), "{:?}", drained.incomplete);
}

#[test]
fn a_bytecode_outside_its_code_is_implausible() {
    let (drained, pid) = misled(|spec| spec.instruction.plus += 0x4000);
    assert!(drained.frames.is_empty(), "{:?}", drained.frames);
    let losses = drained.losses;
    assert!(
        losses.implausible + losses.unreadable_name >= CALLS,
        "{losses:?}"
    );
    assert!(losses.implausible > 0, "{losses:?}");
    assert_eq!(drained.incomplete, [(pid, Incomplete::Implausible)]);
}

#[test]
fn another_object_than_a_code_is_implausible() {
    // A frame has its builtins, a dict, behind its function and its globals.
    let (drained, pid) = misled(|spec| spec.offsets.frame_to_code += 0x18);
    assert!(drained.frames.is_empty(), "{:?}", drained.frames);
    let losses = drained.losses;
    assert!(
        losses.implausible + losses.unreadable_name >= CALLS,
        "{losses:?}"
    );
    assert!(
        drained.incomplete.is_empty() || drained.incomplete == [(pid, Incomplete::Implausible)],
        "{:?}",
        drained.incomplete
    );
}

#[test]
fn compiled_code_is_noticed() {
    let (drained, pid) = drained(Program::Compiled, |_| Description::Nothing);
    assert!(drained.frames.is_empty(), "{:?}", drained.frames);
    assert_eq!(drained.incomplete, [(pid, Incomplete::Compiled)]);
}
