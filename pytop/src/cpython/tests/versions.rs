//! Which version a file tells.

use object::elf;

use super::program::{DATA, Kind, Named, Program, Symbol};
use super::*;

fn version_of(program: &Program, name: &str) -> Option<String> {
    let interpreter = examine_named(&program.build(), name).unwrap();
    let version = interpreter.expect("it is a CPython").version;
    version.map(|version| version.to_string())
}

/// A CPython that tells nothing but by what a test adds.
fn silent() -> Program {
    let mut program = Program::new();
    program.exports = vec![function("_PyEval_EvalFrameDefault", program.text_at(0), 64)];
    program
}

fn with_constant(hex: u64) -> Program {
    let mut program = silent();
    let address = program.add_rodata(&hex.to_le_bytes());
    program.exports.push(Symbol {
        name: "Py_Version",
        kind: Kind::Object,
        address,
        size: 8,
    });
    program
}

#[test]
fn the_constant_tells() {
    for (hex, version) in [
        (0x030f_02f0, Some("3.15.2")),
        (0x030b_00a1, Some("3.11.0a1")),
        (0x030c_00b4, Some("3.12.0b4")),
        (0x030d_00c2, Some("3.13.0rc2")),
        (0x030d_0a00, None),
        (0x0400_00f0, None),
        (0x01_030d_00f0, None),
        (0, None),
    ] {
        let found = version_of(&with_constant(hex), "program");
        assert_eq!(found.as_deref(), version, "{hex:x}");
    }
}

#[test]
fn a_zeroed_copy_of_the_constant_tells_nothing() {
    let mut program = with_constant(0x030f_02f0);
    program.exports[1].address = program.data_at(0x120);
    assert_eq!(version_of(&program, "python3.15"), None);
}

#[test]
fn the_text_adds_the_plus_and_must_agree() {
    let both = |hex: u64, text| {
        let mut program = without_markers(text);
        let address = program.add_rodata(&hex.to_le_bytes());
        program.exports.push(Symbol {
            name: "Py_Version",
            kind: Kind::Object,
            address,
            size: 8,
        });
        version_of(&program, "program")
    };
    assert_eq!(both(0x030f_00a1, "3.15.0a1+").unwrap(), "3.15.0a1+");
    assert_eq!(both(0x030f_02f0, "3.15.2").unwrap(), "3.15.2");
    assert_eq!(both(0x030f_02f0, "3.15.1"), None);
}

#[test]
fn the_debug_offsets_tell() {
    for (cookie, version) in [(b"xdebugpy", Some("3.14.10")), (b"xdebugpx", None)] {
        let mut program = silent();
        program.data[..8].copy_from_slice(cookie);
        program.data[8..16].copy_from_slice(&0x030e_0af0_u64.to_le_bytes());
        program.sections = vec![Named {
            name: ".PyRuntime",
            kind: elf::SHT_PROGBITS,
            allocated: true,
            address: program.data_at(0),
            offset: DATA.0,
            size: 64,
        }];
        assert_eq!(version_of(&program, "program").as_deref(), version);
    }
}

#[test]
fn the_text_that_the_function_refers_to_tells() {
    for text in ["2.7.18", "3.6.15", "3.9.2", "3.10.0rc2+", "3.16.0a1"] {
        assert_eq!(
            version_of(&without_markers(text), "python3.8").as_deref(),
            Some(text)
        );
    }
    for text in ["3.9", "3.9.2 ", "x3.9.2", "4.0.0", "3.9.2.1", "3.9.300", ""] {
        assert_eq!(
            version_of(&without_markers(text), "program"),
            None,
            "{text}"
        );
    }
}

#[test]
fn two_texts_in_the_function_tell_nothing() {
    let mut program = without_markers("3.9.2");
    let other = program.add_rodata(b"3.9.1\0");
    let other = u32::try_from(other).unwrap().to_le_bytes();
    program.text[0x46..0x4a].copy_from_slice(&other);
    // The search of the data finds both too.
    program.add_rodata(b"cpython-39\0");
    assert_eq!(version_of(&program, "program"), None);
}

#[test]
fn the_data_tells_if_one_number_fits_the_minor_version() {
    let python39 = Some("3.9.2");
    for (texts, soname, name, version) in [
        ("3.9.2 cpython-39-x86_64", None, "program", python39),
        ("3.15.2 cpython-315", None, "program", Some("3.15.2")),
        ("3.9.2 python3.9", None, "program", python39),
        ("3.9.2", Some("libpython3.9.so.1.0"), "program", python39),
        (
            "2.7.18",
            Some("libpython2.7.so.1.0"),
            "program",
            Some("2.7.18"),
        ),
        ("3.9.2", None, "python3.9", python39),
        // The end of a path.
        ("/opt/3.9.18 cpython-39", None, "program", Some("3.9.18")),
        // Others' numbers beside it.
        ("3.40.1 3.9.2 3.2.0 cpython-39", None, "program", python39),
        ("3.9.2 3.9.3 cpython-39", None, "program", None),
        ("3.9.2 cpython-39 cpython-38", None, "program", None),
        ("3.9.2", None, "program", None),
        ("13.9.2 1.3.9.2 cpython-39", None, "program", None),
    ] {
        let mut program = silent();
        program.soname = soname;
        program.add_rodata(b"\0");
        for text in texts.split(' ') {
            program.add_rodata(format!("{text}\0").as_bytes());
        }
        assert_eq!(version_of(&program, name).as_deref(), version, "{texts}");
    }
}

#[test]
fn the_file_name_never_overrules_the_file() {
    let mut program = silent();
    program.add_rodata(b"\x003.9.2\x003.8.1\x00cpython-39\0");
    assert_eq!(version_of(&program, "python3.8").unwrap(), "3.9.2");
}

#[test]
fn versions_have_an_order() {
    let versions = [
        "2.7.18",
        "3.9.2",
        "3.10.0a1",
        "3.10.0b1",
        "3.10.0rc1",
        "3.10.0",
        "3.10.1",
    ];
    let versions = versions.map(|text| {
        examine_program(&without_markers(text))
            .unwrap()
            .version
            .unwrap()
    });
    assert!(versions.is_sorted_by(|a, b| a < b));
}

#[test]
fn a_file_full_of_versions_tells_nothing_and_costs_little() {
    let mut program = silent();
    program.soname = Some("libpython3.9.so.1.0");
    program.add_rodata(b"\x003.9.2\0");
    let mut bytes = program.build();
    assert!(examine_bytes(&bytes).unwrap().unwrap().version.is_some());
    // The segment of read-only data becomes the rest of the file.
    let header = load_header(&bytes, RODATA.0);
    let end = bytes.len() as u64;
    bytes.extend(b"3.9.2\0".repeat(100_000));
    let size = bytes.len() as u64 - end;
    bytes[header + 8..header + 16].copy_from_slice(&end.to_le_bytes());
    bytes[header + 32..header + 40].copy_from_slice(&size.to_le_bytes());
    assert_eq!(examine_bytes(&bytes).unwrap().unwrap().version, None);
}
