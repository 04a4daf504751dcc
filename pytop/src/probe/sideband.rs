//! Processes as they come and go, told by the kernel without polling.
//!
//! Besides samples, perf events carry *side-band* records: the kernel's notes on forks, execs,
//! exits and executable mappings, which profilers need in order to give names to addresses. An
//! event of the type "dummy" counts nothing and yields only those. One on each CPU, for every
//! process, is a process monitor that needs no tracefs, no eBPF program and no privilege beyond
//! `CAP_PERFMON`, and exists on every kernel that pytop supports.
//!
//! What `sh -c /bin/true` looks like (type, pid/tid, and what else matters):
//!
//! ```text
//! COMM  812/812  "sh", misc has COMM_EXEC                       -> Exec
//! MMAP2 812/812  fd:00 inode 131 /usr/bin/dash     r-x          -> MappedExecutable
//! MMAP2 812/812  fd:00 inode 977 /usr/lib/.../ld-linux-x86-64…  -> MappedExecutable
//! MMAP2 812/812  00:00 inode 0   [vdso]                         (no file: left out)
//! FORK  813/813  parent 812/812                                 -> Fork
//! FORK  812/814  parent 812/812                                 (a thread: left out)
//! EXIT  813/813                                                 -> Exit
//! LOST  7 records                                               -> Lost
//! ```
//!
//! Each CPU has a ring buffer of its own, and each record ends with its time (`sample_id_all`), so
//! that what one CPU tells can be put in order with what others do. That matters: the fork of a
//! grandchild on one CPU means nothing before that of the child on another. All buffers are read
//! twice. What had happened before an event of the first reading is in its buffer by the second one;
//! what is later than all of the first reading is kept for the next drain, which may bring what comes
//! before it.
//!
//! # Waking up
//! A record may wake its reader, and whoever caused the record pays for that: on a virtual machine
//! 6 µs for each, where writing the record takes 1 µs. A build that makes thousands of processes a
//! second should not slow down because it is watched, and an exec should still be seen at once. So
//! there are two events on each CPU:
//!
//! - the *records*, which wake us only when half of their buffer is full, and
//! - the *doorbell*, which has nothing but COMM records, and wakes us with each. An exec rings once.
//!
//! [`Sideband::wait`] gives an exec that rang two milliseconds to map its files. While every look finds
//! something, the next one follows after 10 ms without asking the kernel, so that a storm costs
//! us a hundred looks a second, whatever its size. Without any exec, 200 ms is how late a
//! library that is loaded may be seen. What does not fit into a buffer in that time is counted and
//! told as [`ProcessEvent::Lost`].

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::time::Duration;

use perf_event::data::Record;
use perf_event::events::Software;
use perf_event::{Builder, Clock, SampleFlag, Sampler};
use rustix::event::epoll;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

use crate::discover::event::{MappedExecutable, MappedInode, ProcessEvent};
use crate::discover::mapping::Device;

/// Bytes of ring buffer for each CPU: a record has 32 to about 200 bytes, so that this holds the
/// records of a hundred execs or more. `perf_event_mlock_kb` (516 by default) allows it without
/// `CAP_IPC_LOCK`.
const BUFFER_BYTES: usize = 128 * 1024;

/// How long an exec is given to map its files. The dynamic loader needs less than a millisecond.
const SETTLE: Duration = Duration::from_millis(2);

/// How long the buffers are left alone after something was found in them.
const LINGER: Duration = Duration::from_millis(10);

/// How long the buffers are left alone at most.
const AT_LEAST_EVERY: Duration = Duration::from_millis(200);

/// `PERF_RECORD_MISC_COMM_EXEC` of `include/uapi/linux/perf_event.h`: this COMM record comes from an
/// exec, not from a thread that renames itself.
const MISC_COMM_EXEC: u16 = 1 << 13;

/// Why processes cannot be watched as they come and go.
#[derive(Debug, thiserror::Error)]
pub enum SidebandError {
    /// The kernel refused for want of privilege.
    #[error(
        "the kernel does not let this user watch for new processes (perf_event_open: {source}); \
         run as root, or with the capability CAP_PERFMON (CAP_SYS_ADMIN before Linux 5.8)"
    )]
    NotPermitted {
        /// What the kernel said.
        source: io::Error,
    },
    /// The kernel has no perf events.
    #[error(
        "this kernel cannot tell of new processes (perf_event_open: {source}); it needs to be \
         built with CONFIG_PERF_EVENTS"
    )]
    Unsupported {
        /// What the kernel said.
        source: io::Error,
    },
    /// The ring buffer of a CPU could not be had.
    #[error(
        "cannot map a buffer of {} KiB for the process events of CPU {cpu}: {source}; \
         raise kernel.perf_event_mlock_kb, or run with the capability CAP_IPC_LOCK",
        BUFFER_BYTES / 1024
    )]
    Buffer {
        /// The CPU.
        cpu: u32,
        /// What the kernel said.
        source: io::Error,
    },
    /// Anything else, such as too many open files.
    #[error("cannot watch for new processes on CPU {cpu}: {action}: {source}")]
    Other {
        /// The CPU.
        cpu: u32,
        /// The system call.
        action: &'static str,
        /// What the kernel said.
        source: io::Error,
    },
    /// The CPUs that are in use are not known.
    #[error("cannot read from {path} which CPUs are in use: {source}")]
    OnlineCpus {
        /// The file that lists them.
        path: &'static str,
        /// Why it could not be read.
        source: io::Error,
    },
    /// The events cannot be waited for.
    #[error("cannot wait for process events: {source}")]
    Wait {
        /// What the kernel or the runtime said.
        source: io::Error,
    },
}

impl SidebandError {
    /// The error of a `perf_event_open` that failed.
    fn open(cpu: u32, source: io::Error) -> Self {
        match source.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::NotPermitted { source },
            Some(libc::ENOSYS | libc::ENOENT | libc::EINVAL | libc::EOPNOTSUPP) => {
                Self::Unsupported { source }
            }
            // perf_event's own translation of E2BIG.
            None if source.kind() == io::ErrorKind::Unsupported => Self::Unsupported { source },
            _ => Self::Other {
                cpu,
                action: "perf_event_open",
                source,
            },
        }
    }
}

/// The side-band events of every process, on every CPU. Dropping it ends them.
pub struct Sideband {
    rings: Vec<Ring>,
    /// Readable when one of the rings is.
    epoll: OwnedFd,
    /// The same, in the runtime that first called [`Sideband::wait`].
    readiness: Option<AsyncFd<OwnedFd>>,
    /// When to read again without having been woken: the last drain found something.
    drain_at: Option<Instant>,
    /// Events that have been read and may come before others that have not.
    early: Vec<Timed>,
}

/// An event, and its nanoseconds by the monotonic clock.
type Timed = (u64, ProcessEvent);

struct Ring {
    cpu: u32,
    records: Sampler,
    doorbell: Sampler,
}

impl Sideband {
    /// Starts to record the events of all processes, on every CPU that is in use.
    ///
    /// What happens after this returned is seen; a scan of `/proc` that starts later misses none.
    pub fn open() -> Result<Self, SidebandError> {
        let epoll =
            epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|source| SidebandError::Wait {
                source: source.into(),
            })?;
        let mut sideband = Self {
            rings: Vec::new(),
            epoll,
            readiness: None,
            drain_at: None,
            early: Vec::new(),
        };
        sideband.follow_cpus()?;
        Ok(sideband)
    }

    /// Takes up the CPUs that came into use since, and drops those that went out of use. Returns
    /// whether there were any, in which case events may have been missed.
    ///
    /// The kernel switches an event off together with its CPU, and never on again. Reading the
    /// list costs a few microseconds; calling this every second is plenty. On an error the events
    /// of the other CPUs go on.
    pub fn follow_cpus(&mut self) -> Result<bool, SidebandError> {
        let online = aya::util::online_cpus()
            .map_err(|(path, source)| SidebandError::OnlineCpus { path, source })?;
        let before = self.rings.len();
        // Closing the event takes it out of the epoll set.
        self.rings.retain(|ring| online.contains(&ring.cpu));
        let mut changed = self.rings.len() != before;
        for cpu in online {
            if self.rings.iter().any(|ring| ring.cpu == cpu) {
                continue;
            }
            if let Some(ring) = Ring::open(cpu)? {
                for sampler in [&ring.records, &ring.doorbell] {
                    epoll::add(
                        &self.epoll,
                        descriptor(sampler),
                        epoll::EventData::new_u64(u64::from(cpu)),
                        epoll::EventFlags::IN,
                    )
                    .map_err(|source| SidebandError::Other {
                        cpu,
                        action: "epoll_ctl",
                        source: source.into(),
                    })?;
                }
                self.rings.push(ring);
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Waits until it is time to drain: a few milliseconds after an exec, every 10 ms while there
    /// are events, and every 200 ms otherwise.
    ///
    /// Dropping the future loses no event. Must be called within one tokio runtime that has I/O
    /// and time enabled.
    pub async fn wait(&mut self) -> Result<(), SidebandError> {
        let wait = |source| SidebandError::Wait { source };
        if self.drain_at.is_none() {
            let readiness = match &mut self.readiness {
                Some(readiness) => readiness,
                unregistered => {
                    let epoll = self.epoll.try_clone().map_err(wait)?;
                    unregistered.insert(register(epoll).map_err(wait)?)
                }
            };
            match tokio::time::timeout(AT_LEAST_EVERY, readiness.readable()).await {
                // Cleared before the drain: what is written during it makes it ready anew.
                Ok(ready) => ready.map_err(wait)?.clear_ready(),
                Err(_elapsed) => return Ok(()),
            }
            self.drain_at = Some(Instant::now() + SETTLE);
        }
        if let Some(drain_at) = self.drain_at {
            tokio::time::sleep_until(drain_at).await;
        }
        Ok(())
    }

    /// Passes on every event that has been recorded so far, in the order of their times.
    pub fn drain(&mut self, on_event: &mut impl FnMut(ProcessEvent)) {
        let mut events = std::mem::take(&mut self.early);
        let mut records = self.read(&mut events);
        let last = events.iter().map(|(time, _)| *time).max();
        records += self.read(&mut events);
        // Stable: events of one time and CPU stay in order.
        events.sort_by_key(|(time, _)| *time);
        if let Some(last) = last {
            self.early = events.split_off(events.partition_point(|(time, _)| *time <= last));
        } else {
            std::mem::swap(&mut self.early, &mut events);
        }
        for (_, event) in events {
            on_event(event);
        }
        self.drain_at = (records > 0).then(|| Instant::now() + LINGER);
    }

    /// Reads what is in the buffers of all CPUs, and returns the number of records.
    fn read(&mut self, events: &mut Vec<Timed>) -> usize {
        self.rings.iter_mut().map(|ring| ring.read(events)).sum()
    }
}

impl AsFd for Sideband {
    /// A descriptor that polls as readable when there is something to drain.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Ring {
    /// `None` if the CPU has just gone out of use.
    fn open(cpu: u32) -> Result<Option<Self>, SidebandError> {
        let mut all = dummy(cpu);
        all.mmap(true)
            .mmap2(true)
            .comm(true)
            .comm_exec(true)
            .task(true)
            .sample(SampleFlag::TIME)
            .sample_id_all(true)
            .wakeup_watermark(BUFFER_BYTES / 2);
        let mut comm = dummy(cpu);
        comm.comm(true).wakeup_watermark(1);
        Ok(
            match (sampler(&all, cpu, BUFFER_BYTES)?, sampler(&comm, cpu, 0)?) {
                (Some(records), Some(doorbell)) => Some(Self {
                    cpu,
                    records,
                    doorbell,
                }),
                _ => None,
            },
        )
    }

    /// Returns the number of records read, of whatever kind.
    fn read(&mut self, events: &mut Vec<Timed>) -> usize {
        // The kernel may write as fast as we read: two buffers full of the smallest records, and
        // the others have their turn.
        const AT_MOST: usize = 2 * BUFFER_BYTES / 32;
        let mut records = 0;
        // Emptied, or it would be full one day, and silent.
        for _ in 0..AT_MOST {
            if self.doorbell.next_record().is_none() {
                break;
            }
        }
        while records < AT_MOST
            && let Some(record) = self.records.next_record()
        {
            records += 1;
            let misc = record.misc();
            let event = match record.parse_record() {
                Ok(parsed) => event(&parsed, misc),
                // Not a record as the kernel writes them today: as good as lost.
                Err(_) => Some(ProcessEvent::Lost { events: 1 }),
            };
            if let Some(event) = event {
                events.push((time(record.data()), event));
            }
        }
        records
    }
}

/// An event on one CPU, for every process, that counts nothing.
fn dummy(cpu: u32) -> Builder<'static> {
    let mut builder = Builder::new(Software::DUMMY);
    builder.any_pid().one_cpu(cpu as usize).enabled(true);
    builder.clockid(Clock::MONOTONIC);
    builder
}

/// Opens an event and maps a buffer of at least `bytes` for it. `None` if the CPU has just gone
/// out of use.
fn sampler(
    builder: &Builder<'_>,
    cpu: u32,
    bytes: usize,
) -> Result<Option<Sampler>, SidebandError> {
    let counter = match builder.build() {
        Ok(counter) => counter,
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => return Ok(None),
        Err(error) => return Err(SidebandError::open(cpu, error)),
    };
    match counter.sampled(bytes) {
        Ok(sampler) => Ok(Some(sampler)),
        Err(source) => Err(SidebandError::Buffer { cpu, source }),
    }
}

fn descriptor(sampler: &Sampler) -> BorrowedFd<'_> {
    // SAFETY: the sampler owns the descriptor, and the borrow that is returned keeps the sampler
    // from being dropped.
    unsafe { BorrowedFd::borrow_raw(sampler.as_raw_fd()) }
}

fn register(descriptor: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an `OwnedFd` is open, and always the same, for as long as it is owned.
    Ok(unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) }?)
}

/// The time of a record, which is its last word. Its bytes are in two pieces where the buffer ends
/// between them.
fn time(pieces: &[&[u8]]) -> u64 {
    let mut last = pieces.iter().rev().flat_map(|piece| piece.iter().rev());
    let mut bytes = [0; size_of::<u64>()];
    for byte in bytes.iter_mut().rev() {
        *byte = last.next().copied().unwrap_or_default();
    }
    u64::from_ne_bytes(bytes)
}

/// What a record tells, if it is of interest.
fn event(record: &Record<'_>, misc: u16) -> Option<ProcessEvent> {
    match record {
        Record::Fork(fork) if fork.pid == fork.tid => Some(ProcessEvent::Fork {
            parent: fork.ppid,
            child: fork.pid,
            thread: fork.ptid,
            at: Duration::from_nanos(fork.time),
        }),
        Record::Exit(exit) if exit.pid == exit.tid => Some(ProcessEvent::Exit { pid: exit.pid }),
        Record::Comm(comm) if misc & MISC_COMM_EXEC != 0 => {
            Some(ProcessEvent::Exec { pid: comm.pid })
        }
        Record::Mmap2(mapping) => {
            let file = MappedInode {
                device: Device {
                    major: mapping.maj()?,
                    minor: mapping.min()?,
                },
                inode: mapping.ino()?,
                generation: mapping.ino_generation()?,
            };
            // Inode 0 is no file: [vdso], or memory without a name.
            (file.inode != 0).then_some(ProcessEvent::MappedExecutable(MappedExecutable {
                pid: mapping.pid,
                file,
                start: mapping.addr,
                length: mapping.len,
                offset: mapping.pgoff,
            }))
        }
        Record::Lost(lost) => Some(ProcessEvent::Lost { events: lost.lost }),
        _ => None,
    }
    // A process of a pid namespace that is not ours, nor below it, has the pid 0 here.
    .filter(|event| !matches!(event, ProcessEvent::Fork { child: 0, .. }))
}

#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
#[cfg(test)]
mod tests;
