//! Whether processes that start meanwhile are counted from their first call.
//!
//! With a bound, each process gets probes of its own, which takes a few milliseconds from the moment
//! it is heard of. An interpreter needs about as long from its start to its first bytecode; a forked
//! child needs nothing at all. So there is a probe for everyone, which is hardly ever hit, on the
//! functions of the interpreter that are called just before: the *doors*. The kernel notes when a
//! process passes one first. Whose own probes were in place by then has been counted as a whole; of
//! the others it is known how much is missing.

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

/// When things happened, by the monotonic clock.
type Time = Duration;

/// What is known of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Arrival {
    /// When its probes were in place.
    probed: Option<Time>,
    /// When it passed the first door since the probes were last looked at.
    passed: Option<Time>,
    /// How long it ran Python code without probes.
    late: Option<Duration>,
    /// It is not known how long it did, at most this.
    unknown: Option<Duration>,
}

/// The processes that have started since pytop has.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    arrivals: HashMap<u32, Arrival>,
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self {
            arrivals: HashMap::new(),
        }
    }

    /// The probes of a process are in place.
    pub(super) fn probed(&mut self, pid: u32, at: Time) {
        let arrival = self.arrivals.entry(pid).or_default();
        arrival.probed = Some(at);
        arrival.judge();
    }

    /// It is the first process of its interpreter, which had no doors when it started, so long ago
    /// at most.
    pub(super) fn probed_without_door(&mut self, pid: u32, at: Time, age: Duration) {
        let arrival = self.arrivals.entry(pid).or_default();
        arrival.probed = Some(at);
        arrival.unknown = Some(age);
    }

    /// A process was seen at a door.
    pub(super) fn passed(&mut self, pid: u32, at: Time) {
        let arrival = self.arrivals.entry(pid).or_default();
        // One that passes doors of an interpreter for the second time is none that starts.
        arrival.passed.get_or_insert(at);
        arrival.judge();
    }

    /// Why the calls of a process are not complete, to complete the sentence "incomplete: …".
    pub(super) fn reason(&self, pid: u32) -> Option<Arc<str>> {
        let arrival = self.arrivals.get(&pid)?;
        if let Some(late) = arrival.late {
            let late = milliseconds(late);
            return Some(
                format!(
                    "its probes came {late} ms after its start; what it called before is missing"
                )
                .into(),
            );
        }
        let age = milliseconds(arrival.unknown?);
        Some(
            format!(
                "it is the first process of an interpreter that had not been seen before; what it \
                 called in its first {age} ms or less is missing"
            )
            .into(),
        )
    }

    /// Processes that were seen at a door and never got probes. They are told once.
    pub(super) fn take_missed(&mut self, is_alive: impl Fn(u32) -> bool) -> Vec<u32> {
        let missed = |pid: &u32, arrival: &Arrival| arrival.probed.is_none() && !is_alive(*pid);
        let missed = self
            .arrivals
            .extract_if(|pid, arrival| missed(pid, arrival));
        missed.map(|(pid, _)| pid).collect()
    }

    pub(super) fn forget(&mut self, pid: u32) {
        self.arrivals.remove(&pid);
    }
}

impl Arrival {
    fn judge(&mut self) {
        if let (Some(probed), Some(passed)) = (self.probed, self.passed) {
            let late = probed.checked_sub(passed).filter(|late| !late.is_zero());
            self.late = self.late.max(late);
            self.passed = None;
        }
    }
}

/// Rounded up: less may be missing, but not more.
fn milliseconds(duration: Duration) -> u128 {
    duration.as_micros().div_ceil(1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    #[test]
    fn who_was_probed_before_the_door_is_complete() {
        let mut arrivals = Arrivals::new();
        arrivals.probed(7, ms(10));
        assert_eq!(arrivals.reason(7), None);
        arrivals.passed(7, ms(12));
        arrivals.passed(7, ms(13));
        assert_eq!(arrivals.reason(7), None);
        assert_eq!(arrivals.reason(8), None);
    }

    #[test]
    fn who_was_probed_later_has_lost_what_lies_between() {
        let mut arrivals = Arrivals::new();
        arrivals.passed(7, ms(10));
        assert_eq!(arrivals.reason(7), None);
        arrivals.probed(7, ms(12) + Duration::from_micros(1));
        let reason = arrivals.reason(7).unwrap();
        assert!(reason.starts_with("its probes came 3 ms after"), "{reason}");
        // Another door of the same start, or of a later one, makes it no better.
        arrivals.passed(7, ms(20));
        assert_eq!(arrivals.reason(7).unwrap(), reason);
        arrivals.forget(7);
        assert_eq!(arrivals.reason(7), None);
    }

    #[test]
    fn who_never_got_probes_is_told_once_when_it_is_gone() {
        let mut arrivals = Arrivals::new();
        arrivals.passed(7, ms(10));
        arrivals.passed(8, ms(10));
        arrivals.probed(8, ms(9));
        assert!(arrivals.take_missed(|_| true).is_empty());
        assert_eq!(arrivals.take_missed(|_| false), [7]);
        assert!(arrivals.take_missed(|_| false).is_empty());
    }

    #[test]
    fn the_first_of_an_interpreter_has_no_door() {
        let mut arrivals = Arrivals::new();
        arrivals.probed_without_door(7, ms(100), ms(31));
        let reason = arrivals.reason(7).unwrap();
        assert!(
            reason.ends_with("in its first 31 ms or less is missing"),
            "{reason}"
        );
    }
}
