//! Finds the processes that run CPython, and follows them.
//!
//! # What it costs
//! Nearly all of a scan is the kernel writing the text of `/proc/PID/maps`, 40 µs for a small
//! process. Without events every process is read in every scan, as any of them may load a
//! libpython at any time. With them ([`Finder::rely_on_events`]) a scan reads those that were not
//! there before, looks at the executable and the `stat` of those that run CPython, and takes a
//! tenth of the others in turn, as a safety net; the rest costs nothing but its entry in `/proc`.
//! For 300 processes that is 15 ms without events, and 2 ms with them.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::{FileError, LookError};
use super::event::{MappedExecutable, MappedInode, ProcessEvent};
use super::file::{Examine, Files, InterpreterFile, Verdict};
use super::mapping::{Device, MappedFile, Mappings, Segment};
use super::proc_root::{ProcRoot, ProcessStat, ProcessStatus, is_gone};
use super::process::{Process, Users, executable};
use crate::model::Text;

/// While events are relied on, each process is read again in every scan of this number.
const SCANS_PER_ROUND: u64 = 10;

/// How often events make us look at one process between two scans. A compiler that maps its
/// output again and again would have us read its mappings as often.
const LOOKS_PER_SCAN: u8 = 16;

/// Processes with events that wait for a look, and mappings of one of them, that are kept.
const MOST_AWAITED: usize = 4096;
const MOST_MAPPINGS: usize = 64;

/// A process that runs CPython.
#[derive(Debug)]
pub struct Found<I> {
    /// The process.
    pub process: Process,
    /// The files that it maps and that hold an interpreter, in the order of their addresses.
    /// Nearly always one; never none.
    pub interpreters: Vec<Arc<InterpreterFile<I>>>,
}

/// All that was found.
#[derive(Debug)]
pub struct Scan<I> {
    /// The processes that run CPython, in the order of their pids.
    pub processes: Vec<Arc<Found<I>>>,
    /// All interpreters, each once, in the order of their paths: those of `processes`, and those
    /// that were in use within the last minute and may be started again. A file that is not among
    /// them needs no probe any more.
    pub interpreters: Vec<Arc<InterpreterFile<I>>>,
    /// Files that processes map, and that could not be examined.
    pub unexamined: Vec<Arc<FileError>>,
    /// Processes that we may not look at.
    pub not_permitted: usize,
}

/// What an event asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attention {
    /// Nothing.
    None,
    /// Call [`Finder::look_at`] for this process: it may run CPython since the event, or no more.
    /// Several events of one process need only one look.
    LookAt(u32),
    /// Call [`Finder::scan`] now.
    Scan,
}

struct Known<I> {
    /// What it executes.
    executable: (Device, u64),
    /// `None` while it runs no CPython.
    found: Option<Arc<Found<I>>>,
    unexamined: Vec<Arc<FileError>>,
    /// The last scan that saw it.
    seen: u64,
    /// Looks because of events, since the last scan or exec.
    looks: u8,
    /// An event was passed over because there were too many.
    missed: bool,
}

/// The interpreters that a process maps, and the files that could not be examined.
type Contents<I> = (Vec<Arc<InterpreterFile<I>>>, Vec<Arc<FileError>>);

/// Finds the processes that run CPython.
pub struct Finder<I> {
    root: ProcRoot,
    files: Files<I>,
    users: Users,
    known: HashMap<u32, Known<I>>,
    /// Mappings that events told of, by the process that has them.
    awaited: HashMap<u32, Vec<MappedExecutable>>,
    /// Files without CPython, as events name them. Forgotten with every scan: a file may be written
    /// to, and on file systems without generations its inode number may be given to another one.
    dismissed: HashSet<MappedInode>,
    relies_on_events: bool,
    /// Something was missed: the next scan reads everything.
    out_of_date: bool,
    scans: u64,
}

impl<I: PartialEq> Finder<I> {
    /// A finder that has seen nothing yet. `examine` tells what is in a file; it is asked once for
    /// each file and may take a millisecond or two.
    #[must_use]
    pub fn new(root: ProcRoot, examine: Examine<I>) -> Self {
        Self {
            root,
            files: Files::new(examine),
            users: Users::default(),
            known: HashMap::new(),
            awaited: HashMap::new(),
            dismissed: HashSet::new(),
            relies_on_events: false,
            out_of_date: true,
            scans: 0,
        }
    }

    /// Whether [`Finder::on_event`] is told of all that happens from now on. The next scan reads
    /// everything; say it again after events may have been missed.
    pub fn rely_on_events(&mut self, relies: bool) {
        self.relies_on_events = relies;
        self.out_of_date = true;
    }

    /// Looks at all processes. To be called about every second.
    ///
    /// The only error is that of a `/proc` that cannot be listed.
    pub fn scan(&mut self) -> io::Result<Scan<I>> {
        self.scans += 1;
        if self.files.begin_scan() {
            self.out_of_date = true;
        }
        let everything = std::mem::take(&mut self.out_of_date) || !self.relies_on_events;
        self.dismissed.clear();
        self.awaited.clear();
        let mut not_permitted = 0;
        for pid in self.root.pids()? {
            let due = everything || (u64::from(pid) + self.scans).is_multiple_of(SCANS_PER_ROUND);
            // Any other error: it is gone, or has no program.
            if let Err(LookError::NotPermitted { .. }) = self.visit(pid, due) {
                not_permitted += 1;
            }
        }
        let scans = self.scans;
        self.known.retain(|_, known| known.seen == scans);
        Ok(self.result(not_permitted))
    }

    /// Looks at one process.
    pub fn look_at(&mut self, pid: u32) -> Result<Arc<Found<I>>, LookError> {
        self.files.begin_pass();
        let looks = self.known.get(&pid).map_or(0, |known| known.looks);
        let looked = self.look(pid);
        self.awaited.remove(&pid);
        if let Err(error) = looked {
            self.known.remove(&pid);
            return Err(error);
        }
        let known = self
            .known
            .get_mut(&pid)
            .ok_or(LookError::NoSuchProcess { pid })?;
        known.looks = looks.saturating_add(1);
        if let Some(found) = &known.found {
            return Ok(Arc::clone(found));
        }
        if let Some(file) = known.unexamined.first() {
            let file = Arc::clone(file);
            return Err(LookError::File { pid, file });
        }
        let status = self.root.status(pid).map_err(|error| refusal(pid, error))?;
        if status.thread_group != pid {
            return Err(thread(pid, status));
        }
        let (exe, _) = executable(&self.root, pid).map_err(|error| refusal(pid, error))?;
        Err(LookError::NotCPython { pid, exe })
    }

    /// The interpreters in files that no process may have mapped yet. They are examined if they are
    /// new, and among those of [`Finder::scan`] for as long as this is called for them.
    pub fn interpreters_in(&mut self, files: &[PathBuf]) -> Vec<Arc<InterpreterFile<I>>> {
        let mut interpreters = Vec::new();
        for path in files {
            if let Ok(Some(file)) = self.files.interpreter_at(&self.root, path) {
                add(&mut interpreters, &file);
            }
        }
        interpreters
    }

    /// The interpreter in a file, whether a process has mapped it or not; `None` if it holds none.
    /// The path has to be absolute.
    ///
    /// # Errors
    /// The file cannot be read, or is a damaged one.
    pub fn interpreter_in(
        &mut self,
        file: &Path,
    ) -> Result<Option<Arc<InterpreterFile<I>>>, Arc<FileError>> {
        self.files.interpreter_at(&self.root, file)
    }

    /// Where a process has the instructions of an interpreter, and its memory; `None` if it has
    /// that file mapped no more.
    ///
    /// # Errors
    /// The kernel does not let us look at the process, or at its memory.
    pub fn in_memory(
        &mut self,
        pid: u32,
        file: &Arc<InterpreterFile<I>>,
    ) -> io::Result<Option<(Segment, File)>> {
        // The memory stays that of the program that the process runs now, whatever it runs later.
        let memory = self.root.memory(pid)?;
        let mappings = self.root.mappings(pid)?;
        self.files.begin_pass();
        for segment in &mappings.segments {
            if let Some(mapped) = mappings.files.get(segment.file)
                && let Some(Verdict::CPython(found)) =
                    self.files.verdict(&self.root, pid, mapped, *segment)
                && Arc::ptr_eq(&found, file)
            {
                return Ok(Some((*segment, memory)));
            }
        }
        Ok(None)
    }

    /// Takes in what happened, and says what should be looked at because of it.
    pub fn on_event(&mut self, event: &ProcessEvent) -> Attention {
        match *event {
            ProcessEvent::Lost { .. } => {
                self.out_of_date = true;
                Attention::Scan
            }
            // A copy of the parent, for which no mapping is told.
            ProcessEvent::Fork { parent, child, .. } if self.runs_cpython(parent) => {
                Attention::LookAt(child)
            }
            ProcessEvent::Fork { .. } => Attention::None,
            ProcessEvent::Exec { pid } => {
                if let Some(known) = self.known.get_mut(&pid) {
                    known.looks = 0;
                }
                self.look_if_cpython(pid)
            }
            ProcessEvent::Exit { pid } => self.look_if_cpython(pid),
            ProcessEvent::MappedExecutable(mapping) => self.on_mapping(mapping),
        }
    }

    fn look_if_cpython(&self, pid: u32) -> Attention {
        if self.runs_cpython(pid) {
            Attention::LookAt(pid)
        } else {
            Attention::None
        }
    }

    fn runs_cpython(&self, pid: u32) -> bool {
        self.known
            .get(&pid)
            .is_some_and(|known| known.found.is_some())
    }

    fn on_mapping(&mut self, mapping: MappedExecutable) -> Attention {
        let pid = mapping.pid;
        if self.dismissed.contains(&mapping.file) {
            return Attention::None;
        }
        if let Some(known) = self.known.get_mut(&pid)
            && known.looks >= LOOKS_PER_SCAN
        {
            known.missed = true;
            return Attention::None;
        }
        if self.awaited.len() < MOST_AWAITED || self.awaited.contains_key(&pid) {
            let mappings = self.awaited.entry(pid).or_default();
            if mappings.len() < MOST_MAPPINGS {
                mappings.push(mapping);
            }
        }
        Attention::LookAt(pid)
    }

    /// Looks at a process in the course of a scan: closely if it is `due`, or not the one that is
    /// known.
    fn visit(&mut self, pid: u32, due: bool) -> Result<(), LookError> {
        if let Some(known) = self.known.get_mut(&pid)
            && known.found.is_none()
            && !(due || known.missed)
        {
            // An event would have told of another program, or another process.
            known.seen = self.scans;
            known.looks = 0;
            return Ok(());
        }
        let executable = match self.executable(pid) {
            Ok(executable) => executable,
            Err(error) if is_gone(&error) => return self.visit_without_program(pid),
            Err(error) => return Err(refusal(pid, error)),
        };
        if let Some(known) = self.known.get_mut(&pid)
            && known.executable == executable
            && let Some(found) = &mut known.found
            && !due
        {
            let stat = self.root.stat(pid).map_err(|error| refusal(pid, error))?;
            if found.process.id.start_time == stat.start_time && !stat.has_ended() {
                found.refresh(&stat);
                known.seen = self.scans;
                return Ok(());
            }
        }
        self.look(pid)
    }

    /// A process whose first thread has ended has no executable any more, while its other threads
    /// run on. What was found before stays true of it.
    fn visit_without_program(&mut self, pid: u32) -> Result<(), LookError> {
        let gone = LookError::NoSuchProcess { pid };
        let Some(known) = self.known.get_mut(&pid) else {
            return Err(gone);
        };
        let (Some(found), Ok(stat)) = (&known.found, self.root.stat(pid)) else {
            return Err(gone);
        };
        if stat.has_ended() || found.process.id.start_time != stat.start_time {
            return Err(gone);
        }
        known.seen = self.scans;
        Ok(())
    }

    /// Reads the mappings of a process, and takes down what it runs.
    fn look(&mut self, pid: u32) -> Result<(), LookError> {
        const ATTEMPTS: u32 = 3;
        for _ in 0..ATTEMPTS {
            let executable = match self.executable(pid) {
                Ok(executable) => executable,
                Err(error) if is_gone(&error) => {
                    return self
                        .visit_without_program(pid)
                        .map_err(|_| self.why_without_program(pid));
                }
                Err(error) => return Err(refusal(pid, error)),
            };
            let mappings = self
                .root
                .mappings(pid)
                .map_err(|error| refusal(pid, error))?;
            let (interpreters, unexamined) = self.examine(pid, &mappings);
            let found = if interpreters.is_empty() {
                None
            } else {
                let process = self.describe(pid)?;
                // What was read before an exec and what was read after it are not one process.
                if !self.executable(pid).is_ok_and(|now| now == executable) {
                    continue;
                }
                Some(Arc::new(Found {
                    process,
                    interpreters,
                }))
            };
            let known = Known {
                executable,
                found,
                unexamined,
                seen: self.scans,
                looks: 0,
                missed: false,
            };
            self.known.insert(pid, known);
            return Ok(());
        }
        // It changes its program faster than it can be looked at, and will be seen when it stays.
        Err(LookError::NoSuchProcess { pid })
    }

    /// The interpreters among the mapped files, and the files that could not be examined.
    fn examine(&mut self, pid: u32, mappings: &Mappings) -> Contents<I> {
        let mut interpreters = Vec::new();
        let mut unexamined = Vec::new();
        for (index, mapped) in mappings.files.iter().enumerate() {
            let segment = mappings.segments.iter().find(|each| each.file == index);
            let Some(segment) = segment else { continue };
            match self.files.verdict(&self.root, pid, mapped, *segment) {
                Some(Verdict::CPython(file)) => add(&mut interpreters, &file),
                Some(Verdict::Other) => self.dismiss(pid, mappings, index, mapped),
                Some(Verdict::Unknown(error)) => unexamined.push(error),
                None => {}
            }
        }
        (interpreters, unexamined)
    }

    /// Takes down that an event named a file without CPython, so that the next event that names it
    /// asks for nothing.
    ///
    /// The event and the mapping are one if they have the same address, place in the file and
    /// inode number. Devices are not compared, as one and the same file may have different ones.
    fn dismiss(&mut self, pid: u32, mappings: &Mappings, index: usize, mapped: &MappedFile) {
        let Some(awaited) = self.awaited.get(&pid) else {
            return;
        };
        let segments = mappings.segments.iter().filter(|each| each.file == index);
        for segment in segments {
            let place = segment.start.wrapping_sub(segment.offset);
            for event in awaited {
                if event.file.inode == mapped.inode
                    && (segment.start..segment.end).contains(&event.start)
                    && event.start.wrapping_sub(event.offset) == place
                {
                    self.dismissed.insert(event.file);
                }
            }
        }
    }

    fn describe(&mut self, pid: u32) -> Result<Process, LookError> {
        let stat = self.root.stat(pid).map_err(|error| refusal(pid, error))?;
        let status = self.root.status(pid).map_err(|error| refusal(pid, error))?;
        if status.thread_group != pid {
            return Err(thread(pid, status));
        }
        Process::read(&self.root, pid, &stat, status, &mut self.users)
            .map_err(|error| refusal(pid, error))
    }

    fn executable(&self, pid: u32) -> io::Result<(Device, u64)> {
        let stat = self.root.file_stat(Path::new(&format!("{pid}/exe")))?;
        Ok((stat.device, stat.inode))
    }

    fn why_without_program(&self, pid: u32) -> LookError {
        match self.root.stat(pid) {
            Ok(stat) => {
                let comm = Text::from(stat.comm.as_slice());
                if stat.kernel_thread {
                    LookError::KernelThread { pid, comm }
                } else {
                    LookError::Ended { pid, comm }
                }
            }
            Err(error) => refusal(pid, error),
        }
    }

    fn result(&mut self, not_permitted: usize) -> Scan<I> {
        let mut processes = Vec::new();
        let mut unexamined: Vec<Arc<FileError>> = Vec::new();
        for known in self.known.values() {
            for error in &known.unexamined {
                add(&mut unexamined, error);
            }
            let Some(found) = &known.found else { continue };
            for file in &found.interpreters {
                self.files.keep(file);
            }
            processes.push(Arc::clone(found));
        }
        processes.sort_by_key(|found| found.process.id);
        Scan {
            processes,
            interpreters: self.files.interpreters(),
            unexamined,
            not_permitted,
        }
    }
}

impl<I> Found<I> {
    /// Takes over what may change while a process runs one program, and is known without asking.
    fn refresh(self: &mut Arc<Self>, stat: &ProcessStat) {
        if self.process.comm.as_bytes() == stat.comm && self.process.parent == stat.parent {
            return;
        }
        let process = Process {
            comm: Text::from(stat.comm.as_slice()),
            parent: stat.parent,
            ..self.process.clone()
        };
        let interpreters = self.interpreters.clone();
        *self = Arc::new(Self {
            process,
            interpreters,
        });
    }
}

fn add<T>(list: &mut Vec<Arc<T>>, item: &Arc<T>) {
    if !list.iter().any(|other| Arc::ptr_eq(other, item)) {
        list.push(Arc::clone(item));
    }
}

fn thread(thread: u32, status: ProcessStatus) -> LookError {
    LookError::Thread {
        thread,
        process: status.thread_group,
    }
}

/// The error of a read of `/proc/PID`.
fn refusal(pid: u32, source: io::Error) -> LookError {
    if is_gone(&source) {
        return LookError::NoSuchProcess { pid };
    }
    match source.kind() {
        io::ErrorKind::PermissionDenied => LookError::NotPermitted { pid, source },
        _ => LookError::Unreadable { pid, source },
    }
}
