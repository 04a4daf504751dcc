//! What is found in a file, as the specifications that the kernel side counts by.

use pytop_common::code::{CodeSpec, Location, Offsets, Proof, Repeat, RepeatRule, ResumeRule};

use super::NotCountable;
use super::code::{CodeMethod, EvalSite, Value};
use super::layout::{Layout, Repeats};
use super::resume::{Handler, Resume};

/// From a type to the pointer to its name: `tp_name` follows `PyObject_VAR_HEAD`
/// (Include/cpython/object.h, all versions with a global lock).
const TYPE_NAME: u16 = 24;

/// A probe without a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeProbe {
    /// Where the instruction is in the file: what the kernel wants for a uprobe.
    pub file_offset: u64,
    /// What is where when it is hit.
    pub spec: CodeSpec,
}

impl CodeMethod {
    /// The probes that count the entries of frames, each of them once.
    ///
    /// # Errors
    /// A structure is so large that a field of it cannot be said to the kernel.
    pub fn probes(&self) -> Result<Vec<CodeProbe>, NotCountable> {
        let probes = match self {
            Self::Eval(site) => vec![evaluation(site)],
            Self::Resume(resume) => resume
                .handlers
                .iter()
                .map(|handler| resumption(handler, resume))
                .collect(),
        };
        let too_large = NotCountable::BadDebugOffsets("has offsets beyond those of any release");
        probes
            .into_iter()
            .collect::<Option<Vec<_>>>()
            .ok_or(too_large)
    }
}

fn evaluation(site: &EvalSite) -> Option<CodeProbe> {
    Some(CodeProbe {
        file_offset: site.file_offset,
        spec: CodeSpec {
            frame: location(site.frame)?,
            offsets: offsets(&site.layout)?,
            ..CodeSpec::default()
        },
    })
}

fn resumption(handler: &Handler, resume: &Resume) -> Option<CodeProbe> {
    let thread = handler
        .thread_state
        .map_or(Some(Location::NONE), location)?;
    Some(CodeProbe {
        file_offset: handler.file_offset,
        spec: CodeSpec {
            frame: location(handler.frame)?,
            instruction: location(handler.next_instruction)?,
            thread,
            offsets: offsets(&resume.layout)?,
            reserved: 0,
            rule: rule(handler, resume)?,
        },
    })
}

fn rule(handler: &Handler, resume: &Resume) -> Option<ResumeRule> {
    let repeat = repeat(&resume.layout)?;
    let mut given_up = [0; 4];
    if handler.deopt_enters {
        let others = resume.handlers.iter().map(|other| other.opcode);
        let others = others.filter(|opcode| *opcode != handler.opcode);
        for (place, opcode) in given_up.iter_mut().zip(others) {
            *place = opcode;
        }
    }
    let proof = match handler.current_when_zero_flag {
        _ if handler.deopt_enters => Proof::None,
        Some(true) => Proof::Set,
        Some(false) => Proof::Clear,
        None if repeat.kind == Repeat::Never as u8 => Proof::Always,
        None => Proof::None,
    };
    Some(ResumeRule {
        repeat,
        opcode: handler.opcode,
        proof: proof as u8,
        operand_mask: resume.operand.mask,
        // A number with other bits than the mask is no operand.
        not_entry: resume.operand.not_entry.unwrap_or(!resume.operand.mask),
        given_up,
    })
}

fn repeat(layout: &Layout) -> Option<RepeatRule> {
    let Some(repeats) = layout.thread.and_then(|thread| thread.repeats) else {
        return Some(RepeatRule::default());
    };
    let rule = RepeatRule {
        code_version: small(layout.code.instrumentation_version?)?,
        ..RepeatRule::default()
    };
    Some(match repeats {
        Repeats::Interpreter {
            interpreter,
            version,
        } => RepeatRule {
            kind: Repeat::Interpreter as u8,
            thread: small(interpreter)?,
            interpreter: small(version)?,
            ..rule
        },
        Repeats::Thread {
            eval_breaker,
            event_bits,
            tracing,
        } => RepeatRule {
            kind: Repeat::Thread as u8,
            thread: small(eval_breaker)?,
            event_bits,
            tracing: small(tracing)?,
            ..rule
        },
    })
}

pub(super) fn offsets(layout: &Layout) -> Option<Offsets> {
    let (code, text) = (&layout.code, &layout.text);
    // One read gets both.
    if code.filename.checked_add(size_of::<u64>() as u64) != Some(code.name) {
        return None;
    }
    let bytecode = code.bytecode;
    Some(Offsets {
        frame_to_code: small(layout.frame_to_code)?,
        tag: layout.tagged_code_pointer.into(),
        object_type: small(layout.object_to_type)?,
        type_name: TYPE_NAME,
        names: small(code.filename)?,
        first_line: small(code.first_line)?,
        bytecode: small(bytecode.map_or(0, |bytecode| bytecode.start))?,
        code_units: small(bytecode.map_or(0, |bytecode| bytecode.code_units))?,
        text_length: small(text.length)?,
        text_state: small(text.state)?,
        ascii_data: small(text.ascii_data)?,
        other_data: small(text.other_data)?,
        previous: small(layout.frame_to_previous)?,
        owner: small(layout.frame_to_owner.unwrap_or(0))?,
    })
}

pub(super) fn location(value: Value) -> Option<Location> {
    Some(match value {
        Value::Register { word, plus } => Location {
            displacement: 0,
            plus: plus.try_into().ok()?,
            register: word,
            memory: 0,
        },
        Value::Memory {
            base,
            displacement,
            plus,
        } => Location {
            displacement: displacement.try_into().ok()?,
            plus: plus.try_into().ok()?,
            register: base,
            memory: 1,
        },
    })
}

pub(super) fn small(offset: u64) -> Option<u16> {
    offset.try_into().ok()
}
