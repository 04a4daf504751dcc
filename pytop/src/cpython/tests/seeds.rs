//! The files from which fuzzing starts.

use std::fs;
use std::path::PathBuf;

use super::*;

/// Compares a file in `fuzz/seeds/elf` with what it should be, or writes it where the variable
/// `UPDATE_FUZZ_SEEDS` is set.
pub(super) fn check(name: &str, program: &Program) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/seeds/elf")
        .join(name);
    let bytes = program.build();
    if std::env::var_os("UPDATE_FUZZ_SEEDS").is_some() {
        fs::write(&path, &bytes).expect("the seed can be written");
    }
    let seed = fs::read(&path).expect("the seed is there");
    assert!(
        seed == bytes,
        "the seed {name} is not what the tests make: set UPDATE_FUZZ_SEEDS to write it anew"
    );
}

#[test]
fn the_seeds_are_interpreters() {
    let mut symbols = cpython("3.9.2", "8@name(%rip) 8@%r14 -4@%eax");
    symbols.hash = program::Hash::SysV;
    symbols.symbols = vec![function("name", symbols.text_at(0), 8)];
    let narrow = Program {
        is_64: false,
        machine: elf::EM_386,
        ..cpython("3.9.2", ARGUMENTS)
    };
    check("marker", &cpython("3.9.2", ARGUMENTS));
    check("symbols", &symbols);
    check("narrow", &narrow);
}
