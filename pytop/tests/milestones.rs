//! What a process passes in step with its work, in real interpreters.

mod support;

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use pytop::cpython::find_milestones;
use pytop::probe::{Busiest, Capacity, Kernel, Place, ProcessClock, SiteId, Target};

use support::{Form, Interpreter, Python, Running, at_hand, interpreter};

/// Does some work as often as it is told.
const SCRIPT: &str = r#"
import os

os.write(1, b"ready\n")
while True:
    line = os.read(0, 64)
    if not line:
        break
    for number in range(int(line)):
        for _ in sorted((number, 1)):
            {number: [str(number + 0.5)]}
    os.write(1, b"done\n")
"#;

fn places(interpreter: &Interpreter) -> (File, Vec<u64>) {
    let path = &interpreter.executable;
    let file = File::open(path).expect("it is there");
    let places = find_milestones(&file, path).expect("it is whole");
    (file, places)
}

fn work(running: &mut Running, times: u32) {
    running.say(&times.to_string());
    running.expect("done");
}

#[test]
fn every_interpreter_has_places_that_the_kernel_passes_by_itself() {
    for interpreter in at_hand() {
        let (file, places) = places(interpreter);
        let name = interpreter.executable.display();
        assert!(places.len() >= 32, "{name} has {}", places.len());
        for place in places {
            let mut bytes = [0; 2];
            file.read_exact_at(&mut bytes, place).expect("in the file");
            // nop, push, short jcc, call, jmp; push of r8 to r15; long jcc.
            let is_emulated = matches!(
                bytes,
                [0x90 | 0x50..=0x57 | 0x70..=0x7f | 0xe8 | 0xe9 | 0xeb, _]
                    | [0x41, 0x50..=0x57]
                    | [0x0f, 0x80..=0x8f]
            );
            assert!(is_emulated, "{name}, {place:#x}: {bytes:02x?}");
        }
    }
}

#[test]
fn some_are_passed_in_step_with_what_the_process_does_and_by_no_other_process() {
    for interpreter in at_hand() {
        let (file, places) = places(interpreter);
        let name = interpreter.executable.display();
        let python = Python::of_text(interpreter, Form::Chroot, SCRIPT.to_owned());
        let (mut running, mut other) = (python.start(), python.start());
        let mut kernel = Kernel::load_with_gates(Capacity::Fixed(1024)).expect("it can count");
        let counters = (0..).map(SiteId).take(places.len());
        let sites: Vec<_> = places
            .iter()
            .zip(counters.clone())
            .map(|(offset, site)| Place {
                offset: *offset,
                semaphore_offset: None,
                site,
            })
            .collect();
        let target = Target {
            file: &file,
            path: &interpreter.executable,
            pid: Some(running.pid()),
        };
        let probes = kernel.place_milestones(&target, &sites);
        let probes = probes.unwrap_or_else(|error| panic!("{error}"));
        assert!(!probes.is_empty(), "this kernel has links");
        let passes = || -> Vec<u64> {
            let counters = counters.clone();
            counters.map(|counter| kernel.passes(counter)).collect()
        };
        let mut passed_in = |times| {
            let before = passes();
            work(&mut running, times);
            let after = passes();
            after
                .into_iter()
                .zip(before)
                .map(|(after, before)| after - before)
        };
        // The interpreter makes itself at home.
        let _ = passed_in(1000).count();
        let few: Vec<u64> = passed_in(1000).collect();
        let many: Vec<u64> = passed_in(3000).collect();
        let is_in_step = |few: &u64, many: u64| *few >= 900 && many.abs_diff(few * 3) <= few / 50;
        let in_step = few
            .iter()
            .zip(many)
            .filter(|(few, many)| is_in_step(few, *many));
        let in_step = in_step.count();
        println!("{name}: {in_step} of {}", places.len());
        assert!(in_step >= 3, "{name}: {in_step}, {few:?}");
        // A process that has said that it is done waits for more, which passes some places too.
        let is_quiet = |before: Vec<u64>| {
            let mut new = passes().into_iter().zip(before);
            new.all(|(after, before)| after - before < 100)
        };
        let before = passes();
        work(&mut other, 1000);
        assert!(is_quiet(before), "{name}: the other one is counted");
        let before = passes();
        drop(probes);
        work(&mut running, 1000);
        assert!(is_quiet(before), "{name}: they are still there");
        running.end_well();
        other.end_well();
    }
}

/// What another thread passes can be left out.
#[test]
fn a_milestone_may_be_that_of_one_thread() {
    let python = Python::new(interpreter("3.9"), Form::Chroot, "hot.py");
    let python = python.argument(&0).argument(&"beside");
    let mut running = python.start();
    let mut clock = ProcessClock::of(running.pid()).expect("it runs");
    assert_eq!(clock.busiest(), Busiest::Nobody, "it is not measured");
    clock.sharpen();
    assert_eq!(clock.busiest(), Busiest::Unknown);
    let hot = running.pid();
    let (file, places) = places(python.interpreter);
    let mut kernel = Kernel::load_with_gates(Capacity::Fixed(1024)).expect("it can count");
    let [all, own, nobody] = [0, 1000, 2000].map(|first| {
        let counters = (first..).map(SiteId).take(places.len());
        counters.collect::<Vec<_>>()
    });
    let whose = [(&all, None), (&own, Some(hot)), (&nobody, Some(u32::MAX))];
    let target = Target {
        file: &file,
        path: &python.interpreter.executable,
        pid: Some(running.pid()),
    };
    let mut probes = Vec::new();
    for (counters, thread) in whose {
        for counter in counters {
            kernel.count_passes_of(*counter, thread);
        }
        let sites: Vec<_> = places
            .iter()
            .zip(counters)
            .map(|(offset, site)| Place {
                offset: *offset,
                semaphore_offset: None,
                site: *site,
            })
            .collect();
        let in_place = kernel.place_milestones(&target, &sites);
        probes.extend(in_place.unwrap_or_else(|error| panic!("{error}")));
    }
    running.say("0.5");
    let _ = running.numbers::<u64>();
    assert_eq!(clock.busiest(), Busiest::Thread(hot));
    let passes = |counters: &[SiteId]| -> Vec<u64> {
        let counters = counters.iter();
        counters.map(|counter| kernel.passes(*counter)).collect()
    };
    // What is passed by one of them alone, and what by both.
    let (own, all) = (passes(&own), passes(&all));
    assert!(own.iter().zip(&all).all(|(own, all)| own <= all));
    assert!(own.iter().zip(&all).any(|(own, all)| *own > 0 && own < all));
    assert_eq!(passes(&nobody).iter().sum::<u64>(), 0);
    drop(probes);
    running.end_well();
}
