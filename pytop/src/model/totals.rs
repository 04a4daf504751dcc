//! What is remembered from snapshot to snapshot: calls in total, and the history of each row.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _, HashSet};

use super::{Durations, EntryKey, Function, History, Row, Snapshot, Text, Uncounted};

/// What is remembered of a function.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) function: Arc<Function>,
    pub(crate) total: u64,
    /// Of all calls that have ended.
    durations: Option<Box<Durations>>,
    /// The last snapshot in which it was called.
    last_tick: u64,
}

/// Calls since the start or the last reset, of every function that is remembered.
///
/// A machine that starts processes for days, or code that invents names, has no end of functions.
/// At most [`Totals::CAPACITY`] are remembered beside those of the last snapshot; beyond that,
/// those go that were not called for the longest time.
#[derive(Clone, Debug, Default)]
pub struct Totals {
    /// In the order in which they came. Snapshots keep to it too, see [`Position`].
    functions: Vec<Known>,
    /// The numbers of the functions.
    numbers: HashMap<Arc<Function>, usize>,
    history: History,
    /// Executables of the processes that functions are remembered of.
    executables: HashMap<u32, Text>,
    /// Processes some of whose calls were estimates.
    estimated: HashSet<u32>,
    /// Snapshots recorded.
    tick: u64,
    /// Calls per second of everything, oldest first.
    rates: VecDeque<f32>,
    /// The lengths of the last intervals, oldest first.
    intervals: VecDeque<Duration>,
    calls: u64,
    uncounted: Uncounted,
    forgotten: u64,
}

impl Totals {
    /// Functions that are remembered.
    pub const CAPACITY: usize = 100_000;
    /// Intervals whose calls per second of everything are remembered.
    pub const RATES: usize = 600;

    /// Adds a snapshot.
    pub fn record(&mut self, snapshot: &Snapshot) {
        self.tick += 1;
        let seconds = snapshot.interval.as_secs_f32();
        self.history.begin(self.functions.len());
        let mut position = Position::default();
        for row in &snapshot.rows {
            let found = position.find(&self.functions, &self.numbers, &row.function);
            let number = found.unwrap_or_else(|| self.add(&row.function));
            if let Some(known) = self.functions.get_mut(number) {
                known.total = known.total.saturating_add(row.calls);
                known.last_tick = self.tick;
                if let Some(durations) = &row.durations {
                    known.durations.get_or_insert_default().merge(durations);
                }
                if !Arc::ptr_eq(&known.function, &row.function) {
                    // The same names at another place, where it will be from now on.
                    known.function = Arc::clone(&row.function);
                }
            }
            self.history.record(number, rate(row.calls as f32, seconds));
        }
        for process in &snapshot.processes {
            let name = if process.exe.is_empty() {
                &process.comm
            } else {
                &process.exe
            };
            self.executables.insert(process.pid, name.clone());
            if process.estimate.is_some() {
                self.estimated.insert(process.pid);
            }
        }
        let calls = snapshot.total_calls();
        self.calls = self.calls.saturating_add(calls);
        let uncounted = &mut self.uncounted;
        uncounted.table_full += snapshot.uncounted.table_full;
        uncounted.unreadable_name += snapshot.uncounted.unreadable_name;
        uncounted.implausible += snapshot.uncounted.implausible;
        push(&mut self.rates, Self::RATES, rate(calls as f32, seconds));
        push(&mut self.intervals, Self::RATES, snapshot.interval);
        self.forget(Self::CAPACITY);
    }

    fn add(&mut self, function: &Arc<Function>) -> usize {
        let number = self.functions.len();
        self.functions.push(Known {
            function: Arc::clone(function),
            total: 0,
            durations: None,
            last_tick: self.tick,
        });
        self.numbers.insert(Arc::clone(function), number);
        number
    }

    /// Starts anew: everything is forgotten.
    pub fn reset(&mut self) {
        *self = Self::default();
    }

    /// Calls in total, those in no row included.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.calls
    }

    /// Whether the calls in total contain estimates.
    #[must_use]
    pub fn is_estimated(&self) -> bool {
        !self.estimated.is_empty()
    }

    /// Whether the calls in total of a process contain estimates.
    #[must_use]
    pub fn is_estimate_of(&self, pid: u32) -> bool {
        self.estimated.contains(&pid)
    }

    /// Calls in total that are in no row.
    #[must_use]
    pub fn uncounted(&self) -> Uncounted {
        self.uncounted
    }

    /// Calls of functions that are no longer remembered.
    #[must_use]
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Calls per second of everything, one sample an interval, oldest first.
    #[must_use]
    pub fn rates(&self) -> impl DoubleEndedIterator<Item = f32> + ExactSizeIterator {
        self.rates.iter().copied()
    }

    /// The time that the last `samples` intervals cover.
    #[must_use]
    pub fn span(&self, samples: usize) -> Duration {
        self.intervals.iter().rev().take(samples).sum()
    }

    /// Snapshots since the start or the last reset.
    #[must_use]
    pub fn snapshots(&self) -> u64 {
        self.tick
    }

    /// Functions that are remembered.
    #[must_use]
    pub fn functions(&self) -> usize {
        self.functions.len()
    }

    /// Calls in total of a function; 0 when it is not remembered.
    #[must_use]
    pub fn of(&self, row: &Row) -> u64 {
        self.get(&row.function).map_or(0, |known| known.total)
    }

    /// The calls of a function that have ended, in total; `None` when there is none.
    #[must_use]
    pub fn durations_of(&self, function: &Function) -> Option<Durations> {
        let mut durations = Durations::clone(self.get(function)?.durations.as_deref()?);
        durations.settle();
        Some(durations)
    }

    /// Calls in total of what a displayed row stands for.
    #[must_use]
    pub fn total_of(&self, key: &EntryKey) -> u64 {
        if let EntryKey::Function(function) = key {
            return self.get(function).map_or(0, |known| known.total);
        }
        let functions = self.functions.iter();
        functions
            .filter(|known| key.covers(&known.function))
            .map(|known| known.total)
            .sum()
    }

    /// Calls per second of the last `samples` intervals for each of `keys`, oldest first. One
    /// pass over what is remembered for all keys together.
    #[must_use]
    pub fn histories(&self, keys: &[EntryKey], samples: usize) -> Vec<Vec<f32>> {
        let mut histories = vec![vec![0.0; samples]; keys.len()];
        let mut files = HashMap::new();
        let mut processes = HashMap::new();
        for (index, (key, sums)) in keys.iter().zip(&mut histories).enumerate() {
            match key {
                EntryKey::Function(function) => {
                    if let Some(number) = self.numbers.get(function) {
                        self.history.add_to(*number, sums);
                    }
                }
                EntryKey::File(filename) => {
                    files.insert(filename, index);
                }
                EntryKey::Process(pid) => {
                    processes.insert(pid, index);
                }
            }
        }
        if files.is_empty() && processes.is_empty() {
            return histories;
        }
        for (number, known) in self.functions.iter().enumerate() {
            let function = &known.function;
            let groups = [files.get(&function.filename), processes.get(&function.pid)];
            for index in groups.into_iter().flatten() {
                if let Some(sums) = histories.get_mut(*index) {
                    self.history.add_to(number, sums);
                }
            }
        }
        histories
    }

    pub(super) fn finder(&self) -> Finder<'_> {
        Finder {
            totals: self,
            position: Position::default(),
        }
    }

    pub(crate) fn known(&self) -> impl Iterator<Item = &Known> {
        self.functions.iter()
    }

    pub(crate) fn get(&self, function: &Function) -> Option<&Known> {
        self.functions.get(*self.numbers.get(function)?)
    }

    /// Whether a function was called in the last snapshot.
    pub(crate) fn is_active(&self, known: &Known) -> bool {
        known.last_tick == self.tick
    }

    pub(crate) fn executable(&self, pid: u32) -> Option<&Text> {
        self.executables.get(&pid)
    }

    /// Drops the functions that were quiet for the longest time until a quarter of `capacity` is
    /// free again, so that this pass is rare, and never one of the last snapshot.
    fn forget(&mut self, capacity: usize) {
        if self.functions.len() > capacity {
            let ticks = self.functions.iter().map(|known| known.last_tick);
            let mut ticks: Vec<u64> = ticks.collect();
            let excess = self.functions.len() - capacity * 3 / 4;
            let (_, newest_to_go, _) = ticks.select_nth_unstable(excess.saturating_sub(1));
            let newest_to_go = (*newest_to_go).min(self.tick.saturating_sub(1));
            let mut kept = Vec::new();
            for (number, known) in self.functions.iter().enumerate() {
                if known.last_tick > newest_to_go {
                    kept.push(number);
                } else {
                    self.forgotten = self.forgotten.saturating_add(known.total);
                }
            }
            if kept.len() < self.functions.len() {
                self.functions
                    .retain(|known| known.last_tick > newest_to_go);
                let functions = self.functions.iter().enumerate();
                self.numbers = functions
                    .map(|(number, known)| (Arc::clone(&known.function), number))
                    .collect();
                self.history.keep(&kept);
            }
        }
        if self.executables.len() > capacity {
            let functions = self.functions.iter();
            let pids: HashSet<u32> = functions.map(|known| known.function.pid).collect();
            self.executables.retain(|pid, _| pids.contains(pid));
        }
    }
}

/// What is remembered of the functions of rows, one after the other.
pub(super) struct Finder<'a> {
    totals: &'a Totals,
    position: Position,
}

impl<'a> Finder<'a> {
    pub(super) fn find(&mut self, function: &Arc<Function>) -> Option<&'a Known> {
        let Totals {
            functions, numbers, ..
        } = self.totals;
        functions.get(self.position.find(functions, numbers, function)?)
    }
}

/// Where the function of the next row is to be expected.
///
/// Rows mostly come in the order in which their functions came first. So the next one is nearly
/// always that behind the last, or a few further on, and is known by its address: neither it nor
/// the table of numbers has to be fetched from memory, of which each costs more than all else.
#[derive(Default)]
struct Position {
    next: usize,
}

impl Position {
    /// Functions that are looked at before the table is asked.
    const NEAR: usize = 8;

    fn find(
        &mut self,
        functions: &[Known],
        numbers: &HashMap<Arc<Function>, usize>,
        function: &Arc<Function>,
    ) -> Option<usize> {
        let near = functions.iter().skip(self.next).take(Self::NEAR);
        let ahead = near
            .into_iter()
            .position(|known| Arc::ptr_eq(&known.function, function));
        let number = match ahead {
            Some(ahead) => self.next + ahead,
            None => *numbers.get(function)?,
        };
        self.next = number + 1;
        Some(number)
    }
}

fn rate(calls: f32, seconds: f32) -> f32 {
    if seconds > 0.0 { calls / seconds } else { 0.0 }
}

fn push<T>(ring: &mut VecDeque<T>, capacity: usize, value: T) {
    if ring.len() == capacity {
        ring.pop_front();
    }
    ring.push_back(value);
}

#[cfg(test)]
mod tests {
    use super::super::view::tests::{row, snapshot};
    use super::*;

    #[test]
    fn calls_add_up_and_a_reset_forgets_them() {
        let mut totals = Totals::default();
        let rows = vec![row(1, "a.py", 1, "f", 7), row(1, "a.py", 2, "g", 11)];
        for _ in 0..3 {
            let mut snapshot = snapshot(rows.clone());
            snapshot.uncounted.table_full = 2;
            totals.record(&snapshot);
        }
        assert_eq!(totals.of(&rows[0]), 21);
        assert_eq!(totals.total_of(&EntryKey::function(&rows[1])), 33);
        assert_eq!(totals.total_of(&EntryKey::Process(1)), 54);
        assert_eq!(totals.total_of(&EntryKey::File("a.py".into())), 54);
        assert_eq!(totals.calls(), 60);
        assert_eq!(totals.uncounted().total(), 6);
        assert_eq!(totals.span(2), Duration::from_secs(2));
        totals.reset();
        assert_eq!((totals.calls(), totals.functions()), (0, 0));
    }

    #[test]
    fn a_group_has_the_sum_of_its_histories() {
        let mut totals = Totals::default();
        totals.record(&snapshot(vec![row(1, "a.py", 1, "f", 7)]));
        totals.record(&snapshot(vec![
            row(1, "a.py", 1, "f", 1),
            row(2, "a.py", 2, "g", 11),
        ]));
        let keys = [EntryKey::File("a.py".into())];
        assert_eq!(totals.histories(&keys, 3), [[0.0, 7.0, 12.0]]);
        let keys = [EntryKey::Process(2), EntryKey::Process(3)];
        assert_eq!(totals.histories(&keys, 2), [[0.0, 11.0], [0.0, 0.0]]);
        let keys = [EntryKey::function(&row(1, "a.py", 1, "f", 0))];
        assert_eq!(totals.histories(&keys, 2), [[7.0, 1.0]]);
    }

    #[test]
    fn what_was_quiet_longest_is_forgotten_first_and_nothing_of_the_last_snapshot() {
        let mut totals = Totals::default();
        for tick in 0..10 {
            totals.record(&snapshot(vec![
                row(1, "a.py", tick, "once", 1),
                row(1, "a.py", 0, "always", 1),
            ]));
        }
        totals.forget(8);
        assert_eq!(totals.functions(), 6);
        assert_eq!(totals.of(&row(1, "a.py", 0, "always", 0)), 10);
        assert_eq!(totals.of(&row(1, "a.py", 4, "once", 0)), 0);
        assert_eq!(totals.of(&row(1, "a.py", 5, "once", 0)), 1);
        assert_eq!(totals.forgotten(), 5);
        totals.forget(0);
        assert_eq!(totals.functions(), 2);
    }
}
