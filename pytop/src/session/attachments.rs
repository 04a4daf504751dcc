//! Which probes are in place.

use std::collections::HashMap;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::thread;

use super::methods::{Plan, Planner};
use crate::cpython::Interpreter;
use crate::discover::{FileId, InterpreterFile};
use crate::model::{Coverage, Method, Text};
use crate::probe::{Kernel, Place, Probe, Program, SiteId, Target, detach};

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
    program: Option<Program>,
    planner: Planner,
    /// The sites of the files that can be counted.
    prepared: HashMap<FileId, Arc<Prepared>>,
    /// The file and the method of each site.
    sites: HashMap<SiteId, (Arc<File>, Method)>,
    /// The probes of a file, or why there are none.
    placed: HashMap<(FileId, Reach), Result<Vec<Probe>, Arc<str>>>,
    /// What there is to be told of files.
    notices: Vec<String>,
}

/// A plan, with the numbers of its probes in the kernel's tables.
struct Prepared {
    plan: Arc<Plan>,
    sites: Vec<SiteId>,
}

impl Attachments {
    /// No probes yet. Where `program` is one, each probe runs it instead of its own.
    pub(super) fn new(program: Option<Program>, planner: Planner) -> Self {
        Self {
            program,
            planner,
            prepared: HashMap::new(),
            sites: HashMap::new(),
            placed: HashMap::new(),
            notices: Vec::new(),
        }
    }

    /// Sees to it that the calls of this interpreter are counted, and says whether they are.
    pub(super) fn cover(
        &mut self,
        kernel: &mut Kernel,
        file: &Arc<File>,
        reach: Reach,
    ) -> Coverage {
        let prepared = match self.prepare(kernel, file) {
            Ok(prepared) => prepared,
            Err(reason) => return Coverage::NotCounted(reason),
        };
        let placed = self.placed.entry((file.id, reach)).or_insert_with(|| {
            place(kernel, file, reach, &prepared, self.program).map_err(Arc::from)
        });
        match placed {
            Ok(_) => Coverage::Counted(prepared.plan.method),
            Err(reason) => Coverage::NotCounted(Arc::clone(reason)),
        }
    }

    /// Plans what there is to be placed in a file, once.
    fn prepare(
        &mut self,
        kernel: &mut Kernel,
        file: &Arc<File>,
    ) -> Result<Arc<Prepared>, Arc<str>> {
        if let Some(prepared) = self.prepared.get(&file.id) {
            return Ok(Arc::clone(prepared));
        }
        let plan = self.planner.plan(file)?;
        if let Some(refusal) = &plan.untimed {
            self.notices.push(format!(
                "calls in {} are counted, but not timed: {refusal}",
                Text::from(file.path.as_os_str().as_bytes()).visible()
            ));
        }
        let mut sites = Vec::with_capacity(plan.probes.len());
        for probe in &plan.probes {
            let site = kernel.describe(&probe.description);
            let site = site.map_err(|error| Arc::from(error.to_string()))?;
            sites.push(site);
            self.sites.insert(site, (Arc::clone(file), plan.method));
        }
        let prepared = Arc::new(Prepared { plan, sites });
        self.prepared.insert(file.id, Arc::clone(&prepared));
        Ok(prepared)
    }

    /// What there is to be told of files since the last time.
    pub(super) fn take_notices(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notices)
    }

    /// Whether a file can be covered without a long look at it.
    pub(super) fn is_quick(&mut self, file: &File) -> bool {
        self.planner.is_quick(file)
    }

    /// The file of a probe, and how it is counted.
    pub(super) fn site(&self, site: SiteId) -> Option<&(Arc<File>, Method)> {
        self.sites.get(&site)
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

    /// Takes out every probe, and those of others, and waits until the kernel has done so.
    pub(super) fn release_all(&mut self, others: Vec<Probe>) {
        let placed = self.placed.drain();
        let placed = placed.filter_map(|(_, placed)| placed.ok()).flatten();
        detach(placed.chain(others).collect());
    }
}

/// Places the probes of a file: all of them, or none.
fn place(
    kernel: &mut Kernel,
    file: &File,
    reach: Reach,
    prepared: &Prepared,
    program: Option<Program>,
) -> Result<Vec<Probe>, String> {
    let target = Target {
        file: &file.file,
        path: &file.path,
        pid: reach.pid(),
    };
    let planned: Vec<_> = prepared.plan.probes.iter().zip(&prepared.sites).collect();
    let mut placed = Vec::new();
    for same in planned.chunk_by(|(one, _), (next, _)| one.program == next.program) {
        let at: Vec<_> = same
            .iter()
            .map(|(probe, site)| Place {
                offset: probe.offset,
                semaphore_offset: probe.semaphore,
                site: **site,
            })
            .collect();
        let own = same.first().map(|(probe, _)| probe.program);
        if let Some(program) = program.or(own) {
            let probes = kernel.attach(program, &target, &at);
            placed.extend(probes.map_err(|error| error.to_string())?);
        }
    }
    Ok(placed)
}

/// Takes out probes without waiting for it.
fn release(probes: Vec<Probe>) {
    if !probes.is_empty() {
        // Without a thread, they are dropped here and now, which only takes longer.
        let _ = thread::Builder::new().spawn(move || detach(probes));
    }
}
