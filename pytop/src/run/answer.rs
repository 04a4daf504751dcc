//! The subcommands that look, print one answer, and end.

use std::io::{self, BufWriter, Write as _};
use std::process::ExitCode;

use anyhow::Result;

use super::{layout, say};
use crate::cli::{Doctor, Probes};
use crate::doctor::Diagnosis;
use crate::inspect::Inspector;
use crate::report::{ReportError, write_diagnosis, write_probes};

/// `pytop probes`.
pub(super) fn probes(options: &Probes) -> Result<ExitCode> {
    let mut inspector = Inspector::new()?;
    let mut notices = Vec::new();
    let inspected = if !options.files.is_empty() {
        let files = options.files.iter().map(|path| inspector.file(path));
        files.collect::<Result<Vec<_>>>()?
    } else if !options.pids.is_empty() {
        inspector.processes(&options.pids)?
    } else {
        let (inspected, unseen) = inspector.machine()?;
        notices = unseen;
        inspected
    };
    print(|output| write_probes(output, options.format, &inspected))?;
    for notice in notices {
        say(&notice);
    }
    Ok(ExitCode::SUCCESS)
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
