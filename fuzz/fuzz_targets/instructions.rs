//! Bytes as x86-64 instructions.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some((address, code)) = input.split_first_chunk() {
        pytop::cpython::fuzzing::instructions(code, u64::from_le_bytes(*address));
    }
});
