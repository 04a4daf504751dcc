//! What a session does for a bound of what counting costs.

use std::io;
use std::path::Path;

use super::budget::Budget;
use super::{Session, roster};
use crate::discover::{ProcRoot, ancestors};
use crate::model::{Coverage, ProcessStatus};
use crate::os_error::describe;

impl Session {
    /// Takes up processes that are counted: each has to have probes, and cost no more than is
    /// allowed.
    pub(super) fn watch_counted(&mut self) {
        self.with_budget(|budget, session| {
            for (pid, method) in session.roster.methods() {
                match budget.arrived(pid, &mut session.attachments) {
                    // It has ended already.
                    Err(error) if error.raw_os_error() == Some(libc::ESRCH) => {}
                    arrived => {
                        arrived?;
                        let files = session.roster.interpreters(pid).iter();
                        let mut files = files.filter_map(|(id, _)| session.attachments.file(*id));
                        let file = files.next().cloned();
                        budget.take_up(pid, method, file, &session.kernel);
                    }
                }
            }
            Ok(())
        });
    }

    /// Opens and closes windows.
    pub(super) fn keep_budget(&mut self) {
        self.with_budget(|budget, session| {
            budget.look(
                &mut session.attachments,
                &mut session.kernel,
                &mut session.cost,
                || others(&session.roster, session.members.pids().is_none()),
            )
        });
    }

    /// Measures what a hit costs, which may have to wait for a processor, so that no window is open
    /// meanwhile.
    pub(super) fn measure_cost(&mut self) {
        if !self.budget.as_ref().is_some_and(Budget::has_window) {
            self.cost.measure();
        }
    }

    /// The interval is about to end.
    pub(super) fn end_windows(&mut self) {
        self.with_budget(|budget, session| {
            budget.end_interval(
                &mut session.attachments,
                &session.kernel,
                &mut session.cost,
                || others(&session.roster, session.members.pids().is_none()),
            )
        });
    }

    fn with_budget(&mut self, act: impl FnOnce(&mut Budget, &mut Self) -> io::Result<()>) {
        if let Some(mut budget) = self.budget.take() {
            let result = act(&mut budget, self);
            self.budget = Some(budget);
            if let Err(error) = result {
                self.give_up(&error);
            }
        }
    }

    /// Counts everything from now on: who asked for a bound is told that there is none any more.
    fn give_up(&mut self, error: &io::Error) {
        self.budget = None;
        // Should this fail too, what is in place stays.
        let _ = self.attachments.restrict(None);
        self.notices.push(format!(
            "cannot choose who is counted ({}): everything is counted from now on, whatever it \
             costs; raise the limit of open files (ulimit -n) if there were too many",
            describe(error)
        ));
    }

    /// Tells which processes are not counted from their start. `gone` have ended.
    pub(super) fn mark_arrivals(&mut self, processes: &mut Vec<ProcessStatus>, gone: &[u32]) {
        let Some(budget) = &mut self.budget else {
            return;
        };
        let is_known = |pid: u32| {
            let index = processes.binary_search_by_key(&pid, |process| process.pid);
            // One that has ended stays there until its parent has asked for its status.
            let runs = || !gone.contains(&pid) && Path::new(&format!("/proc/{pid}")).exists();
            index.is_ok() || runs()
        };
        let mut missed = budget.take_doors(self.kernel.take_doors(), is_known);
        missed.retain(|pid| self.members.contains(*pid));
        for process in processes.iter_mut() {
            if let Coverage::Counted(method) = process.coverage
                && let Some(reason) = budget.reason(process.pid)
            {
                process.coverage = Coverage::Incomplete(method, reason);
            }
        }
        let ended = missed.iter().filter_map(|pid| {
            let seen = self.kernel.seen(*pid)?;
            Some(roster::ended_uncounted(*pid, &seen, &self.attachments))
        });
        processes.extend(ended);
        processes.sort_unstable_by_key(|process| process.pid);
        self.kernel.forget_processes(missed);
    }
}

/// The processes that are counted and, where any process of the machine may start one that is to be
/// counted, those that are likely to: who has started others.
fn others(roster: &roster::Roster, with_ancestors: bool) -> Vec<u32> {
    let mut pids: Vec<u32> = roster.methods().map(|(pid, _)| pid).collect();
    if with_ancestors && let Ok(root) = ProcRoot::host() {
        pids.extend(ancestors(&root, &pids));
    }
    pids
}
