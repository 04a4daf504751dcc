//! Draining the counts.
//!
//! Calls are counted in one of two tables. At the end of an interval the other one, empty, takes
//! its place, and the kernel waits until no program uses the old one any more (`synchronize_rcu`
//! by way of `maybe_wait_bpf_programs`, kernel/bpf/syscall.c). From then on the old table stands
//! still: it can be read and emptied at leisure, and no call is lost, torn or counted twice.

use std::io::IoSliceMut;
use std::os::fd::AsFd as _;
use std::time::{Instant, SystemTime};

use aya::Ebpf;
use aya::maps::{Array, ArrayOfMaps, HashMap, MapData, MapError};
use aya_obj::generated::bpf_map_type;
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use pytop_common::count::{FrameCount, FrameKey, Loss, ProcessName};

use super::kernel::{SiteId, take_map};
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
}

/// The maps in which calls are counted.
pub(super) struct Counts {
    active: ArrayOfMaps<MapData>,
    tables: [MapData; 2],
    current: usize,
    texts: Texts,
    processes: HashMap<MapData, u32, ProcessName>,
    losses: Array<MapData, u64>,
    losses_before: [u64; Loss::COUNT as usize],
}

impl Counts {
    pub(super) fn new(ebpf: &mut Ebpf, table_size: u32) -> Result<Self, MapError> {
        let mut take = |name: &str| {
            take_map(ebpf, name).map_err(|_| MapError::InvalidName {
                name: name.to_owned(),
            })
        };
        let mut active = ArrayOfMaps::try_from(take("ACTIVE")?)?;
        let texts = Texts::new(HashMap::try_from(take("TEXTS")?)?);
        let processes = HashMap::try_from(take("PROCESSES")?)?;
        let losses = Array::try_from(take("LOSSES")?)?;
        let tables = [new_table(table_size)?, new_table(table_size)?];
        active.set(0, &tables[0], 0)?;
        Ok(Self {
            active,
            tables,
            current: 0,
            texts,
            processes,
            losses,
            losses_before: [0; Loss::COUNT as usize],
        })
    }

    pub(super) fn drain(&mut self) -> Result<Drained, MapError> {
        let full = self.current;
        self.current = 1 - full;
        self.active.set(0, &self.tables[self.current], 0)?;
        let at = Instant::now();
        let time = SystemTime::now();
        let mut losses = self.new_losses()?;

        let mut frames = Vec::new();
        let mut pids: Vec<u32> = Vec::new();
        let texts = &mut self.texts;
        texts.begin_interval();
        let table = self.tables[full].fd();
        syscall::take_all(
            table.as_fd(),
            BATCH,
            |keys: &[FrameKey], counts: &[FrameCount]| {
                for (key, count) in keys.iter().zip(counts) {
                    if pids.last() != Some(&key.pid) {
                        pids.push(key.pid);
                    }
                    if count.names.text == 0 {
                        losses.unreadable_name += count.calls;
                        bring_into_memory(key);
                    } else if let Some(names) = texts.get(count.names.text) {
                        let (pid, line, calls) = (key.pid, key.line, count.calls);
                        frames.push(Frame {
                            pid,
                            line,
                            text: count.names.text,
                            names,
                            calls,
                        });
                    } else {
                        losses.unreadable_name += count.calls;
                    }
                }
            },
        )
        .map_err(|io_error| {
            MapError::SyscallError(aya::sys::SyscallError {
                call: "bpf_map_lookup_and_delete_batch",
                io_error,
            })
        })?;
        texts.end_interval();

        pids.sort_unstable();
        pids.dedup();
        let processes = pids
            .into_iter()
            .filter_map(|pid| Some((pid, self.seen(pid)?)))
            .collect();
        Ok(Drained {
            at,
            time,
            frames,
            processes,
            losses,
        })
    }

    pub(super) fn forget_processes(&mut self, pids: impl IntoIterator<Item = u32>) {
        for pid in pids {
            // Not there is as good as removed.
            let _ = self.processes.remove(&pid);
        }
    }

    fn seen(&self, pid: u32) -> Option<Seen> {
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

    /// The kernel's counters only grow; an interval has what was added since the one before.
    fn new_losses(&mut self) -> Result<Losses, MapError> {
        let mut new = [0; Loss::COUNT as usize];
        for (index, before) in (0_u32..).zip(&mut self.losses_before) {
            let now = self.losses.get(&index, 0)?;
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
        })
    }
}

#[expect(clippy::cast_possible_truncation, reason = "32 bytes")]
const KEY_SIZE: u32 = size_of::<FrameKey>() as u32;
#[expect(clippy::cast_possible_truncation, reason = "48 bytes")]
const VALUE_SIZE: u32 = size_of::<FrameCount>() as u32;

fn new_table(size: u32) -> Result<MapData, MapError> {
    let definition = aya_obj::Map::new_from_params(
        bpf_map_type::BPF_MAP_TYPE_HASH as u32,
        KEY_SIZE,
        VALUE_SIZE,
        size,
        0,
    );
    MapData::create(definition, "pytop_counts", None)
}

/// Touches names that lie in pages which are not in memory, so that the kernel's program, which
/// cannot wait for a page, finds them there at the next hit.
fn bring_into_memory(key: &FrameKey) {
    for address in [key.filename, key.function] {
        let Ok(base) = usize::try_from(address) else {
            continue;
        };
        let mut byte = [0_u8];
        let remote = [RemoteIoVec { base, len: 1 }];
        // The process may have ended, and the address may be none: both are no matter here.
        let _ = process_vm_readv(
            Pid::from_raw(key.pid.cast_signed()),
            &mut [IoSliceMut::new(&mut byte)],
            &remote,
        );
    }
}
