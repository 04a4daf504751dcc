//! The subcommands that look, print one answer, and end.

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use anyhow::Result;

use super::{layout, message, say};
use crate::cli::{Doctor, Probes};
use crate::doctor::Diagnosis;
use crate::inspect::Inspector;
use crate::report::{ReportError, write_diagnosis, write_probes};

/// `pytop probes`.
pub(super) fn probes(options: &Probes) -> Result<ExitCode> {
    let mut inspector = Inspector::new()?;
    let inspection = if !options.files.is_empty() {
        inspector.files(&options.files)
    } else if !options.pids.is_empty() {
        inspector.processes(&options.pids)
    } else {
        inspector.machine()?
    };
    let failed = !inspection.failures.is_empty() || !inspection.notices.is_empty();
    if !failed || !inspection.inspected.is_empty() {
        print(|output| write_probes(output, options.format, &inspection.inspected))?;
    }
    for notice in &inspection.notices {
        say(notice);
    }
    for failure in &inspection.failures {
        say(&message(failure));
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// `pytop doctor`.
pub(super) fn doctor(options: &Doctor) -> Result<ExitCode> {
    let diagnosis = Diagnosis::make()?;
    print(|output| write_diagnosis(output, options.format, layout(), &diagnosis))?;
    Ok(if diagnosis.works() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Prints an answer, of which a reader may take as much as it wants.
fn print(
    write: impl FnOnce(&mut BufWriter<io::StdoutLock<'static>>) -> io::Result<()>,
) -> Result<(), ReportError> {
    let mut output = BufWriter::new(io::stdout().lock());
    match write(&mut output)
        .and_then(|()| output.flush())
        .map_err(ReportError::from)
    {
        Err(ReportError::Closed) => Ok(()),
        written => written,
    }
}
