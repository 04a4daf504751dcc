//! Draining the durations of calls that have ended.
//!
//! They are kept beside the counts, in one of two halves that are exchanged together with those: the
//! half that comes out stands still. Most are in an array of records, one for a function, which is
//! read and emptied as memory; the rest is in a hash table.

use std::io;
use std::num::NonZeroUsize;
use std::os::fd::AsFd;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use aya::Ebpf;
use aya::maps::{Array, HashMap, Map, MapData, MapError};
use aya::sys::SyscallError;
use foldhash::HashMap as FastMap;
use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};
use pytop_common::durations::{
    RECORDS, Record, STACKS, Spilled, SpilledKey, Stack, Untimed as Reason,
};

use super::kernel::take_map;
use super::syscall;
use super::texts::Texts;
use crate::model::durations::{Finished, Untimed};

/// Entries that one system call takes out of a table.
const BATCH: usize = 2048;
/// How often the stacks of threads that have ended are taken back.
const SWEEP: Duration = Duration::from_secs(5);

/// The calls of one function that have ended in an interval.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The process.
    pub pid: u32,
    /// The line as the interpreter told it; below 1 when it did not know.
    pub line: i32,
    /// The hash of the names.
    pub text: u64,
    /// How long they took.
    pub finished: Finished,
}

/// The maps in which durations are kept.
pub(super) struct Durations {
    records: Shared<Record>,
    spilled: [MapData; 2],
    stacks: Shared<Stack>,
    more_stacks: HashMap<MapData, u64, Stack>,
    untimed: Array<MapData, u64>,
    untimed_before: [u64; Reason::COUNT as usize],
    swept: Instant,
}

impl Durations {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let mut take = |name: &str| {
            take_map(ebpf, name).map_err(|_| MapError::InvalidName {
                name: name.to_owned(),
            })
        };
        let records = Shared::map(data(take("FINISHED")?)?, 2 * RECORDS)?;
        let stacks = Shared::map(data(take("RUNNING")?)?, STACKS)?;
        Ok(Self {
            records,
            spilled: [data(take("SPILLED_EVEN")?)?, data(take("SPILLED_ODD")?)?],
            stacks,
            more_stacks: HashMap::try_from(take("MORE_RUNNING")?)?,
            untimed: Array::try_from(take("UNTIMED")?)?,
            untimed_before: [0; Reason::COUNT as usize],
            swept: Instant::now(),
        })
    }

    /// Takes what is in the half that the kernel side does not use now, but for what has no name.
    pub(super) fn drain(
        &mut self,
        half: usize,
        texts: &mut Texts,
    ) -> Result<(Vec<Ended>, Untimed), MapError> {
        let mut ended = Vec::new();
        for number in half * RECORDS..(half + 1) * RECORDS {
            ended.extend(self.records.take_record(number));
        }
        let mut spilled: FastMap<(u64, u64), Finished> = FastMap::default();
        if let Some(table) = self.spilled.get(half) {
            syscall::take_all(
                table.fd().as_fd(),
                BATCH,
                |keys: &[SpilledKey], values: &[Spilled]| {
                    for (key, value) in keys.iter().zip(values) {
                        let sum = spilled.entry((key.text, key.owner)).or_default();
                        sum.outermost = sum.outermost.saturating_add(value.outermost);
                        sum.nested = sum.nested.saturating_add(value.nested);
                        let own = own(value.outermost, value.nested, value.callees);
                        sum.own = sum.own.saturating_add(own);
                        sum.longest = sum.longest.max(value.longest);
                        sum.buckets.push((key.bucket, value.finished));
                    }
                },
            )
            .map_err(|error| failed("bpf_map_lookup_and_delete_batch", error))?;
        }
        let spilled = spilled.into_iter();
        ended.extend(spilled.map(|((text, owner), finished)| of(text, owner, finished)));
        if self.swept.elapsed() >= SWEEP {
            self.swept = Instant::now();
            self.take_back_stacks();
        }
        let mut untimed = self.untimed()?;
        ended.retain(|calls: &Ended| {
            let is_known = texts.mark(calls.text);
            if !is_known {
                untimed.unnamed += calls.finished.calls();
            }
            is_known
        });
        Ok((ended, untimed))
    }

    fn untimed(&mut self) -> Result<Untimed, MapError> {
        let mut new = [0; Reason::COUNT as usize];
        for ((index, before), new) in (0_u32..).zip(&mut self.untimed_before).zip(&mut new) {
            let now = self.untimed.get(&index, 0)?;
            *new = now.saturating_sub(*before);
            *before = now;
        }
        let of = |reason: Reason| new.get(reason as usize).copied().unwrap_or(0);
        Ok(Untimed {
            deep: of(Reason::Deep),
            threads: of(Reason::Threads),
            unseen: of(Reason::Unseen),
            table_full: of(Reason::Full),
            unnamed: of(Reason::Unnamed),
            generators_made: of(Reason::Made),
        })
    }

    /// Takes the stacks back that belong to threads which have ended.
    fn take_back_stacks(&mut self) {
        let has_ended = |owner: u64| {
            let (pid, thread) = (owner >> 32, owner & 0xffff_ffff);
            !Path::new(&format!("/proc/{pid}/task/{thread}")).exists()
        };
        for number in 0..STACKS {
            let owner = self.stacks.owner(number);
            if let Some(owner) = owner
                && owner.load(Ordering::Relaxed) != 0
                && has_ended(owner.load(Ordering::Relaxed))
            {
                owner.store(0, Ordering::Release);
            }
        }
        let owners: Vec<u64> = self.more_stacks.keys().filter_map(Result::ok).collect();
        for owner in owners.into_iter().filter(|owner| has_ended(*owner)) {
            // Not there is as good as removed.
            let _ = self.more_stacks.remove(&owner);
        }
    }

    /// A process has another program now: what its one thread was doing is over.
    pub(super) fn forget_process(&mut self, pid: u32) {
        let thread = u64::from(pid) << 32 | u64::from(pid);
        let number = pid as usize & (STACKS - 1);
        if let Some(owner) = self.stacks.owner(number) {
            let _ = owner.compare_exchange(thread, 0, Ordering::AcqRel, Ordering::Relaxed);
        }
        let _ = self.more_stacks.remove(&thread);
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "the line is the lower half"
)]
fn of(text: u64, owner: u64, finished: Finished) -> Ended {
    Ended {
        pid: (owner >> 32) as u32,
        line: (owner as u32).cast_signed(),
        text,
        finished,
    }
}

/// The time in calls without those that they have made, in nanoseconds.
fn own(outermost: u64, nested: u64, callees: u64) -> u64 {
    outermost.saturating_add(nested).saturating_sub(callees)
}

fn data(map: Map) -> Result<MapData, MapError> {
    match map {
        Map::Array(data) | Map::HashMap(data) => Ok(data),
        _ => Err(MapError::InvalidMapType { map_type: 0 }),
    }
}

fn failed(call: &'static str, io_error: io::Error) -> MapError {
    MapError::SyscallError(SyscallError { call, io_error })
}

/// An array map in memory.
struct Shared<T> {
    first: NonNull<T>,
    entries: usize,
    _map: MapData,
}

// SAFETY: the memory belongs to this value alone, as far as this program is concerned.
unsafe impl<T> Send for Shared<T> {}

impl<T> Shared<T> {
    /// Maps an array of so many entries, made with `BPF_F_MMAPABLE`.
    fn map(map: MapData, entries: usize) -> Result<Self, MapError> {
        let failed = |error: nix::Error| failed("mmap", error.into());
        let bytes = Self::bytes(entries).ok_or_else(|| failed(nix::Error::EINVAL))?;
        let access = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        let array = map.fd().as_fd();
        // SAFETY: the kernel chooses the place, so nothing is mapped over.
        let memory = unsafe { mmap(None, bytes, access, MapFlags::MAP_SHARED, array, 0) };
        Ok(Self {
            first: memory.map_err(failed)?.cast(),
            entries,
            _map: map,
        })
    }

    fn bytes(entries: usize) -> Option<NonZeroUsize> {
        NonZeroUsize::new(entries.checked_mul(size_of::<T>())?)
    }

    fn at(&self, number: usize) -> Option<NonNull<T>> {
        // SAFETY: the number is below that of the mapped entries.
        (number < self.entries).then(|| unsafe { self.first.add(number) })
    }
}

impl Shared<Record> {
    /// What is in a record, which is empty then. Only for records that the kernel side does not use
    /// at the time.
    fn take_record(&mut self, number: usize) -> Option<Ended> {
        let at = self.at(number)?;
        // SAFETY: an entry that was mapped, of which every bit pattern is a record; nobody changes it
        // now.
        let record = unsafe { at.as_ref() };
        if record.text == 0 {
            return None;
        }
        let buckets = (0..).zip(record.buckets);
        let finished = Finished {
            outermost: record.outermost,
            nested: record.nested,
            own: own(record.outermost, record.nested, record.callees),
            longest: record.longest,
            buckets: buckets
                .filter(|(_, calls)| *calls > 0)
                .map(|(bucket, calls)| (bucket, u64::from(calls)))
                .collect(),
        };
        let ended = of(record.text, record.owner, finished);
        // SAFETY: as above, and a record of zeros is an empty one.
        unsafe { at.write_bytes(0, 1) };
        Some(ended)
    }
}

impl Shared<Stack> {
    /// The owner of a stack, which the kernel side may be changing.
    fn owner(&self, number: usize) -> Option<&AtomicU64> {
        let at = self.at(number)?;
        // SAFETY: an aligned word of memory that stays mapped as long as this lives, which is only
        // looked at and changed as a whole.
        Some(unsafe { AtomicU64::from_ptr(&raw mut (*at.as_ptr()).owner) })
    }
}

impl<T> Drop for Shared<T> {
    fn drop(&mut self) {
        if let Some(bytes) = Self::bytes(self.entries) {
            // SAFETY: the memory was mapped by `map` with this size, and nothing refers to it any
            // more. A failure would leave it mapped, which is no harm at the end.
            let _ = unsafe { munmap(self.first.cast(), bytes.get()) };
        }
    }
}
