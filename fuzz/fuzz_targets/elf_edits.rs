//! Interpreters with a few of their bytes changed, and cut.
//!
//! A whole file is long, and changes at random soon break its headers. Here the input is only what
//! is changed:
//!
//! ```text
//! which file, how many bytes are cut (2)
//! where (2), how many (1), and the new bytes; where (2), …
//! ```
#![no_main]

use libfuzzer_sys::fuzz_target;

const FILES: [&[u8]; 5] = [
    include_bytes!("../seeds/elf/marker"),
    include_bytes!("../seeds/elf/symbols"),
    include_bytes!("../seeds/elf/narrow"),
    include_bytes!("../seeds/elf/eval"),
    include_bytes!("../seeds/elf/resume"),
];

fuzz_target!(|input: &[u8]| {
    let Some(([file, cut @ ..], mut edits)) = input.split_first_chunk::<3>() else {
        return;
    };
    let mut image = FILES[usize::from(*file) % FILES.len()].to_vec();
    while let Some(([at @ .., count], rest)) = edits.split_first_chunk::<3>() {
        let (new, rest) = rest.split_at(rest.len().min(usize::from(*count)));
        let at = usize::from(u16::from_le_bytes(*at)) % image.len();
        let end = image.len().min(at + new.len());
        image[at..end].copy_from_slice(&new[..end - at]);
        edits = rest;
    }
    let cut = usize::from(u16::from_le_bytes(*cut));
    image.truncate(image.len().saturating_sub(cut));
    pytop_fuzz::examine(&image);
});
