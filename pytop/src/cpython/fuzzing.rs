//! Ways in for the fuzz targets, to what only has a part of a file to parse.

use iced_x86::{Decoder, DecoderOptions};
use object::Endianness;
use pytop_common::marker::Argument;

use super::arguments::{self, Surroundings};
use super::block::{Block, stepping};
use super::exits::{self, Entries};
use super::{Architecture, Interpreter, Listing, Version, jumps, marker, milestones, notes};

/// Follows instructions at an address, and looks for branches among them.
pub fn instructions(code: &[u8], address: u64) {
    if let Some(block) = Block::follow(code, address) {
        assert!(!block.steps.is_empty(), "a block without instructions");
        let _ = block.decided_by();
    }
    let decoder = Decoder::with_ip(64, code, address, DecoderOptions::NONE);
    for instruction in decoder {
        let _ = stepping(&instruction, code);
    }
    jumps::fuzz(code, address);
}

/// Lists the markers of a file, and looks up where it could be loaded.
#[must_use]
pub fn listing(image: &[u8]) -> Option<Listing> {
    let listing = super::listing::list(&image, image.len() as u64).ok()??;
    for offset in [0, 1, 0x1000, u64::MAX] {
        let _ = listing.load_bias(0x7f00_0000_0000, offset);
    }
    Some(listing)
}

/// Finds where frames are left in bytes that are a file. Returns where in it the probes would go.
#[must_use]
pub fn exits(image: &[u8], interpreter: &Interpreter) -> Vec<u64> {
    let mut offsets = Vec::new();
    for entries in [Entries::Marker, Entries::Code, Entries::QuickCode] {
        let probes = exits::probes(&image, image.len() as u64, interpreter, entries);
        let probes = probes.unwrap_or_default();
        offsets.extend(probes.iter().map(|probe| probe.file_offset));
    }
    offsets
}

/// Finds what a process passes in step with its calls in bytes that are a file. Returns where in it the
/// probes would go.
#[must_use]
pub fn milestones(image: &[u8]) -> Vec<u64> {
    milestones::find(&image, image.len() as u64).unwrap_or_default()
}

/// Reads a section of notes.
pub fn notes(bytes: &[u8], is_64: bool, little: bool, alignment: u64) {
    let endian = if little {
        Endianness::Little
    } else {
        Endianness::Big
    };
    notes::fuzz(bytes, is_64, endian, alignment, |_, _| true);
    notes::fuzz(bytes, is_64, endian, alignment, marker::is_entry);
}

/// Reads the arguments of a marker for every architecture. Returns those that can be served.
#[must_use]
pub fn arguments(text: &[u8]) -> Vec<Argument> {
    let Ok(text) = str::from_utf8(text) else {
        return Vec::new();
    };
    let mut served = Vec::new();
    for architecture in [Architecture::X86_64, Architecture::Aarch64] {
        for relocatable in [false, true] {
            let surroundings = Surroundings {
                site: 0x40_1000,
                relocatable,
                symbol: &|name| {
                    if name.len() > 8 {
                        Err("is unknown".into())
                    } else {
                        Ok(u64::MAX - name.len() as u64)
                    }
                },
            };
            for argument in arguments::split(text) {
                served.extend(arguments::parse(architecture, argument, &surroundings));
            }
        }
    }
    served
}

/// Reads `PY_VERSION` as it is in a file.
#[must_use]
pub fn version_of_text(bytes: &[u8]) -> Option<Version> {
    Version::from_text(bytes)
}

/// Reads `PY_VERSION_HEX`.
#[must_use]
pub fn version_of_number(number: u64) -> Option<Version> {
    Version::from_hex(number)
}
