//! What can be probed in files and processes: their markers, and how interpreters are counted.
//!
//! Nothing is probed here. How an interpreter is counted is what the session's own planner answers.

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Error, Result, bail};

use crate::cli::MethodChoice;
use crate::cpython::{self, EntryMarker, Interpreter, Listing, Version, list_markers};
use crate::discover::error::FileError;
use crate::discover::{Finder, Found, InterpreterFile, ProcRoot};
use crate::model::{Method, Text};
use crate::os_error::describe;
use crate::session::{Planner, Purpose, environment};

/// A file with its markers.
#[derive(Debug)]
pub struct Inspected {
    /// Its path, as the first process that was seen with it has it.
    pub path: Text,
    /// It had no name any more.
    pub deleted: bool,
    /// Its markers.
    pub listing: Listing,
    /// How it is counted, if it holds an interpreter.
    pub verdict: Option<Verdict>,
    /// The processes that were asked for, and that run it.
    pub processes: Vec<InspectedProcess>,
}

/// Whether and how an interpreter is counted.
#[derive(Debug)]
pub struct Verdict {
    /// Which CPython; `None` when the file does not tell.
    pub version: Option<Version>,
    /// What its `function__entry` marker does.
    pub entry: EntryMarker,
    /// Why that is so; `None` when it is live.
    pub entry_reason: Option<String>,
    /// The method that counts it, or why there is none.
    pub chosen: Result<Method, Arc<str>>,
    /// The number of probes that each method takes, or why it is not for this interpreter.
    pub methods: Vec<(Method, Result<usize, String>)>,
}

/// A process that runs an interpreter.
#[derive(Debug)]
pub struct InspectedProcess {
    /// The process id.
    pub pid: u32,
    /// The kernel's name of it.
    pub comm: Text,
    /// The value of each marker's semaphore, in the order of the markers: `None` for one that has
    /// none, or none that can be read. Or why they cannot be read.
    pub semaphores: Result<Vec<Option<u16>>, String>,
}

/// What was looked at.
#[derive(Debug, Default)]
pub struct Inspection {
    /// What was found, in order.
    pub inspected: Vec<Inspected>,
    /// Why others that were asked for could not be looked at.
    pub failures: Vec<Error>,
    /// Of whom nothing can be told, when it is of the whole machine.
    pub notices: Vec<String>,
}

impl Inspection {
    fn add(&mut self, result: Result<Inspected>) {
        match result {
            Ok(inspected) => self.inspected.push(inspected),
            Err(error) => self.failures.push(error),
        }
    }
}

/// Looks at files and processes.
pub struct Inspector {
    finder: Finder<Interpreter>,
    planner: Planner,
}

impl Inspector {
    /// Has seen nothing yet.
    pub fn new() -> Result<Self> {
        Ok(Self {
            finder: Finder::new(
                ProcRoot::host().context("cannot open /proc")?,
                Box::new(|file, path| cpython::examine(file, path).map_err(Into::into)),
            ),
            planner: Planner::new(MethodChoice::Auto, Purpose::Counting),
        })
    }

    /// Looks at files, whoever runs them.
    pub fn files(&mut self, given: &[PathBuf]) -> Inspection {
        let mut inspection = Inspection::default();
        for path in given {
            inspection.add(self.file(path));
        }
        inspection
    }

    fn file(&mut self, given: &Path) -> Result<Inspected> {
        let unreadable = |source| FileError::Unreadable {
            path: given.into(),
            source,
        };
        // The name of an executable is a hint at its version, that of a link to it is none.
        let path = fs::canonicalize(given).map_err(unreadable)?;
        if !fs::metadata(&path).map_err(unreadable)?.is_file() {
            bail!(
                "{} is not a file, but a folder or a device",
                Text::from(given)
            );
        }
        if let Some(file) = self.finder.interpreter_in(&path)? {
            return self.interpreter(&file);
        }
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
            .open(&path)
            .map_err(unreadable)?;
        let Some(listing) = list_markers(&file, &path)? else {
            bail!(
                "{} is neither a program nor a shared library in ELF format, and has no markers",
                Text::from(given)
            );
        };
        Ok(Inspected {
            path: path.as_path().into(),
            deleted: false,
            listing,
            verdict: None,
            processes: Vec::new(),
        })
    }

    /// Looks at the interpreters of processes, each once.
    pub fn processes(&mut self, pids: &[u32]) -> Inspection {
        let mut inspection = Inspection::default();
        let mut found = Vec::new();
        for pid in pids {
            match self.finder.look_at(*pid) {
                Ok(process) => found.push(process),
                Err(error) => inspection.failures.push(error.into()),
            }
        }
        let mut files: Vec<&Arc<InterpreterFile<Interpreter>>> = Vec::new();
        for file in found.iter().flat_map(|found| &found.interpreters) {
            if !files.iter().any(|known| Arc::ptr_eq(known, file)) {
                files.push(file);
            }
        }
        for file in files {
            inspection.add(self.run_by(file, &found));
        }
        inspection
    }

    /// Looks at the interpreters of all processes.
    pub fn machine(&mut self) -> Result<Inspection> {
        let scan = self
            .finder
            .scan()
            .context("cannot list the processes in /proc")?;
        self.planner.plan_all(&scan.interpreters);
        let mut inspection = Inspection {
            notices: environment::passed_over(&scan),
            ..Inspection::default()
        };
        for file in &scan.interpreters {
            inspection.add(self.run_by(file, &scan.processes));
        }
        Ok(inspection)
    }

    fn interpreter(&mut self, file: &InterpreterFile<Interpreter>) -> Result<Inspected> {
        let Some(listing) = list_markers(&file.file, &file.path)? else {
            bail!(
                "{} has changed while it was looked at",
                Text::from(file.path.as_path())
            );
        };
        Ok(Inspected {
            path: file.path.as_path().into(),
            deleted: file.deleted,
            listing,
            verdict: Some(Verdict::of(&mut self.planner, file)),
            processes: Vec::new(),
        })
    }

    /// An interpreter, and those of the processes that run it.
    fn run_by(
        &mut self,
        file: &Arc<InterpreterFile<Interpreter>>,
        processes: &[Arc<Found<Interpreter>>],
    ) -> Result<Inspected> {
        let mut inspected = self.interpreter(file)?;
        let runs_it = |found: &&Arc<Found<Interpreter>>| {
            let mut interpreters = found.interpreters.iter();
            interpreters.any(|other| Arc::ptr_eq(other, file))
        };
        for found in processes.iter().filter(runs_it) {
            let process = &found.process;
            let semaphores = self.semaphores(process.id.pid, file, &inspected.listing);
            inspected.processes.push(InspectedProcess {
                pid: process.id.pid,
                comm: process.comm.clone(),
                semaphores,
            });
        }
        Ok(inspected)
    }

    /// The values of the semaphores of all markers in a process.
    fn semaphores(
        &mut self,
        pid: u32,
        file: &Arc<InterpreterFile<Interpreter>>,
        listing: &Listing,
    ) -> Result<Vec<Option<u16>>, String> {
        let gone = || "it runs this file no more".to_owned();
        if listing
            .markers
            .iter()
            .all(|marker| marker.semaphore.is_none())
        {
            return Ok(vec![None; listing.markers.len()]);
        }
        let found = self.finder.in_memory(pid, file);
        let (segment, memory) = found.map_err(|error| describe(&error))?.ok_or_else(gone)?;
        let bias = listing
            .load_bias(segment.start, segment.offset)
            .ok_or_else(gone)?;
        let values = listing.markers.iter().map(|marker| {
            let address = marker.semaphore?.wrapping_add(bias);
            read_u16(&memory, address)
        });
        Ok(values.collect())
    }
}

impl Verdict {
    /// What the session would do with an interpreter.
    pub(crate) fn of(planner: &mut Planner, file: &InterpreterFile<Interpreter>) -> Self {
        let chosen = planner.plan(file).map(|plan| plan.method);
        let methods = [Method::Marker, Method::Eval, Method::Resume];
        let by = |method| match planner.plan_by(method, file) {
            Ok(plan) => Ok(plan.probes.len()),
            Err(refusal) => Err(refusal.reason),
        };
        let interpreter = &file.interpreter;
        Self {
            version: interpreter.version,
            entry: interpreter.entry_marker(),
            entry_reason: interpreter.entry.as_ref().err().map(ToString::to_string),
            chosen,
            methods: methods.map(|method| (method, by(method))).into(),
        }
    }
}

fn read_u16(memory: &File, address: u64) -> Option<u16> {
    let mut bytes = [0; 2];
    memory.read_exact_at(&mut bytes, address).ok()?;
    Some(u16::from_ne_bytes(bytes))
}
