//! Bytes as `/proc/PID/maps`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pytop::discover::mapping::Mappings;

fuzz_target!(|input: &[u8]| {
    let Ok(mappings) = Mappings::read(input) else {
        return;
    };
    for segment in &mappings.segments {
        assert!(segment.file < mappings.files.len());
    }
    for (index, file) in mappings.files.iter().enumerate() {
        assert!(file.inode != 0);
        assert!(!mappings.files[..index].contains(file));
    }
});
