//! Bytes as a version, the text or the number.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pytop::cpython::fuzzing::{version_of_number, version_of_text};

fuzz_target!(|input: &[u8]| {
    if let Some(version) = version_of_text(input) {
        let shown = format!("{version}\0");
        assert_eq!(version_of_text(shown.as_bytes()), Some(version));
    }
    if let Some(number) = input.first_chunk()
        && let Some(version) = version_of_number(u64::from_le_bytes(*number))
    {
        assert!(version.major == 2 || version.major == 3);
    }
});
