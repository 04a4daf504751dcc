//! From a snapshot to the rows that are displayed: filtered, grouped, sorted.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use super::sort::{Place, first};
use super::{Durations, EntryKey, Filter, Function, GroupBy, Snapshot, SortKey, Text, Totals};

/// What is shown of a snapshot, and in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct View {
    /// What rows are sorted by.
    pub sort: SortKey,
    /// The order is turned around.
    pub reverse: bool,
    /// What rows are added up by.
    pub group_by: GroupBy,
    /// Only functions that match.
    pub filter: Option<Filter>,
    /// At most so many rows, the first of the order.
    pub top: Option<usize>,
    /// Rows without a call in the interval too, if they had one before.
    pub idle: bool,
    /// Durations are measured, and shown.
    pub durations: bool,
}

/// One displayed row.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// What identifies it.
    pub key: EntryKey,
    /// The process; `None` for a file that several processes run.
    pub pid: Option<u32>,
    /// Of a process, where it is known.
    executable: Option<Text>,
    /// Calls in the interval.
    pub calls: u64,
    /// Calls since the start, this interval included, or since the last reset.
    pub total: u64,
    /// They are an estimate, at least in part.
    pub is_total_estimated: bool,
    /// Functions that the row stands for: 1, or for a group those with calls in the interval.
    pub functions: usize,
    /// Processes that the row stands for, counted as `functions`.
    pub processes: usize,
    /// The part of all calls of the interval, from 0 to 1.
    pub share: f64,
    /// The calls are an estimate, at least in part. The share of its processor time in which the
    /// process was counted; the smallest of several processes.
    pub estimated: Option<f64>,
    /// Calls that have ended in the interval; `None` where none was seen ending, and for groups, whose
    /// functions run within each other.
    pub durations: Option<Arc<Durations>>,
}

impl View {
    /// The rows to show. `totals` must have recorded the snapshot.
    #[must_use]
    pub fn entries(&self, snapshot: &Snapshot, totals: &Totals) -> Vec<Entry> {
        self.entries_with(snapshot, totals, None, None)
    }

    /// The rows to show, and `kept` if it is remembered, even when it had no call. It must be a
    /// key of the view's grouping; the filter applies to it too. With `ordered`, only so many of the
    /// rows are in order, the first of all; the others follow in none.
    #[must_use]
    pub fn entries_with(
        &self,
        snapshot: &Snapshot,
        totals: &Totals,
        kept: Option<&EntryKey>,
        ordered: Option<usize>,
    ) -> Vec<Entry> {
        let mut entries = match self.group_by {
            GroupBy::Function => self.functions(snapshot, totals, kept, ordered),
            GroupBy::File | GroupBy::Process => {
                let groups = self.groups(snapshot, totals, kept);
                first(groups, self.top, ordered, |left: &Entry, right: &Entry| {
                    self.sort.compare(self.reverse, left, right)
                })
            }
        };
        let is_estimated = snapshot.is_estimated();
        let all = snapshot.total_calls();
        for entry in &mut entries {
            entry.share = share(entry.calls, all);
            if let Some(pid) = entry.pid {
                entry.is_total_estimated = totals.is_estimate_of(pid);
                if is_estimated {
                    entry.estimated = snapshot.estimate(pid).map(|estimate| estimate.counted);
                }
            }
        }
        entries
    }

    /// Functions of the snapshot that match the filter.
    #[must_use]
    pub fn matching(&self, snapshot: &Snapshot) -> usize {
        let Some(filter) = &self.filter else {
            return snapshot.rows.len();
        };
        let mut subject = String::new();
        let rows = snapshot.rows.iter();
        rows.filter(|row| filter.matches(&row.function, &mut subject))
            .count()
    }

    fn functions(
        &self,
        snapshot: &Snapshot,
        totals: &Totals,
        kept: Option<&EntryKey>,
        ordered: Option<usize>,
    ) -> Vec<Entry> {
        let mut finder = totals.finder();
        let called = snapshot.rows.iter().map(|row| Candidate {
            function: &row.function,
            calls: row.calls,
            durations: row.durations.as_ref(),
            total: finder.find(&row.function).map_or(0, |known| known.total),
        });
        let kept = match kept {
            Some(EntryKey::Function(function)) if !self.idle => totals.get(function),
            _ => None,
        };
        let quiet = totals.known().filter(|_| self.idle).chain(kept);
        let quiet = quiet
            .filter(|known| !totals.is_active(known))
            .map(|known| Candidate {
                function: &known.function,
                calls: 0,
                durations: None,
                total: known.total,
            });
        let mut subject = String::new();
        let matching = called.chain(quiet).filter(|candidate| {
            self.filter
                .as_ref()
                .is_none_or(|filter| filter.matches(candidate.function, &mut subject))
        });
        let first = first(matching, self.top, ordered, |left, right| {
            self.sort.compare(self.reverse, left, right)
        });
        let entries = first.into_iter();
        entries
            .map(|it| Entry::function(it.function, it.calls, it.total, it.durations))
            .collect()
    }

    fn groups(
        &self,
        snapshot: &Snapshot,
        totals: &Totals,
        kept: Option<&EntryKey>,
    ) -> impl Iterator<Item = Entry> {
        let mut subject = String::new();
        let mut matches = |function: &Function| {
            self.filter
                .as_ref()
                .is_none_or(|filter| filter.matches(function, &mut subject))
        };
        let by_file = self.group_by == GroupBy::File;
        let key_of = |function: &Function| {
            if by_file {
                EntryKey::File(function.filename.clone())
            } else {
                EntryKey::Process(function.pid)
            }
        };
        let mut groups: HashMap<EntryKey, Group> = HashMap::new();
        for row in &snapshot.rows {
            if matches(&row.function) {
                let group = groups.entry(key_of(&row.function)).or_default();
                group.calls = group.calls.saturating_add(row.calls);
                group.functions += 1;
                group.add(row.function.pid);
            }
        }
        for known in totals.known() {
            let key = key_of(&known.function);
            let wanted = self.idle || kept == Some(&key) || groups.contains_key(&key);
            if wanted && matches(&known.function) {
                let group = groups.entry(key).or_default();
                group.total = group.total.saturating_add(known.total);
                if group.calls == 0 {
                    group.add(known.function.pid);
                }
            }
        }
        let entries = groups.into_iter();
        entries.map(|(key, group)| group.entry(key, snapshot, totals))
    }
}

/// What is added up for a group.
#[derive(Default)]
struct Group {
    calls: u64,
    total: u64,
    functions: usize,
    pids: Vec<u32>,
}

impl Group {
    fn add(&mut self, pid: u32) {
        // Functions of one process mostly come together.
        if self.pids.last() != Some(&pid) {
            self.pids.push(pid);
        }
    }

    fn entry(mut self, key: EntryKey, snapshot: &Snapshot, totals: &Totals) -> Entry {
        self.pids.sort_unstable();
        self.pids.dedup();
        let shares = self.pids.iter();
        let shares = shares.filter_map(|pid| Some(snapshot.estimate(*pid)?.counted));
        let estimated = shares.min_by(f64::total_cmp);
        let pid = match (&key, self.pids.as_slice()) {
            (EntryKey::Process(pid), _) | (_, [pid]) => Some(*pid),
            _ => None,
        };
        let executable = match &key {
            EntryKey::Process(pid) => totals.executable(*pid).cloned(),
            EntryKey::Function(_) | EntryKey::File(_) => None,
        };
        Entry {
            key,
            pid,
            executable,
            calls: self.calls,
            total: self.total,
            is_total_estimated: self.pids.iter().any(|pid| totals.is_estimate_of(*pid)),
            functions: self.functions,
            processes: self.pids.len(),
            share: 0.0,
            estimated,
            durations: None,
        }
    }
}

impl Entry {
    fn function(
        function: &Arc<Function>,
        calls: u64,
        total: u64,
        durations: Option<&Arc<Durations>>,
    ) -> Self {
        Self {
            key: EntryKey::Function(Arc::clone(function)),
            pid: Some(function.pid),
            executable: None,
            calls,
            total,
            is_total_estimated: false,
            functions: 1,
            processes: 1,
            share: 0.0,
            estimated: None,
            durations: durations.cloned(),
        }
    }

    /// The file; for a process, its executable.
    #[must_use]
    pub fn filename(&self) -> Option<&Text> {
        match &self.key {
            EntryKey::Function(function) => Some(&function.filename),
            EntryKey::File(filename) => Some(filename),
            EntryKey::Process(_) => self.executable.as_ref(),
        }
    }

    /// The line; `None` when it is unknown and for groups.
    #[must_use]
    pub fn line(&self) -> Option<u32> {
        match &self.key {
            EntryKey::Function(function) => function.line,
            EntryKey::File(_) | EntryKey::Process(_) => None,
        }
    }

    /// The function's name; `None` for groups.
    #[must_use]
    pub fn name(&self) -> Option<&Text> {
        match &self.key {
            EntryKey::Function(function) => Some(&function.name),
            EntryKey::File(_) | EntryKey::Process(_) => None,
        }
    }
}

/// A function that may be displayed.
struct Candidate<'a> {
    function: &'a Arc<Function>,
    calls: u64,
    total: u64,
    durations: Option<&'a Arc<Durations>>,
}

impl Place for Candidate<'_> {
    fn pid(&self) -> Option<u32> {
        Some(self.function.pid)
    }
    fn filename(&self) -> Option<&Text> {
        Some(&self.function.filename)
    }
    fn line(&self) -> Option<u32> {
        self.function.line
    }
    fn function(&self) -> Option<&Text> {
        Some(&self.function.name)
    }
    fn calls(&self) -> u64 {
        self.calls
    }
    fn total(&self) -> u64 {
        self.total
    }
    fn durations(&self) -> Option<&Durations> {
        self.durations.map(|durations| &**durations)
    }
}

/// `part` of `all`; 0 of nothing.
fn share(part: u64, all: u64) -> f64 {
    if all == 0 {
        0.0
    } else {
        part as f64 / all as f64
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::time::{Duration, SystemTime};

    use super::super::{Row, Uncounted};
    use super::*;

    pub(crate) fn row(pid: u32, filename: &str, line: u32, function: &str, calls: u64) -> Row {
        let line = (line > 0).then_some(line);
        Row::new(pid, filename, line, function, calls)
    }

    pub(crate) fn snapshot(rows: Vec<Row>) -> Snapshot {
        Snapshot {
            time: SystemTime::UNIX_EPOCH,
            interval: Duration::from_secs(1),
            drain: Duration::from_millis(20),
            rows,
            uncounted: Uncounted::default(),
            untimed: None,
            bounded: false,
            processes: Vec::new(),
        }
    }

    fn shown(view: &View, snapshots: &[Snapshot], kept: Option<&EntryKey>) -> Vec<String> {
        let mut totals = Totals::default();
        for snapshot in snapshots {
            totals.record(snapshot);
        }
        let entries = view.entries_with(snapshots.last().unwrap(), &totals, kept, None);
        entries
            .iter()
            .map(|entry| {
                let text = |text: Option<&Text>| text.map_or("-".into(), Text::to_string);
                format!(
                    "{} {} {} {} {} {}",
                    entry.pid.map_or("-".into(), |pid| pid.to_string()),
                    text(entry.filename()),
                    entry.line().map_or("-".into(), |line| line.to_string()),
                    text(entry.name()),
                    entry.calls,
                    entry.total
                )
            })
            .collect()
    }

    fn two() -> [Snapshot; 2] {
        [
            snapshot(vec![
                row(2, "b.py", 4, "early", 100),
                row(1, "a.py", 1, "f", 5),
            ]),
            snapshot(vec![
                row(2, "b.py", 9, "z", 3),
                row(2, "a.py", 1, "f", 3),
                row(1, "a.py", 1, "f", 3),
                row(1, "a.py", 0, "g", 8),
            ]),
        ]
    }

    #[test]
    fn equal_calls_have_one_order_whatever_the_order_of_the_rows() {
        let expected = [
            "1 a.py - g 8 8",
            "1 a.py 1 f 3 8",
            "2 a.py 1 f 3 3",
            "2 b.py 9 z 3 3",
        ];
        let [first, mut second] = two();
        assert_eq!(
            shown(&View::default(), &[first.clone(), second.clone()], None),
            expected
        );
        second.rows.reverse();
        assert_eq!(shown(&View::default(), &[first, second], None), expected);
    }

    #[test]
    fn every_key_sorts_and_reverses() {
        for (sort, first, last) in [
            (SortKey::Calls, "1 a.py - g 8 8", "2 b.py 9 z 3 3"),
            (SortKey::Total, "1 a.py - g 8 8", "2 b.py 9 z 3 3"),
            (SortKey::Pid, "1 a.py - g 8 8", "2 b.py 9 z 3 3"),
            (SortKey::Filename, "1 a.py - g 8 8", "2 b.py 9 z 3 3"),
            (SortKey::Line, "1 a.py 1 f 3 8", "1 a.py - g 8 8"),
            (SortKey::Function, "1 a.py 1 f 3 8", "2 b.py 9 z 3 3"),
        ] {
            let mut view = View {
                sort,
                ..View::default()
            };
            let entries = shown(&view, &two(), None);
            assert_eq!(entries.first().unwrap(), first, "{sort:?}");
            assert_eq!(entries.last().unwrap(), last, "{sort:?}");
            view.reverse = true;
            assert_ne!(shown(&view, &two(), None), entries, "{sort:?}");
        }
    }

    #[test]
    fn groups_add_up() {
        let mut view = View {
            group_by: GroupBy::File,
            ..View::default()
        };
        assert_eq!(
            shown(&view, &two(), None),
            ["- a.py - - 14 19", "2 b.py - - 3 103"]
        );
        view.group_by = GroupBy::Process;
        assert_eq!(
            shown(&view, &two(), None),
            ["1 - - - 11 16", "2 - - - 6 106"]
        );
        view.filter = Some("f$".parse().unwrap());
        assert_eq!(shown(&view, &two(), None), ["1 - - - 3 8", "2 - - - 3 3"]);
    }

    #[test]
    fn rows_without_calls_are_shown_on_request() {
        let mut view = View {
            top: Some(1),
            ..View::default()
        };
        assert_eq!(shown(&view, &two(), None), ["1 a.py - g 8 8"]);
        view.top = None;
        let early = EntryKey::function(&row(2, "b.py", 4, "early", 0));
        let kept = shown(&view, &two(), Some(&early));
        assert_eq!(kept.last().unwrap(), "2 b.py 4 early 0 100");
        view.idle = true;
        assert_eq!(shown(&view, &two(), Some(&early)), kept);
        view.sort = SortKey::Total;
        assert_eq!(shown(&view, &two(), None)[0], "2 b.py 4 early 0 100");
        view.filter = Some("a.py".parse().unwrap());
        assert_eq!(shown(&view, &two(), Some(&early)).len(), 3);
    }

    #[test]
    fn shares_are_of_every_call() {
        let mut snapshot = snapshot(vec![row(1, "a.py", 1, "f", 30)]);
        snapshot.uncounted.unreadable_name = 10;
        let mut totals = Totals::default();
        totals.record(&snapshot);
        let entries = View::default().entries(&snapshot, &totals);
        assert!((entries[0].share - 0.75).abs() < f64::EPSILON);
    }
}
