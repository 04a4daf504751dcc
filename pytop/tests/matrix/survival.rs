//! The programs that are counted do not notice: probes come and go while they call.

use std::thread;

use pytop::cpython::CodeMethod;
use pytop::probe::{Capacity, Description, Kernel, Place, Program, detach};

use crate::probed::Probed;
use crate::support::{Form, Interpreter, Python, Running, at_hand};
use crate::whole_machine;

/// How often the probes come and go is in this variable.
const CYCLES: &str = "PYTOP_CYCLES";
const USUAL_CYCLES: u32 = 25;

/// All probes of an interpreter, those of all its methods, and a process that it runs.
struct Enduring {
    probed: Probed,
    places: Vec<(Program, Vec<Place>)>,
    running: Running,
}

impl Enduring {
    fn start(interpreter: &'static Interpreter, kernel: &mut Kernel) -> Self {
        let probed = Probed::open(interpreter);
        let method = &probed.method;
        let program = match method {
            CodeMethod::Eval(_) => Program::Evaluation,
            CodeMethod::Resume(_) => Program::Resume,
        };
        let mut place = |offset, semaphore_offset, description| Place {
            offset,
            semaphore_offset,
            site: kernel.describe(&description).expect("there is room"),
        };
        let found = method.probes().expect("it is counted");
        let code = found
            .iter()
            .map(|probe| place(probe.file_offset, None, Description::Code(probe.spec)));
        let mut places = vec![(program, code.collect())];
        if let Some(offset) = method.executor_file_offset() {
            let compiled = place(offset, None, Description::Nothing);
            places.push((Program::Compiled, vec![compiled]));
        }
        let markers = probed.examined.entry.iter().flatten().map(|site| {
            let description = Description::Marker(site.spec);
            place(site.file_offset, site.semaphore_file_offset, description)
        });
        places.push((Program::FunctionEntry, markers.collect()));
        let python = Python::new(interpreter, Form::Chroot, "enduring.py").option("-S");
        Self {
            probed,
            places,
            running: python.start(),
        }
    }
}

impl Enduring {
    /// Places all probes and takes them out again, so many times, and returns the calls counted.
    fn cycle(&self, kernel: &mut Kernel, cycles: u32) -> u64 {
        let mut calls = 0;
        for _ in 0..cycles {
            let target = self.probed.target(None);
            let mut probes = Vec::new();
            for (program, places) in &self.places {
                let placed = kernel.attach(*program, &target, places);
                probes.extend(placed.unwrap_or_else(|error| panic!("{error}")));
            }
            // The kernel waits for programs that run, which leaves the process time to call.
            let drained = kernel.drain().expect("the table is there");
            calls += drained.frames.iter().map(|frame| frame.calls).sum::<u64>();
            detach(probes);
        }
        calls
    }
}

/// On every interpreter at once, under load: no process crashes, and each keeps getting the results
/// that it should get.
#[test]
fn probes_that_come_and_go_do_no_harm() {
    let _turn = whole_machine();
    let cycles = std::env::var(CYCLES).map_or(USUAL_CYCLES, |cycles| {
        cycles
            .parse()
            .unwrap_or_else(|_| panic!("{CYCLES} is no number: {cycles}"))
    });
    // The kernel waits for each probe that goes, and these waits can be shared.
    thread::scope(|scope| {
        for interpreter in at_hand() {
            scope.spawn(move || {
                let mut kernel =
                    Kernel::load(Capacity::Fixed(16_384)).expect("this machine can count");
                let mut enduring = Enduring::start(interpreter, &mut kernel);
                let calls = enduring.cycle(&mut kernel, cycles);
                println!("{}: {cycles} cycles, {calls} calls", interpreter.version);
                assert!(calls > 0, "nothing of {} was counted", interpreter.version);
                enduring.running.run();
                enduring.running.end_well();
            });
        }
    });
}
