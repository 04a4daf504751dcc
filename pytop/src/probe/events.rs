//! Taking events of a trace out of the ring that the kernel side fills.
//!
//! The ring is all the memory that events have. While nobody takes them it fills up, and the kernel
//! side counts what finds no room with the thread that it is of: the next event of the thread tells
//! the number, and [`Events::lost`] tells it of threads that had no other.

use aya::Ebpf;
use aya::maps::{HashMap, MapData, MapError, RingBuf};
use pytop_common::trace::{Event, Thread as Known};

use super::kernel::take_map;
use crate::model::Text;

/// The events of a trace.
pub struct Events {
    ring: RingBuf<MapData>,
    threads: HashMap<MapData, u32, Known>,
}

/// A thread that has entered or left a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thread {
    /// The process.
    pub pid: u32,
    /// The thread.
    pub tid: u32,
    /// Its name in the kernel, when it was first seen.
    pub comm: Text,
    /// Events that found no room and that no event has told of.
    pub lost: u32,
}

impl Thread {
    fn new(tid: u32, known: &Known) -> Self {
        let length = known.comm.iter().position(|byte| *byte == 0);
        let comm = known.comm.get(..length.unwrap_or(known.comm.len()));
        Self {
            pid: known.pid,
            tid,
            comm: Text::from(comm.unwrap_or_default()),
            lost: known.lost,
        }
    }
}

impl Events {
    pub(super) fn new(ebpf: &mut Ebpf) -> Result<Self, MapError> {
        let mut take = |name: &str| {
            take_map(ebpf, name).map_err(|_| MapError::InvalidName {
                name: name.to_owned(),
            })
        };
        Ok(Self {
            ring: RingBuf::try_from(take("EVENTS")?)?,
            threads: HashMap::try_from(take("THREADS")?)?,
        })
    }

    /// Takes events, `most` at most, in the order in which they found room.
    pub fn take(&mut self, most: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < most
            && let Some(bytes) = self.ring.next()
        {
            events.extend(event(&bytes));
        }
        events
    }

    /// What is known of a thread.
    #[must_use]
    pub fn thread(&self, tid: u32) -> Option<Thread> {
        let known = self.threads.get(&tid, 0).ok()?;
        Some(Thread::new(tid, &known))
    }

    /// Everything that is known of threads.
    pub fn threads(&self) -> impl Iterator<Item = Thread> + '_ {
        self.threads
            .iter()
            .filter_map(|entry| entry.ok().map(|(tid, known)| Thread::new(tid, &known)))
    }

    /// Forgets a thread. If it goes on, what it does next is told as if it were its first.
    pub fn forget(&mut self, tid: u32) {
        // Not there is as good as removed.
        let _ = self.threads.remove(&tid);
    }
}

/// The event that these bytes are.
fn event(bytes: &[u8]) -> Option<Event> {
    if bytes.len() < size_of::<Event>() {
        return None;
    }
    // SAFETY: there are enough bytes, and every bit pattern is an event.
    Some(unsafe { bytes.as_ptr().cast::<Event>().read_unaligned() })
}
