//! What counting costs the processes that are counted.
//!
//! A hit costs what one was measured to cost on this machine, with weights that were found by
//! comparing the two (`tests/cost.rs` does it again): the interpreter may have to do more because of
//! the probe. The weights are a matter of what is done, so that the cost of a hit grows and shrinks
//! with the speed of the machine as that of the measured one does. What differs from one kind of
//! processor to another is measured: whether a return after a trap costs anything.
//!
//! Processors that are shared with other machines are by a fifth quicker or slower for seconds, each
//! for itself. So it is measured on those of the processes that lose most.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::discover::ProcRoot;
use crate::model::Method;
use crate::probe::{HitCost, Meter, Probe};

/// How often a hit is measured, which takes some 0.05 % of a CPU.
pub(super) const PERIOD: Duration = Duration::from_millis(250);
/// Processes to whose processors pytop goes in turn.
const VISITED: usize = 4;
/// The least share of a CPU that is worth it.
const WORTH: f64 = 0.001;

/// Knows what was spent.
pub(super) struct CostMeter {
    meter: Option<Meter>,
    proc_root: Option<ProcRoot>,
    /// Measured wherever pytop was.
    anywhere: Hits,
    /// Measured on the processors of the processes that lose most.
    visited: HashMap<u32, Hits>,
    turn: usize,
    /// The processes of this interval, with their shares of a CPU.
    shares: Vec<(u32, f64)>,
    /// The time of processors that all hits have taken so far, in seconds.
    spent: f64,
    /// Hits of the kind that is counted that a call costs: its end may be seen, too.
    hits_of_call: f64,
}

impl CostMeter {
    /// Without a meter, no cost is known.
    pub(super) fn new(meter: Option<Meter>, with_durations: bool) -> Self {
        Self {
            meter,
            proc_root: ProcRoot::host().ok(),
            anywhere: Hits::default(),
            visited: HashMap::new(),
            turn: 0,
            shares: Vec::new(),
            spent: 0.0,
            // As `cargo xtask bench` has measured it.
            hits_of_call: if with_durations { 2.1 } else { 1.0 },
        }
    }

    /// Measures what a hit costs now, on the processor of one of those that lose most.
    pub(super) fn measure(&mut self) {
        let Some(meter) = &mut self.meter else { return };
        self.turn += 1;
        let whose = self.turn.checked_rem(self.visited.len()).unwrap_or(0);
        let visited = self.visited.iter_mut().nth(whose);
        let (processor, hits) = match visited {
            Some((pid, hits)) => (processor(self.proc_root.as_ref(), *pid), hits),
            None => (None, &mut self.anywhere),
        };
        hits.add(meter.measure(processor));
    }

    /// Measures it if that was not done yet.
    pub(super) fn measure_once(&mut self) {
        if self.anywhere.0.is_empty() {
            self.measure();
        }
    }

    /// Takes in the calls of a process, and how often it passed milestones; says what share of one CPU
    /// counting them has taken.
    pub(super) fn record(
        &mut self,
        pid: u32,
        method: Method,
        (calls, passes): (u64, u64),
        interval: Duration,
    ) -> Option<f64> {
        let seconds = self.of_hit(pid, method)? * calls as f64 * self.hits_of_call
            + self.of_pass(pid)? * passes as f64;
        self.spent += seconds;
        let interval = interval.as_secs_f64();
        let share = if interval > 0.0 {
            seconds / interval
        } else {
            0.0
        };
        if share > WORTH {
            self.shares.push((pid, share));
        }
        Some(share)
    }

    /// All processes of an interval were taken in: chooses whose processors are measured next.
    pub(super) fn end_interval(&mut self) {
        if let Some(meter) = &mut self.meter {
            meter.end_interval();
        }
        self.shares
            .sort_unstable_by(|(_, one), (_, other)| other.total_cmp(one));
        self.shares.truncate(VISITED);
        let mut before = std::mem::take(&mut self.visited);
        for (pid, _) in self.shares.drain(..) {
            let hits = before.remove(&pid).unwrap_or_default();
            self.visited.insert(pid, hits);
        }
    }

    /// What one hit costs a process, in seconds of processor time.
    pub(super) fn of_hit(&self, pid: u32, method: Method) -> Option<f64> {
        let own = self.visited.get(&pid).and_then(Hits::middle);
        let middle = own.or_else(|| self.anywhere.middle())?;
        Some(weighted(middle, method))
    }

    /// What passing a milestone costs a process, likewise: a function begins, as the one that evaluates
    /// a frame does.
    pub(super) fn of_pass(&self, pid: u32) -> Option<f64> {
        self.of_hit(pid, Method::Eval)
    }

    /// The time of processors that counting has taken since the start, in seconds.
    pub(super) fn spent(&self) -> Option<f64> {
        (!self.anywhere.0.is_empty()).then_some(self.spent)
    }

    /// Has breakpoints go at once for some milliseconds; without a meter, processes wait for that.
    pub(super) fn hasten_gates(&mut self, pid: u32) {
        if let Some(meter) = &mut self.meter {
            meter.hasten_gates(pid);
        }
    }

    /// The probe that measures, to be taken out together with others.
    pub(super) fn take_probes(&mut self) -> Vec<Probe> {
        self.meter
            .take()
            .map(Meter::into_probes)
            .unwrap_or_default()
    }
}

/// The last measurements of a hit. Those in the middle count: what is counted meets with all that
/// makes a processor slow or quick for a while, too.
#[derive(Default)]
struct Hits(VecDeque<HitCost>);

impl Hits {
    /// Those of some seconds, in which a machine is about equally quick.
    const MOST: usize = 16;

    fn add(&mut self, hit: HitCost) {
        if self.0.len() == Self::MOST {
            self.0.pop_front();
        }
        self.0.push_back(hit);
    }

    fn middle(&self) -> Option<HitCost> {
        let middle = |part: fn(&HitCost) -> Duration| {
            let mut sorted: Vec<_> = self.0.iter().map(part).collect();
            sorted.sort_unstable();
            sorted.get(sorted.len() / 2).copied()
        };
        Some(HitCost {
            trap: middle(|hit| hit.trap)?,
            returns: middle(|hit| hit.returns)?,
        })
    }
}

/// Where a process runs, if a thread that goes there gets to run as well.
fn processor(root: Option<&ProcRoot>, pid: u32) -> Option<u32> {
    let stat = root?.stat(pid).ok()?;
    stat.processor.filter(|_| !stat.real_time)
}

/// What a hit of a method costs, in seconds.
fn weighted(hit: HitCost, method: Method) -> f64 {
    let (trap, returns) = match method {
        // The interpreter computes the arguments, two names as UTF-8 and the line, and returns from
        // functions that were called before the trap (see `docs/cost.md`).
        Method::Marker => (1.08, 0.75),
        // It returns likewise, the kernel emulates a `push`, and the frame is read.
        Method::Eval => (1.29, 1.0),
        // We take it that the interpreter's code, more than the loop of the meter, is fetched anew.
        Method::Resume => (1.06, 0.0),
    };
    hit.trap.as_secs_f64() * trap + hit.returns.as_secs_f64() * returns
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hit((trap, returns): (u64, u64)) -> HitCost {
        HitCost {
            trap: Duration::from_nanos(trap),
            returns: Duration::from_nanos(returns),
        }
    }

    #[test]
    fn the_share_is_that_of_one_cpu_and_what_was_spent_adds_up() {
        let mut meter = CostMeter::new(None, false);
        let hits = [(800, 0), (400, 40), (500, 500)];
        meter.anywhere = Hits(hits.map(hit).into());
        let second = Duration::from_secs(1);
        let share = meter.record(1, Method::Resume, (200_000, 0), second);
        assert!((share.unwrap() - 0.106).abs() < 1e-9);
        let share = meter.record(2, Method::Marker, (200_000, 0), second / 2);
        assert!((share.unwrap() - 0.228).abs() < 1e-9);
        assert!((meter.spent().unwrap() - 0.22).abs() < 1e-9);
        let none = meter.record(3, Method::Eval, (1, 1), Duration::ZERO);
        assert_eq!(none, Some(0.0));
    }

    #[test]
    fn who_loses_most_has_a_measure_of_its_own() {
        let mut meter = CostMeter::new(None, false);
        meter.anywhere.add(hit((500, 0)));
        let second = Duration::from_secs(1);
        for pid in 1..=6 {
            let calls = 10_000 * u64::from(pid);
            let share = meter.record(pid, Method::Resume, (calls, 0), second);
            assert!(share.is_some());
        }
        meter.end_interval();
        let mut visited: Vec<_> = meter.visited.keys().copied().collect();
        visited.sort_unstable();
        assert_eq!(visited, [3, 4, 5, 6]);
        meter.visited.get_mut(&5).unwrap().add(hit((700, 0)));
        let of = |meter: &CostMeter, pid| meter.of_hit(pid, Method::Resume).unwrap() * 1e9;
        let same = |one: f64, other: f64| (one - other).abs() < 1e-6 * other;
        assert!(same(of(&meter, 5) / of(&meter, 1), 1.4));
        assert!(same(of(&meter, 6), of(&meter, 1)));
        // It calls nothing any more.
        meter.end_interval();
        assert!(same(of(&meter, 5), of(&meter, 1)));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let mut meter = CostMeter::new(None, false);
        assert_eq!(
            meter.record(1, Method::Resume, (7, 0), Duration::from_secs(1)),
            None
        );
        assert_eq!(meter.spent(), None);
    }
}
