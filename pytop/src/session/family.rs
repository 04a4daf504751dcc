//! Which processes belong to those that were asked for.
//!
//! With `--children` the kernel counts every process that maps the interpreter, because a child
//! runs before anyone could ask for it; here it is decided whose counts are shown. The kernel tells
//! each fork before the child's first call, so a child is known by the time its counts are drained.

use std::collections::HashSet;

/// Processes and their descendants.
#[derive(Debug, Default)]
pub(super) struct Family {
    members: HashSet<u32>,
    /// Ended, but calls of theirs may still have to be drained.
    ended: Vec<u32>,
}

impl Family {
    /// A family of these processes.
    pub(super) fn new(members: HashSet<u32>) -> Self {
        Self {
            members,
            ended: Vec::new(),
        }
    }

    /// A process has made another one.
    pub(super) fn forked(&mut self, parent: u32, child: u32) {
        if self.members.contains(&parent) {
            self.members.insert(child);
            self.ended.retain(|pid| *pid != child);
        }
    }

    /// A process belongs to the family whoever made it.
    pub(super) fn add(&mut self, pid: u32) {
        self.members.insert(pid);
    }

    /// A process has ended. It stays a member until [`Self::bury`].
    pub(super) fn exited(&mut self, pid: u32) {
        if self.members.contains(&pid) {
            self.ended.push(pid);
        }
    }

    /// The processes that have ended since this was last asked.
    pub(super) fn take_ended(&mut self) -> Vec<u32> {
        std::mem::take(&mut self.ended)
    }

    /// Takes out processes that had ended; their numbers may be given to others from now on.
    pub(super) fn bury(&mut self, ended: &[u32]) {
        for pid in ended {
            self.members.remove(pid);
        }
    }

    pub(super) fn contains(&self, pid: u32) -> bool {
        self.members.contains(&pid)
    }

    pub(super) fn members(&self) -> impl Iterator<Item = u32> + '_ {
        self.members.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_children_of_members_are_members() {
        let mut family = Family::new(HashSet::from([10]));
        family.forked(10, 11);
        family.forked(11, 12);
        family.forked(5, 13);
        for (pid, member) in [(10, true), (11, true), (12, true), (13, false), (5, false)] {
            assert_eq!(family.contains(pid), member, "{pid}");
        }
    }

    #[test]
    fn a_process_that_ended_stays_until_its_counts_are_drained() {
        let mut family = Family::new(HashSet::from([10]));
        family.forked(10, 11);
        family.forked(5, 12);
        family.exited(11);
        assert!(family.contains(11) && !family.contains(12));
        let ended = family.take_ended();
        assert_eq!(ended, [11]);
        assert!(family.contains(11));
        family.bury(&ended);
        assert!(family.contains(10) && !family.contains(11));
    }
}
