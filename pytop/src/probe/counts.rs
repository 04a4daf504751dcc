//! Draining the counts.
//!
//! Calls are counted in one of two tables, and those of functions that have shown to last in the
//! slots that lie before it. At the end of an interval the other slots, empty, take the place of
//! these, and with them the other table. The kernel waits until no program uses the old ones any
//! more (`synchronize_rcu` by way of `maybe_wait_bpf_programs`, kernel/bpf/syscall.c). From then on
//! they stand still: they can be read and emptied at leisure, and no call is lost, torn or counted
//! twice.

use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::{Instant, SystemTime};

use aya::Ebpf;
use aya::maps::{Array, ArrayOfMaps, HashMap, Map, MapData, MapError};
use aya::sys::SyscallError;
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use pytop_common::count::{FrameCount, FrameKey, Loss, Problem, ProblemKey, ProcessName, Slot};

use super::kernel::{SiteId, take_map};
use super::slots::{ENTRIES, SlotMemory};
use super::syscall;
use super::texts::{Names, Texts};
use crate::model::Text;

/// Entries that one system call takes out of a table.
const BATCH: usize = 8192;

/// What was counted in an interval.
#[derive(Debug)]
pub struct Drained {
    /// When the interval ended, by the monotonic clock.
    pub at: Instant,
    /// When the interval ended, by the wall clock.
    pub time: SystemTime,
    /// The functions that were entered. Two of them can have the same pid, names and line.
    pub frames: Vec<Frame>,
    /// The processes that entered them, by pid, as the kernel knew them.
    pub processes: Vec<(u32, Seen)>,
    /// Hits that are in no frame.
    pub losses: Losses,
    /// Processes whose counts are incomplete, and what was seen there.
    pub incomplete: Vec<(u32, Incomplete)>,
}

/// What makes the counts of a process incomplete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Incomplete {
    /// Hits at which there was not what has to be there.
    Implausible,
    /// A just-in-time compiler ran, which enters frames uncounted.
    Compiled,
}

/// The calls of one function.
#[derive(Clone, Debug)]
pub struct Frame {
    /// The process.
    pub pid: u32,
    /// The line as the interpreter told it; below 1 when it did not know.
    pub line: i32,
    /// The hash of the names: equal for equal names, whatever process they are of.
    pub text: u64,
    /// File and function.
    pub names: Names,
    /// Entries in the interval.
    pub calls: u64,
}

/// A process that entered a function.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its name in the kernel.
    pub comm: Text,
    /// The probe that saw it.
    pub site: SiteId,
}

/// Hits of an interval that could not be put into a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Losses {
    /// The table of counts or that of names was full.
    pub table_full: u64,
    /// A name could not be read.
    pub unreadable_name: u64,
    /// The probe was unknown. It never should be.
    pub unknown_site: u64,
    /// There was not what has to be at the probe.
    pub implausible: u64,
}

/// The maps in which calls are counted.
pub(super) struct Counts {
    active: ArrayOfMaps<MapData>,
    active_fd: OwnedFd,
    /// The kernel's list of the tables, which keeps them.
    _tables: ArrayOfMaps<MapData>,
    halves: [Half; 2],
    current: usize,
    /// The tables have been exchanged already.
    is_exchanged: bool,
    texts: Texts,
    processes: HashMap<MapData, u32, ProcessName>,
    /// The site whose hits are no calls.
    left_out: Option<u32>,
    losses: Array<MapData, u64>,
    losses_before: [u64; Loss::COUNT as usize],
    problems: HashMap<MapData, ProblemKey, u64>,
}

/// The exchange of full tables for empty ones, which has to be waited for.
#[derive(Debug)]
pub struct Exchange {
    active: OwnedFd,
    slots: OwnedFd,
}

impl Exchange {
    /// Exchanges the tables, and waits until no program uses the old ones.
    pub fn make(self) -> io::Result<()> {
        syscall::set_element(self.active.as_fd(), 0, &self.slots.as_raw_fd())
    }
}

/// What calls are counted in, in every other interval.
struct Half {
    slots: MapData,
    memory: SlotMemory,
    table: MapData,
}

impl Counts {
    pub(super) fn new(ebpf: &mut Ebpf, table_size: u32) -> Result<Self, MapError> {
        let mut take = |name: &str| {
            take_map(ebpf, name).map_err(|_| MapError::InvalidName {
                name: name.to_owned(),
            })
        };
        let active = take("ACTIVE")?;
        let Map::ArrayOfMaps(data) = &active else {
            return Err(MapError::InvalidName {
                name: "ACTIVE".to_owned(),
            });
        };
        let active_fd = data.fd().as_fd().try_clone_to_owned()?;
        let mut active = ArrayOfMaps::try_from(active)?;
        let texts = Texts::new(HashMap::try_from(take("TEXTS")?)?);
        let processes = HashMap::try_from(take("PROCESSES")?)?;
        let losses = Array::try_from(take("LOSSES")?)?;
        let problems = HashMap::try_from(take("PROBLEMS")?)?;
        let mut tables = ArrayOfMaps::try_from(take("TABLES")?)?;
        let halves = [new_half(0, table_size)?, new_half(1, table_size)?];
        for (index, half) in (0..).zip(&halves) {
            tables.set(index, &half.table, 0)?;
        }
        let [first, _] = &halves;
        active.set(0, &first.slots, 0)?;
        Ok(Self {
            active,
            active_fd,
            _tables: tables,
            halves,
            current: 0,
            is_exchanged: false,
            texts,
            processes,
            left_out: None,
            losses,
            losses_before: [0; Loss::COUNT as usize],
            problems,
        })
    }

    /// Leaves out what is hit at a site of pytop's own.
    pub(super) fn leave_out(&mut self, site: SiteId) {
        self.left_out = Some(site.0.into());
    }

    /// Begins a drain. What this returns is to be made before [`Self::drain`].
    pub(super) fn begin_drain(&mut self) -> io::Result<Exchange> {
        let next = 1 - self.current;
        let [first, second] = &self.halves;
        let empty = if next == 0 { first } else { second };
        let exchange = Exchange {
            active: self.active_fd.try_clone()?,
            slots: empty.slots.fd().as_fd().try_clone_to_owned()?,
        };
        self.current = next;
        self.is_exchanged = true;
        Ok(exchange)
    }

    pub(super) fn drain(&mut self) -> Result<Drained, MapError> {
        let is_exchanged = std::mem::take(&mut self.is_exchanged);
        if !is_exchanged {
            self.current = 1 - self.current;
        }
        let [first, second] = &mut self.halves;
        let (full, empty) = if self.current == 0 {
            (second, first)
        } else {
            (first, second)
        };
        if !is_exchanged {
            self.active.set(0, &empty.slots, 0)?;
        }
        let at = Instant::now();
        let time = SystemTime::now();
        let mut losses = new_losses(&self.losses, &mut self.losses_before)?;

        let mut frames = Vec::new();
        let mut pids: Vec<u32> = Vec::new();
        let texts = &mut self.texts;
        texts.begin_interval();
        let memory = &mut full.memory;
        let left_out = self.left_out;
        syscall::take_all(
            full.table.fd().as_fd(),
            BATCH,
            |keys: &[FrameKey], counts: &[FrameCount]| {
                for (key, count) in keys.iter().zip(counts) {
                    let calls =
                        count.calls + count.slot.checked_sub(1).map_or(0, |n| memory.take(n));
                    if left_out == Some(count.site) {
                        continue;
                    }
                    if pids.last() != Some(&key.pid) {
                        pids.push(key.pid);
                    }
                    if count.names.text == 0 {
                        losses.unreadable_name += calls;
                        bring_into_memory(key.pid, count.names.quick);
                    } else if let Some(names) = texts.get(count.names.text) {
                        frames.push(Frame {
                            pid: key.pid,
                            line: count.line,
                            text: count.names.text,
                            names,
                            calls,
                        });
                    } else {
                        losses.unreadable_name += calls;
                    }
                }
            },
        )
        .map_err(batch_error)?;
        texts.end_interval();

        pids.sort_unstable();
        pids.dedup();
        let processes = pids
            .into_iter()
            .filter_map(|pid| Some((pid, self.seen(pid)?)))
            .collect();
        let incomplete = self.incomplete()?;
        Ok(Drained {
            at,
            time,
            frames,
            processes,
            losses,
            incomplete,
        })
    }

    /// The calls of this interval so far, by process, but for those of functions that are new.
    pub(super) fn visit_hits(&self, mut visit: impl FnMut(u32, u64)) {
        if let Some(half) = self.halves.get(self.current) {
            half.memory.visit(|owner, calls| {
                visit(u32::try_from(owner >> 32).unwrap_or(0), calls);
            });
        }
    }

    /// What the kernel side has noticed of processes since the last time.
    fn incomplete(&mut self) -> Result<Vec<(u32, Incomplete)>, MapError> {
        let noticed = self.problems.keys().collect::<Result<Vec<_>, _>>()?;
        for key in &noticed {
            // Not there is as good as removed.
            let _ = self.problems.remove(key);
        }
        let what = |problem| {
            if problem == Problem::Compiled as u32 {
                Incomplete::Compiled
            } else {
                Incomplete::Implausible
            }
        };
        Ok(noticed
            .into_iter()
            .map(|key| (key.pid, what(key.problem)))
            .collect())
    }

    pub(super) fn forget_processes(&mut self, pids: impl IntoIterator<Item = u32>) {
        for pid in pids {
            // Not there is as good as removed.
            let _ = self.processes.remove(&pid);
        }
    }

    pub(super) fn seen(&self, pid: u32) -> Option<Seen> {
        let name = self.processes.get(&pid, 0).ok()?;
        let length = name
            .comm
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(name.comm.len());
        let comm = Text::from(name.comm.get(..length).unwrap_or_default());
        Some(Seen {
            comm,
            site: SiteId(u16::try_from(name.site).ok()?),
        })
    }
}

/// The kernel's counters only grow; an interval has what was added since the one before.
fn new_losses(
    counters: &Array<MapData, u64>,
    before: &mut [u64; Loss::COUNT as usize],
) -> Result<Losses, MapError> {
    let mut new = [0; Loss::COUNT as usize];
    for (index, before) in (0_u32..).zip(before) {
        let now = counters.get(&index, 0)?;
        if let Some(new) = new.get_mut(index as usize) {
            *new = now.saturating_sub(*before);
        }
        *before = now;
    }
    let of = |loss: Loss| new.get(loss as usize).copied().unwrap_or(0);
    Ok(Losses {
        table_full: of(Loss::TableFull),
        unreadable_name: of(Loss::UnreadableName),
        unknown_site: of(Loss::UnknownSite),
        implausible: of(Loss::Implausible),
    })
}

fn batch_error(io_error: io::Error) -> MapError {
    MapError::SyscallError(SyscallError {
        call: "bpf_map_lookup_and_delete_batch",
        io_error,
    })
}

fn new_half(index: u32, table_size: u32) -> Result<Half, MapError> {
    let slots = new_map::<u32, Slot>(
        "pytop_slots",
        bpf_map_type::BPF_MAP_TYPE_ARRAY,
        ENTRIES.try_into().unwrap_or(u32::MAX),
        BPF_F_MMAPABLE,
    )?;
    let table = new_map::<FrameKey, FrameCount>(
        "pytop_counts",
        bpf_map_type::BPF_MAP_TYPE_HASH,
        table_size,
        0,
    )?;
    let memory = SlotMemory::map(slots.fd(), index).map_err(|io_error| {
        MapError::SyscallError(SyscallError {
            call: "mmap",
            io_error,
        })
    })?;
    Ok(Half {
        slots,
        memory,
        table,
    })
}

fn new_map<K, V>(
    name: &str,
    kind: bpf_map_type,
    entries: u32,
    flags: u32,
) -> Result<MapData, MapError> {
    let size = |size: usize| u32::try_from(size).unwrap_or(u32::MAX);
    let (key, value) = (size(size_of::<K>()), size(size_of::<V>()));
    let definition = aya_obj::Map::new_from_params(kind as u32, key, value, entries, flags);
    MapData::create(definition, name, None)
}

/// Touches a name that lies in a page which is not in memory, so that the kernel's program, which
/// cannot wait for a page, finds it there at the next hit.
fn bring_into_memory(pid: u32, address: u64) {
    let Ok(base) = usize::try_from(address) else {
        return;
    };
    let mut byte = [0_u8];
    let remote = [RemoteIoVec { base, len: 1 }];
    // The process may have ended, and the address may be none: both are no matter here.
    let _ = process_vm_readv(
        Pid::from_raw(pid.cast_signed()),
        &mut [IoSliceMut::new(&mut byte)],
        &remote,
    );
}
