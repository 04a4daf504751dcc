//! What pytop printed.

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitStatus;

use serde::Deserialize;

/// A snapshot, as it is in JSON.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) schema: u32,
    pub(crate) time: String,
    pub(crate) interval_s: f64,
    pub(crate) total_calls: u64,
    pub(crate) probe_cost: Option<f64>,
    pub(crate) functions: u64,
    pub(crate) uncounted: Uncounted,
    pub(crate) processes: Vec<Process>,
    pub(crate) rows: Vec<Row>,
}

/// Calls in no row.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(crate) struct Uncounted {
    pub(crate) table_full: u64,
    pub(crate) unreadable_name: u64,
    pub(crate) implausible: u64,
}

/// A process of a snapshot.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) comm: String,
    pub(crate) exe: String,
    pub(crate) python: Option<String>,
    pub(crate) method: Option<String>,
    pub(crate) calls: u64,
    pub(crate) reason: Option<String>,
    pub(crate) probe_cost: Option<f64>,
    pub(crate) gc: Option<Garbage>,
    pub(crate) imports: Option<u64>,
    pub(crate) estimated: Option<bool>,
    pub(crate) counted_share: Option<f64>,
    pub(crate) uncertainty: Option<f64>,
}

/// Garbage collections of a process.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq)]
pub(crate) struct Garbage {
    pub(crate) collections: u64,
    pub(crate) pause_s: f64,
    pub(crate) longest_pause_s: f64,
}

/// A row of a snapshot.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Row {
    pub(crate) pid: u32,
    pub(crate) filename: String,
    pub(crate) line: Option<u32>,
    pub(crate) function: String,
    pub(crate) calls: u64,
    pub(crate) estimated: Option<bool>,
    pub(crate) counted_share: Option<f64>,
}

impl Snapshot {
    /// Reads a snapshot, and checks what holds of every one that has all its rows.
    pub(crate) fn parse(line: &str) -> Self {
        let snapshot: Self =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        snapshot.check();
        snapshot
    }

    fn check(&self) {
        assert_eq!(self.schema, 1);
        assert!(self.interval_s >= 0.0, "{}", self.interval_s);
        assert_eq!(
            self.functions,
            self.rows.len() as u64,
            "all rows are asked for"
        );
        let in_rows: u64 = self.rows.iter().map(|row| row.calls).sum();
        let without =
            self.uncounted.table_full + self.uncounted.unreadable_name + self.uncounted.implausible;
        assert_eq!(self.total_calls, in_rows + without);
        let mut of_processes: BTreeMap<u32, u64> = self
            .processes
            .iter()
            .map(|process| (process.pid, process.calls))
            .collect();
        assert_eq!(
            of_processes.len(),
            self.processes.len(),
            "a process is listed twice"
        );
        let mut keys = BTreeSet::new();
        for row in &self.rows {
            let key = (row.pid, &row.filename, row.line, &row.function);
            assert!(keys.insert(key), "two rows for {key:?}");
            assert!(row.calls > 0, "an empty row for {key:?}");
            let Some(calls) = of_processes.get_mut(&row.pid) else {
                panic!("the process of {key:?} is not listed: {:?}", self.processes);
            };
            *calls = calls.checked_sub(row.calls).unwrap_or_else(|| {
                panic!("process {} has fewer calls than its rows", row.pid);
            });
        }
        for (pid, calls) in of_processes {
            assert_eq!(calls, 0, "process {pid} has calls without a row");
        }
    }
}

/// The functions of one file and one process: name and line, and how often they were entered.
pub(crate) type Functions = BTreeMap<(String, Option<u32>), u64>;

/// All that a run of pytop printed.
#[derive(Debug)]
pub(crate) struct Counted {
    pub(crate) status: ExitStatus,
    pub(crate) snapshots: Vec<Snapshot>,
    /// The lines on standard error, but for the one that says what is counted.
    pub(crate) messages: Vec<String>,
}

impl Counted {
    /// The rows of all snapshots.
    pub(crate) fn rows(&self) -> impl Iterator<Item = &Row> {
        self.snapshots.iter().flat_map(|snapshot| &snapshot.rows)
    }

    /// The functions of a file that a process has entered, over all snapshots.
    pub(crate) fn functions(&self, pid: u32, filename: &str) -> Functions {
        let mut functions = Functions::new();
        for row in self
            .rows()
            .filter(|row| row.pid == pid && row.filename == filename)
        {
            *functions
                .entry((row.function.clone(), row.line))
                .or_default() += row.calls;
        }
        functions
    }

    /// All rows of a process, over all snapshots: filename, function, and line.
    pub(crate) fn all_functions(&self, pid: u32) -> BTreeMap<(String, String, Option<u32>), u64> {
        let mut functions = BTreeMap::new();
        for row in self.rows().filter(|row| row.pid == pid) {
            let key = (row.filename.clone(), row.function.clone(), row.line);
            *functions.entry(key).or_default() += row.calls;
        }
        functions
    }

    /// The calls of a process, over all snapshots.
    pub(crate) fn calls(&self, pid: u32) -> u64 {
        self.rows()
            .filter(|row| row.pid == pid)
            .map(|row| row.calls)
            .sum()
    }

    /// What was counted in no row, over all snapshots.
    pub(crate) fn uncounted(&self) -> Uncounted {
        let mut all = Uncounted::default();
        for snapshot in &self.snapshots {
            all.table_full += snapshot.uncounted.table_full;
            all.unreadable_name += snapshot.uncounted.unreadable_name;
            all.implausible += snapshot.uncounted.implausible;
        }
        all
    }

    /// What each snapshot says of a process.
    pub(crate) fn process(&self, pid: u32) -> Vec<&Process> {
        let listed = self
            .snapshots
            .iter()
            .flat_map(|snapshot| &snapshot.processes);
        listed.filter(|process| process.pid == pid).collect()
    }
}

/// Functions as a test expects them.
pub(crate) fn functions<'a>(
    expected: impl IntoIterator<Item = (&'a str, Option<u32>, u64)>,
) -> Functions {
    let mut functions = Functions::new();
    for (name, line, calls) in expected {
        let before = functions.insert((name.to_owned(), line), calls);
        assert_eq!(before, None, "{name} is expected twice");
    }
    functions
}

/// Compares what was counted with what is expected, process by process, and shows at its end only
/// where they differ.
#[derive(Default)]
pub(crate) struct Comparison {
    compared: usize,
    differences: Vec<String>,
}

impl Comparison {
    /// Compares the functions of one process; `what` names it in failures.
    pub(crate) fn add(&mut self, what: &str, counted: &Functions, expected: &Functions) {
        self.compared += 1;
        let keys: BTreeSet<_> = counted.keys().chain(expected.keys()).collect();
        for key in keys {
            let (is, should) = (counted.get(key).copied(), expected.get(key).copied());
            if is != should {
                let line = key
                    .1
                    .map_or_else(|| "-".to_owned(), |line| line.to_string());
                self.differences.push(format!(
                    "{what}: {}:{line} counted {}, called {}",
                    key.0,
                    is.unwrap_or(0),
                    should.unwrap_or(0)
                ));
            }
        }
    }

    /// Fails when anything differed.
    pub(crate) fn assert(self, counted: &Counted) {
        assert!(self.compared > 0, "nothing was compared");
        let (shown, all) = (self.differences.len().min(60), self.differences.len());
        assert!(
            self.differences.is_empty(),
            "{all} functions differ:\n  {}\nin {} snapshots with {:?}",
            self.differences[..shown].join("\n  "),
            counted.snapshots.len(),
            counted.uncounted(),
        );
    }
}

/// Compares the functions of one file and one process.
pub(crate) fn assert_functions(counted: &Counted, pid: u32, filename: &str, expected: &Functions) {
    let mut comparison = Comparison::default();
    comparison.add(filename, &counted.functions(pid, filename), expected);
    comparison.assert(counted);
}
