//! The arguments of a marker: from the words that the assembler printed into the note to the
//! specification that the kernel side evaluates.
//!
//! ```text
//! 8@%r13 8@%r14 -4@%eax            x86-64: three registers; the last is a signed 32-bit number
//! 8@x21 8@x0 -4@[sp, 28]           aarch64: two registers, and a number on the stack
//! ```
//!
//! Before the `@` stands the size in bytes, negative for a signed value, with an `f` behind it for
//! a floating point value; after it stands an operand as the assembler of the architecture writes
//! it. `SystemTap`'s wiki (`UserSpaceProbeImplementation`) has the grammar, libbpf's `src/usdt.c`
//! and bcc's `src/cc/usdt/usdt_args.cc` two readings of it.

mod aarch64;
mod x86_64;

use std::borrow::Cow;

use pytop_common::marker::{Argument, ArgumentKind, NO_REGISTER};

use super::Architecture;

/// Why an argument cannot be served; completes "its marker's argument `…` …".
pub(super) type Why = Cow<'static, str>;

/// What an operand may refer to besides registers.
pub(super) struct Surroundings<'a> {
    /// Address of the marker: the instruction pointer when it is hit.
    pub(super) site: u64,
    /// The program is loaded at any address, so that only distances in it are known.
    pub(super) relocatable: bool,
    /// The address of a symbol of this file.
    pub(super) symbol: &'a dyn Fn(&str) -> Result<u64, Why>,
}

/// Splits the text of a note into arguments. Spaces separate them, but for those in brackets.
pub(super) fn split(text: &str) -> Vec<&str> {
    let mut depth = 0_usize;
    text.split(|character: char| {
        match character {
            '(' | '[' => depth += 1,
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        depth == 0 && character.is_ascii_whitespace()
    })
    .filter(|argument| !argument.is_empty())
    .collect()
}

/// Reads one argument.
pub(super) fn parse(
    architecture: Architecture,
    text: &str,
    surroundings: &Surroundings<'_>,
) -> Result<Argument, Why> {
    let (size, operand) = size(text)?;
    match architecture {
        Architecture::X86_64 => x86_64::parse(operand, size, surroundings),
        Architecture::Aarch64 => aarch64::parse(operand, size),
        Architecture::Other(_) => Err("is for an unknown processor".into()),
    }
}

/// How wide a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Size {
    /// 1, 2, 4 or 8; `None` when the note does not say: the operand decides.
    bytes: Option<u8>,
    signed: bool,
}

/// The size before the `@`, and the operand after it. Symbols may hold an `@` themselves, so that
/// what stands before it has to look like a size.
fn size(text: &str) -> Result<(Size, &str), Why> {
    let unsized_operand = Size {
        bytes: None,
        signed: false,
    };
    let Some((prefix, operand)) = text.split_once('@') else {
        return Ok((unsized_operand, text));
    };
    let digits = prefix.strip_prefix('-').unwrap_or(prefix);
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return Ok((unsized_operand, text));
    }
    if digits.ends_with('f') {
        return Err("is a floating point value".into());
    }
    let bytes = match digits {
        "1" => 1,
        "2" => 2,
        "4" => 4,
        "8" => 8,
        _ => return Err(format!("has the size {prefix}, which is none of 1, 2, 4 and 8").into()),
    };
    let size = Size {
        bytes: Some(bytes),
        signed: prefix.starts_with('-'),
    };
    Ok((size, operand))
}

/// A register, or the part of one that an operand names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Register {
    /// Index of its word in the register file that the kernel saves.
    word: u8,
    /// Bits of the part: 8, 16, 32 or 64.
    bits: u8,
    /// Bits of the word below the part: 8 for `%ah`, else 0.
    shift: u8,
}

/// Cuts a value of `bits` bits, which begins `shift` bits up in its word, to its size.
fn cut(mut argument: Argument, size: Size, bits: u8, shift: u8) -> Argument {
    let bits = size.bytes.map_or(bits, |bytes| bits.min(bytes * 8));
    argument.left_shift = 64 - bits - shift;
    argument.right_shift = 64 - bits;
    argument.signed = size.signed.into();
    argument
}

fn constant(value: i64, size: Size) -> Argument {
    let argument = Argument {
        displacement: value,
        kind: ArgumentKind::Constant as u8,
        base: NO_REGISTER,
        index: NO_REGISTER,
        ..Argument::default()
    };
    cut(argument, size, 64, 0)
}

fn register(register: Register, size: Size) -> Argument {
    let argument = Argument {
        kind: ArgumentKind::Register as u8,
        base: register.word,
        index: NO_REGISTER,
        ..Argument::default()
    };
    cut(argument, size, register.bits, register.shift)
}

fn memory(
    displacement: i64,
    base: Option<u8>,
    index: Option<u8>,
    scale: u8,
    size: Size,
) -> Argument {
    let argument = Argument {
        displacement,
        kind: ArgumentKind::Memory as u8,
        base: base.unwrap_or(NO_REGISTER),
        index: index.unwrap_or(NO_REGISTER),
        scale,
        ..Argument::default()
    };
    cut(argument, size, 64, 0)
}

/// A number as assemblers write it: decimal or `0x…`, with a sign or without. One above the signed
/// range keeps its bits.
fn number(text: &str) -> Option<i64> {
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    // `from_str_radix` would take a second sign.
    if !digits.starts_with(|first: char| first.is_ascii_digit()) {
        return None;
    }
    let hexadecimal = digits
        .strip_prefix("0x")
        .or_else(|| digits.strip_prefix("0X"));
    let magnitude = match hexadecimal {
        Some(digits) if !digits.starts_with('+') => u64::from_str_radix(digits, 16).ok()?,
        Some(_) => return None,
        None => digits.parse::<u64>().ok()?,
    };
    if negative {
        0_i64.checked_sub_unsigned(magnitude)
    } else {
        Some(magnitude.cast_signed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_split_outside_of_brackets() {
        for (text, arguments) in [
            ("", vec![]),
            ("  ", vec![]),
            ("8@%rax", vec!["8@%rax"]),
            (
                "8@%r13 8@%r14  -4@%eax ",
                vec!["8@%r13", "8@%r14", "-4@%eax"],
            ),
            (
                "8@[x0, x1, lsl 3] -4@[sp, 28]",
                vec!["8@[x0, x1, lsl 3]", "-4@[sp, 28]"],
            ),
            (
                "8@(%rax, %rbx, 8) 4@%eax",
                vec!["8@(%rax, %rbx, 8)", "4@%eax"],
            ),
            (")) a b", vec!["))", "a", "b"]),
            ("[ a b", vec!["[ a b"]),
        ] {
            assert_eq!(split(text), arguments, "{text}");
        }
    }

    #[test]
    fn numbers() {
        for (text, value) in [
            ("0", Some(0)),
            ("-9", Some(-9)),
            ("+9", Some(9)),
            ("0x10", Some(16)),
            ("-0x10", Some(-16)),
            ("9223372036854775807", Some(i64::MAX)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("-9223372036854775809", None),
            ("18446744073709551615", Some(-1)),
            ("18446744073709551616", None),
            ("", None),
            ("-", None),
            ("--1", None),
            ("+-1", None),
            ("0x", None),
            ("0x+1", None),
            ("1a", None),
            ("x", None),
        ] {
            assert_eq!(number(text), value, "{text}");
        }
    }
}
