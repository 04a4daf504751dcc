//! Draining the counts.
//!
//! Calls are counted in one of two tables, and those of functions that have shown to last in the
//! slots that lie before it. At the end of an interval the other slots, empty, take the place of
//! these, and with them the other table. The kernel waits until no program uses the old ones any
//! more (`synchronize_rcu` by way of `maybe_wait_bpf_programs`, kernel/bpf/syscall.c). From then on
//! they stand still: they can be read and emptied at leisure, and no call is lost, torn or counted
//! twice. Slots are read in place, and stay with their functions for the interval after the next.

use std::io::{self, IoSliceMut};
use std::os::fd::AsFd as _;
use std::thread;
use std::time::{Instant, SystemTime};

use aya::Ebpf;
use aya::maps::{Array, ArrayOfMaps, HashMap, MapData, MapError};
use aya::sys::SyscallError;
use aya_obj::generated::{BPF_F_MMAPABLE, bpf_map_type};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use pytop_common::count::{
    BY_NAME, FrameCount, FrameKey, LASTING_CALLS, Loss, METER_SITE, Problem, ProblemKey,
    ProcessName, Slot, Trust, careful_at,
};
use pytop_common::runtime::RuntimeCount;

use super::durations::{Durations, Ended};
use super::kernel::{SiteId, take_map};
use super::runtime::RuntimeCounts;
use super::slots::{ENTRIES, SlotMemory};
use super::syscall;
use super::texts::{Names, Texts};
use crate::model::{Text, Untimed};

/// Entries that one system call takes out of a table: few enough that they are still in a
/// processor's own cache when they are looked at.
const BATCH: usize = 2048;

/// How many functions can be counted in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Capacity {
    /// 100,000 that nobody has seen before, and more when more than half of the room was needed.
    #[default]
    AsNeeded,
    /// So many.
    Fixed(u32),
}

impl Capacity {
    /// What tables begin with, and what they grow to: 120 bytes of the kernel's memory for each
    /// entry, twice.
    const LEAST: u32 = 1 << 17;
    const MOST: u32 = 1 << 20;

    fn at_first(self) -> u32 {
        match self {
            Self::AsNeeded => Self::LEAST,
            Self::Fixed(size) => size,
        }
    }

    /// How much room there is to be after an interval in which a table of `size` would have needed
    /// `needed` entries.
    fn after(self, size: u32, needed: u64) -> u32 {
        match self {
            Self::AsNeeded if needed > u64::from(size / 2) => {
                let twice = needed.saturating_mul(2).min(Self::MOST.into());
                u32::try_from(twice).map_or(Self::MOST, u32::next_power_of_two)
            }
            Self::AsNeeded | Self::Fixed(_) => size,
        }
        .max(size)
    }

    /// Entries of the table of names: those of functions that are not called are kept, too.
    pub(super) fn of_texts(self) -> u32 {
        self.at_first().max(Self::LEAST).saturating_mul(2)
    }

    /// Entries of the table of functions that were seen in an earlier interval. Those that have no
    /// room there have their names read anew in each.
    pub(super) fn of_known(self) -> u32 {
        self.at_first().clamp(Self::LEAST, Self::MOST)
    }
}

/// What was counted in an interval.
#[derive(Debug)]
pub struct Drained {
    /// When the interval ended, by the monotonic clock.
    pub at: Instant,
    /// When the interval ended, by the wall clock.
    pub time: SystemTime,
    /// The functions that were entered. Two of them can have the same pid, names and line.
    pub frames: Vec<Frame>,
    /// Hits that are in no frame.
    pub losses: Losses,
    /// Processes whose counts are incomplete, and what was seen there.
    pub incomplete: Vec<(u32, Incomplete)>,
    /// Processes that have collected garbage or imported modules, and how often.
    pub runtime: Vec<(u32, RuntimeCount)>,
    /// Collections and imports for which there was no room.
    pub runtime_lost: u64,
    /// Calls that have ended in the interval, where durations are measured. Two of them can have the
    /// same pid, names and line.
    pub ended: Vec<Ended>,
    /// Calls without a duration; `None` where durations are not measured.
    pub untimed: Option<Untimed>,
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
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    /// The process.
    pub pid: u32,
    /// The line as the interpreter told it; below 1 when it did not know.
    pub line: i32,
    /// The hash of the names: equal for equal names, whatever process they are of. The kernel side
    /// has them until the next interval ends.
    pub text: u64,
    /// Entries in the interval.
    pub calls: u64,
}

impl Frame {
    fn of(slot: &Slot) -> Self {
        Self {
            pid: slot.pid(),
            line: slot.line,
            text: slot.names.text,
            calls: slot.calls,
        }
    }
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

/// What the kernel side has noticed beside what it was to count or to tell.
#[derive(Clone, Debug, Default)]
pub struct Noticed {
    /// Hits that are in no frame and no event.
    pub losses: Losses,
    /// Processes whose counts are incomplete, and what was seen there.
    pub incomplete: Vec<(u32, Incomplete)>,
}

/// The maps in which calls are counted.
pub(super) struct Counts {
    active: ArrayOfMaps<MapData>,
    /// The kernel's list of the tables.
    tables: ArrayOfMaps<MapData>,
    halves: [Half; 2],
    capacity: Capacity,
    /// Entries that each table is to have.
    size: u32,
    current: usize,
    /// Frames of the last interval.
    frames: usize,
    texts: Texts,
    processes: HashMap<MapData, u32, ProcessName>,
    careful: Array<MapData, u64>,
    losses: Array<MapData, u64>,
    losses_before: [u64; Loss::COUNT as usize],
    problems: HashMap<MapData, ProblemKey, u64>,
    runtime: RuntimeCounts,
    durations: Option<Durations>,
}

/// What calls are counted in, in every other interval.
struct Half {
    slots: MapData,
    memory: SlotMemory,
    table: MapData,
    /// Entries that the table has room for.
    size: u32,
}

impl Counts {
    pub(super) fn new(
        ebpf: &mut Ebpf,
        capacity: Capacity,
        with_durations: bool,
    ) -> Result<Self, MapError> {
        let durations = with_durations.then(|| Durations::new(ebpf)).transpose()?;
        let mut take = |name: &str| {
            take_map(ebpf, name).map_err(|_| MapError::InvalidName {
                name: name.to_owned(),
            })
        };
        let mut active = ArrayOfMaps::try_from(take("ACTIVE")?)?;
        let texts = HashMap::try_from(take("TEXTS")?)?;
        let texts = Texts::new(texts, capacity.of_texts());
        let processes = HashMap::try_from(take("PROCESSES")?)?;
        let careful = Array::try_from(take("CAREFUL")?)?;
        let losses = Array::try_from(take("LOSSES")?)?;
        let problems = HashMap::try_from(take("PROBLEMS")?)?;
        let runtime = RuntimeCounts::new(&mut take)?;
        let mut tables = ArrayOfMaps::try_from(take("TABLES")?)?;
        let size = capacity.at_first();
        let halves = [new_half(0, size)?, new_half(1, size)?];
        let [Half { slots, .. }, _] = &halves;
        // The kernel waits some ten milliseconds for each, though nothing runs yet.
        thread::scope(|scope| {
            let activated = scope.spawn(|| active.set(0, slots, 0));
            for (index, half) in (0..).zip(&halves) {
                tables.set(index, &half.table, 0)?;
            }
            activated.join().unwrap_or(Ok(()))
        })?;
        Ok(Self {
            active,
            tables,
            halves,
            capacity,
            size,
            current: 0,
            frames: 0,
            texts,
            processes,
            careful,
            losses,
            losses_before: [0; Loss::COUNT as usize],
            problems,
            runtime,
            durations,
        })
    }

    pub(super) fn drain(&mut self) -> Result<Drained, MapError> {
        let index = self.current;
        self.current = 1 - self.current;
        let [first, second] = &mut self.halves;
        let (full, empty) = if self.current == 0 {
            (second, first)
        } else {
            (first, second)
        };
        self.active.set(0, &empty.slots, 0)?;
        let at = Instant::now();
        let time = SystemTime::now();
        let mut losses = new_losses(&self.losses, &mut self.losses_before)?;

        // As many as the last time, as a rule.
        let mut frames = Vec::with_capacity(self.frames + self.frames / 8);
        let texts = &mut self.texts;
        texts.begin_interval();
        let mut add = |frame: Frame, site| {
            if site != METER_SITE && frame.calls != 0 {
                frames.push(frame);
            }
        };
        let memory = &mut full.memory;
        let mut entries = 0;
        syscall::take_all(
            full.table.fd().as_fd(),
            BATCH,
            |keys: &[FrameKey], counts: &[FrameCount]| {
                entries += keys.len() as u64;
                for (key, count) in keys.iter().zip(counts) {
                    if let Some(number) = count.slot.checked_sub(1) {
                        memory.add(number);
                    } else if count.calls > LASTING_CALLS
                        && count.trust == Trust::Lasting as u32
                        && key.second != BY_NAME
                    {
                        memory.yield_to(key.slot(), count.calls);
                    }
                    if count.names.text == 0 {
                        bring_into_memory(key.pid, count.names.quick);
                    }
                    let frame = Frame {
                        pid: key.pid,
                        line: count.line,
                        text: count.names.text,
                        calls: count.calls,
                    };
                    add(frame, count.site);
                }
            },
        )
        .map_err(batch_error)?;
        memory.take_all(|slot| add(Frame::of(slot), slot.site));
        // In a loop of its own, in which the processor waits for several places of memory at a time.
        frames.retain(|frame| {
            let is_named = frame.text != 0 && texts.mark(frame.text);
            if !is_named {
                losses.unreadable_name += frame.calls;
            }
            is_named
        });
        let (ended, untimed) = match &mut self.durations {
            Some(durations) => {
                let (ended, untimed) = durations.drain(index, texts)?;
                (ended, Some(untimed))
            }
            None => (Vec::new(), None),
        };
        texts.end_interval();

        self.frames = frames.len();
        let needed = entries.saturating_add(losses.table_full);
        self.grow(index, needed);
        let incomplete = self.incomplete()?;
        let runtime = self.runtime.take(index)?;
        let runtime_lost = self.runtime.take_lost()?;
        Ok(Drained {
            at,
            time,
            frames,
            losses,
            incomplete,
            runtime,
            runtime_lost,
            ended,
            untimed,
        })
    }

    /// Has the table that is empty now be as large as it should be after an interval in which so many
    /// entries were needed.
    fn grow(&mut self, index: usize, needed: u64) {
        self.size = self.capacity.after(self.size, needed);
        if let Some(half) = self.halves.get_mut(index)
            && half.size < self.size
            // Without the memory for it, the old one goes on, and says what it has no room for.
            && let Ok(larger) = new_table(self.size)
            && self.tables.set(u32::from(index != 0), &larger, 0).is_ok()
        {
            half.table = larger;
            half.size = self.size;
        }
    }

    /// Hits of a process since the start that are not among [`Self::visit_hits`], those of others
    /// perhaps included.
    pub(super) fn careful_hits(&self, pid: u32) -> u64 {
        self.careful.get(&careful_at(pid), 0).unwrap_or(0)
    }

    /// The functions that have slots, and their calls in this interval so far. The hash of names that
    /// are not known yet is 0.
    pub(super) fn visit_hits(&self, mut visit: impl FnMut(Frame)) {
        if let Some(half) = self.halves.get(self.current) {
            half.memory.visit(|slot| visit(Frame::of(slot)));
        }
    }

    /// A process has another program now: the calls of the old one run no more.
    pub(super) fn forget_running(&mut self, pid: u32) {
        if let Some(durations) = &mut self.durations {
            durations.forget_process(pid);
        }
    }

    /// File and function, by their hash in an event.
    pub(super) fn look_up(&mut self, text: u64) -> Option<Names> {
        self.texts.mark(text);
        self.texts.get(text).cloned()
    }

    pub(super) fn notice(&mut self) -> Result<Noticed, MapError> {
        self.texts.end_interval();
        self.texts.begin_interval();
        Ok(Noticed {
            losses: new_losses(&self.losses, &mut self.losses_before)?,
            incomplete: self.incomplete()?,
        })
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

    /// File and function, by the hash of a [`Frame`] of the last interval.
    pub(super) fn names(&self, text: u64) -> Option<&Names> {
        self.texts.get(text)
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

pub(super) fn batch_error(io_error: io::Error) -> MapError {
    MapError::SyscallError(SyscallError {
        call: "bpf_map_lookup_and_delete_batch",
        io_error,
    })
}

fn new_half(index: u32, size: u32) -> Result<Half, MapError> {
    let slots = new_map::<u32, Slot>(
        "pytop_slots",
        bpf_map_type::BPF_MAP_TYPE_ARRAY,
        ENTRIES.try_into().unwrap_or(u32::MAX),
        BPF_F_MMAPABLE,
    )?;
    let table = new_table(size)?;
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
        size,
    })
}

/// With its memory from the start. A table whose entries are allocated when they are needed has half
/// the memory of one that is half full, but with 100,000 functions a drain, which frees them all, takes
/// half as much again of the kernel's time, a first hit costs no less, and it has no room when the
/// kernel has no memory at hand that moment.
fn new_table(size: u32) -> Result<MapData, MapError> {
    let kind = bpf_map_type::BPF_MAP_TYPE_HASH;
    new_map::<FrameKey, FrameCount>("pytop_counts", kind, size, 0)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_grow_before_they_are_full_and_never_shrink() {
        let size = Capacity::LEAST;
        for (needed, expected) in [
            (0, size),
            (100_000 / 2, size),
            (u64::from(size / 2), size),
            (u64::from(size / 2) + 1, size * 2),
            (u64::from(size), size * 2),
            (u64::from(size) * 3, size * 8),
            (u64::MAX, Capacity::MOST),
        ] {
            assert_eq!(Capacity::AsNeeded.after(size, needed), expected, "{needed}");
            assert_eq!(Capacity::Fixed(1024).after(1024, needed), 1024);
        }
        let most = Capacity::MOST;
        assert_eq!(Capacity::AsNeeded.after(most, 1), most);
        assert_eq!(Capacity::AsNeeded.after(most, u64::MAX), most);
        assert!(Capacity::AsNeeded.at_first() >= 100_000);
        assert_eq!(Capacity::Fixed(64).of_texts(), 2 * size);
        assert_eq!(Capacity::Fixed(u32::MAX).of_texts(), u32::MAX);
    }
}
