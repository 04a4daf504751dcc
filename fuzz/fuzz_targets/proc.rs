//! Bytes as `/proc/PID/stat` and `/proc/PID/status`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pytop::discover::fuzzing::{stat, status};

fuzz_target!(|input: &[u8]| {
    if let Some(stat) = stat(input) {
        assert!(stat.comm.len() < input.len());
        let _ = stat.has_ended();
    }
    let _ = status(input);
});
