//! Every marker of a file.

use super::program::{DATA, Marker, Program, TEXT};
use super::*;
use crate::cpython::Listing;
use crate::cpython::listing::list;

fn listing(program: &Program) -> Listing {
    let bytes = program.build();
    let listed = list(&bytes, bytes.len() as u64).expect("the file is whole");
    listed.expect("it is a program")
}

#[test]
fn markers_of_all_providers_are_listed_as_they_are() {
    let mut program = cpython("3.9.2", ARGUMENTS);
    let first = program.markers[0];
    program.markers.push(Marker {
        provider: "other",
        name: "\u{1b}[2J",
        location: 1,
        semaphore: 0,
        arguments: "",
        ..first
    });
    program.markers.push(first);
    let listing = listing(&program);
    assert_eq!(listing.architecture, Architecture::X86_64);
    assert_eq!(listing.build_id, Some((1..=20).collect()));
    assert!(!listing.damaged);
    let [one, other, again] = &listing.markers[..] else {
        panic!("{listing:?}")
    };
    // What is there twice is shown twice.
    assert_eq!(one, again);
    assert_eq!(
        (&*one.provider.visible(), &*one.name.visible()),
        ("python", "function__entry")
    );
    assert_eq!(one.address, first.location);
    assert_eq!(one.file_offset, Some(TEXT.0 + MARKER));
    assert_eq!(
        (one.base, one.semaphore),
        (first.base, Some(first.semaphore))
    );
    assert_eq!(one.semaphore_file_offset, Some(DATA.0 + SEMAPHORE));
    assert_eq!(one.arguments.visible(), ARGUMENTS);
    assert_eq!(other.name.visible(), "\\x1b[2J");
    let nowhere = (
        other.file_offset,
        other.semaphore,
        other.semaphore_file_offset,
    );
    assert_eq!((other.address, nowhere), (1, (None, None, None)));
}

#[test]
fn a_prelinked_file_is_listed_as_it_is_now() {
    let mut program = cpython("3.9.2", ARGUMENTS);
    let expected = listing(&program);
    let marker = &mut program.markers[0];
    for address in [
        &mut marker.base,
        &mut marker.location,
        &mut marker.semaphore,
    ] {
        *address -= 0x1000;
    }
    assert_eq!(listing(&program).markers, expected.markers);
}

#[test]
fn no_interpreter_is_needed_and_no_processor_is_foreign() {
    let mut program = Program {
        is_64: false,
        machine: elf::EM_S390,
        endian: object::Endianness::Big,
        markers: cpython("3.9.2", ARGUMENTS).markers,
        ..Program::new()
    };
    program.markers[0].provider = "other";
    assert_eq!(examine_program(&program), None);
    let listing = listing(&program);
    assert_eq!(listing.markers.len(), 1);
    assert_eq!(listing.architecture.to_string(), "s390x");
}

#[test]
fn a_program_without_an_interpreter_tells_whose_it_runs() {
    let mut program = Program {
        needed: vec!["libm.so.6", "libpython3.13.so.1.0", "libc.so.6"],
        ..Program::new()
    };
    let library = |program: &Program| {
        let listing = listing(program);
        listing.python_library.map(|name| name.to_string())
    };
    assert_eq!(library(&program).as_deref(), Some("libpython3.13.so.1.0"));
    program.needed.remove(1);
    assert_eq!(library(&program), None);
}

#[test]
fn where_a_process_has_it_follows_from_where_its_instructions_are() {
    for (relocatable, base) in [(false, 0x40_0000), (true, 0)] {
        let mut program = cpython("3.9.2", ARGUMENTS);
        program.relocatable = relocatable;
        let listing = listing(&program);
        let start = 0x7f12_3456_7000_u64;
        let bias = listing.load_bias(start, TEXT.0);
        assert_eq!(bias, Some(start - base - TEXT.1));
        // A second mapping of the same instructions.
        assert_eq!(listing.load_bias(start + 0x10, TEXT.0 + 0x10), bias);
        assert_eq!(listing.load_bias(start, u64::MAX), None);
    }
}

#[test]
fn many_headers_for_one_table_are_not_read_again_and_again() {
    let mut program = cpython("3.9.2", ARGUMENTS);
    let first = program.markers[0];
    program.markers = vec![first; 200];
    let bytes = program.build();
    let whole = listing(&program);
    assert_eq!((whole.markers.len(), whole.damaged), (200, false));
    let table = elf_section(&bytes, ".note.stapsdt");
    program.sections.extend(std::iter::repeat_n(table, 200));
    let listing = listing(&program);
    assert!(listing.damaged);
    let size = usize::try_from(table.size).expect("a small table");
    assert!(
        listing.markers.len() <= 200 * ((1 << 20) / size),
        "{}",
        listing.markers.len()
    );
}

/// The section of this name, as one more header for it.
fn elf_section(bytes: &[u8], name: &'static str) -> Named {
    use object::{Object as _, ObjectSection as _};
    let file = object::File::parse(bytes).expect("the file is whole");
    let section = file.section_by_name(name).expect("it is there");
    let (offset, size) = section.file_range().expect("it is in the file");
    Named {
        name,
        kind: elf::SHT_NOTE,
        allocated: false,
        address: 0,
        offset,
        size,
    }
}
