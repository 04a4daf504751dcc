//! From notes to where collections and imports are counted.

use pytop_common::runtime::RuntimeMarker;

use super::program::{DATA, Marker, Program, TEXT};
use super::*;
use crate::cpython::{RuntimeSite, RuntimeSites};

const START: &str = "gc__start";
const DONE: &str = "gc__done";
const IMPORT: &str = "import__find__load__done";

/// A file that has these markers too, each with a place of its own.
fn with_markers(markers: &[(&'static str, &'static str)]) -> Program {
    let mut program = cpython("3.13.5", ARGUMENTS);
    let first = program.markers[0];
    for (place, (name, arguments)) in (0x80..).zip(markers) {
        program.text[place] = 0x90;
        program.markers.push(Marker {
            name,
            arguments,
            location: program.text_at(place as u64),
            ..first
        });
    }
    program
}

fn found(program: &Program) -> RuntimeSites {
    examine_program(program).expect("it is a CPython").runtime
}

fn places(sites: &[RuntimeSite]) -> Vec<(u64, u32)> {
    let places = sites.iter();
    places
        .map(|site| (site.file_offset - TEXT.0, site.spec.marker))
        .collect()
}

#[test]
fn every_copy_is_a_site_where_function_entry_is_dead_too() {
    let program = with_markers(&[
        (DONE, "-8@%r12"),
        (IMPORT, "8@%rax -4@%edx"),
        (START, "-4@112(%rsp)"),
        (IMPORT, "8@%rdx -4@8(%rbx)"),
    ]);
    let found = found(&program);
    let (start, done) = (
        RuntimeMarker::CollectionStart as u32,
        RuntimeMarker::CollectionDone as u32,
    );
    assert_eq!(places(&found.collections), [(0x82, start), (0x80, done)]);
    let import = RuntimeMarker::ImportDone as u32;
    assert_eq!(places(&found.imports), [(0x81, import), (0x83, import)]);
    let [first, second] = &found.imports[..] else {
        panic!("two are expected");
    };
    assert_ne!(first.spec.found, second.spec.found);
    assert_eq!(first.semaphore_file_offset, Some(DATA.0 + SEMAPHORE));
}

#[test]
fn what_is_not_whole_is_not_counted() {
    let collections = [(START, "-4@%eax"), (DONE, "-8@%r12")];
    let import = (IMPORT, "8@%rax -4@%edx");
    let all = [collections[0], collections[1], import];
    let none = |program: &Program| {
        let found = found(program);
        (found.collections.is_empty(), found.imports.is_empty())
    };
    assert_eq!(none(&with_markers(&all)), (false, false));
    assert_eq!(none(&with_markers(&[])), (true, true));
    // Without the one, the other says nothing.
    assert_eq!(
        none(&with_markers(&[collections[0], import])),
        (true, false)
    );
    assert_eq!(
        none(&with_markers(&[collections[1], import])),
        (true, false)
    );
    // Nobody knows then whether a module was found.
    for arguments in ["", "8@%rax", "8@%rax -4@%edx 4@%eax", "8@%rax -4@%xmm0"] {
        let markers = [collections[0], collections[1], (IMPORT, arguments)];
        assert_eq!(none(&with_markers(&markers)), (false, true), "{arguments}");
    }
    // A copy that cannot be probed would go uncounted.
    for name in [DONE, IMPORT] {
        let mut program = with_markers(&all);
        let marker = program.markers.iter().find(|it| it.name == name).copied();
        program.markers.push(Marker {
            location: program.data_at(0),
            ..marker.expect("it is there")
        });
        assert_eq!(none(&program), (name == DONE, name == IMPORT));
    }
    // Too many to be true.
    assert_eq!(none(&with_markers(&[import; 65])), (true, true));
    // Another provider's.
    let mut program = with_markers(&all);
    for marker in &mut program.markers {
        marker.provider = "python2";
    }
    assert_eq!(none(&program), (true, true));
}
