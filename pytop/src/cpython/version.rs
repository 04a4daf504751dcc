//! Which CPython a file holds. Whether a marker ever fires depends on the version, so it is read
//! and never guessed: where two readings disagree there is none.
//!
//! In the order in which they are tried:
//!
//! 1. The constant `Py_Version` (3.11 and later, Python/getversion.c): `PY_VERSION_HEX`, one byte
//!    each of major, minor and micro version, then release level and serial number.
//!
//!    ```text
//!    f0 02 0f 03 00 00 00 00     0x030f02f0: 3.15.2 final
//!    ```
//! 2. The same number in `_Py_DebugOffsets` (3.13 and later, Include/internal/pycore_debug_offsets.h),
//!    behind the cookie `xdebugpy` at the start of the section `.PyRuntime`.
//! 3. The text `PY_VERSION`, which `Py_GetVersion` passes to `PyOS_snprintf`: the one version number
//!    among the texts that the instructions of that function refer to.
//! 4. For a program without any of these symbols: the version numbers in its read-only data, if the
//!    minor version is known from elsewhere (`libpython3.9.so`, `python3.9`) and just one fits.
//!    Other libraries have version numbers too.

use std::collections::BTreeSet;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::LazyLock;

use object::elf;
use regex::bytes::{Captures, Regex};

use super::elf::{Elf, Segment, u32_of, u64_of};
use super::source::Fault;
use super::symbols::{Dynamic, Symbol};

/// The version of a CPython.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Version {
    /// 3, or 2.
    pub major: u8,
    /// The 9 of 3.9.2.
    pub minor: u8,
    /// The 2 of 3.9.2.
    pub micro: u8,
    /// How finished it is.
    pub release: Release,
    /// Built from sources later than the release: the `+` of `3.16.0a1+`. Known only where the
    /// file holds the version as text.
    pub modified: bool,
}

/// The release level of a version, with its serial number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Release {
    /// `a1`
    Alpha(u8),
    /// `b1`
    Beta(u8),
    /// `rc1`
    Candidate(u8),
    /// Nothing.
    Final,
}

impl Version {
    /// Major and minor version: what CPython's structures and markers depend on.
    #[must_use]
    pub fn minor(self) -> (u8, u8) {
        (self.major, self.minor)
    }

    /// Reads `PY_VERSION_HEX`.
    fn from_hex(hex: u64) -> Option<Self> {
        let [0, 0, 0, 0, major, minor, micro, level] = hex.to_be_bytes() else {
            return None;
        };
        let serial = level & 0xf;
        let release = match level >> 4 {
            0xa => Release::Alpha(serial),
            0xb => Release::Beta(serial),
            0xc => Release::Candidate(serial),
            0xf => Release::Final,
            _ => return None,
        };
        Some(Self {
            major,
            minor,
            micro,
            release,
            modified: false,
        })
        .filter(Self::is_plausible)
    }

    /// Reads a version at the start of bytes that a NUL ends.
    fn from_text(bytes: &[u8]) -> Option<Self> {
        let captures = LITERAL.captures(bytes)?;
        (captures.get(0)?.start() == 0)
            .then(|| Self::from_captures(&captures))
            .flatten()
    }

    fn from_captures(captures: &Captures<'_>) -> Option<Self> {
        let number = |group: &str| -> Option<u8> {
            let digits = captures.name(group)?;
            str::from_utf8(digits.as_bytes()).ok()?.parse().ok()
        };
        let release = match captures.name("level").map(|level| level.as_bytes()) {
            None => Release::Final,
            Some(b"a") => Release::Alpha(number("serial")?),
            Some(b"b") => Release::Beta(number("serial")?),
            Some(_) => Release::Candidate(number("serial")?),
        };
        Some(Self {
            major: number("major")?,
            minor: number("minor")?,
            micro: number("micro")?,
            release,
            modified: captures.name("modified").is_some(),
        })
        .filter(Self::is_plausible)
    }

    fn is_plausible(&self) -> bool {
        matches!(self.minor(), (2, 0..=7) | (3, _))
    }
}

impl fmt::Display for Version {
    /// As the first word of `sys.version`.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}.{}.{}", self.major, self.minor, self.micro)?;
        match self.release {
            Release::Alpha(serial) => write!(formatter, "a{serial}")?,
            Release::Beta(serial) => write!(formatter, "b{serial}")?,
            Release::Candidate(serial) => write!(formatter, "rc{serial}")?,
            Release::Final => {}
        }
        formatter.write_str(if self.modified { "+" } else { "" })
    }
}

/// A pattern of this file, which the tests compile.
fn pattern(text: &str) -> Regex {
    Regex::new(text).expect("a constant pattern")
}

/// `PY_VERSION`. The linker may have made it the end of a longer text, such as a path, but not of
/// a longer number.
static LITERAL: LazyLock<Regex> = LazyLock::new(|| {
    pattern(
        r"(?-u)(?:^|[^0-9.])(?<major>[23])\.(?<minor>[0-9]{1,2})\.(?<micro>[0-9]{1,2})(?:(?<level>a|b|rc)(?<serial>[0-9]{1,2}))?(?<modified>\+)?\x00",
    )
});

/// Texts that name the minor version: the library's own name, and the program's default name.
static NAME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?-u)(?:libpython|\x00python)(?<major>[23])\.(?<minor>[0-9]{1,2})[^0-9]")
});

/// The end of the name of a file.
static FILE_NAME: LazyLock<Regex> = LazyLock::new(|| {
    pattern(r"(?-u)^(?:lib)?python(?<major>[23])\.(?<minor>[0-9]{1,2})(?:[^0-9]|$)")
});

/// Instructions of `Py_GetVersion` that are looked at, in bytes.
const MAX_FUNCTION: u64 = 512;
/// Longest text that can be a version, its NUL included.
const MAX_LITERAL: u64 = 16;
/// Read-only data that is searched for texts, in bytes.
const MAX_SEARCH: u64 = 64 << 20;
/// Bytes of it that are in memory at once.
const CHUNK: u64 = 1 << 20;

/// Where the symbols are that tell the version.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Landmarks {
    pub(super) constant: Option<Symbol>,
    pub(super) function: Option<Symbol>,
}

/// Reads the version. `path` is only asked when nothing in the file itself names the minor version.
pub(super) fn read(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    landmarks: Landmarks,
    path: &Path,
) -> Result<Option<Version>, Fault> {
    let number = match landmarks.constant {
        Some(symbol) => constant(elf, symbol)?,
        None => debug_offsets(elf)?,
    };
    let text = match landmarks.function {
        Some(symbol) => literal_of_function(elf, symbol)?,
        None => None,
    };
    match (number, text) {
        // The text says more: it has the `+`.
        (Some(number), Some(text)) => {
            let released = Version {
                modified: false,
                ..text
            };
            Ok((released == number).then_some(text))
        }
        (Some(version), None) | (None, Some(version)) => Ok(Some(version)),
        (None, None) => literal_in_data(elf, dynamic, path),
    }
}

fn constant(elf: &Elf<'_>, symbol: Symbol) -> Result<Option<Version>, Fault> {
    // A program may have a zeroed copy of a library's constant: it is not in the file.
    if elf
        .file_offset(symbol.address, elf.word_size(), |_| true)
        .is_none()
    {
        return Ok(None);
    }
    let hex = elf.word_at(symbol.address, "its constant Py_Version")?;
    Ok(Version::from_hex(hex))
}

fn debug_offsets(elf: &Elf<'_>) -> Result<Option<Version>, Fault> {
    let Some(section) = elf.section(".PyRuntime") else {
        return Ok(None);
    };
    let part = "its section .PyRuntime";
    if section.size < 16 || section.kind == elf::SHT_NOBITS {
        return Ok(None);
    }
    let bytes = elf.source.read(section.offset, 16, 16, part)?;
    let hex = bytes.strip_prefix(b"xdebugpy");
    Ok(hex.and_then(|hex| Version::from_hex(u64_of(elf.endian, hex))))
}

/// The one version number that the instructions of a function refer to.
///
/// This is no disassembler: every four bytes are taken for a distance or an address, and what they
/// lead to must be a version number to the last character.
fn literal_of_function(elf: &Elf<'_>, function: Symbol) -> Result<Option<Version>, Fault> {
    let size = match function.size {
        0 => 128,
        size => size.min(MAX_FUNCTION),
    };
    let Some(offset) = elf.file_offset(function.address, size, |segment| segment.executable) else {
        return Ok(None);
    };
    let part = "its function Py_GetVersion";
    let code = elf.source.read(offset, size, MAX_FUNCTION as usize, part)?;
    let targets = match elf.machine {
        elf::EM_X86_64 | elf::EM_386 => targets_on_x86(&code, function.address),
        elf::EM_AARCH64 => targets_on_aarch64(&code, function.address),
        _ => Vec::new(),
    };
    let mut versions = BTreeSet::new();
    for target in targets {
        let in_data = |segment: &Segment| !segment.writable;
        // A text near the end of its segment has fewer bytes behind it.
        let text = (6..=MAX_LITERAL)
            .rev()
            .find_map(|size| Some((elf.file_offset(target, size, in_data)?, size)));
        if let Some((offset, size)) = text {
            let bytes = elf.source.read(offset, size, MAX_LITERAL as usize, part)?;
            versions.extend(Version::from_text(&bytes));
        }
    }
    Ok(only(&versions))
}

/// `lea disp32(%rip)` counts from its end, which the displacement is; `mov $imm32` is an address.
fn targets_on_x86(code: &[u8], start: u64) -> Vec<u64> {
    let mut targets = Vec::new();
    for (end, bytes) in (start.saturating_add(4)..).zip(code.windows(4)) {
        let value = u32_of(object::Endianness::Little, bytes);
        targets.push(end.wrapping_add_signed(value.cast_signed().into()));
        targets.push(value.into());
    }
    targets
}

/// `adrp` gives a page, a later `add` of the same register the place in it; `adr` gives both.
fn targets_on_aarch64(code: &[u8], start: u64) -> Vec<u64> {
    let mut targets = Vec::new();
    let mut pages = [None; 32];
    for (address, bytes) in (start..).step_by(4).zip(code.chunks_exact(4)) {
        let word = u32_of(object::Endianness::Little, bytes);
        let register = (word & 0x1f) as usize;
        let immediate = (word >> 29 & 3) | (word >> 3 & 0x1f_fffc);
        // Sign-extended from 21 bits.
        let immediate = i64::from((immediate << 11).cast_signed() >> 11);
        if word & 0x9f00_0000 == 0x9000_0000 {
            let page = (address & !0xfff).wrapping_add_signed(immediate << 12);
            if let Some(slot) = pages.get_mut(register) {
                *slot = Some(page);
            }
        } else if word & 0x9f00_0000 == 0x1000_0000 {
            targets.push(address.wrapping_add_signed(immediate));
        } else if word & 0xffc0_0000 == 0x9100_0000 {
            let source = (word >> 5 & 0x1f) as usize;
            let place = u64::from(word >> 10 & 0xfff);
            if let Some(page) = pages.get(source).copied().flatten() {
                targets.push(page.wrapping_add(place));
            }
        }
    }
    targets
}

/// The one version number in the read-only data that fits the minor version.
fn literal_in_data(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    path: &Path,
) -> Result<Option<Version>, Fault> {
    let mut versions = BTreeSet::new();
    let mut named = BTreeSet::new();
    let minor = |captures: Captures<'_>| -> Option<(u8, u8)> {
        let number = |group| {
            str::from_utf8(captures.name(group)?.as_bytes())
                .ok()?
                .parse()
                .ok()
        };
        Some((number("major")?, number("minor")?))
    };
    if let Some(mut soname) = dynamic.soname(elf) {
        soname.push(0);
        named.extend(NAME.captures(&soname).and_then(minor));
    }
    each_chunk_of_data(elf, |bytes| {
        named.extend(NAME.captures_iter(bytes).filter_map(minor));
        let mut start = 0;
        while let Some(captures) = LITERAL.captures_at(bytes, start) {
            versions.extend(Version::from_captures(&captures));
            // The NUL that ends a text also stands before the next one.
            start = captures.get(0).map_or(bytes.len(), |found| found.end() - 1);
        }
        // A hostile file may hold any number of them. More than a few decide nothing.
        if versions.len() > 1000 || named.len() > 10 {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    })?;
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
            let bytes = elf.source.read(offset, length, CHUNK as usize, part)?;
            if look(&bytes).is_break() {
                return Ok(());
            }
            let overlap = if position + length < size { 64 } else { 0 };
            position += length.saturating_sub(overlap).max(1);
        }
    }
    Ok(())
}

/// The only element, if there is just one.
fn only<T: Copy + Ord>(set: &BTreeSet<T>) -> Option<T> {
    match set.len() {
        1 => set.first().copied(),
        _ => None,
    }
}
