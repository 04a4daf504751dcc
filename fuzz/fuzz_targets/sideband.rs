//! Bytes as a record of a perf event.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let _ = pytop::probe::sideband::fuzzing::event_of(input);
});
