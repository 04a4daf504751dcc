//! Bytes as the content of a section of notes.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((&[kind, alignment], notes)) = input.split_first_chunk() {
        let (is_64, little) = (kind & 1 == 0, kind & 2 == 0);
        pytop::cpython::fuzzing::notes(notes, is_64, little, alignment.into());
    }
});
