//! Kernels without links for many uprobes get a perf event for each. They count as well.

use pytop::probe::{Capacity, Description, Kernel, Program};

use crate::probed::{CALLS, Probed};
use crate::support::interpreter;

fn kernel() -> Kernel {
    Kernel::load_without_links(Capacity::Fixed(1024)).expect("this machine can count")
}

#[test]
fn markers_are_counted_by_events() {
    let python = Probed::open(interpreter("3.9"));
    let sites = python.examined.entry.as_ref().expect("it is live");
    let probes = sites.iter().map(|site| {
        assert!(site.semaphore_file_offset.is_some());
        let description = Description::Marker(site.spec);
        (site.file_offset, site.semaphore_file_offset, description)
    });
    let (_, caller) = python.drained(kernel(), Program::FunctionEntry, probes.collect());
    assert_eq!(caller.called, CALLS);
}

#[test]
fn code_is_counted_by_events() {
    for (name, program) in [("3.9", Program::Evaluation), ("3.13", Program::Resume)] {
        let python = Probed::open(interpreter(name));
        let probes = python.method.probes().expect("it is counted");
        let probes = probes
            .iter()
            .map(|probe| (probe.file_offset, None, Description::Code(probe.spec)));
        let (_, caller) = python.drained(kernel(), program, probes.collect());
        assert_eq!(caller.called, CALLS, "{name}");
    }
}
