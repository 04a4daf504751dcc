//! Bytes as `/proc/PID/cgroup`.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    if let Some(name) = pytop::discover::container::container(input) {
        pytop_fuzz::harmless(&name);
    }
});
