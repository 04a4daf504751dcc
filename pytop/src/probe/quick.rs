//! Which sites can have a quick program, and what is built into it.

use pytop_common::code::{CodeSpec, Location, Proof};
use pytop_common::marker::{Argument, ArgumentKind, MarkerSpec, NO_REGISTER};
use pytop_common::quick::QuickSite;

use super::kernel::Description;

/// What makes a quick program for a site; `None` where there is none.
pub(super) fn quick_site(description: &Description) -> Option<QuickSite> {
    match description {
        Description::Marker(spec) => at_marker(spec),
        Description::Code(spec) => at_resume(spec).or_else(|| at_evaluation(spec)),
        Description::Timed(code, frame) => {
            let site = at_resume(code).or_else(|| at_evaluation(code))?;
            let site = QuickSite {
                previous: frame.offsets.previous,
                doubtful: frame.doubtful,
                ..site
            };
            identified(site, frame.stack)
        }
        Description::Exit(spec) => {
            // Which of the two it is depends on what is left.
            let of_frame = spec.frame.register != NO_REGISTER;
            let identity = if of_frame { spec.frame } else { spec.stack };
            let site = QuickSite {
                condition: spec.condition,
                ..QuickSite::default()
            };
            identified(site, identity)
        }
        Description::Frame(_) | Description::Runtime(_) | Description::Nothing => None,
    }
}

/// The identity of a call has to be in a register.
fn identified(site: QuickSite, identity: Location) -> Option<QuickSite> {
    let is_quick = identity.register != NO_REGISTER && identity.memory == 0;
    is_quick.then_some(QuickSite {
        identity_plus: i32::from(identity.plus),
        identity: identity.register,
        ..site
    })
}

/// Each argument has to be in a register of its full width, or of at least the line's.
fn at_marker(spec: &MarkerSpec) -> Option<QuickSite> {
    Some(QuickSite {
        first: register(&spec.filename, 64)?,
        second: register(&spec.function, 64)?,
        line: register(&spec.line, 32)?,
        ..QuickSite::default()
    })
}

/// The register of an argument of which at least the lower `bits` count.
fn register(argument: &Argument, bits: u8) -> Option<u8> {
    let whole = argument.left_shift == argument.right_shift && argument.left_shift <= 64 - bits;
    (argument.kind == ArgumentKind::Register as u8 && whole).then_some(argument.base)
}

/// The address of the RESUME has to be in a register, and the flags have to tell an entry, at least
/// most of the time.
fn at_resume(spec: &CodeSpec) -> Option<QuickSite> {
    let at = &spec.instruction;
    let is_quick =
        at.register != NO_REGISTER && at.memory == 0 && spec.rule.proof != Proof::None as u8;
    is_quick.then_some(QuickSite {
        plus: i32::from(at.plus),
        first: at.register,
        proof: spec.rule.proof,
        ..QuickSite::default()
    })
}

/// The frame has to be in a register, and the pointer to its code object must not have a tag. The
/// method knows of no RESUME.
fn at_evaluation(spec: &CodeSpec) -> Option<QuickSite> {
    let at = &spec.frame;
    let is_quick = spec.instruction.register == NO_REGISTER
        && at.register != NO_REGISTER
        && at.memory == 0
        && spec.offsets.tag == 0;
    is_quick.then_some(QuickSite {
        plus: i32::from(at.plus) + i32::from(spec.offsets.frame_to_code),
        first: at.register,
        ..QuickSite::default()
    })
}

#[cfg(test)]
mod tests {
    use pytop_common::code::ResumeRule;

    use super::*;

    fn argument(base: u8, shift: u8) -> Argument {
        Argument {
            kind: ArgumentKind::Register as u8,
            base,
            index: NO_REGISTER,
            left_shift: shift,
            right_shift: shift,
            ..Argument::default()
        }
    }

    #[test]
    fn a_marker_is_quick_when_its_arguments_are_in_registers() {
        let spec = MarkerSpec {
            filename: argument(10, 0),
            function: argument(12, 0),
            line: argument(11, 32),
        };
        let quick = QuickSite {
            first: 10,
            second: 12,
            line: 11,
            ..QuickSite::default()
        };
        assert_eq!(quick_site(&Description::Marker(spec)), Some(quick));
        let in_memory = Argument {
            kind: ArgumentKind::Memory as u8,
            ..argument(10, 0)
        };
        let high_byte = Argument {
            left_shift: 48,
            right_shift: 56,
            ..argument(11, 0)
        };
        for other in [
            MarkerSpec {
                filename: in_memory,
                ..spec
            },
            MarkerSpec {
                function: argument(12, 32),
                ..spec
            },
            MarkerSpec {
                line: high_byte,
                ..spec
            },
            MarkerSpec {
                line: argument(11, 48),
                ..spec
            },
        ] {
            assert_eq!(quick_site(&Description::Marker(other)), None, "{other:?}");
        }
    }

    #[test]
    fn a_resume_is_quick_when_its_address_is_in_a_register_and_flags_tell() {
        let spec = CodeSpec {
            instruction: Location {
                register: 3,
                plus: -2,
                ..Location::NONE
            },
            rule: ResumeRule {
                proof: Proof::Set as u8,
                ..ResumeRule::default()
            },
            ..CodeSpec::default()
        };
        let quick = QuickSite {
            plus: -2,
            first: 3,
            proof: Proof::Set as u8,
            ..QuickSite::default()
        };
        assert_eq!(quick_site(&Description::Code(spec)), Some(quick));
        let mut in_memory = spec;
        in_memory.instruction.memory = 1;
        let mut unproven = spec;
        unproven.rule.proof = Proof::None as u8;
        for other in [in_memory, unproven] {
            assert_eq!(quick_site(&Description::Code(other)), None, "{other:?}");
        }
    }

    #[test]
    fn an_evaluation_is_quick_when_its_frame_is_in_a_register() {
        let mut spec = CodeSpec::default();
        assert_eq!(quick_site(&Description::Code(spec)), None);
        spec.frame.register = 13;
        spec.offsets.frame_to_code = 32;
        let quick = QuickSite {
            plus: 32,
            first: 13,
            ..QuickSite::default()
        };
        assert_eq!(quick_site(&Description::Code(spec)), Some(quick));
        let mut tagged = spec;
        tagged.offsets.tag = 1;
        let mut in_memory = spec;
        in_memory.frame.memory = 1;
        for other in [tagged, in_memory] {
            assert_eq!(quick_site(&Description::Code(other)), None, "{other:?}");
        }
    }
}
