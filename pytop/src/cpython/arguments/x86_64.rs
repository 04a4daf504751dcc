//! Operands of x86-64 in the AT&T syntax.
//!
//! ```text
//! %eax  %ah                         a register, or a part of one
//! $-9                               a constant
//! (%rax)  -1204(%rbp)  0x10(%rax)   memory at a register plus a displacement
//! (%rax,%rbx,8)  16(,%rbx,4)        with an index times 1, 2, 4 or 8
//! foo(%rip)  foo+8(%rip)  8+foo(%rip)   memory at a symbol of this file
//! ```
//!
//! Where a symbol is when the program runs depends on where the program was loaded, but its
//! distance from the marker does not: it is written as a displacement from `rip`, which holds the
//! address of the marker when the marker is hit.

use pytop_common::marker::Argument;

use super::{Register, Size, Surroundings, Why, constant, memory, number, register};

const RIP: u8 = 16;

/// The words of `struct pt_regs` (arch/x86/include/asm/ptrace.h) by the names of the registers:
/// 64, 32, 16 and 8 bits of them.
const REGISTERS: [([&str; 4], u8); 18] = [
    (["r15", "r15d", "r15w", "r15b"], 0),
    (["r14", "r14d", "r14w", "r14b"], 1),
    (["r13", "r13d", "r13w", "r13b"], 2),
    (["r12", "r12d", "r12w", "r12b"], 3),
    (["rbp", "ebp", "bp", "bpl"], 4),
    (["rbx", "ebx", "bx", "bl"], 5),
    (["r11", "r11d", "r11w", "r11b"], 6),
    (["r10", "r10d", "r10w", "r10b"], 7),
    (["r9", "r9d", "r9w", "r9b"], 8),
    (["r8", "r8d", "r8w", "r8b"], 9),
    (["rax", "eax", "ax", "al"], 10),
    (["rcx", "ecx", "cx", "cl"], 11),
    (["rdx", "edx", "dx", "dl"], 12),
    (["rsi", "esi", "si", "sil"], 13),
    (["rdi", "edi", "di", "dil"], 14),
    // Word 15 is orig_rax, which no operand names.
    (["rip", "eip", "ip", ""], RIP),
    (["eflags", "", "", ""], 18),
    (["rsp", "esp", "sp", "spl"], 19),
];

/// The second byte of a register, which has a name of its own in the four oldest.
const SECOND_BYTES: [(&str, u8); 4] = [("ah", 10), ("bh", 5), ("ch", 11), ("dh", 12)];

/// Reads the operand behind the size.
pub(super) fn parse(
    operand: &str,
    size: Size,
    surroundings: &Surroundings<'_>,
) -> Result<Argument, Why> {
    if let Some(text) = operand.strip_prefix('$') {
        return match number(text) {
            Some(value) => Ok(constant(value, size)),
            None => Err("is a constant that only the loader knows".into()),
        };
    }
    if operand.starts_with('%') {
        if operand.contains(':') {
            return Err("is relative to a segment register".into());
        }
        return Ok(register(register_named(operand)?, size));
    }
    let Some((displacement, registers)) = operand.split_once('(') else {
        return address(operand, None, None, 0, size, surroundings);
    };
    let Some(registers) = registers.strip_suffix(')') else {
        return Err("has no closing parenthesis".into());
    };
    let mut parts = registers.split(',').map(str::trim);
    let base = parts.next().unwrap_or_default();
    let base = (!base.is_empty())
        .then(|| address_register(base))
        .transpose()?;
    let index = parts.next().map(address_register).transpose()?;
    let scale = match parts.next() {
        None | Some("1" | "") => 0,
        Some("2") => 1,
        Some("4") => 2,
        Some("8") => 3,
        Some(_) => return Err("has a scale that is none of 1, 2, 4 and 8".into()),
    };
    if parts.next().is_some() || (base.is_none() && index.is_none()) {
        return Err("is no address that pytop knows".into());
    }
    address(displacement, base, index, scale, size, surroundings)
}

/// Memory at a displacement, which may name a symbol, from registers.
fn address(
    displacement: &str,
    base: Option<u8>,
    index: Option<u8>,
    scale: u8,
    size: Size,
    surroundings: &Surroundings<'_>,
) -> Result<Argument, Why> {
    let (symbol, offset) = sum(displacement)?;
    let Some(symbol) = symbol else {
        if displacement.is_empty() && base.is_none() && index.is_none() {
            return Err("is empty".into());
        }
        return Ok(memory(offset, base, index, scale, size));
    };
    let address = (surroundings.symbol)(symbol)?.wrapping_add_signed(offset);
    match base {
        None | Some(RIP) => {
            let distance = address.wrapping_sub(surroundings.site).cast_signed();
            Ok(memory(distance, Some(RIP), index, scale, size))
        }
        Some(_) if surroundings.relocatable => {
            Err("adds a register to a symbol of a program that is loaded at any address".into())
        }
        Some(_) => Ok(memory(address.cast_signed(), base, index, scale, size)),
    }
}

/// Reads a sum of numbers and at most one symbol.
fn sum(text: &str) -> Result<(Option<&str>, i64), Why> {
    let (mut symbol, mut offset, mut rest) = (None, 0_i64, text);
    while !rest.is_empty() {
        let end = rest
            .char_indices()
            .skip(1)
            .find(|(_, character)| matches!(character, '+' | '-'))
            .map_or(rest.len(), |(end, _)| end);
        let (term, remaining) = rest.split_at(end);
        rest = remaining;
        if let Some(value) = number(term) {
            let sum = offset.checked_add(value);
            offset = sum.ok_or("has a displacement beyond 64 bits")?;
            continue;
        }
        let name = term.strip_prefix('+').unwrap_or(term);
        if let Some((_, relocation)) = name.split_once('@') {
            let known = relocation.chars().all(|c| c.is_ascii_alphanumeric());
            let kind = if known { relocation } else { "?" };
            return Err(format!("takes its address from the loader (@{kind})").into());
        }
        let is_name = name.starts_with(|first: char| !first.is_ascii_digit())
            && name
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '$'));
        if !is_name || symbol.replace(name).is_some() {
            return Err("is no operand that pytop knows".into());
        }
    }
    Ok((symbol, offset))
}

/// A register of an address, which has 64 bits.
fn address_register(name: &str) -> Result<u8, Why> {
    let register = register_named(name)?;
    if register.bits == 64 {
        Ok(register.word)
    } else {
        Err("is at a 32-bit address".into())
    }
}

fn register_named(text: &str) -> Result<Register, Why> {
    let Some(name) = text.strip_prefix('%').filter(|name| !name.is_empty()) else {
        return Err("is no operand that pytop knows".into());
    };
    if let Some((_, word)) = SECOND_BYTES.iter().find(|(second, _)| *second == name) {
        return Ok(Register {
            word: *word,
            bits: 8,
            shift: 8,
        });
    }
    let found = REGISTERS.iter().find_map(|(names, word)| {
        let part = names.iter().position(|part| *part == name)?;
        let bits = [64, 32, 16, 8].get(part).copied()?;
        Some(Register {
            word: *word,
            bits,
            shift: 0,
        })
    });
    found.ok_or_else(|| {
        const VECTORS: [&str; 6] = ["xmm", "ymm", "zmm", "mm", "st", "k"];
        if VECTORS.iter().any(|vector| name.starts_with(vector)) {
            "is in a vector or floating point register".into()
        } else {
            "is in a register that pytop does not know".into()
        }
    })
}

#[cfg(test)]
mod tests {
    use pytop_common::marker::{ArgumentKind, NO_REGISTER};

    use super::super::{Architecture, parse};
    use super::*;

    const SITE: u64 = 0x1000;

    fn parsed(text: &str, relocatable: bool) -> Result<Argument, Why> {
        let surroundings = Surroundings {
            site: SITE,
            relocatable,
            symbol: &|name| match name {
                "foo" => Ok(0x3000),
                ".L.before$1" => Ok(0x800),
                _ => Err("names a symbol that is not in the file".into()),
            },
        };
        parse(Architecture::X86_64, text, &surroundings)
    }

    fn argument(
        kind: ArgumentKind,
        (displacement, base, index, scale): (i64, u8, u8, u8),
        (left_shift, right_shift, signed): (u8, u8, u8),
    ) -> Argument {
        Argument {
            displacement,
            kind: kind as u8,
            base,
            index,
            scale,
            left_shift,
            right_shift,
            signed,
            reserved: 0,
        }
    }

    #[test]
    fn registers() {
        for (text, base, shifts) in [
            ("8@%r13", 2, (0, 0, 0)),
            ("8@%r14", 1, (0, 0, 0)),
            ("-8@%rbx", 5, (0, 0, 1)),
            ("-4@%eax", 10, (32, 32, 1)),
            ("4@%eax", 10, (32, 32, 0)),
            ("4@%r12", 3, (32, 32, 0)),
            ("4@%r12d", 3, (32, 32, 0)),
            ("-2@%ax", 10, (48, 48, 1)),
            ("2@%r8w", 9, (48, 48, 0)),
            ("1@%al", 10, (56, 56, 0)),
            ("-1@%r9b", 8, (56, 56, 1)),
            ("1@%sil", 13, (56, 56, 0)),
            ("1@%ah", 10, (48, 56, 0)),
            ("-1@%dh", 12, (48, 56, 1)),
            ("1@%bh", 5, (48, 56, 0)),
            ("1@%ch", 11, (48, 56, 0)),
            // A value cannot be wider than the register it is in.
            ("4@%ah", 10, (48, 56, 0)),
            ("-8@%eax", 10, (32, 32, 1)),
            // Without a size, the register's own.
            ("%rax", 10, (0, 0, 0)),
            ("%edi", 14, (32, 32, 0)),
            ("8@%rip", 16, (0, 0, 0)),
            ("8@%rsp", 19, (0, 0, 0)),
            ("8@%r15", 0, (0, 0, 0)),
            ("8@%r11", 6, (0, 0, 0)),
            ("8@%r10", 7, (0, 0, 0)),
            ("8@%rbp", 4, (0, 0, 0)),
            ("8@%rcx", 11, (0, 0, 0)),
            ("8@%rdx", 12, (0, 0, 0)),
            ("8@%rsi", 13, (0, 0, 0)),
        ] {
            let expected = argument(ArgumentKind::Register, (0, base, NO_REGISTER, 0), shifts);
            assert_eq!(parsed(text, true), Ok(expected), "{text}");
        }
    }

    #[test]
    fn constants() {
        for (text, value, shifts) in [
            ("8@$-9", -9, (0, 0, 0)),
            ("-4@$0", 0, (32, 32, 1)),
            ("8@$1234", 1234, (0, 0, 0)),
            ("-4@$0x7f", 127, (32, 32, 1)),
            ("$5", 5, (0, 0, 0)),
            ("8@$18446744073709551615", -1, (0, 0, 0)),
        ] {
            let place = (value, NO_REGISTER, NO_REGISTER, 0);
            let expected = argument(ArgumentKind::Constant, place, shifts);
            assert_eq!(parsed(text, true), Ok(expected), "{text}");
        }
    }

    #[test]
    fn memory() {
        const NONE: u8 = NO_REGISTER;
        for (text, place, shifts) in [
            ("4@-1204(%rbp)", (-1204, 4, NONE, 0), (32, 32, 0)),
            ("-4@(%rax)", (0, 10, NONE, 0), (32, 32, 1)),
            ("-4@112(%rsp)", (112, 19, NONE, 0), (32, 32, 1)),
            ("8@0x10(%rax)", (16, 10, NONE, 0), (0, 0, 0)),
            ("-8(%rbp)", (-8, 4, NONE, 0), (0, 0, 0)),
            ("8@(%rax,%rbx,8)", (0, 10, 5, 3), (0, 0, 0)),
            ("8@(%rax, %rbx, 8)", (0, 10, 5, 3), (0, 0, 0)),
            ("8@-16(%rax,%rbx)", (-16, 10, 5, 0), (0, 0, 0)),
            ("8@(%rax,%rbx,1)", (0, 10, 5, 0), (0, 0, 0)),
            ("8@(%rax,%rbx,2)", (0, 10, 5, 1), (0, 0, 0)),
            ("8@(,%rbx,8)", (0, NONE, 5, 3), (0, 0, 0)),
            ("8@16(,%rbx,4)", (16, NONE, 5, 2), (0, 0, 0)),
            ("8@4096", (4096, NONE, NONE, 0), (0, 0, 0)),
            ("4@12(%rip)", (12, 16, NONE, 0), (32, 32, 0)),
            ("4@foo(%rip)", (0x2000, 16, NONE, 0), (32, 32, 0)),
            ("4@foo+8(%rip)", (0x2008, 16, NONE, 0), (32, 32, 0)),
            ("4@foo-8(%rip)", (0x1ff8, 16, NONE, 0), (32, 32, 0)),
            ("8@24+foo(%rip)", (0x2018, 16, NONE, 0), (0, 0, 0)),
            ("8@-4+foo(%rip)", (0x1ffc, 16, NONE, 0), (0, 0, 0)),
            ("8@foo+4+0x4(%rip)", (0x2008, 16, NONE, 0), (0, 0, 0)),
            ("8@.L.before$1(%rip)", (-0x800, 16, NONE, 0), (0, 0, 0)),
            ("8@foo", (0x2000, 16, NONE, 0), (0, 0, 0)),
            ("8@foo(,%rbx,8)", (0x2000, 16, 5, 3), (0, 0, 0)),
        ] {
            let expected = argument(ArgumentKind::Memory, place, shifts);
            assert_eq!(parsed(text, true), Ok(expected), "{text}");
            assert_eq!(parsed(text, false), Ok(expected), "{text}");
        }
    }

    #[test]
    fn a_symbol_plus_a_register_needs_a_program_at_a_fixed_address() {
        let place = (0x3004, 10, NO_REGISTER, 0);
        let expected = argument(ArgumentKind::Memory, place, (0, 0, 0));
        assert_eq!(parsed("8@foo+4(%rax)", false), Ok(expected));
        let why = parsed("8@foo+4(%rax)", true).unwrap_err();
        assert!(why.contains("loaded at any address"), "{why}");
    }

    #[test]
    fn what_cannot_be_served_has_a_reason() {
        for (text, part) in [
            ("8f@%xmm0", "floating point value"),
            ("-4f@(%rax)", "floating point value"),
            ("8@%xmm0", "vector or floating point register"),
            ("8@%st(0)", "vector or floating point register"),
            ("8@%fs:0", "segment register"),
            ("8@%fs:-8(%rax)", "segment register"),
            ("8@bar(%rip)", "not in the file"),
            ("8@$foo", "only the loader knows"),
            ("8@$", "only the loader knows"),
            ("8@foo@GOTPCREL(%rip)", "@GOTPCREL"),
            ("8@foo@tpoff", "@tpoff"),
            ("foo@\u{1b}[31m(%rip)", "(@?)"),
            ("4@(%eax)", "32-bit address"),
            ("8@(%rax,%ebx,8)", "32-bit address"),
            ("8@(%rax,%rbx,3)", "scale"),
            ("8@(%rax,%rbx,8,8)", "no address"),
            ("8@()", "no address"),
            ("8@(%rax", "parenthesis"),
            ("8@(%rax)x", "parenthesis"),
            ("8@(rax)", "no operand"),
            ("8@%", "no operand"),
            ("8@%cr3", "does not know"),
            ("8@", "is empty"),
            ("3@%eax", "none of 1, 2, 4 and 8"),
            ("16@(%rax)", "none of 1, 2, 4 and 8"),
            ("8@foo+foo(%rip)", "no operand"),
            ("8@foo*4(%rip)", "no operand"),
            ("8@-foo(%rip)", "no operand"),
            ("8@+(%rip)", "no operand"),
            ("8@9223372036854775807+1(%rax)", "beyond 64 bits"),
            ("8@99999999999999999999(%rax)", "no operand"),
        ] {
            let why = parsed(text, true).expect_err(text);
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
