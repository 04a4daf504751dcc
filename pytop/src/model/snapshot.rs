//! One snapshot: everything that was counted in one interval.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Durations, Function, Runtime, Text, Untimed};

/// Everything that was counted between the end of the snapshot before and `time`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// The end of the interval.
    pub time: SystemTime,
    /// The length of the interval, measured.
    pub interval: Duration,
    /// How long it took to take the counts out of the kernel.
    pub drain: Duration,
    /// Every function that was entered in the interval, none left out; where durations are measured,
    /// those that were left, too. In no order, but mostly in
    /// that of the snapshot before.
    pub rows: Vec<Row>,
    /// Calls that are in no row.
    pub uncounted: Uncounted,
    /// Calls without a duration; `None` where durations are not measured.
    pub untimed: Option<Untimed>,
    /// There is a bound to what counting may cost, so that calls may be estimates.
    pub bounded: bool,
    /// Every CPython process that lived in the interval, in the order of their pids.
    pub processes: Vec<ProcessStatus>,
}

/// The calls of one function of one process in one interval.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The function. Rows of one function in several snapshots mostly share it.
    pub function: Arc<Function>,
    /// Entries in the interval.
    pub calls: u64,
    /// The calls that have ended in the interval; `None` where none was seen ending.
    pub durations: Option<Arc<Durations>>,
}

impl Row {
    /// A row of a function that shares nothing yet.
    #[must_use]
    pub fn new(
        pid: u32,
        filename: impl Into<Text>,
        line: Option<u32>,
        name: impl Into<Text>,
        calls: u64,
    ) -> Self {
        let function = Function::new(pid, filename.into(), line, name.into());
        Self {
            function: Arc::new(function),
            calls,
            durations: None,
        }
    }
}

/// Probe hits that could not be put in a row, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Uncounted {
    /// The kernel's table of counts was full.
    pub table_full: u64,
    /// A name could not be read.
    pub unreadable_name: u64,
    /// There was not what has to be at the probe.
    pub implausible: u64,
}

impl Uncounted {
    /// Hits without a row, for whatever reason.
    #[must_use]
    pub fn total(self) -> u64 {
        self.table_full + self.unreadable_name + self.implausible
    }

    /// The reasons that there were, as what was the matter, and the hits of each.
    pub fn reasons(self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("table full", self.table_full),
            ("name unreadable", self.unreadable_name),
            ("implausible", self.implausible),
        ]
        .into_iter()
        .filter(|(_, hits)| *hits > 0)
    }
}

/// A CPython process and how it is counted.
#[derive(Clone, Debug)]
pub struct ProcessStatus {
    /// The process id.
    pub pid: u32,
    /// The kernel's name of the process, at most 15 bytes.
    pub comm: Text,
    /// The path of its executable, as the process sees it.
    pub exe: Text,
    /// The file that holds the interpreter: the executable, or a libpython that it has loaded.
    pub interpreter: Text,
    /// The interpreter's version, such as `3.9.2`.
    pub python: Option<Arc<str>>,
    /// The name of the user it runs as, or the number where there is no name.
    pub user: Arc<str>,
    /// A short name of the container it runs in; `None` on the host itself.
    pub container: Option<Arc<str>>,
    /// Whether it is counted.
    pub coverage: Coverage,
    /// Calls that are in rows of this snapshot.
    pub calls: u64,
    /// The share of one CPU that counting them has taken, estimated; `None` when it is not known.
    pub probe_cost: Option<f64>,
    /// What the interpreter did beside running code.
    pub runtime: Runtime,
    /// What its calls are, if they are more than were counted; `None` when all were counted.
    pub estimate: Option<Estimate>,
    /// It has ended in this interval.
    pub ended: bool,
}

/// How much of a process was counted whose calls are an estimate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Estimate {
    /// The share of the process's processor time in which it was counted.
    pub counted: f64,
    /// How far off the calls may be, as a part of them.
    pub uncertainty: f64,
}

/// Whether and how a process is counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coverage {
    /// Counted exactly.
    Counted(Method),
    /// Counted, but not every call: the reason completes the sentence "incomplete: …".
    Incomplete(Method, Arc<str>),
    /// Not counted, for a reason that completes the sentence "not counted: …".
    NotCounted(Arc<str>),
}

impl Coverage {
    /// Where the counts come from; `None` when there are none.
    #[must_use]
    pub fn method(&self) -> Option<Method> {
        match self {
            Self::Counted(method) | Self::Incomplete(method, _) => Some(*method),
            Self::NotCounted(_) => None,
        }
    }

    /// Why there are no counts, or not all.
    #[must_use]
    pub fn reason(&self) -> Option<&Arc<str>> {
        match self {
            Self::Counted(_) => None,
            Self::Incomplete(_, reason) | Self::NotCounted(reason) => Some(reason),
        }
    }
}

/// Where the counts of a process come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Method {
    /// The interpreter's `function__entry` marker.
    Marker,
    /// The frame evaluation function (3.6 to 3.10).
    Eval,
    /// The bytecodes of the RESUME family (3.11 and later).
    Resume,
}

impl Method {
    /// The name that the command line and JSON use.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Marker => "marker",
            Self::Eval => "eval",
            Self::Resume => "resume",
        }
    }
}

impl Snapshot {
    /// Every call of the interval, those in no row included.
    #[must_use]
    pub fn total_calls(&self) -> u64 {
        self.rows.iter().map(|row| row.calls).sum::<u64>() + self.uncounted.total()
    }

    /// What the calls of a process are, if they are more than were counted.
    #[must_use]
    pub fn estimate(&self, pid: u32) -> Option<Estimate> {
        let index = self
            .processes
            .binary_search_by_key(&pid, |process| process.pid);
        self.processes.get(index.ok()?)?.estimate
    }

    /// Whether some of the calls are estimates.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        self.processes
            .iter()
            .any(|process| process.estimate.is_some())
    }

    /// The share of one CPU that counting has taken in all processes together, estimated; `None` when
    /// it is not known.
    #[must_use]
    pub fn probe_cost(&self) -> Option<f64> {
        let counted = self.processes.iter();
        let counted = counted.filter(|process| process.coverage.method().is_some());
        counted.map(|process| process.probe_cost).sum()
    }

    /// Calls per second over the interval; 0 for an empty interval.
    #[must_use]
    pub fn calls_per_second(&self) -> f64 {
        let seconds = self.interval.as_secs_f64();
        if seconds > 0.0 {
            self.total_calls() as f64 / seconds
        } else {
            0.0
        }
    }
}
