//! Bytes as what an earlier run has kept of an interpreter.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(method) = pytop::session::fuzzing::entry(input) {
        // Whatever the offsets, they are refused or fit what the kernel side takes.
        let _ = method.probes();
    }
});
