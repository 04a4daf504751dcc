//! Bytes as the arguments of a marker, as a note has them.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    for argument in pytop::cpython::fuzzing::arguments(input) {
        pytop_fuzz::servable_argument(&argument);
    }
});
