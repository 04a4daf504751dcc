//! Files that are cut, changed, or made to hurt.

use super::program::{Hash, Program};
use super::*;

/// Files that between them have every table that is read.
fn files() -> Vec<Vec<u8>> {
    let mut hidden = without_markers("3.8.18");
    hidden.symbols = std::mem::take(&mut hidden.exports);
    hidden.hash = Hash::None;
    let mut symbolic = cpython("3.9.2", "8@name(%rip) 8@%r14 -4@%eax");
    symbolic.hash = Hash::SysV;
    symbolic.symbols = vec![function("name", symbolic.text_at(0), 8)];
    let mut searched = cpython("3.9.2", ARGUMENTS);
    searched.exports.truncate(1);
    searched.soname = Some("libpython3.9.so.1.0");
    let narrow = Program {
        is_64: false,
        machine: object::elf::EM_386,
        ..cpython("3.9.2", ARGUMENTS)
    };
    [
        hidden,
        symbolic,
        searched,
        narrow,
        cpython("3.9.2", ARGUMENTS),
    ]
    .iter()
    .map(Program::build)
    .collect()
}

#[test]
fn a_file_cut_anywhere_is_an_error_or_no_interpreter() {
    for bytes in files() {
        let whole = bytes.len();
        assert!(examine_bytes(&bytes).unwrap().is_some());
        for length in 0..whole {
            let cut = bytes[..length].to_vec();
            // The section headers are at the end, and a file without them is damaged; one without
            // the magic number is no ELF file.
            match examine_bytes(&cut) {
                Ok(None) => assert!(length < 4, "{length} of {whole}"),
                Err(Fault::Damaged { .. }) => assert!(length >= 4),
                other => panic!("{length} of {whole}: {other:?}"),
            }
        }
    }
}

#[test]
fn a_file_that_shrinks_while_it_is_read_is_an_error() {
    let bytes = cpython("3.9.2", ARGUMENTS).build();
    for cut in (0..bytes.len()).step_by(64) {
        let mut file = Watched::new(bytes.clone());
        file.cut = cut;
        // What was in the part that is lost need not have been read.
        if let Ok(Some(interpreter)) = file.examine() {
            assert!(cut > 4096);
            assert!(interpreter.entry.is_err() || cut > 0x3000);
        }
    }
}

#[test]
fn a_read_that_fails_is_an_error() {
    let reads = {
        let file = Watched::new(cpython("3.9.2", ARGUMENTS).build());
        assert!(file.examine().unwrap().is_some());
        file.reads.get()
    };
    let mut errors = 0;
    for fail_after in 0..reads {
        let mut file = Watched::new(cpython("3.9.2", ARGUMENTS).build());
        file.fail_after = fail_after;
        match file.examine() {
            Err(Fault::Read(error)) => {
                assert_eq!(error.raw_os_error(), Some(5));
                errors += 1;
            }
            // The tables of markers make a reason instead.
            Ok(Some(interpreter)) => assert!(interpreter.entry.is_err()),
            other => panic!("{fail_after}: {other:?}"),
        }
    }
    assert!(errors > 2);
}

#[test]
fn no_changed_byte_makes_it_panic_or_read_much() {
    for bytes in files() {
        let file = Watched::new(bytes.clone());
        file.examine().unwrap();
        for position in 0..bytes.len() {
            // Padding between the pieces says nothing.
            if bytes[position] == 0
                && bytes.get(position.wrapping_sub(8)..position + 8) == Some(&[0; 16])
            {
                continue;
            }
            for value in [0x00, 0x7f, 0xff] {
                let mut file = Watched::new(bytes.clone());
                file.bytes[position] = value;
                let _ = file.examine();
                let limit = 16 * bytes.len() + 65_536;
                assert!(file.read.get() < limit, "{position}: {}", file.read.get());
            }
        }
    }
}

#[test]
fn sizes_beyond_all_reason_take_no_memory() {
    // Every aligned word of the headers becomes huge, in a file that claims to be as long.
    let bytes = cpython("3.9.2", ARGUMENTS).build();
    for value in [
        u64::MAX,
        i64::MAX as u64,
        1 << 40,
        u64::from(u32::MAX),
        1 << 33,
    ] {
        for position in (0..4096).chain(0x3000..bytes.len() - 8).step_by(4) {
            let mut file = Watched::new(bytes.clone());
            file.bytes[position..position + 8].copy_from_slice(&value.to_le_bytes());
            let path = Path::new("program");
            let result = examine_for(Architecture::X86_64, &file, u64::MAX, path);
            // Memory is only taken to be read into: the sum is a bound for it.
            assert!(file.read.get() < 4 << 20, "{position}: {result:?}");
            assert!(file.reads.get() < 10_000, "{position}: {result:?}");
        }
    }
}

#[test]
fn a_chain_that_bites_its_tail_ends() {
    let mut program = without_markers("3.9.2");
    program.hash = Hash::SysV;
    program.exports = vec![
        function("one", program.text_at(0), 8),
        function("two", program.text_at(0), 8),
    ];
    let bytes = program.build();
    let table = bytes
        .windows(8)
        .position(|words| words == [3, 0, 0, 0, 3, 0, 0, 0])
        .unwrap();
    let mut file = Watched::new(bytes);
    // All buckets and chains lead to symbol 1.
    for word in 2..8 {
        file.bytes[table + word * 4..table + word * 4 + 4].copy_from_slice(&[1, 0, 0, 0]);
    }
    match file.examine() {
        Err(Fault::Damaged { problem, .. }) => assert_eq!(problem, "has a chain without an end"),
        other => panic!("{other:?}"),
    }
}
