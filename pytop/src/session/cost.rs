//! What counting costs the processes that are counted.
//!
//! A hit costs what one was measured to cost on this machine, times a weight that was found by
//! comparing the two (`tests/cost.rs` does it again): the interpreter may have to do more because of
//! the probe. The weights are a matter of what is done, so that the cost of a hit grows and shrinks
//! with the speed of the machine as that of the measured one does.

use std::collections::VecDeque;
use std::time::Duration;

use crate::model::Method;
use crate::probe::{Meter, Probe};

/// How often a hit is measured: less than a ten-thousandth of a CPU's time.
pub(super) const PERIOD: Duration = Duration::from_millis(250);
/// Measurements that are remembered: those of four seconds, in which a machine is about equally
/// quick.
const REMEMBERED: usize = 16;

/// Knows what was spent.
#[derive(Debug)]
pub(super) struct CostMeter {
    meter: Option<Meter>,
    /// The last measurements of one hit. The one in the middle counts: what is counted meets with
    /// all that makes a processor slow or quick for a while, too.
    hits: VecDeque<Duration>,
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
            hits: VecDeque::new(),
            spent: 0.0,
            // As `cargo xtask bench` has measured it.
            hits_of_call: if with_durations { 2.1 } else { 1.0 },
        }
    }

    /// Measures what a hit costs now.
    pub(super) fn measure(&mut self) {
        if let Some(meter) = &mut self.meter {
            if self.hits.len() == REMEMBERED {
                self.hits.pop_front();
            }
            self.hits.push_back(meter.measure());
        }
    }

    /// Measures it if that was not done yet.
    pub(super) fn measure_once(&mut self) {
        if self.hits.is_empty() {
            self.measure();
        }
    }

    /// Takes in the calls of a process, and says what share of one CPU counting them has taken.
    pub(super) fn record(&mut self, method: Method, calls: u64, interval: Duration) -> Option<f64> {
        let seconds = self.of_hit(method)? * calls as f64 * self.hits_of_call;
        self.spent += seconds;
        let interval = interval.as_secs_f64();
        Some(if interval > 0.0 {
            seconds / interval
        } else {
            0.0
        })
    }

    /// What one hit costs, in seconds of processor time.
    pub(super) fn of_hit(&self, method: Method) -> Option<f64> {
        let mut hits: Vec<_> = self.hits.iter().collect();
        hits.sort_unstable();
        let middle = hits.get(hits.len() / 2)?;
        Some(middle.as_secs_f64() * weight(method))
    }

    /// The time of processors that counting has taken since the start, in seconds.
    pub(super) fn spent(&self) -> Option<f64> {
        (!self.hits.is_empty()).then_some(self.spent)
    }

    /// The probe that measures, to be taken out together with others.
    pub(super) fn take_probes(&mut self) -> Vec<Probe> {
        self.meter
            .take()
            .map(Meter::into_probes)
            .unwrap_or_default()
    }
}

/// What a hit costs, in hits of the kind that is measured.
fn weight(method: Method) -> f64 {
    match method {
        // The interpreter computes the arguments, two names as UTF-8 and the line, and returns from
        // several functions that were called before the trap (see `docs/cost.md`).
        Method::Marker => 1.55,
        // It returns likewise, the kernel emulates a `push`, and the frame is read.
        Method::Eval => 1.85,
        // Nothing but the trap is added.
        Method::Resume => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_one_cpu_and_what_was_spent_adds_up() {
        let mut meter = CostMeter::new(None, false);
        meter.hits = [800, 400, 500].map(Duration::from_nanos).into();
        let second = Duration::from_secs(1);
        let share = meter.record(Method::Resume, 200_000, second);
        assert!((share.unwrap() - 0.1).abs() < 1e-9);
        let share = meter.record(Method::Marker, 200_000, second / 2);
        assert!((share.unwrap() - 0.31).abs() < 1e-9);
        assert!((meter.spent().unwrap() - 0.255).abs() < 1e-9);
        assert_eq!(meter.record(Method::Eval, 1, Duration::ZERO), Some(0.0));
    }

    #[test]
    fn what_is_not_known_is_not_told() {
        let mut meter = CostMeter::new(None, false);
        assert_eq!(
            meter.record(Method::Resume, 7, Duration::from_secs(1)),
            None
        );
        assert_eq!(meter.spent(), None);
    }
}
