//! What pytop sees of the machine's processes, and the interpreters that it knows.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::{Finding, KnownInterpreter, Status};
use crate::cpython;
use crate::discover::{Finder, Installed, ProcRoot, Scan};
use crate::inspect::Verdict;
use crate::session::{Planner, environment};

/// The process that is always there, unless it is hidden.
const INIT: u32 = 1;

pub(super) fn all(planner: &mut Planner) -> Result<(Vec<Finding>, Vec<KnownInterpreter>)> {
    let root = ProcRoot::host().context("cannot open /proc")?;
    let hides_others = root.stat(std::process::id()).is_ok() && root.stat(INIT).is_err();
    let mut finder = Finder::new(
        root,
        Box::new(|file, path| cpython::examine(file, path).map_err(Into::into)),
    );
    let scan = finder
        .scan()
        .context("cannot list the processes in /proc")?;
    let search_path = std::env::var_os("PATH").unwrap_or_default();
    let mut files = scan.interpreters.clone();
    for file in finder.interpreters_in(Installed::on(&search_path).files()) {
        if !files.iter().any(|known| Arc::ptr_eq(known, &file)) {
            files.push(file);
        }
    }
    planner.plan_all(&files);
    let interpreters = files.iter().map(|file| {
        let running = scan.processes.iter().filter(|found| {
            let mut interpreters = found.interpreters.iter();
            interpreters.any(|other| Arc::ptr_eq(other, file))
        });
        KnownInterpreter {
            path: file.path.as_path().into(),
            processes: running.count(),
            verdict: Verdict::of(planner, file),
        }
    });
    let interpreters = interpreters.collect();
    let findings = vec![processes(&scan, hides_others), open_files()];
    Ok((findings, interpreters))
}

fn processes(scan: &Scan<cpython::Interpreter>, hides_others: bool) -> Finding {
    let name = "processes";
    let notices = environment::passed_over(scan);
    if hides_others {
        let detail = "/proc hides the processes of others (it is mounted with hidepid)";
        return Finding::new(name, Status::Limited, detail)
            .remedy("run pytop as root (sudo pytop), or with the capability CAP_SYS_PTRACE too");
    }
    if notices.is_empty() {
        let all = match scan.not_permitted {
            0 => "all can be looked at".to_owned(),
            kept => format!("all but {kept}, which are kept from everyone, can be looked at"),
        };
        let running = scan.processes.len();
        let detail = format!("{all}, and {running} of them run CPython");
        return Finding::new(name, Status::Yes, detail);
    }
    Finding::new(name, Status::Limited, notices.join("; "))
}

fn open_files() -> Finding {
    let name = "open files";
    match environment::allow_many_files(false) {
        Ok(Some(limit)) => Finding::new(name, Status::Yes, format!("up to {limit}")),
        Ok(None) => Finding::new(name, Status::Unknown, "the kernel does not tell the limit"),
        Err(error) => Finding::new(name, Status::No, error.to_string()),
    }
}
