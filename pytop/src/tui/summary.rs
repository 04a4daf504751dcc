//! What the processes of a snapshot have in common.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use crate::model::{Coverage, Method, Snapshot};

/// How the processes of a snapshot are counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Summary {
    /// Processes that are counted.
    pub(super) counted: usize,
    /// Different interpreters among them.
    pub(super) interpreters: usize,
    /// The methods that count them.
    pub(super) methods: Vec<Method>,
    /// Those of them of which not every call is counted.
    pub(super) incomplete: usize,
    /// Those of them whose calls are estimates.
    pub(super) estimated: usize,
    /// Processes that are not counted.
    pub(super) not_counted: usize,
    /// The reason that most of those have, and how many have it.
    pub(super) reason: Option<(Arc<str>, usize)>,
}

impl Summary {
    pub(super) fn of(snapshot: &Snapshot) -> Self {
        let mut summary = Self::default();
        let mut interpreters = HashSet::new();
        let mut reasons: BTreeMap<&Arc<str>, usize> = BTreeMap::new();
        for process in &snapshot.processes {
            if let Some(method) = process.coverage.method() {
                summary.counted += 1;
                interpreters.insert(&process.interpreter);
                if !summary.methods.contains(&method) {
                    summary.methods.push(method);
                }
            }
            summary.estimated += usize::from(process.estimate.is_some());
            match &process.coverage {
                Coverage::Counted(_) => {}
                Coverage::Incomplete(..) => summary.incomplete += 1,
                Coverage::NotCounted(reason) => {
                    summary.not_counted += 1;
                    *reasons.entry(reason).or_default() += 1;
                }
            }
        }
        summary.interpreters = interpreters.len();
        summary.methods.sort_unstable();
        let common = reasons.into_iter().max_by_key(|(_, processes)| *processes);
        summary.reason = common.map(|(reason, processes)| (reason.clone(), processes));
        summary
    }

    /// The methods' names.
    pub(super) fn method_names(&self) -> String {
        let names: Vec<_> = self.methods.iter().map(|method| method.name()).collect();
        names.join(", ")
    }
}
