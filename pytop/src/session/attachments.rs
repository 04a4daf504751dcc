//! Which probes are in place.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;

use crate::cli::MethodChoice;
use crate::cpython::Interpreter;
use crate::discover::{FileId, InterpreterFile};
use crate::model::{Coverage, Method};
use crate::probe::{Kernel, Probe, Program, SiteId, Target, detach};

/// A file with an interpreter in it.
pub(super) type File = InterpreterFile<Interpreter>;

/// Which processes a probe is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Reach {
    /// Every process that maps the file, now or later.
    Everyone,
    /// This process. Others do not even get the breakpoint.
    Process(u32),
}

impl Reach {
    fn pid(self) -> Option<u32> {
        match self {
            Self::Everyone => None,
            Self::Process(pid) => Some(pid),
        }
    }
}

/// The probes in place, by what they are for.
pub(super) struct Attachments {
    program: Program,
    method: MethodChoice,
    /// The numbers of a file's markers in the kernel's table of sites.
    sites: HashMap<FileId, Arc<[SiteId]>>,
    /// The file of each site.
    files: Vec<Arc<File>>,
    /// The probes of a file, or why there are none.
    placed: HashMap<(FileId, Reach), Result<Vec<Probe>, Arc<str>>>,
}

impl Attachments {
    pub(super) fn new(program: Program, method: MethodChoice) -> Self {
        Self {
            program,
            method,
            sites: HashMap::new(),
            files: Vec::new(),
            placed: HashMap::new(),
        }
    }

    /// Sees to it that the calls of this interpreter are counted, and says whether they are.
    pub(super) fn cover(
        &mut self,
        kernel: &mut Kernel,
        file: &Arc<File>,
        reach: Reach,
    ) -> Coverage {
        if let MethodChoice::Only(method @ (Method::Eval | Method::Resume)) = self.method {
            return not_counted(format!(
                "this version of pytop has no method '{}'; leave out --method",
                method.name()
            ));
        }
        let markers = match &file.interpreter.entry {
            Ok(markers) => markers,
            Err(reason) => return not_counted(reason.to_string()),
        };
        let key = (file.id, reach);
        if !self.placed.contains_key(&key) {
            let placed = self.sites_of(kernel, file).and_then(|sites| {
                markers
                    .iter()
                    .zip(sites.iter())
                    .map(|(marker, site)| {
                        let target = Target {
                            file: &file.file,
                            path: &file.path,
                            offset: marker.file_offset,
                            semaphore_offset: marker.semaphore_file_offset,
                            pid: reach.pid(),
                        };
                        kernel
                            .attach(self.program, &target, *site)
                            .map_err(|error| error.to_string())
                    })
                    .collect()
            });
            self.placed.insert(key, placed.map_err(Arc::from));
        }
        match self.placed.get(&key) {
            Some(Err(reason)) => Coverage::NotCounted(Arc::clone(reason)),
            _ => Coverage::Counted(Method::Marker),
        }
    }

    fn sites_of(&mut self, kernel: &mut Kernel, file: &Arc<File>) -> Result<Arc<[SiteId]>, String> {
        if let Some(sites) = self.sites.get(&file.id) {
            return Ok(Arc::clone(sites));
        }
        let mut sites = Vec::new();
        for marker in file.interpreter.entry.iter().flatten() {
            sites.push(
                kernel
                    .add_marker(marker.spec)
                    .map_err(|error| error.to_string())?,
            );
            self.files.push(Arc::clone(file));
        }
        let sites: Arc<[SiteId]> = sites.into();
        self.sites.insert(file.id, Arc::clone(&sites));
        Ok(sites)
    }

    /// The file of a probe.
    pub(super) fn file(&self, site: SiteId) -> Option<&Arc<File>> {
        self.files.get(usize::from(site.0))
    }

    /// Interpreters with a probe in place.
    pub(super) fn interpreters(&self) -> usize {
        let mut files: Vec<&FileId> = self
            .placed
            .iter()
            .filter(|(_, placed)| placed.is_ok())
            .map(|((id, _), _)| id)
            .collect();
        files.sort_unstable_by_key(|id| (id.device, id.inode));
        files.dedup();
        files.len()
    }

    /// Takes out the probes that were for this process alone. The kernel's wait is left to a thread.
    pub(super) fn release(&mut self, pid: u32) {
        let ended = self
            .placed
            .extract_if(|(_, reach), _| *reach == Reach::Process(pid));
        release(
            ended
                .filter_map(|(_, placed)| placed.ok())
                .flatten()
                .collect(),
        );
    }

    /// Takes out the probes of all files but these: those that nobody has used for long, and those
    /// that have been overwritten, in which a breakpoint could now be in the middle of anything.
    pub(super) fn release_all_but(&mut self, files: &[FileId]) {
        let unused = self.placed.extract_if(|(file, _), _| !files.contains(file));
        release(
            unused
                .filter_map(|(_, placed)| placed.ok())
                .flatten()
                .collect(),
        );
    }

    /// Takes out every probe, and waits until the kernel has done so.
    pub(super) fn release_all(&mut self) {
        detach(
            self.placed
                .drain()
                .filter_map(|(_, placed)| placed.ok())
                .flatten()
                .collect(),
        );
    }
}

/// Takes out probes without waiting for it.
fn release(probes: Vec<Probe>) {
    if !probes.is_empty() {
        // Without a thread, they are dropped here and now, which only takes longer.
        let _ = thread::Builder::new().spawn(move || detach(probes));
    }
}

fn not_counted(reason: String) -> Coverage {
    Coverage::NotCounted(reason.into())
}
