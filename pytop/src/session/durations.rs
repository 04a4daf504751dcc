//! What it takes to measure durations beside counting: the probes at which calls end.

use pytop_common::code::CodeSpec;
use pytop_common::trace::FrameSpec;

use super::attachments::File;
use super::methods::{Plan, PlannedProbe, Refusal};
use crate::cpython::{Entries, Says, TraceProbe, examine_exits};
use crate::model::Method;
use crate::probe::{Description, Program};

/// Makes of a plan for counting one for measuring durations, too. Where they cannot be measured, it
/// says why, and counts.
pub(super) fn of(plan: Plan, file: &File) -> Plan {
    match probes(&plan, file) {
        Ok(probes) => Plan { probes, ..plan },
        Err(refusal) => Plan {
            untimed: Some(refusal),
            ..plan
        },
    }
}

fn probes(plan: &Plan, file: &File) -> Result<Vec<PlannedProbe>, Refusal> {
    let entries = match plan.method {
        Method::Marker => Entries::Marker,
        Method::Eval | Method::Resume => Entries::QuickCode,
    };
    let found = examine_exits(&file.file, &file.path, &file.interpreter, entries);
    let found = found.map_err(|error| Refusal::because(error.to_string()))?;
    let found = found.map_err(|reason| Refusal::from(&reason))?;
    let exits = found.iter().filter_map(exit);
    let counting = plan.probes.iter().map(|probe| entry(probe, &found));
    let mut probes: Vec<_> = exits.chain(counting).collect();
    // Those of one program are placed together. An exit whose entry was not seen counts for nothing,
    // so they come first.
    probes.sort_by_key(|probe| {
        let enters = matches!(
            probe.program,
            Program::TimedEntry
                | Program::TimedThrow
                | Program::TimedEvaluation
                | Program::TimedResume
        );
        (enters, probe.program as u8)
    });
    Ok(probes)
}

/// The probe of an entry, which counts and begins to measure.
fn entry(probe: &PlannedProbe, found: &[TraceProbe]) -> PlannedProbe {
    let (program, description) = match (probe.program, probe.description) {
        (Program::FunctionEntry, description) => (Program::TimedEntry, description),
        (Program::Evaluation, Description::Code(code)) => {
            let spec = found.iter().find_map(|probe| match probe.says {
                Says::Evaluation(spec) => Some(spec),
                _ => None,
            });
            let description = Description::Timed(code, spec.unwrap_or_default());
            (Program::TimedEvaluation, description)
        }
        (Program::Resume, Description::Code(code)) => {
            let description = Description::Timed(code, resumed(&code, found));
            (Program::TimedResume, description)
        }
        (program, description) => (program, description),
    };
    PlannedProbe {
        program,
        description,
        ..*probe
    }
}

/// What has to be known of a frame that is entered by a RESUME: which one called it, where those that
/// are left by an exception are not seen leaving.
fn resumed(code: &CodeSpec, found: &[TraceProbe]) -> FrameSpec {
    let is_told = |wanted: fn(&Says) -> bool| found.iter().any(|probe| wanted(&probe.says));
    let mut spec = FrameSpec {
        stack: code.frame,
        ..FrameSpec::default()
    };
    if !is_told(|says| matches!(says, Says::Unwind(_))) {
        spec.offsets.previous = code.offsets.previous;
        spec.doubtful = (!is_told(|says| matches!(says, Says::Raised))).into();
    }
    spec
}

fn exit(probe: &TraceProbe) -> Option<PlannedProbe> {
    let (program, description) = match probe.says {
        Says::MarkedReturn(spec) => (Program::TimedReturn, Description::Marker(spec)),
        Says::Evaluated(spec) => (Program::TimedEvaluated, Description::Exit(spec)),
        Says::Leave(spec) | Says::Unwind(spec) => (Program::TimedLeave, Description::Exit(spec)),
        Says::Created => (Program::TimedCreated, Description::Nothing),
        Says::Raised => (Program::TimedRaised, Description::Nothing),
        // Elsewhere the frame tells which call an exit belongs to: that of one entered so belongs to
        // none.
        Says::Throw(spec) if spec.counted != 0 => (Program::TimedThrow, Description::Frame(spec)),
        Says::Throw(_) | Says::Evaluation(_) => return None,
    };
    Some(PlannedProbe {
        program,
        offset: probe.file_offset,
        semaphore: probe.semaphore_file_offset,
        description,
    })
}
