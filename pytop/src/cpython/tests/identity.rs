//! What is a CPython, and what only looks like one.

use object::Endianness;
use object::elf;

use super::program::{Hash, Kind, Marker, Named, Program, Symbol, TEXT};
use super::*;

#[test]
fn files_that_are_no_programs_are_dismissed() {
    for bytes in [
        b"".to_vec(),
        b"\x7fEL".to_vec(),
        b"#!/bin/sh\n".to_vec(),
        vec![0; 100_000],
    ] {
        assert!(examine_bytes(&bytes).unwrap().is_none());
    }
    // A relocatable object file and a core file.
    for kind in [1, 4] {
        let mut bytes = without_markers("3.9.2").build();
        bytes[16] = kind;
        assert!(examine_bytes(&bytes).unwrap().is_none());
    }
}

#[test]
fn a_definition_of_the_evaluator_makes_an_interpreter() {
    for hash in [Hash::Gnu, Hash::SysV] {
        for relocatable in [false, true] {
            for evaluator in ["_PyEval_EvalFrameDefault", "PyEval_EvalFrameEx"] {
                let mut program = Program::new();
                program.hash = hash;
                program.relocatable = relocatable;
                program.exports = vec![
                    undefined("malloc"),
                    function("main", program.text_at(8), 8),
                    function(evaluator, program.text_at(0), 8),
                    function("zzz", program.text_at(16), 8),
                ];
                let interpreter = examine_program(&program).expect(evaluator);
                assert_eq!(interpreter.version, None);
                assert_eq!(interpreter.architecture, Architecture::X86_64);
                assert_eq!(interpreter.build_id, Some((1..=20).collect()));
                let reason = interpreter.entry.unwrap_err();
                assert_eq!(reason, NotCountable::NoMarker { version: None });
            }
        }
    }
}

#[test]
fn references_wrappers_and_copies_make_none() {
    let python3 = vec![
        undefined("_PyEval_EvalFrameDefault"),
        undefined("PyEval_EvalFrameEx"),
        undefined("Py_GetVersion"),
    ];
    let wrapper = vec![function("Py_GetVersion", 0x40_4000, 8)];
    let copy = vec![Symbol {
        name: "_PyEval_EvalFrameDefault",
        kind: Kind::Object,
        address: 0x40_6000,
        size: 8,
    }];
    let prefix = vec![
        function("_PyEval_EvalFrameDefault2", 0x40_4000, 8),
        function("_PyEval_EvalFrame", 0x40_4000, 8),
    ];
    for exports in [python3, wrapper, copy, prefix] {
        for hash in [Hash::Gnu, Hash::SysV] {
            let program = Program {
                hash,
                exports: exports.clone(),
                ..Program::new()
            };
            assert!(examine_program(&program).is_none());
        }
    }
}

#[test]
fn markers_of_others_make_none() {
    for (provider, name) in [
        ("libc", "function__entry"),
        ("python2", "function__entry"),
        ("python", "function__return"),
        ("python", "function__entry2"),
    ] {
        let mut program = Program::new();
        program.markers = vec![Marker {
            provider,
            name,
            location: program.text_at(0),
            base: 0,
            semaphore: 0,
            arguments: ARGUMENTS,
        }];
        assert!(examine_program(&program).is_none(), "{provider}:{name}");
    }
}

#[test]
fn an_interpreter_with_hidden_symbols_is_found_by_its_marker() {
    let mut program = cpython("3.9.2", ARGUMENTS);
    program.exports = vec![function("main", program.text_at(0), 8)];
    let interpreter = examine_program(&program).unwrap();
    assert_eq!(interpreter.version, None);
    assert_eq!(interpreter.entry, Err(NotCountable::UnknownVersion));
}

#[test]
fn an_interpreter_with_hidden_symbols_is_found_by_its_runtime_section() {
    let mut program = Program::new();
    program.sections = vec![Named {
        name: ".PyRuntime",
        kind: elf::SHT_PROGBITS,
        allocated: true,
        address: program.data_at(0),
        offset: super::program::DATA.0,
        size: 64,
    }];
    let expected = NotCountable::NoMarker { version: None };
    assert_eq!(reason(&program), expected);
    program.sections[0].allocated = false;
    assert!(examine_program(&program).is_none());
}

#[test]
fn a_program_hides_its_symbols_in_the_full_table_only() {
    for (hash, has_loader, relocatable, found) in [
        // A static program, a dynamic one, one at any address.
        (Hash::None, false, false, true),
        (Hash::Gnu, true, false, true),
        (Hash::Gnu, true, true, true),
        // A library: what it does not export is not looked for.
        (Hash::Gnu, false, true, false),
    ] {
        let mut program = without_markers("3.8.18");
        program.relocatable = relocatable;
        program.exports.clear();
        program.symbols = vec![
            function("main", program.text_at(0), 8),
            function("_PyEval_EvalFrameDefault", program.text_at(0), 0x40),
            function("Py_GetVersion", program.text_at(GET_VERSION), 13),
        ];
        if relocatable {
            // lea of the text instead of its address.
            let end = TEXT.1 + GET_VERSION + 7;
            let literal = program.rodata_at(20);
            let distance = i32::try_from(literal.cast_signed() - end.cast_signed()).unwrap();
            program.text[0x40..0x43].copy_from_slice(&[0x48, 0x8d, 0x0d]);
            program.text[0x43..0x47].copy_from_slice(&distance.to_le_bytes());
        }
        program.hash = hash;
        program.has_loader = has_loader;
        let interpreter = examine_program(&program);
        assert_eq!(interpreter.is_some(), found);
        if let Some(interpreter) = interpreter {
            assert_eq!(interpreter.version.unwrap().to_string(), "3.8.18");
        }
    }
}

#[test]
fn interpreters_for_other_machines_are_recognised_and_named() {
    let with = |change: &dyn Fn(&mut Program)| {
        let mut program = Program::new();
        change(&mut program);
        program.exports = vec![function("_PyEval_EvalFrameDefault", program.text_at(0), 8)];
        program.markers = vec![Marker {
            provider: "python",
            name: "function__entry",
            location: program.text_at(0),
            base: 0,
            semaphore: 0,
            arguments: ARGUMENTS,
        }];
        let interpreter = examine_program(&program).unwrap();
        (interpreter.architecture, interpreter.entry.unwrap_err())
    };
    let (architecture, reason) = with(&|program| {
        program.is_64 = false;
        program.machine = elf::EM_386;
    });
    assert_eq!(architecture, Architecture::Other(3));
    assert_eq!(reason, NotCountable::Not64Bit);
    let (_, reason) = with(&|program| {
        program.is_64 = false;
        program.hash = Hash::SysV;
        program.endian = Endianness::Big;
        program.machine = elf::EM_PPC;
    });
    assert_eq!(reason, NotCountable::Not64Bit);
    let (architecture, reason) = with(&|program| {
        program.endian = Endianness::Big;
        program.machine = elf::EM_S390;
    });
    assert_eq!(architecture, Architecture::Other(22));
    assert_eq!(
        reason.to_string(),
        "it is built for s390x: pytop counts on x86-64 and aarch64"
    );
    let (architecture, reason) = with(&|program| program.machine = elf::EM_AARCH64);
    assert_eq!(architecture, Architecture::Aarch64);
    assert_eq!(reason, NotCountable::ForeignArchitecture { architecture });
    let (architecture, _) = with(&|program| {
        program.machine = elf::EM_AARCH64;
        program.endian = Endianness::Big;
    });
    assert_eq!(architecture, Architecture::Other(183));
}

#[test]
fn a_library_is_dismissed_with_a_few_small_reads() {
    let mut program = Program::new();
    program.relocatable = true;
    program.has_loader = false;
    program.exports = vec![
        undefined("Py_GetVersion"),
        function("PyInit_array", program.text_at(0), 8),
    ];
    let file = Watched::new(program.build());
    assert!(file.examine().unwrap().is_none());
    assert!(file.reads.get() <= 4, "{} reads", file.reads.get());
    assert!(file.read.get() <= 8192, "{} bytes", file.read.get());
}

#[test]
fn an_error_names_the_file_and_what_is_wrong() {
    use std::io::Write as _;
    let mut bytes = without_markers("3.9.2").build();
    bytes.truncate(0x2800);
    let mut file = tempfile::NamedTempFile::with_prefix("dam\u{1b}aged").unwrap();
    file.write_all(&bytes).unwrap();
    let error = super::super::examine(file.as_file(), file.path()).unwrap_err();
    let message = error.to_string();
    assert!(message.contains("dam\\x1baged"), "{message}");
    assert!(
        message.contains("its section header table lies beyond the end of the file"),
        "{message}"
    );
}

#[test]
fn a_device_is_not_read() {
    let file = std::fs::File::open("/dev/zero").unwrap();
    let result = super::super::examine(&file, Path::new("/dev/zero"));
    assert!(result.unwrap().is_none());
}
