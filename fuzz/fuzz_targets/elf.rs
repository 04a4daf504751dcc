//! Bytes as a whole ELF file.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|image: &[u8]| pytop_fuzz::examine(image));
