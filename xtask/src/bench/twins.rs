//! A program and its twin, of which one is watched: what that costs is how much slower it is.
//!
//! A machine that others use as well changes its speed all the time, each of its processors for itself.
//! The two run at the same time and change places many times a second, so that whatever happens meets
//! both of them.

use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
use nix::unistd::Pid;

use super::python::Script;

/// How long each stays on a processor.
const STAY: Duration = Duration::from_millis(100);

/// Two running scripts.
pub(super) struct Twins {
    pub(super) watched: Script,
    other: Script,
}

impl Twins {
    /// Of two scripts that do the same.
    pub(super) fn of(watched: Script, other: Script) -> Self {
        Self { watched, other }
    }

    /// Says a line to both, and returns what the one that is watched and the other one answer. Until
    /// then they change places, on two processors of those that this program may use; on a single one
    /// they take turns anyway.
    pub(super) fn ask(&mut self, line: &str) -> Result<(String, String)> {
        let processors = processors()?;
        let pids = [self.watched.pid(), self.other.pid()];
        let (watched, other) = (&mut self.watched, &mut self.other);
        thread::scope(|scope| {
            let (answered, is_answered) = channel::<()>();
            let places = scope.spawn(move || {
                let [mut one, mut two] = processors;
                loop {
                    for (pid, processor) in pids.into_iter().zip([one, two]) {
                        settle(pid, processor)?;
                    }
                    (one, two) = (two, one);
                    let answer = is_answered.recv_timeout(STAY);
                    if answer != Err(RecvTimeoutError::Timeout) {
                        return Ok::<_, anyhow::Error>(());
                    }
                }
            });
            let other = scope.spawn(|| other.ask(line));
            let watched = watched.ask(line);
            let other = other.join();
            drop(answered);
            let failed = |_| anyhow::anyhow!("a thread of the benchmark failed");
            places.join().map_err(failed)??;
            Ok((watched?, other.map_err(failed)??))
        })
    }
}

/// Has a process run on one processor alone.
fn settle(pid: u32, processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor).context("no such processor")?;
    sched_setaffinity(Pid::from_raw(pid.cast_signed()), &set)
        .with_context(|| format!("cannot have process {pid} run on processor {processor}"))
}

/// The first two processors that this program may use, or the only one twice.
fn processors() -> Result<[usize; 2]> {
    let set = sched_getaffinity(Pid::this()).context("cannot tell the processors")?;
    let mut usable = (0..CpuSet::count()).filter(|processor| set.is_set(*processor) == Ok(true));
    let first = usable.next().context("there is no processor")?;
    Ok([first, usable.next().unwrap_or(first)])
}
