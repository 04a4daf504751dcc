//! The version number among the read-only data of a program that hides its symbols.

use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

use object::elf;
use regex::bytes::{Captures, Regex};

use super::super::elf::{Elf, Segment};
use super::super::source::Fault;
use super::super::symbols::Dynamic;
use super::{LITERAL, Version, only, pattern};

/// Texts that name the minor version: the library's own name, the program's default name, and the
/// tag in the names of extension modules and compiled files (`cpython-39-x86_64-linux-gnu.so`).
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?-u)(?:(?:libpython|\x00python)(?<major>[23])\.|cpython-(?<tag>3))(?<minor>[0-9]{1,2})[^0-9]",
    )
});

/// The end of the name of a file.
static FILE_NAME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?-u)^(?:lib)?python(?<major>[23])\.(?<minor>[0-9]{1,2})(?:[^0-9]|$)")
});

/// Read-only data that is searched for texts, in bytes.
const MAX_SEARCH: u64 = 64 << 20;
/// Bytes of it that are in memory at once.
const CHUNK: u64 = 1 << 20;

/// Texts that look like a version. A file with more of them is made to cost time, and says nothing.
const MAX_MATCHES: usize = 10_000;

/// The one version number in the read-only data that fits the minor version.
pub(super) fn literal(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    path: &Path,
) -> Result<Option<Version>, Fault> {
    let mut versions = BTreeSet::new();
    let mut named = BTreeSet::new();
    let mut matches = MAX_MATCHES;
    let minor = |captures: Captures<'_>| -> Option<(u8, u8)> {
        let number = |group| {
            str::from_utf8(captures.name(group)?.as_bytes())
                .ok()?
                .parse()
                .ok()
        };
        Some((number("major").or_else(|| number("tag"))?, number("minor")?))
    };
    if let Some(mut soname) = dynamic.soname(elf) {
        soname.push(0);
        named.extend(NAME.captures(&soname).and_then(minor));
    }
    each_chunk_of_data(elf, |bytes| {
        for captures in NAME.captures_iter(bytes).take(matches) {
            matches -= 1;
            named.extend(minor(captures));
        }
        let mut start = 0;
        while let Some(captures) = LITERAL.captures_at(bytes, start)
            && matches > 0
        {
            matches -= 1;
            versions.extend(Version::from_captures(&captures));
            // The NUL that ends a text also stands before the next one.
            start = captures.get(0).map_or(bytes.len(), |found| found.end() - 1);
        }
        if matches > 0 {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    })?;
    if matches == 0 {
        return Ok(None);
    }
    if named.is_empty() {
        let name = path.file_name().unwrap_or_default().as_encoded_bytes();
        named.extend(FILE_NAME.captures(name).and_then(minor));
    }
    let Some(named) = only(&named) else {
        return Ok(None);
    };
    versions.retain(|version| version.minor() == named);
    Ok(only(&versions))
}

/// Calls `look` with the read-only data of the program, in overlapping chunks.
fn each_chunk_of_data(
    elf: &Elf<'_>,
    mut look: impl FnMut(&[u8]) -> ControlFlow<()>,
) -> Result<(), Fault> {
    // Old linkers put data and instructions into one segment; new ones keep them apart.
    let is_data = |segment: &&Segment| segment.kind == elf::PT_LOAD && !segment.writable;
    let apart = elf
        .segments
        .iter()
        .filter(is_data)
        .any(|segment| !segment.executable && segment.address != 0 && segment.offset != 0);
    let mut budget = MAX_SEARCH;
    for segment in elf.segments.iter().filter(is_data) {
        if apart && segment.executable {
            continue;
        }
        let size = segment.file_size.min(budget);
        budget -= size;
        let mut position = 0;
        while position < size {
            let length = (size - position).min(CHUNK);
            let offset = segment.offset.saturating_add(position);
            let part = "its read-only data";
            let bytes = elf.source.read(offset, length, CHUNK, part)?;
            if look(&bytes).is_break() {
                return Ok(());
            }
            let overlap = if position + length < size { 64 } else { 0 };
            position += length.saturating_sub(overlap).max(1);
        }
    }
    Ok(())
}
