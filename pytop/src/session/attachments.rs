//! Which probes are in place.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::sync::Arc;
use std::thread;

use super::methods::{Plan, Planner};
use super::now;
use super::runtime::RuntimeProbes;
use crate::cpython::Interpreter;
use crate::discover::{FileId, InterpreterFile};
use crate::model::{Coverage, Method, Runtime, Text};
use crate::probe::{
    Apart, Description, Gate, Kernel, Outstanding, Place, Probe, Program, SiteId, Target, detach,
};

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
    pub(super) fn pid(self) -> Option<u32> {
        match self {
            Self::Everyone => None,
            Self::Process(pid) => Some(pid),
        }
    }

    fn includes(self, pid: u32) -> bool {
        self == Self::Everyone || self == Self::Process(pid)
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
    placed: HashMap<(FileId, Reach), Result<Placed, Arc<str>>>,
    /// Those of collections and imports, where these are counted.
    runtime: Option<RuntimeProbes>,
    /// The probes of a file that tell who starts, for everyone, where that has to be known.
    doors: Option<HashMap<FileId, Vec<Probe>>>,
    /// Processes whose children inherit their probes.
    apart: HashMap<u32, Apart>,
    /// What there is to be told of files.
    notices: Vec<String>,
}

/// The probes of a file.
struct Placed {
    probes: Vec<Probe>,
    /// When the last of them was in place, in nanoseconds of `CLOCK_MONOTONIC`.
    complete: u64,
}

/// A plan, with the numbers of its probes in the kernel's tables.
struct Prepared {
    plan: Arc<Plan>,
    sites: Vec<SiteId>,
}

impl Attachments {
    /// No probes yet. Where `program` is one, each probe runs it instead of its own. `with_doors`,
    /// the kernel side tells of processes that start to run Python code.
    pub(super) fn new(program: Option<Program>, planner: Planner, with_doors: bool) -> Self {
        let counts = program.is_none() && !planner.traces();
        Self {
            runtime: counts.then(RuntimeProbes::default),
            program,
            planner,
            prepared: HashMap::new(),
            sites: HashMap::new(),
            placed: HashMap::new(),
            doors: with_doors.then(HashMap::new),
            apart: HashMap::new(),
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
        let coverage = match placed {
            Ok(_) => {
                // What cannot be counted is left alone.
                if let Some(runtime) = &mut self.runtime {
                    runtime.want(file, reach);
                }
                Coverage::Counted(prepared.plan.method)
            }
            Err(reason) => Coverage::NotCounted(Arc::clone(reason)),
        };
        self.place_doors(kernel, file);
        coverage
    }

    /// Sees to it that the kernel side tells who starts to run an interpreter.
    fn place_doors(&mut self, kernel: &mut Kernel, file: &Arc<File>) {
        let Some(doors) = &mut self.doors else {
            return;
        };
        if doors.contains_key(&file.id) {
            return;
        }
        let site = kernel.describe(&Description::Nothing);
        let probes = site.ok().and_then(|site| {
            self.sites.insert(site, (Arc::clone(file), Method::Marker));
            let offsets = file.interpreter.doors.iter();
            let places: Vec<_> = offsets.map(|offset| place_at(*offset, site)).collect();
            let target = Target {
                file: &file.file,
                path: &file.path,
                pid: None,
            };
            kernel.attach(Program::Door, &target, &places).ok()
        });
        doors.insert(file.id, probes.unwrap_or_default());
    }

    /// Chooses who gets the breakpoints of probes that are not for one process alone: these
    /// processes, with the children that they make from then on; everyone without a list.
    pub(super) fn restrict(&mut self, pids: Option<&[u32]>) -> io::Result<()> {
        let mut apart = HashMap::new();
        for pid in pids.unwrap_or_default() {
            let event = self.apart.remove(pid).map_or_else(|| Apart::of(*pid), Ok);
            match event {
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                event => drop(apart.insert(*pid, event?)),
            }
        }
        self.apart = apart;
        for gate in self.gates(|reach| reach == Reach::Everyone) {
            match pids {
                Some(pids) => gate.restrict(pids)?,
                None => gate.admit_all()?,
            }
        }
        Ok(())
    }

    /// Gives a process the breakpoints that it has not; its children too, if they are to `inherit`
    /// them.
    pub(super) fn admit(&mut self, pid: u32, inherit: bool) -> io::Result<()> {
        if inherit && let Entry::Vacant(apart) = self.apart.entry(pid) {
            apart.insert(Apart::of(pid)?);
        }
        for gate in self.gates(|reach| reach.includes(pid)) {
            gate.admit(pid, inherit)?;
        }
        Ok(())
    }

    /// Takes its breakpoints from a process.
    pub(super) fn dismiss(&mut self, pid: u32) {
        for gate in self.gates(|reach| reach.includes(pid)) {
            gate.dismiss(pid);
        }
    }

    fn gates(&mut self, is_meant: impl Fn(Reach) -> bool) -> impl Iterator<Item = &mut Gate> {
        let placed = self.placed.iter_mut();
        let placed = placed.filter(move |((_, reach), _)| is_meant(*reach));
        let placed = placed.filter_map(|(_, placed)| placed.as_mut().ok());
        let probes = placed.flat_map(|placed| &mut placed.probes);
        probes.filter_map(Probe::gate)
    }

    /// Places the probes of collections and imports, which [`Attachments::cover`] leaves for later.
    pub(super) fn place_runtime(&mut self, kernel: &mut Kernel) {
        if let Some(runtime) = &mut self.runtime {
            runtime.place_wanted(kernel);
        }
    }

    /// What there is to be told of a process with these interpreters that has neither collected
    /// nor imported.
    pub(super) fn runtime_of(&self, interpreters: &[(FileId, Reach)]) -> Runtime {
        let runtime = self.runtime.as_ref();
        runtime.map_or_else(Runtime::default, |it| it.nothing_of(interpreters))
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

    /// A file with a probe in place.
    pub(super) fn file(&self, id: FileId) -> Option<&Arc<File>> {
        let mut files = self.sites.values().map(|(file, _)| file);
        files.find(|file| file.id == id)
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

    /// Since when a process with these interpreters has had all its probes, in nanoseconds of
    /// `CLOCK_MONOTONIC`; `None` when it has none.
    pub(super) fn complete_since(&self, interpreters: &[(FileId, Reach)]) -> Option<u64> {
        let placed = interpreters.iter().filter_map(|key| self.placed.get(key));
        let placed = placed.filter_map(|placed| placed.as_ref().ok());
        placed.map(|placed| placed.complete).min()
    }

    /// Takes out the probes that were for this process alone. The kernel's wait is left to a thread.
    pub(super) fn release(&mut self, pid: u32) {
        release(self.take(|_, reach| reach == Reach::Process(pid)));
        self.apart.remove(&pid);
        for gate in self.gates(|reach| reach == Reach::Everyone) {
            gate.forget(pid);
        }
    }

    /// Takes out the probes of all files but these: those that nobody has used for long, and those
    /// that have been overwritten, in which a breakpoint could now be in the middle of anything.
    pub(super) fn release_all_but(&mut self, files: &[FileId]) {
        release(self.take(|file, _| !files.contains(&file)));
    }

    /// Takes out every probe, and those of others, and waits until the kernel has done so.
    pub(super) fn release_all(&mut self, mut others: Vec<Probe>) {
        others.extend(self.take(|_, _| true));
        detach(others);
    }

    /// The probes that `is_over` tells are not in use any more.
    fn take(&mut self, is_over: impl Fn(FileId, Reach) -> bool) -> Vec<Probe> {
        let over = self
            .placed
            .extract_if(|(file, reach), _| is_over(*file, *reach));
        let mut probes: Vec<_> = over
            .filter_map(|(_, placed)| placed.ok())
            .flat_map(|placed| placed.probes)
            .collect();
        if let Some(runtime) = &mut self.runtime {
            probes.extend(runtime.take(&is_over));
        }
        let doors = self.doors.iter_mut();
        let doors =
            doors.flat_map(|doors| doors.extract_if(|file, _| is_over(*file, Reach::Everyone)));
        probes.extend(doors.flat_map(|(_, probes)| probes));
        probes
    }
}

/// Places the probes of a file: all of them, or none.
fn place(
    kernel: &mut Kernel,
    file: &File,
    reach: Reach,
    prepared: &Prepared,
    program: Option<Program>,
) -> Result<Placed, String> {
    let target = Target {
        file: &file.file,
        path: &file.path,
        pid: reach.pid(),
    };
    let planned: Vec<_> = prepared.plan.probes.iter().zip(&prepared.sites).collect();
    let mut probes = Vec::new();
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
            let placed = kernel.attach(program, &target, &at);
            probes.extend(placed.map_err(|error| error.to_string())?);
        }
    }
    Ok(Placed {
        probes,
        complete: now(),
    })
}

fn place_at(offset: u64, site: SiteId) -> Place {
    Place {
        offset,
        semaphore_offset: None,
        site,
    }
}

/// Takes out probes without waiting for it.
pub(super) fn release(probes: Vec<Probe>) {
    if !probes.is_empty() {
        // Without a thread, they are dropped here and now, which only takes longer.
        let outstanding = Outstanding::new();
        let _ = thread::Builder::new().spawn(move || {
            detach(probes);
            drop(outstanding);
        });
    }
}
