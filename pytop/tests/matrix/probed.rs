//! Probes that a test places itself, on one process that calls one function.

use std::fs::File;

use pytop::cpython::{self, CodeMethod, examine, examine_code};
use pytop::probe::{Description, Drained, Kernel, Place, Program, Target};

use crate::support::{Form, Interpreter, Python};

/// How often the process calls its function.
pub(crate) const CALLS: u64 = 1009;

/// An interpreter's file, and what is found in it.
pub(crate) struct Probed {
    interpreter: &'static Interpreter,
    file: File,
    pub(crate) examined: cpython::Interpreter,
    pub(crate) method: CodeMethod,
}

impl Probed {
    pub(crate) fn open(interpreter: &'static Interpreter) -> Self {
        let path = &interpreter.executable;
        let file = File::open(path).expect("it is there");
        let examined = examine(&file, path).expect("it is whole");
        let examined = examined.expect("it is a CPython");
        let method = examine_code(&file, path, &examined).expect("it is whole");
        Self {
            interpreter,
            file,
            examined,
            method: method.expect("it is counted"),
        }
    }

    /// Its file, for this process or for all.
    pub(crate) fn target(&self, pid: Option<u32>) -> Target<'_> {
        Target {
            file: &self.file,
            path: &self.interpreter.executable,
            pid,
        }
    }

    /// What is drained after the process has made its calls, with probes at these offsets, some with
    /// a semaphore; and what is known of the process.
    pub(crate) fn drained(
        &self,
        mut kernel: Kernel,
        program: Program,
        probes: Vec<(u64, Option<u64>, Description)>,
    ) -> (Drained, Caller) {
        let python = Python::new(self.interpreter, Form::Chroot, "loop.py").argument(&CALLS);
        let mut running = python.start();
        let sites: Vec<_> = probes
            .into_iter()
            .map(|(offset, semaphore_offset, description)| Place {
                offset,
                semaphore_offset,
                site: kernel.describe(&description).expect("there is room"),
            })
            .collect();
        let target = self.target(Some(running.pid()));
        let placed = kernel.attach(program, &target, &sites);
        let placed = placed.unwrap_or_else(|error| panic!("{error}"));
        running.run();
        let drained = kernel.drain().expect("the table is there");
        drop(placed);
        let pid = running.pid();
        running.end_well();
        let frames = drained.frames.iter().filter(|frame| frame.pid == pid);
        let is_called = |text| {
            let names = kernel.names(text).expect("a frame has names");
            names.function.as_bytes() == b"called"
        };
        let called = frames
            .filter(|frame| is_called(frame.text))
            .map(|frame| frame.calls)
            .sum();
        (drained, Caller { pid, called })
    }
}

/// The process that made the calls.
pub(crate) struct Caller {
    pub(crate) pid: u32,
    /// The counted calls of the function.
    pub(crate) called: u64,
}
