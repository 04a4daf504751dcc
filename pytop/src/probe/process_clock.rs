//! The processor time of another process.
//!
//! The kernel's clock of a process (`clock_getcpuclockid`) costs nothing until it is read, but while
//! the process runs on another processor it stands still from one tick to the next, that is for 4 ms
//! at 250 Hz (`thread_group_cputime` in kernel/sched/cputime.c adds up what the scheduler has last
//! noted). The perf event "task clock" asks that processor. It has to be switched at each context
//! switch of its thread, so that it is there for those processes only of which more has to be known.

use std::fs;
use std::io;
use std::time::Duration;

use nix::time::{ClockId, clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;
use perf_event::events::Software;
use perf_event::{Builder, Counter};

/// Threads with a perf event of their own. Those that start later share that of the one that started
/// them.
const MOST_THREADS: usize = 64;
/// The part of the time that a thread uses which does nearly everything.
const NEARLY_ALL: f64 = 0.9;
/// Likewise where others hardly do anything.
const ALL: f64 = 0.999;
/// So much time tells which that is.
const TELLING: Duration = Duration::from_millis(20);

/// The processor time that a process has used, all its threads together.
pub struct ProcessClock {
    pid: u32,
    clock: ClockId,
    exact: Option<Exact>,
}

/// Who uses the time of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Busiest {
    /// Too little time has been used to tell.
    Unknown,
    /// No thread uses nearly all of it, or there is no telling.
    Nobody,
    /// This one.
    Thread(u32),
    /// This one, and next to nothing is used by others.
    Only(u32),
}

/// The perf events of a process, and what they add to.
struct Exact {
    /// Each with its thread.
    counters: Vec<(u32, Counter)>,
    /// The time at which they began, less what they said then.
    base: Duration,
}

impl ProcessClock {
    /// The clock of a process. `None` when it has ended.
    #[must_use]
    pub fn of(pid: u32) -> Option<Self> {
        let clock = clock_getcpuclockid(Pid::from_raw(pid.cast_signed())).ok()?;
        Some(Self {
            pid,
            clock,
            exact: None,
        })
    }

    /// The time used so far, exact to a tick or, after [`Self::sharpen`], to a microsecond. `None` when the
    /// process has ended.
    pub fn read(&mut self) -> Option<Duration> {
        if let Some(exact) = &mut self.exact {
            let counters = exact.counters.iter_mut();
            let counted = counters.filter_map(|(_, counter)| counter.read().ok());
            let nanoseconds: u64 = counted.sum();
            return Some(exact.base + Duration::from_nanos(nanoseconds));
        }
        clock_gettime(self.clock).ok().map(Duration::from)
    }

    /// Reads exactly from now on, where the kernel allows it. A thread of more than
    /// `MOST_THREADS` leaves it at what it was.
    pub fn sharpen(&mut self) {
        if self.exact.is_some() {
            return;
        }
        let Some(threads) = self.threads() else {
            return;
        };
        let Some(base) = self.read() else { return };
        let counters = threads
            .into_iter()
            .map(|thread| Ok((thread, counter(thread)?)));
        let counters: io::Result<Vec<_>> = counters.collect();
        if let Ok(counters) = counters {
            self.exact = Some(Exact { counters, base });
        }
    }

    /// Which thread has used nearly all of the time since [`Self::sharpen`].
    pub fn busiest(&mut self) -> Busiest {
        let now = self.threads();
        let (Some(now), Some(exact)) = (now, self.exact.as_mut()) else {
            return Busiest::Nobody;
        };
        // What one that is not known uses is taken for that of the thread that has started it.
        let is_known = |thread| exact.counters.iter().any(|(known, _)| known == thread);
        if !now.iter().all(is_known) {
            return Busiest::Nobody;
        }
        let counters = exact.counters.iter_mut();
        let used = counters.filter_map(|(thread, counter)| Some((*thread, counter.read().ok()?)));
        let used: Vec<(u32, u64)> = used.collect();
        let all: u64 = used.iter().map(|(_, used)| used).sum();
        if Duration::from_nanos(all) < TELLING {
            return Busiest::Unknown;
        }
        match used.into_iter().max_by_key(|(_, used)| *used) {
            Some((thread, used)) if used as f64 >= all as f64 * ALL => Busiest::Only(thread),
            Some((thread, used)) if used as f64 >= all as f64 * NEARLY_ALL => {
                Busiest::Thread(thread)
            }
            _ => Busiest::Nobody,
        }
    }

    /// The threads of the process, unless there are too many.
    fn threads(&self) -> Option<Vec<u32>> {
        let threads = fs::read_dir(format!("/proc/{}/task", self.pid)).ok()?;
        let threads = threads.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let threads: Vec<u32> = threads.take(MOST_THREADS + 1).collect();
        (threads.len() <= MOST_THREADS).then_some(threads)
    }
}

fn counter(thread: u32) -> io::Result<Counter> {
    Builder::new(Software::TASK_CLOCK)
        .observe_pid(thread.cast_signed())
        .any_cpu()
        .inherit(true)
        .inherit_thread(true)
        .enabled(true)
        .build()
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;
    use std::time::Instant;

    use super::*;

    fn work(time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time {
            black_box(start);
        }
    }

    #[test]
    fn a_process_that_has_ended_has_no_clock() {
        let clock = ProcessClock::of(4 * 1024 * 1024 + 1);
        assert_eq!(clock.and_then(|mut clock| clock.read()), None);
    }

    #[test]
    fn both_clocks_go_on() {
        let mut clock = ProcessClock::of(std::process::id()).expect("this process lives");
        let first = clock.read().expect("it lives");
        work(Duration::from_millis(5));
        let second = clock.read().expect("it lives");
        assert!(second > first);
        clock.sharpen();
        let third = clock.read().expect("it lives");
        assert!(third >= second);
        work(Duration::from_millis(5));
        assert!(clock.read().expect("it lives") > third);
    }
}
