//! Counting without a marker, by the code object of the frame that is entered.
//!
//! At the frame evaluation function of CPython 3.6 to 3.10 each hit is an entry, and one read leads
//! from the frame to its code object, the key.
//!
//! At the handler of a RESUME bytecode the interpreter holds the address of that bytecode in a
//! register. It lies inside the code object and so is as good a key, without any read. The
//! processor's flags tell most of the time that the hit is an entry; where they do not, memory
//! is asked. Whatever could be wrong with an address is found out when a key is new, and again
//! each time that its names are checked.

use aya_ebpf::helpers::bpf_probe_read_user;
use aya_ebpf::programs::ProbeContext;
use pytop_common::code::{CodeSpec, Offsets, Proof, Repeat};
use pytop_common::count::{CODE_OBJECT, Encoding, FrameKey, Loss, RESUME};

use crate::argument::{self, Registers};
use crate::counting::{self, Subject};
use crate::maps::CODES;
use crate::names::{Located, Span, UNREADABLE};

/// Words read of a text.
const TEXT_WORDS: usize = 5;

/// Kinds of a text's state (Include/cpython/unicodeobject.h).
const COMPACT: u64 = 1 << 5;
const ASCII: u64 = 1 << 6;

/// `PyCode_Type.tp_name`, and the NUL that ends it.
const CODE_TYPE_NAME: u64 = u64::from_le_bytes(*b"code\0\0\0\0");
const CODE_TYPE_NAME_BYTES: u64 = 0xff_ffff_ffff;

/// A hit of the frame evaluation function.
pub struct Entered<'a> {
    spec: &'a CodeSpec,
    code: u64,
}

impl Entered<'_> {
    /// What is counted.
    #[inline(always)]
    pub fn key(&self, pid: u32) -> FrameKey {
        FrameKey {
            first: self.code,
            second: CODE_OBJECT,
            pid,
            line: 0,
        }
    }
}

impl Subject for Entered<'_> {
    #[inline(always)]
    fn locate(&self) -> Result<Option<Located>, Loss> {
        located(self.code, &self.spec.offsets).map(Some)
    }

    #[inline(always)]
    fn verify(&self) -> Result<(), Loss> {
        require_code_type(self.code, &self.spec.offsets)
    }
}

/// Counts a hit of the frame evaluation function.
#[inline(always)]
pub fn count_evaluation(context: &ProbeContext, pid: u32) -> Result<(), Loss> {
    let site = argument::site(context);
    let entered = entered(context, site)?;
    counting::count(&entered.key(pid), &entered, site)
}

/// What is entered at the frame evaluation function.
#[inline(always)]
pub fn entered<'a>(context: &ProbeContext, site: u32) -> Result<Entered<'a>, Loss> {
    let spec = CODES.get(site).ok_or(Loss::UnknownSite)?;
    let frame = Registers::of(context).find(&spec.frame);
    let frame = frame.ok_or(Loss::Implausible)?;
    let code = code_of(frame, &spec.offsets)?;
    Ok(Entered { spec, code })
}

/// A hit of the handler of a RESUME bytecode.
pub struct Resumed<'a> {
    pub spec: &'a CodeSpec,
    registers: Registers,
    instruction: u64,
}

impl Resumed<'_> {
    /// What is counted.
    #[inline(always)]
    pub fn key(&self, pid: u32) -> FrameKey {
        FrameKey {
            first: self.instruction,
            second: RESUME,
            pid,
            line: 0,
        }
    }

    /// Where its frame is, if it is an entry.
    #[inline(always)]
    pub fn address(&self) -> Result<u64, Loss> {
        self.registers
            .find(&self.spec.frame)
            .ok_or(Loss::Implausible)
    }

    /// The frame that is entered; `None` when the bytecode is no entry after all.
    #[inline(always)]
    pub fn frame(&self) -> Result<Option<u64>, Loss> {
        let rule = &self.spec.rule;
        let operand = (read::<u16>(self.instruction)? >> 8) as u8;
        if operand & rule.operand_mask == rule.not_entry {
            return Ok(None);
        }
        self.registers
            .find(&self.spec.frame)
            .map(Some)
            .ok_or(Loss::Implausible)
    }

    #[inline(always)]
    fn code(&self) -> Result<u64, Loss> {
        let frame = self.registers.find(&self.spec.frame);
        code_of(frame.ok_or(Loss::Implausible)?, &self.spec.offsets)
    }

    /// Whether this hit, which the flags leave open, is the entry: the first of two dispatches of a
    /// RESUME that changes its code is not, and neither is one that gave up on a specialised
    /// bytecode and has been counted there.
    #[inline(never)]
    fn is_entry(&self) -> Result<bool, Loss> {
        let rule = &self.spec.rule;
        let opcode = read::<u16>(self.instruction)? as u8;
        for given_up in rule.given_up {
            if given_up != 0 && given_up == opcode {
                return Ok(false);
            }
        }
        let repeat = &rule.repeat;
        if repeat.kind == Repeat::Never as u8 {
            return Ok(true);
        }
        let thread = self.registers.find(&self.spec.thread);
        let thread = thread.ok_or(Loss::Implausible)?;
        let code = read::<u64>(self.code()?.wrapping_add(u64::from(repeat.code_version)))?;
        let word = read::<u64>(thread.wrapping_add(u64::from(repeat.thread)))?;
        if repeat.kind == Repeat::Interpreter as u8 {
            return Ok(read::<u64>(word.wrapping_add(u64::from(repeat.interpreter)))? == code);
        }
        let tracing = read::<u32>(thread.wrapping_add(u64::from(repeat.tracing)))?;
        Ok(tracing != 0 || word & !repeat.event_bits == code)
    }
}

impl Subject for Resumed<'_> {
    #[inline(always)]
    fn locate(&self) -> Result<Option<Located>, Loss> {
        let rule = &self.spec.rule;
        let operand = (read::<u16>(self.instruction)? >> 8) as u8;
        if operand & rule.operand_mask == rule.not_entry {
            return Ok(None);
        }
        located(self.code()?, &self.spec.offsets).map(Some)
    }

    #[inline(always)]
    fn verify(&self) -> Result<(), Loss> {
        let offsets = &self.spec.offsets;
        let code = self.code()?;
        let start = code.wrapping_add(u64::from(offsets.bytecode));
        let units = read::<u64>(code.wrapping_add(u64::from(offsets.code_units)))?;
        let distance = self.instruction.wrapping_sub(start);
        if distance & 1 != 0 || distance / 2 >= units {
            return Err(Loss::Implausible);
        }
        require_code_type(code, offsets)
    }
}

/// What is entered at the handler of a RESUME bytecode; `None` when the hit is no entry.
#[inline(always)]
pub fn resumed<'a>(context: &ProbeContext, site: u32) -> Result<Option<Resumed<'a>>, Loss> {
    let spec = CODES.get(site).ok_or(Loss::UnknownSite)?;
    let registers = Registers::of(context);
    let instruction = registers.find(&spec.instruction);
    let instruction = instruction.ok_or(Loss::Implausible)?;
    let resumed = Resumed {
        spec,
        registers,
        instruction,
    };
    let proof = spec.rule.proof;
    let proven = proof == Proof::Always as u8
        || proof == Proof::Clear as u8 + u8::from(registers.zero_flag());
    Ok(if proven || resumed.is_entry()? {
        Some(resumed)
    } else {
        None
    })
}

/// Counts a hit of the handler of a RESUME bytecode.
#[inline(always)]
pub fn count_resume(context: &ProbeContext, pid: u32) -> Result<(), Loss> {
    let site = argument::site(context);
    let Some(resumed) = resumed(context, site)? else {
        return Ok(());
    };
    counting::count(&resumed.key(pid), &resumed, site)
}

/// Reads memory of the process. What is not in memory is no sign of anything wrong.
#[inline(always)]
pub fn read<T>(address: u64) -> Result<T, Loss> {
    // SAFETY: the helper checks the address and reports a fault as an error.
    unsafe { bpf_probe_read_user(address as *const T) }.map_err(|_| Loss::UnreadableName)
}

/// The code object of a frame.
#[inline(always)]
pub fn code_of(frame: u64, offsets: &Offsets) -> Result<u64, Loss> {
    let pointer = read::<u64>(frame.wrapping_add(u64::from(offsets.frame_to_code)))?;
    Ok(pointer & !u64::from(offsets.tag))
}

/// Where the names of a code object are. `co_name` follows `co_filename` in every version.
#[inline(always)]
pub fn located(code: u64, offsets: &Offsets) -> Result<Located, Loss> {
    let mut located = Located::default();
    if locate_names(code, offsets, &raw mut located) == 0 {
        Ok(located)
    } else {
        Err(Loss::UnreadableName)
    }
}

/// [`located`]. 0 when it is done. The verifier takes a function with external linkage by itself,
/// once, and not again for each call; what it is given may be null to it.
#[inline(never)]
#[unsafe(no_mangle)]
extern "C" fn locate_names(code: u64, offsets: *const Offsets, located: *mut Located) -> u64 {
    // SAFETY: `located` is the only caller.
    let (Some(offsets), Some(located)) = (unsafe { (offsets.as_ref(), located.as_mut()) }) else {
        return 1;
    };
    let line = read::<u32>(code.wrapping_add(u64::from(offsets.first_line)));
    let names = read::<[u64; 2]>(code.wrapping_add(u64::from(offsets.names)));
    let (Ok(line), Ok([filename, function])) = (line, names) else {
        return 1;
    };
    located.filename = span(filename, offsets);
    located.function = span(function, offsets);
    located.line = line as i32;
    0
}

/// A field of the words that were read.
#[inline(always)]
fn word(words: &[u64; TEXT_WORDS], offset: u16) -> u64 {
    words.get(usize::from(offset / 8)).copied().unwrap_or(0)
}

/// Where the characters of a text are. One that cannot be read has the address where it should be.
#[inline(never)]
fn span(text: u64, offsets: &Offsets) -> Span {
    let nowhere = Span {
        address: text,
        size: UNREADABLE,
        encoding: Encoding::Utf8 as u32,
    };
    let Ok(words) = read::<[u64; TEXT_WORDS]>(text) else {
        return nowhere;
    };
    let state = word(&words, offsets.text_state) >> (8 * (offsets.text_state & 7));
    let kind = state >> 2 & 7;
    let length = word(&words, offsets.text_length);
    let encoding = if state & ASCII != 0 {
        Encoding::Utf8 as u32
    } else {
        kind as u32
    };
    let mut address =
        text.wrapping_add(u64::from(if state & (COMPACT | ASCII) == COMPACT | ASCII {
            offsets.ascii_data
        } else {
            offsets.other_data
        }));
    if state & COMPACT == 0 {
        let Ok(characters) = read::<u64>(address) else {
            return Span { address, ..nowhere };
        };
        address = characters;
    }
    // No more than is looked at anyway, so that nothing overflows.
    let length = if length > 0xffff {
        0xffff
    } else {
        length as u32
    };
    Span {
        address,
        size: length << (kind as u32 >> 1 & 3),
        encoding,
    }
}

/// Fails when what should be a code object has another type: one whose name is not `code`.
///
/// The name lies among the read-only data of the interpreter's file. A process that was just forked
/// has not mapped those pages yet, and no process keeps them mapped when memory is short. A name
/// that cannot be read thus says nothing, where the type itself could be read.
#[inline(never)]
pub fn require_code_type(code: u64, offsets: &Offsets) -> Result<(), Loss> {
    let class = read::<u64>(code.wrapping_add(u64::from(offsets.object_type)))?;
    let name = read::<u64>(class.wrapping_add(u64::from(offsets.type_name)))?;
    match read::<u64>(name) {
        Ok(bytes) if (bytes ^ CODE_TYPE_NAME) & CODE_TYPE_NAME_BYTES != 0 => Err(Loss::Implausible),
        _ => Ok(()),
    }
}
