//! Which probes are in place.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

use super::methods::{Plan, Planner};
use crate::cpython::Interpreter;
use crate::discover::{FileId, InterpreterFile};
use crate::model::{Coverage, Method};
use crate::probe::{Description, Kernel, Place, Probe, Program, SiteId, Target, detach};

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

/// A process that has just got probes of its own.
#[derive(Clone, Copy, Debug)]
pub(super) struct Placed {
    pub(super) pid: u32,
    /// When they were in place, by the monotonic clock.
    pub(super) at: Duration,
    /// The interpreter has had doors before, so that it is known when the process has passed them.
    pub(super) has_doors: bool,
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
    /// Where it is to be known who starts: the probes that tell, for everyone, by the file.
    doors: Option<HashMap<FileId, Vec<Probe>>>,
    /// What nobody has asked for yet.
    arrived: Vec<Placed>,
}

/// A plan, with the numbers of its probes in the kernel's tables.
struct Prepared {
    file: Arc<File>,
    plan: Arc<Plan>,
    sites: Vec<SiteId>,
}

impl Attachments {
    /// No probes yet. Where `program` is one, each probe runs it instead of its own.
    /// `with_doors`, it can be asked which processes have [arrived](Self::take_arrived).
    pub(super) fn new(program: Option<Program>, planner: Planner, with_doors: bool) -> Self {
        Self {
            program,
            planner,
            prepared: HashMap::new(),
            sites: HashMap::new(),
            placed: HashMap::new(),
            doors: with_doors.then(HashMap::new),
            arrived: Vec::new(),
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
        if !self.placed.contains_key(&(file.id, reach)) {
            let has_doors = self.place_doors(kernel, file);
            let placed = place(kernel, reach, &prepared, self.program).map_err(Arc::from);
            if let (Reach::Process(pid), true) = (reach, self.doors.is_some() && placed.is_ok()) {
                self.arrived.push(Placed {
                    pid,
                    at: monotonic(),
                    has_doors,
                });
            }
            self.placed.insert((file.id, reach), placed);
        }
        match self.placed.get(&(file.id, reach)) {
            Some(Err(reason)) => Coverage::NotCounted(Arc::clone(reason)),
            _ => Coverage::Counted(prepared.plan.method),
        }
    }

    /// Sees to it that it is known who starts to run an interpreter, and says whether it has been
    /// all the time.
    fn place_doors(&mut self, kernel: &mut Kernel, file: &Arc<File>) -> bool {
        let Some(doors) = &mut self.doors else {
            return false;
        };
        if let Some(probes) = doors.get(&file.id) {
            return !probes.is_empty();
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
        false
    }

    /// The processes that have got probes since this was last asked.
    pub(super) fn take_arrived(&mut self) -> Vec<Placed> {
        std::mem::take(&mut self.arrived)
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
        let mut sites = Vec::with_capacity(plan.probes.len());
        for probe in &plan.probes {
            let site = kernel.describe(&probe.description);
            let site = site.map_err(|error| Arc::from(error.to_string()))?;
            sites.push(site);
            self.sites.insert(site, (Arc::clone(file), plan.method));
        }
        let prepared = Arc::new(Prepared {
            file: Arc::clone(file),
            plan,
            sites,
        });
        self.prepared.insert(file.id, Arc::clone(&prepared));
        Ok(prepared)
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

    /// Takes out the probes that are for this process alone, until [`Self::resume`].
    pub(super) fn pause(&mut self, pid: u32) {
        let own = self.placed.iter_mut();
        let own = own.filter(|((_, reach), _)| *reach == Reach::Process(pid));
        let probes = own.filter_map(|(_, placed)| placed.as_mut().ok());
        release(probes.flat_map(std::mem::take).collect());
    }

    /// Places the probes of a process again. One that has ended meanwhile gets none.
    pub(super) fn resume(&mut self, kernel: &mut Kernel, pid: u32) {
        for ((file, reach), placed) in &mut self.placed {
            if *reach == Reach::Process(pid)
                && let Ok(probes) = placed
                && probes.is_empty()
                && let Some(prepared) = self.prepared.get(file)
                && let Ok(again) = place(kernel, *reach, prepared, self.program)
            {
                *probes = again;
            }
        }
    }

    /// Takes out the probes of all files but these: those that nobody has used for long, and those
    /// that have been overwritten, in which a breakpoint could now be in the middle of anything.
    pub(super) fn release_all_but(&mut self, files: &[FileId]) {
        let unused = self.placed.extract_if(|(file, _), _| !files.contains(file));
        let unused = unused.filter_map(|(_, placed)| placed.ok());
        let doors = self.doors.iter_mut();
        let doors = doors.flat_map(|doors| doors.extract_if(|file, _| !files.contains(file)));
        let doors = doors.map(|(_, probes)| probes);
        release(unused.chain(doors).flatten().collect());
    }

    /// Takes out every probe, and those of others, and waits until the kernel has done so.
    pub(super) fn release_all(&mut self, others: Vec<Probe>) {
        let placed = self.placed.drain();
        let placed = placed.filter_map(|(_, placed)| placed.ok()).flatten();
        let doors = self.doors.iter_mut().flat_map(HashMap::drain);
        let doors = doors.flat_map(|(_, probes)| probes);
        detach(placed.chain(doors).chain(others).collect());
    }
}

/// Places the probes of a file: all of them, or none.
fn place(
    kernel: &mut Kernel,
    reach: Reach,
    prepared: &Prepared,
    program: Option<Program>,
) -> Result<Vec<Probe>, String> {
    let target = Target {
        file: &prepared.file.file,
        path: &prepared.file.path,
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

fn place_at(offset: u64, site: SiteId) -> Place {
    Place {
        offset,
        semaphore_offset: None,
        site,
    }
}

/// The time, by the clock that the kernel's programs read as well (`bpf_ktime_get_ns`).
pub(super) fn monotonic() -> Duration {
    clock_gettime(ClockId::CLOCK_MONOTONIC).map_or(Duration::ZERO, Duration::from)
}

/// Takes out probes without waiting for it.
fn release(probes: Vec<Probe>) {
    if !probes.is_empty() {
        // Without a thread, they are dropped here and now, which only takes longer.
        let _ = thread::Builder::new().spawn(move || detach(probes));
    }
}
