//! Comparing what is in the memory of a process with what was there before, to find a number that counts
//! along: see [`tally`](super::tally).

use std::time::{Duration, Instant};

use super::tally::{self, Numbers};
use crate::discover::{Memory, ProcRoot};

/// Bytes of the memory of a process that are looked at, at most.
const MOST: u64 = 32 << 20;
/// No look follows another one sooner, or later.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// It takes so long at most: the process may hardly run.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks at the memory of a process, while no window is open.
pub(super) struct Comparing {
    pub(super) memory: Memory,
    compared: Compared,
    /// The processor time of the process at the last look.
    used: Duration,
    due: Instant,
    until: Instant,
}

enum Compared {
    /// All of it, as it was.
    Copied(Vec<u8>),
    /// Numbers that have grown.
    Grown(Numbers),
}

/// What is to be done next.
pub(super) enum Outcome {
    GoOn(Comparing),
    /// These numbers have an even pace, or there is none.
    Found(Memory, Numbers),
}

impl Comparing {
    /// Begins with a process that has used so much processor time.
    pub(super) fn begin(root: &ProcRoot, pid: u32, used: Duration) -> Option<Self> {
        let memory = Memory::of(root, pid, MOST).ok()?;
        let compared = Compared::Copied(memory.copy());
        let now = Instant::now();
        Some(Self {
            memory,
            compared,
            used,
            due: now + LOOKS.0,
            until: now + PATIENCE,
        })
    }

    /// When to look again.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Looks again at a process that has used so much processor time by now.
    pub(super) fn go_on(mut self, used: Duration) -> Outcome {
        let now = Instant::now();
        let since = used.saturating_sub(self.used).as_secs_f64();
        if since < tally::LOOK {
            if now >= self.until {
                return Outcome::Found(self.memory, Numbers::default());
            }
            let left = Duration::from_secs_f64(tally::LOOK - since);
            self.due = now + left.clamp(LOOKS.0, LOOKS.1);
            return Outcome::GoOn(self);
        }
        let memory = &self.memory;
        let read = |address| memory.number_at(address);
        let numbers = match self.compared {
            Compared::Copied(before) => {
                let mut grown = Vec::new();
                memory.for_each_part(|offset, after| {
                    let before = before.get(offset..).unwrap_or_default();
                    let offsets = tally::grown(before, after, since);
                    grown.extend(offsets.map(|at| offset + at));
                });
                let addresses = grown.into_iter().filter_map(|at| memory.address_of(at));
                Numbers::at(addresses)
            }
            Compared::Grown(mut numbers) => {
                numbers.follow(used, read);
                numbers
            }
        };
        if numbers.are_none() || numbers.are_even() {
            return Outcome::Found(self.memory, numbers);
        }
        Outcome::GoOn(Self {
            compared: Compared::Grown(numbers),
            used,
            due: now + Duration::from_secs_f64(tally::LOOK),
            ..self
        })
    }
}
