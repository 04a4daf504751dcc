//! Operands of aarch64.
//!
//! ```text
//! x0  w0  sp  xzr                   a register, its lower half, the stack pointer, zero
//! 5  #5                             a constant
//! [x0]  [sp, 16]  [x1, #-8]         memory at a register plus a displacement
//! [x0, x1]  [x0, x1, lsl 3]         with an index, shifted left
//! ```

use pytop_common::marker::Argument;

use super::{Register, Size, Why, constant, memory, number, register};

/// Words of `struct user_pt_regs` (arch/arm64/include/uapi/asm/ptrace.h): x0 to x30, then this.
const SP: u8 = 31;

/// Reads the operand behind the size.
pub(super) fn parse(operand: &str, size: Size) -> Result<Argument, Why> {
    if let Some(inside) = operand.strip_prefix('[') {
        return match inside.split_once(']') {
            Some((address, "")) => at(address, size),
            Some(_) => Err("changes the register of its address".into()),
            None => Err("has no closing bracket".into()),
        };
    }
    if let Some(value) = immediate(operand) {
        return Ok(constant(value, size));
    }
    match named(operand)? {
        Named::Register(found) => Ok(register(found, size)),
        Named::Zero => Ok(constant(0, size)),
    }
}

/// Memory at what stands in the brackets.
fn at(address: &str, size: Size) -> Result<Argument, Why> {
    let mut parts = address.split(',').map(str::trim);
    let base = address_register(parts.next().unwrap_or_default())?;
    let second = parts.next();
    let shift = parts.next();
    if parts.next().is_some() {
        return Err("is no address that pytop knows".into());
    }
    let Some(second) = second else {
        return Ok(memory(0, base, None, 0, size));
    };
    if let Some(displacement) = immediate(second) {
        return if shift.is_none() {
            Ok(memory(displacement, base, None, 0, size))
        } else {
            Err("is no address that pytop knows".into())
        };
    }
    if second.contains(':') {
        return Err("takes its address from the loader".into());
    }
    let index = address_register(second)?;
    if index == Some(SP) {
        return Err("is no address that pytop knows".into());
    }
    let scale = match shift.map(|shift| shift.split_once(char::is_whitespace)) {
        None => 0,
        Some(Some(("lsl", amount))) => match immediate(amount.trim()) {
            Some(0) => 0,
            Some(1) => 1,
            Some(2) => 2,
            Some(3) => 3,
            _ => return Err("shifts its index by other than 0 to 3 bits".into()),
        },
        Some(_) => return Err("extends its index other than by lsl".into()),
    };
    Ok(memory(0, base, index, scale, size))
}

fn immediate(text: &str) -> Option<i64> {
    number(text.strip_prefix('#').unwrap_or(text))
}

/// A register of an address, which has 64 bits; `None` for the one that is always zero.
fn address_register(name: &str) -> Result<Option<u8>, Why> {
    match named(name)? {
        Named::Register(register) if register.bits == 64 => Ok(Some(register.word)),
        Named::Register(_) => Err("is at an address that a 32-bit register extends to".into()),
        Named::Zero => Ok(None),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Named {
    Register(Register),
    Zero,
}

fn named(name: &str) -> Result<Named, Why> {
    let of = |word, bits| {
        Named::Register(Register {
            word,
            bits,
            shift: 0,
        })
    };
    let found = match name {
        "xzr" | "wzr" => Named::Zero,
        "sp" => of(SP, 64),
        "wsp" => of(SP, 32),
        "fp" => of(29, 64),
        "lr" => of(30, 64),
        _ => {
            let (kind, number) = name.split_at_checked(1).unwrap_or_default();
            let plain = number.bytes().all(|byte| byte.is_ascii_digit());
            let number = number.parse::<u8>().ok().filter(|_| plain);
            match (kind, number) {
                ("x", Some(number @ 0..=30)) => of(number, 64),
                ("w", Some(number @ 0..=30)) => of(number, 32),
                ("v" | "q" | "d" | "s" | "h" | "b" | "z", Some(0..=31)) => {
                    return Err("is in a vector or floating point register".into());
                }
                ("x" | "w", Some(_)) => {
                    return Err("is in a register that pytop does not know".into());
                }
                _ => return Err("is no operand that pytop knows".into()),
            }
        }
    };
    Ok(found)
}

#[cfg(test)]
mod tests {
    use pytop_common::marker::{ArgumentKind, NO_REGISTER};

    use super::super::{Architecture, Surroundings, parse};
    use super::*;

    fn parsed(text: &str) -> Result<Argument, Why> {
        let surroundings = Surroundings {
            site: 0,
            relocatable: true,
            symbol: &|_| Err("names a symbol".into()),
        };
        parse(Architecture::Aarch64, text, &surroundings)
    }

    #[test]
    fn every_form() {
        use ArgumentKind::{Constant, Memory, Register};
        const NONE: u8 = NO_REGISTER;
        for (text, kind, (displacement, base, index, scale), (shift, signed)) in [
            ("-4@w0", Register, (0, 0, NONE, 0), (32, 1)),
            ("8@x1", Register, (0, 1, NONE, 0), (0, 0)),
            ("-8@x30", Register, (0, 30, NONE, 0), (0, 1)),
            ("4@x21", Register, (0, 21, NONE, 0), (32, 0)),
            ("1@w2", Register, (0, 2, NONE, 0), (56, 0)),
            ("-2@w2", Register, (0, 2, NONE, 0), (48, 1)),
            ("8@sp", Register, (0, 31, NONE, 0), (0, 0)),
            ("8@fp", Register, (0, 29, NONE, 0), (0, 0)),
            ("8@lr", Register, (0, 30, NONE, 0), (0, 0)),
            ("x7", Register, (0, 7, NONE, 0), (0, 0)),
            ("w7", Register, (0, 7, NONE, 0), (32, 0)),
            ("8@xzr", Constant, (0, NONE, NONE, 0), (0, 0)),
            ("-4@wzr", Constant, (0, NONE, NONE, 0), (32, 1)),
            ("4@5", Constant, (5, NONE, NONE, 0), (32, 0)),
            ("-4@-1", Constant, (-1, NONE, NONE, 0), (32, 1)),
            ("-4@#0x10", Constant, (16, NONE, NONE, 0), (32, 1)),
            ("8@[x0]", Memory, (0, 0, NONE, 0), (0, 0)),
            ("8@[sp, 16]", Memory, (16, 31, NONE, 0), (0, 0)),
            ("-4@[sp,28]", Memory, (28, 31, NONE, 0), (32, 1)),
            ("8@[sp, -8]", Memory, (-8, 31, NONE, 0), (0, 0)),
            ("8@[x29, #-16]", Memory, (-16, 29, NONE, 0), (0, 0)),
            ("8@[x0, x1]", Memory, (0, 0, 1, 0), (0, 0)),
            ("8@[x0, x1, lsl 3]", Memory, (0, 0, 1, 3), (0, 0)),
            ("8@[x0,x1,lsl #2]", Memory, (0, 0, 1, 2), (0, 0)),
            ("8@[x0, xzr]", Memory, (0, 0, NONE, 0), (0, 0)),
        ] {
            let expected = Argument {
                displacement,
                kind: kind as u8,
                base,
                index,
                scale,
                left_shift: shift,
                right_shift: shift,
                signed,
                reserved: 0,
            };
            assert_eq!(parsed(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_served_has_a_reason() {
        for (text, part) in [
            ("8f@d0", "floating point value"),
            ("8@d0", "vector or floating point register"),
            ("4@s31", "vector or floating point register"),
            ("16@q0", "none of 1, 2, 4 and 8"),
            ("8@x31", "does not know"),
            ("8@x+1", "no operand"),
            ("8@foo", "no operand"),
            ("8@", "no operand"),
            ("8@[x0", "closing bracket"),
            ("8@[x0, 8]!", "changes the register"),
            ("8@[x0], 8", "changes the register"),
            ("8@[x0, w1, sxtw 3]", "32-bit register"),
            ("8@[w0]", "32-bit register"),
            ("8@[x0, x1, lsl 4]", "0 to 3"),
            ("8@[x0, x1, sxtx 3]", "lsl"),
            ("8@[x0, x1, lsl]", "lsl"),
            ("8@[x0, 8, lsl 3]", "no address"),
            ("8@[x0, x1, lsl 3, 4]", "no address"),
            ("8@[x0, sp]", "no address"),
            ("8@[x0, #:lo12:foo]", "loader"),
            ("8@[]", "no operand"),
            ("8@[x0, ]", "no operand"),
        ] {
            let why = parsed(text).expect_err(text);
            assert!(why.contains(part), "{text}: {why}");
        }
    }
}
