//! Comparing what is in the memory of a process with what was there before, to find a number that counts
//! along: see [`tally`](super::tally).

use std::hint;
use std::time::{Duration, Instant};

use super::numbers::{Numbers, changed};
use super::tally::{self, Reader};
use crate::discover::{Memory, ProcRoot};
use crate::probe::ProcessClock;

/// Bytes of the memory of a process that are looked at, at most.
const MOST: u64 = 32 << 20;
/// No look follows another one sooner, or later.
const LOOKS: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(20));
/// Seconds after which a process is as quick again as before its clock was read.
const SETTLED: f64 = 30e-6;
/// It takes so long at most: the process may hardly run.
const PATIENCE: Duration = Duration::from_secs(1);

/// Looks at the memory of a process, while no window is open.
pub(super) struct Comparing {
    memory: Memory,
    compared: Compared,
    /// The processor time of the process at the last look.
    used: Duration,
    due: Instant,
    until: Instant,
    /// How long looking at memory took so far.
    took: Duration,
}

enum Compared {
    /// All of it, as it was.
    Copied(Vec<u8>),
    /// Numbers that have changed.
    Changed(Numbers),
}

/// What is to be done next.
pub(super) enum Outcome {
    GoOn(Comparing),
    /// These numbers have an even pace, or there is none; and how long looking at memory took.
    Found(Memory, Numbers, Duration),
}

impl Comparing {
    /// Begins with a process that has used so much processor time.
    pub(super) fn begin(root: &ProcRoot, pid: u32, used: Duration) -> Option<Self> {
        let began = Instant::now();
        let memory = Memory::of(root, pid, MOST).ok()?;
        let compared = Compared::Copied(memory.copy());
        let now = Instant::now();
        Some(Self {
            memory,
            compared,
            used,
            due: now + LOOKS.0,
            until: now + PATIENCE,
            took: now - began,
        })
    }

    /// When to look again.
    pub(super) fn due(&self) -> Instant {
        self.due
    }

    /// Looks again at a process that has used so much processor time by now.
    pub(super) fn go_on(mut self, used: Duration, clock: &mut ProcessClock) -> Outcome {
        let now = Instant::now();
        let since = used.saturating_sub(self.used).as_secs_f64();
        if since < tally::LOOK {
            if now >= self.until {
                return Outcome::Found(self.memory, Numbers::default(), self.took);
            }
            let left = Duration::from_secs_f64(tally::LOOK - since);
            self.due = now + left.clamp(LOOKS.0, LOOKS.1);
            return Outcome::GoOn(self);
        }
        let memory = &self.memory;
        let numbers = match self.compared {
            Compared::Copied(before) => {
                let mut found = Vec::new();
                memory.for_each_part(|offset, after| {
                    let before = before.get(offset..).unwrap_or_default();
                    let offsets = changed(before, after, since);
                    found.extend(offsets.map(|at| offset + at));
                });
                let addresses = found.into_iter().filter_map(|at| memory.address_of(at));
                Numbers::at(addresses)
            }
            Compared::Changed(mut numbers) => {
                numbers.follow(&mut MemoryReader { memory, clock });
                numbers
            }
        };
        let took = self.took + now.elapsed();
        if numbers.are_none() || numbers.are_even() {
            return Outcome::Found(self.memory, numbers, took);
        }
        Outcome::GoOn(Self {
            compared: Compared::Changed(numbers),
            used,
            due: now + Duration::from_secs_f64(tally::LOOK),
            took,
            ..self
        })
    }
}

/// Reads numbers in the memory of a process.
pub(super) struct MemoryReader<'a> {
    pub(super) memory: &'a Memory,
    pub(super) clock: &'a mut ProcessClock,
}

impl Reader for MemoryReader<'_> {
    fn used(&mut self) -> Option<Duration> {
        self.clock.read()
    }

    fn value(&self, address: u64) -> Option<u32> {
        self.memory.number_at(address)
    }

    /// It is too short for a sleep.
    fn wait(&mut self, seconds: f64) {
        let began = Instant::now();
        while began.elapsed().as_secs_f64() < seconds {
            hint::spin_loop();
        }
    }

    /// While the clock of the process is read, the number does not grow, and for some time after it less than
    /// it should. So there is another clock for the time between, of which the process has used as much as of
    /// all the time.
    fn read_twice(&mut self, address: u64, seconds: f64) -> Option<(f64, u32)> {
        // The first time takes longer than others.
        self.value(address)?;
        let (used, began) = (self.used()?, Instant::now());
        self.value(address)?;
        self.wait(SETTLED);
        let (before, first) = (self.value(address)?, Instant::now());
        self.wait(seconds);
        let (after, last) = (self.value(address)?, Instant::now());
        let (used_by_now, now) = (self.used()?, Instant::now());
        let used = used_by_now.saturating_sub(used).as_secs_f64();
        let part = used / now.saturating_duration_since(began).as_secs_f64();
        let between = last.saturating_duration_since(first).as_secs_f64();
        Some((between * part, after.wrapping_sub(before)))
    }
}
