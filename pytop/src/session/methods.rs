//! Which method counts an interpreter, and what probes it takes.

use super::attachments::File;
use crate::cli::MethodChoice;
use crate::cpython::{CodeMethod, NotCountable, Version, examine_code};
use crate::model::Method;
use crate::probe::{Description, Program};

/// How an interpreter is counted.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) method: Method,
    pub(super) probes: Vec<PlannedProbe>,
}

/// A probe that is to be placed.
#[derive(Clone, Copy, Debug)]
pub(super) struct PlannedProbe {
    pub(super) program: Program,
    /// Where the instruction is in the file.
    pub(super) offset: u64,
    /// Where the semaphore is in the file.
    pub(super) semaphore: Option<u64>,
    pub(super) description: Description,
}

/// Chooses: the live marker where there is one, unless another method was asked for.
///
/// # Errors
/// Why the interpreter cannot be counted, to complete the sentence "not counted: …".
pub(super) fn plan(choice: MethodChoice, file: &File) -> Result<Plan, String> {
    let interpreter = &file.interpreter;
    match choice {
        MethodChoice::Auto if interpreter.entry.is_ok() => marker(file),
        MethodChoice::Only(Method::Marker) => marker(file),
        MethodChoice::Auto => code(file),
        MethodChoice::Only(asked) => {
            if let Some(version) = interpreter.version
                && asked != method_of(version)
            {
                return Err(format!(
                    "the method '{}' is for {}, and this is CPython {version}; leave out --method",
                    asked.name(),
                    if asked == Method::Eval {
                        "CPython 3.6 to 3.10"
                    } else {
                        "CPython 3.11 and later"
                    }
                ));
            }
            code(file)
        }
    }
}

/// The method that counts a version without a marker.
fn method_of(version: Version) -> Method {
    if version.minor() < (3, 11) {
        Method::Eval
    } else {
        Method::Resume
    }
}

fn marker(file: &File) -> Result<Plan, String> {
    let sites = file.interpreter.entry.as_ref().map_err(explain)?;
    let probes = sites.iter().map(|site| PlannedProbe {
        program: Program::FunctionEntry,
        offset: site.file_offset,
        semaphore: site.semaphore_file_offset,
        description: Description::Marker(site.spec),
    });
    Ok(Plan {
        method: Method::Marker,
        probes: probes.collect(),
    })
}

fn code(file: &File) -> Result<Plan, String> {
    let found = examine_code(&file.file, &file.path, &file.interpreter);
    let found = found.map_err(|error| error.to_string())?;
    let found = found.map_err(|reason| explain(&reason))?;
    let (method, program, compiled) = match &found {
        CodeMethod::Eval(_) => (Method::Eval, Program::Evaluation, None),
        CodeMethod::Resume(resume) => {
            (Method::Resume, Program::Resume, resume.executor_file_offset)
        }
    };
    let probe = |program, offset, description| PlannedProbe {
        program,
        offset,
        semaphore: None,
        description,
    };
    let code = found.probes().map_err(|reason| explain(&reason))?;
    let mut probes: Vec<_> = code
        .into_iter()
        .map(|code| probe(program, code.file_offset, Description::Code(code.spec)))
        .collect();
    probes.extend(compiled.map(|offset| probe(Program::Compiled, offset, Description::Nothing)));
    Ok(Plan { method, probes })
}

fn explain(reason: &NotCountable) -> String {
    let mut explained = reason.to_string();
    if let Some(remedy) = reason.remedy() {
        explained.push_str("; ");
        explained.push_str(remedy);
    }
    explained
}
