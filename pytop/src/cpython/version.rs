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
//! 2. The same number in `_Py_DebugOffsets` (3.13 and later,
//!    `Include/internal/pycore_debug_offsets.h`), behind the cookie `xdebugpy` at the start of the section `.PyRuntime`.
//! 3. The text `PY_VERSION`, which `Py_GetVersion` passes to `PyOS_snprintf`: the one version number
//!    among the texts that the instructions of that function refer to.
//! 4. For a program without any of these symbols: the version numbers in its read-only data, if the
//!    minor version is known from elsewhere (`libpython3.9.so`, `cpython-39`) and just one fits.
//!    Other libraries have version numbers too.

mod data;
mod function;

use std::collections::BTreeSet;
use std::fmt;
use std::path::Path;
use std::sync::LazyLock;

use object::elf;
use regex::bytes::{Captures, Regex};

use super::elf::{Elf, u64_of};
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
    pub(super) fn from_hex(hex: u64) -> Option<Self> {
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
        .filter(|version| version.is_plausible())
    }

    /// Reads a version at the start of bytes that a NUL ends.
    pub(super) fn from_text(bytes: &[u8]) -> Option<Self> {
        let captures = LITERAL.captures(bytes)?;
        (captures.name("major")?.start() == 0)
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
        .filter(|version| version.is_plausible())
    }

    fn is_plausible(self) -> bool {
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
        Some(symbol) => function::literal(elf, symbol)?,
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
        (None, None) => data::literal(elf, dynamic, path),
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

/// The only element, if there is just one.
fn only<T: Copy + Ord>(set: &BTreeSet<T>) -> Option<T> {
    match set.len() {
        1 => set.first().copied(),
        _ => None,
    }
}
