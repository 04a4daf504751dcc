//! Who gets a probe's breakpoint.
//!
//! A uprobe for everyone cannot leave a process out, and one for a single process is one more for
//! each hit of all others to pass by. But one uprobe that has a name (see [`tracefs`](super::tracefs))
//! can have many perf events, one for everyone or one for each process that is to have the
//! breakpoint, and the program runs once at each hit, however many there are. So a process can be
//! left out, and taken in again, without a call of any other being lost or counted twice:
//!
//! ```text
//! everyone                                     one event, for everyone
//! everyone, a, b, c                            more events; each hit still counts once
//!           a, b, c                            the first is closed: all others lose the breakpoint
//! ```
//!
//! An event of a process is inherited by the children that it makes from then on, breakpoint and
//! all, before they run (kernel/events/core.c, `inherit_event`; kernel/fork.c, `dup_mmap`), and stays
//! when they change their program. That cannot be had without a name: the kernel would look for the
//! path of the file in the memory of the child, and the fork would fail (`perf_uprobe_event_init`).
//!
//! As long as a child has the same events as its parent, the kernel exchanges their contexts instead
//! of switching them, and whoever ends first ends the events of the other
//! (`perf_event_context_sched_out`). A process that is [`Apart`] has one more event, which is not
//! inherited, so that its children are no such clones of it.
//!
//! Before breakpoints come or go, the kernel keeps all processes from forking, for which it waits for a grace
//! period of RCU: 5 to 15 ms (`register_for_each_vma`, `percpu_down_write`). A process that runs into a
//! breakpoint which is about to go waits as long (`handler_chain`, `unapply_uprobe`). But the kernel waits only
//! where that was not done a grace period ago (kernel/rcu/sync.c). So somebody else's breakpoint, one of
//! [`Meter`](super::Meter)'s own, comes or goes just before that, and the process does not have to wait.
//!
//! Which of many events a process is for is looked up at each hit, one after the other
//! (`kernel/trace/trace_uprobe.c`, `__uprobe_perf_filter`): a nanosecond or two for each.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use super::syscall;
use super::tracefs::Definition;

/// The perf events of a uprobe.
#[derive(Debug)]
pub struct Gate {
    everyone: Option<OwnedFd>,
    processes: HashMap<u32, OwnedFd>,
    /// Of processes that have ended, whose children may have inherited them.
    ended: Vec<OwnedFd>,
    id: u64,
}

/// An event of a process that counts nothing and is not inherited.
#[derive(Debug)]
pub struct Apart {
    _event: OwnedFd,
}

impl Apart {
    /// Keeps the events of a process apart from those that the children inherit which it makes from
    /// then on.
    pub fn of(pid: u32) -> io::Result<Self> {
        Ok(Self {
            _event: syscall::open_dummy_event(pid)?,
        })
    }
}

impl Gate {
    /// Nobody gets the breakpoint.
    pub(super) fn new(definition: &Definition) -> Self {
        Self {
            everyone: None,
            processes: HashMap::new(),
            ended: Vec::new(),
            id: definition.id,
        }
    }

    /// Lets everyone get the breakpoint.
    pub fn admit_all(&mut self) -> io::Result<()> {
        if self.everyone.is_none() {
            self.everyone = Some(syscall::open_trace_event(self.id, None, false)?);
        }
        self.processes.clear();
        self.ended.clear();
        Ok(())
    }

    /// Lets a process get it too; with the children that it makes from then on, if they are to
    /// inherit it.
    pub fn admit(&mut self, pid: u32, inherit: bool) -> io::Result<()> {
        if !self.processes.contains_key(&pid) {
            let event = syscall::open_trace_event(self.id, Some(pid), inherit)?;
            self.processes.insert(pid, event);
        }
        Ok(())
    }

    /// Lets these processes get it, with the children that they make from then on, and nobody else.
    /// One that has ended is passed over.
    pub fn restrict(&mut self, pids: &[u32]) -> io::Result<()> {
        let mut admitted = HashMap::with_capacity(pids.len());
        for pid in pids {
            match syscall::open_trace_event(self.id, Some(*pid), true) {
                Ok(event) => drop(admitted.insert(*pid, event)),
                Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
        // Only now, so that nobody who is to have it goes without. Those before may have been
        // inherited by others.
        self.processes = admitted;
        self.ended.clear();
        self.everyone = None;
        Ok(())
    }

    /// Takes the breakpoint from a process, and from those that have inherited it.
    pub fn dismiss(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// A process has ended: its number may be given to another. Its children keep the breakpoint.
    pub fn forget(&mut self, pid: u32) {
        self.ended.extend(self.processes.remove(&pid));
    }
}
