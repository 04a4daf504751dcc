//! Which processes a run is about.

use std::collections::HashSet;

use anyhow::{Context as _, Result, bail};

use super::Target;
use super::attachments::{Attachments, Reach};
use super::family::Family;
use super::roster::{Roster, not_countable};
use crate::cpython::Interpreter;
use crate::discover::{Finder, LookError, ProcRoot, ProcessEvent, descendants};
use crate::model::Coverage;
use crate::probe::launch::Stage;
use crate::probe::{Kernel, ProcessEnd};

/// The processes that a run is about.
pub(super) struct Members {
    /// Those that were named, or the command; `None` for the whole machine.
    family: Option<Family>,
    /// Descendants belong to it.
    descendants: bool,
    named: Vec<u32>,
}

impl Members {
    pub(super) fn new(target: &Target) -> Result<Self> {
        Ok(match target {
            Target::Machine => Self {
                family: None,
                descendants: true,
                named: Vec::new(),
            },
            Target::Processes { pids, children } => Self {
                family: Some(Family::new(family(pids, *children)?)),
                descendants: *children,
                named: pids.clone(),
            },
            Target::Command { children, .. } => Self {
                family: Some(Family::default()),
                descendants: *children,
                named: Vec::new(),
            },
        })
    }

    /// The command has been started.
    pub(super) fn add_root(&mut self, pid: u32) {
        if let Some(family) = &mut self.family {
            family.add(pid);
        }
    }

    /// A process of the command stands still.
    pub(super) fn add(&mut self, pid: u32, stage: Stage) {
        if let (Some(family), Stage::Forked { parent }) = (&mut self.family, stage)
            && self.descendants
        {
            family.forked(parent, pid);
        }
    }

    pub(super) fn on_event(&mut self, event: &ProcessEvent) {
        let Some(family) = &mut self.family else {
            return;
        };
        match *event {
            ProcessEvent::Fork { parent, child, .. } if self.descendants => {
                family.forked(parent, child);
            }
            ProcessEvent::Exit { pid } => family.exited(pid),
            _ => {}
        }
    }

    /// Processes that have ended and whose last counts the next drain brings.
    pub(super) fn take_ended(&mut self) -> Vec<u32> {
        self.family
            .as_mut()
            .map(Family::take_ended)
            .unwrap_or_default()
    }

    /// Their last counts have been drained.
    pub(super) fn bury(&mut self, ended: &[u32]) {
        if let Some(family) = &mut self.family {
            family.bury(ended);
        }
    }

    pub(super) fn contains(&self, pid: u32) -> bool {
        self.family
            .as_ref()
            .is_none_or(|family| family.contains(pid))
    }

    /// The members, unless they are all processes of the machine.
    pub(super) fn pids(&self) -> Option<Vec<u32>> {
        self.family
            .as_ref()
            .map(|family| family.members().collect())
    }

    pub(super) fn with_descendants(&self) -> bool {
        self.descendants
    }

    /// Which processes a probe for this one has to reach. A child runs before a probe of its own
    /// could be placed, so where descendants are counted, everyone is reached.
    pub(super) fn reach(&self, pid: u32) -> Reach {
        if self.descendants {
            Reach::Everyone
        } else {
            Reach::Process(pid)
        }
    }

    /// Takes up the processes that were named. One that cannot be counted is an error, because
    /// nothing else was asked for.
    pub(super) fn take_up_named(
        &self,
        finder: &mut Finder<Interpreter>,
        roster: &mut Roster,
        attachments: &mut Attachments,
        kernel: &mut Kernel,
    ) -> Result<()> {
        for pid in &self.named {
            let found = match finder.look_at(*pid) {
                Ok(found) => found,
                // A supervisor that is no Python itself can have workers that are.
                Err(LookError::NotCPython { .. }) if self.descendants => continue,
                Err(error) => return Err(error.into()),
            };
            let coverage = roster.take_up(&found, attachments, kernel, self.reach(*pid));
            if let Coverage::NotCounted(reason) = coverage
                && !self.descendants
            {
                bail!(not_countable(*pid, &found.process.exe, reason));
            }
        }
        for pid in self.pids().unwrap_or_default() {
            if !self.named.contains(&pid)
                && let Ok(found) = finder.look_at(pid)
            {
                roster.take_up(&found, attachments, kernel, self.reach(pid));
            }
        }
        Ok(())
    }

    /// The named processes, whose ends can be awaited. Those that have ended already are left out.
    pub(super) fn ends(&self) -> Result<Vec<ProcessEnd>> {
        let ends = self.named.iter().filter_map(|pid| {
            let end = ProcessEnd::of(*pid).transpose()?;
            Some(end.with_context(|| format!("cannot watch process {pid}")))
        });
        ends.collect()
    }
}

/// Waits until all of the named processes have ended; for ever when none were named.
pub(super) async fn all_ended(ends: &[ProcessEnd], named: bool) {
    for end in ends {
        if end.wait().await.is_err() {
            return std::future::pending().await;
        }
    }
    if !named {
        std::future::pending::<()>().await;
    }
}

/// The processes and, if asked for, their descendants of this moment.
fn family(pids: &[u32], children: bool) -> Result<HashSet<u32>> {
    let mut family = if children {
        let root = ProcRoot::host().context("cannot open /proc")?;
        descendants(&root, pids).context("cannot list the processes in /proc")?
    } else {
        HashSet::new()
    };
    family.extend(pids);
    Ok(family)
}
