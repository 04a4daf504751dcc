//! From notes to sites.

use object::elf;
use pytop_common::marker::{Argument, ArgumentKind, MarkerSpec, NO_REGISTER};

use super::program::{DATA, Kind, Marker, Named, Program, Symbol, TEXT};
use super::*;
use crate::cpython::{Site, Version};

fn sites(program: &Program) -> Vec<Site> {
    let interpreter = examine_program(program).expect("it is a CPython");
    interpreter.entry.expect("it can be counted")
}

fn register(word: u8, shift: u8, signed: u8) -> Argument {
    Argument {
        kind: ArgumentKind::Register as u8,
        base: word,
        index: NO_REGISTER,
        left_shift: shift,
        right_shift: shift,
        signed,
        ..Argument::default()
    }
}

fn version(program: &Program) -> Version {
    examine_program(program).unwrap().version.unwrap()
}

#[test]
fn a_live_marker_becomes_a_site() {
    let program = cpython("3.9.2", ARGUMENTS);
    let site = Site {
        address: 0x40_0000 + TEXT.1 + MARKER,
        file_offset: TEXT.0 + MARKER,
        semaphore_file_offset: Some(DATA.0 + SEMAPHORE),
        spec: MarkerSpec {
            filename: register(2, 0, 0),
            function: register(1, 0, 0),
            line: register(10, 32, 1),
        },
    };
    assert_eq!(sites(&program), [site]);
    assert_eq!(version(&program).to_string(), "3.9.2");
}

#[test]
fn every_copy_of_the_marker_is_a_site_once() {
    let mut program = cpython("3.9.2", ARGUMENTS);
    let first = program.markers[0];
    let nops: [&[u8]; 3] = [&[0x66, 0x90], &[0x0f, 0x1f, 0x44, 0, 0], &[0x90]];
    for (position, nop) in [0x90, 0xa0, 0xff].into_iter().zip(nops) {
        program.text[position..position + nop.len()].copy_from_slice(nop);
        program.markers.push(Marker {
            location: program.text_at(position as u64),
            arguments: "8@%rbx 8@-8(%rbp) -4@$7",
            ..first
        });
    }
    program.markers.push(first);
    program.markers.push(Marker {
        name: "line",
        arguments: "8@%xmm0",
        ..first
    });
    let offsets: Vec<_> = sites(&program)
        .iter()
        .map(|site| site.file_offset)
        .collect();
    assert_eq!(offsets, [0x2080, 0x2090, 0x20a0, 0x20ff]);
    program.markers.push(Marker {
        arguments: "8@%rbx 8@%rbx 4@%eax",
        ..first
    });
    assert!(reason(&program).to_string().contains("contradict"));
}

#[test]
fn a_prelinked_library_has_moved_with_its_semaphores() {
    for distance in [0x1_0000_u64, 0_u64.wrapping_sub(0x1000)] {
        let mut program = cpython("3.9.2", ARGUMENTS);
        let expected = sites(&program);
        // What the notes say is from before the move.
        let marker = &mut program.markers[0];
        marker.base = marker.base.wrapping_sub(distance);
        marker.location = marker.location.wrapping_sub(distance);
        marker.semaphore = marker.semaphore.wrapping_sub(distance);
        assert_eq!(sites(&program), expected);
        program.markers[0].semaphore = 0;
        assert_eq!(sites(&program)[0].semaphore_file_offset, None);
    }
}

#[test]
fn without_a_base_section_nothing_is_corrected() {
    let mut program = cpython("3.9.2", ARGUMENTS);
    let expected = sites(&program);
    program.sections.remove(0);
    program.markers[0].base = 0x1234;
    assert_eq!(sites(&program), expected);
}

#[test]
fn a_marker_without_a_semaphore_is_always_on() {
    let mut program = cpython("3.9.2", ARGUMENTS);
    program.markers[0].semaphore = 0;
    assert_eq!(sites(&program)[0].semaphore_file_offset, None);
}

#[test]
fn versions_decide_whether_a_marker_lives() {
    for (text, live) in [
        ("3.6.0", true),
        ("3.10.13", true),
        ("3.11.0a1", false),
        ("3.11.2", false),
        ("3.12.1", false),
        ("3.14.10", false),
        ("3.15.0a1", false),
        ("3.15.0a2", false),
        ("3.15.0a3", true),
        ("3.15.2", true),
        ("3.16.0a1+", true),
    ] {
        let program = cpython(text, ARGUMENTS);
        let interpreter = examine_program(&program).unwrap();
        let version = interpreter.version.unwrap();
        assert_eq!(version.to_string(), text);
        if live {
            assert_eq!(interpreter.entry.unwrap().len(), 1);
        } else {
            let dead = NotCountable::DeadMarker { version };
            assert_eq!(interpreter.entry, Err(dead), "{text}");
        }
    }
    for text in ["2.7.18", "3.5.10"] {
        let program = cpython(text, ARGUMENTS);
        let version = version(&program);
        assert_eq!(reason(&program), NotCountable::TooOld { version });
    }
}

#[test]
fn a_build_without_markers_says_so() {
    for (version, why) in [
        (
            "3.8.20",
            "CPython 3.8.20 was built without function__entry markers (--with-dtrace)",
        ),
        (
            "3.12.1",
            "CPython 3.12.1 has no function__entry marker (none of 3.11 to 3.14 would fire at calls)",
        ),
    ] {
        assert_eq!(reason(&without_markers(version)).to_string(), why);
    }
}

#[test]
fn an_unusable_argument_makes_all_copies_uncounted() {
    for (arguments, message) in [
        (
            "8@%r13 8@%r14 -4f@%xmm0",
            "the argument -4f@%xmm0 of its function__entry marker is a floating point value",
        ),
        (
            "4@%r13d 8@%r14 -4@%eax",
            "the argument 4@%r13d of its function__entry marker should be an address, which has 8 \
             bytes",
        ),
        (
            "8@%r13 8@%r14",
            "its function__entry marker has 2 arguments instead of 3",
        ),
        (
            "",
            "its function__entry marker has 0 arguments instead of 3",
        ),
        (
            "8@%r13 8@%r14 4@%eax 4@%eax",
            "its function__entry marker has 4 arguments instead of 3",
        ),
        (
            "8@%r13 8@%r14 4@\u{1b}[31m",
            "the argument 4@\\x1b[31m of its function__entry marker is no operand that pytop knows",
        ),
    ] {
        let mut program = cpython("3.9.2", ARGUMENTS);
        program.text[0x90] = 0x90;
        program.markers.push(Marker {
            location: program.text_at(0x90),
            arguments,
            ..program.markers[0]
        });
        assert_eq!(reason(&program).to_string(), message);
    }
}

#[test]
fn symbols_in_arguments_are_found_exported_or_in_the_full_table() {
    let mut program = cpython("3.9.2", "8@name(%rip) 8@%r14 -4@name+4(%rip)");
    let symbol = Symbol {
        name: "name",
        kind: Kind::Object,
        address: program.data_at(0x20),
        size: 8,
    };
    let distance = i64::try_from(symbol.address - program.text_at(MARKER)).unwrap();
    assert_eq!(
        reason(&program).to_string(),
        "the argument 8@name(%rip) of its function__entry marker names a symbol that was stripped \
         from the file"
    );
    program.symbols = vec![function("other", program.text_at(0), 8)];
    assert!(reason(&program).to_string().ends_with("not in the file"));
    program.symbols.push(symbol);
    let spec = sites(&program)[0].spec;
    assert_eq!(
        (spec.filename.base, spec.filename.displacement),
        (16, distance)
    );
    assert_eq!((spec.line.base, spec.line.displacement), (16, distance + 4));
    program.symbols.push(symbol);
    assert!(reason(&program).to_string().ends_with("several times"));
    program.exports.push(symbol);
    assert_eq!(sites(&program)[0].spec, spec);
}

#[test]
fn a_marker_that_does_not_fit_the_file_is_not_trusted() {
    let fault = |change: &dyn Fn(&mut Program)| {
        let mut program = cpython("3.9.2", ARGUMENTS);
        change(&mut program);
        match reason(&program) {
            NotCountable::BadMarker(why) => why,
            other => panic!("{other}"),
        }
    };
    // Not a nop; in the data; nowhere; behind the end of the file's part.
    let why = fault(&|program| program.text[0x80] = 0xc3);
    assert!(why.contains("no nop"), "{why}");
    for location in [0, u64::MAX, 0x40_0000 + DATA.1, 0x40_0000 + TEXT.1 + 0x100] {
        let why = fault(&|program| program.markers[0].location = location);
        assert!(why.contains("not among the instructions"), "{why}");
    }
    for semaphore in [1, u64::MAX, 0x40_0000 + TEXT.1, 0x40_0000 + DATA.1 + 0x100] {
        let why = fault(&|program| program.markers[0].semaphore = semaphore);
        assert!(why.contains("not in the writable data"), "{why}");
    }
    let why = fault(&|program| program.markers[0].semaphore += 1);
    assert!(why.contains("odd"), "{why}");
}

#[test]
fn a_semaphore_beyond_the_kernels_reach_is_refused() {
    // The segment of data begins far out in a sparse file.
    let program = cpython("3.9.2", ARGUMENTS);
    let mut bytes = program.build();
    let data = load_header(&bytes, DATA.0);
    bytes[data + 8..data + 16].copy_from_slice(&0x1_0000_0000_u64.to_le_bytes());
    let interpreter = examine_bytes(&bytes).unwrap().unwrap();
    let reason = interpreter.entry.unwrap_err().to_string();
    assert!(reason.contains("first 4 GiB"), "{reason}");
}

#[test]
fn a_semaphore_beyond_the_end_of_the_file_is_refused() {
    // The segment of data claims more than there is.
    let mut program = cpython("3.9.2", ARGUMENTS);
    program.markers[0].semaphore = program.data_at(0x10_0000);
    let mut bytes = program.build();
    let data = load_header(&bytes, DATA.0);
    bytes[data + 32..data + 40].copy_from_slice(&0x20_0000_u64.to_le_bytes());
    let interpreter = examine_bytes(&bytes).unwrap().unwrap();
    let reason = interpreter.entry.unwrap_err().to_string();
    assert!(reason.contains("beyond the end of the file"), "{reason}");
}

#[test]
fn too_many_copies_are_refused() {
    let mut program = cpython("3.9.2", ARGUMENTS);
    program.markers = vec![program.markers[0]; 300];
    assert!(reason(&program).to_string().contains("hundreds"));
}

#[test]
fn notes_in_a_segment_serve_a_file_without_section_headers() {
    let mut program = cpython("3.9.2", ARGUMENTS);
    let expected = sites(&program);
    program.section_headers = false;
    assert_eq!(reason(&program), NotCountable::NoSectionHeaders);
    program.notes_segment = true;
    assert_eq!(sites(&program), expected);
}

#[test]
fn the_old_format_is_named() {
    for (descriptor, old) in [(b"PRB1", true), (b"UPB2", true), (b"UPB3", false)] {
        let mut program = without_markers("3.6.15");
        program.data[8..12].copy_from_slice(descriptor);
        program.sections = vec![Named {
            name: ".probes",
            kind: elf::SHT_PROGBITS,
            allocated: true,
            address: program.data_at(8),
            offset: DATA.0 + 8,
            size: 32,
        }];
        let reason = reason(&program);
        assert_eq!(reason == NotCountable::OldProbesFormat, old, "{reason}");
    }
    // Notes and old descriptors cannot both be there; semaphores beside notes are no descriptors.
    let mut program = cpython("3.9.2", ARGUMENTS);
    program.data[16..20].copy_from_slice(b"UPB2");
    assert_eq!(sites(&program).len(), 1);
}

#[test]
fn aarch64_is_served_on_its_own_machine() {
    let mut program = cpython("3.9.2", "8@x21 8@[sp, 16] -4@w0");
    program.machine = elf::EM_AARCH64;
    program.text[0x80..0x84].copy_from_slice(&[0x1f, 0x20, 0x03, 0xd5]);
    // adrp x3, page; add x3, x3, #place
    let literal = program.rodata_at(20);
    let pages = (literal >> 12).cast_signed() - (program.text_at(GET_VERSION) >> 12).cast_signed();
    let pages = u32::try_from(pages & 0x1f_ffff).unwrap();
    let adrp = 0x9000_0003 | (pages & 3) << 29 | (pages >> 2) << 5;
    let add = 0x9100_0063 | u32::try_from(literal & 0xfff).unwrap() << 10;
    program.text[0x40..0x44].copy_from_slice(&adrp.to_le_bytes());
    program.text[0x44..0x48].copy_from_slice(&add.to_le_bytes());
    let bytes = program.build();
    let length = bytes.len() as u64;
    let path = Path::new("program");
    let interpreter = examine_for(Architecture::Aarch64, &bytes, length, path);
    let interpreter = interpreter.unwrap().unwrap();
    assert_eq!(interpreter.version.unwrap().to_string(), "3.9.2");
    let spec = interpreter.entry.unwrap()[0].spec;
    assert_eq!(spec.filename, register(21, 0, 0));
    assert_eq!((spec.function.base, spec.function.displacement), (31, 16));
    assert_eq!(spec.line, register(0, 32, 1));
    let interpreter = examine_bytes(&bytes).unwrap().unwrap();
    let architecture = Architecture::Aarch64;
    let foreign = NotCountable::ForeignArchitecture { architecture };
    assert_eq!(interpreter.entry, Err(foreign));
}
