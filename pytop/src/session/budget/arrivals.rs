//! Whether processes that start meanwhile are counted from their first call.
//!
//! While a process is counted in windows, the probes are not for everyone. Children of those that
//! have them inherit them. To any other process they are given when it is heard of, some
//! milliseconds after its start, and an interpreter needs about as long from its start to its first
//! bytecode. So there is a probe for everyone, which is hardly ever hit, on the functions of the
//! interpreter that are called just before: the *doors*. The kernel notes when a process passes one
//! first. Whose probes were in place by then has been counted as a whole; of the others it is known
//! how much is missing.
//!
//! ```text
//! everyone │                     only those who are listed
//! ─────────┴───────────────────────────────────────────────────────────▶ time
//!     door of a                            a is listed: it misses ├──┤ of its calls
//!           ├────────────────────────────┤
//!                 b is listed,  door of b: it misses nothing
//! ```

use std::sync::Arc;
use std::time::Duration;

use foldhash::{HashMap, HashMapExt as _};

/// When things happened, by the monotonic clock.
type Time = Duration;

/// How long a fork takes at most: a parent that was listed less than that before its end has
/// perhaps passed on nothing.
const BIRTH: Duration = Duration::from_millis(50);
/// How long it may take until a process is heard of.
const UNHEARD: Duration = Duration::from_secs(2);

/// Completes the sentence "incomplete: …", as of one that is not counted.
pub(in crate::session) const UNHEARD_OF: &str = "it ended before its probes were in place";

/// What is known of a process.
#[derive(Clone, Copy, Debug, Default)]
struct Arrival {
    /// It has had its probes in time: it was heard of while they were for everyone, or it was listed
    /// or inherited them, the last time that the list was made.
    heard: bool,
    /// When it was listed.
    listed: Option<Time>,
    /// It has its probes from another one that is listed.
    inherited: bool,
    /// Since when nobody has had the probes who was neither listed nor had inherited them, at the
    /// time at which this one was heard of.
    restricted: Time,
    /// When it passed the first door.
    passed: Option<Time>,
}

/// The processes that have started while others were counted in windows.
#[derive(Debug)]
pub(super) struct Arrivals {
    by_pid: HashMap<u32, Arrival>,
    /// Since when probes are for those only that are listed, if they are.
    restricted: Option<Time>,
    /// When that was last so.
    freed: Option<Time>,
}

impl Arrivals {
    pub(super) fn new() -> Self {
        Self {
            by_pid: HashMap::new(),
            restricted: None,
            freed: None,
        }
    }

    /// From now on probes are for these processes, and for those that inherit them. `began` is when
    /// they were about to be chosen.
    pub(super) fn restrict(&mut self, pids: &[u32], began: Time, at: Time) {
        // Whoever has missed nothing so far is counted up to now. Who is not among these is heard of
        // only later, has ended, or is counted in windows.
        self.by_pid.retain(|_, arrival| {
            if arrival.missing().is_none() {
                arrival.heard |= !arrival.is_unheard();
                (arrival.listed, arrival.inherited) = (None, false);
            }
            arrival.passed.is_some() || arrival.heard
        });
        for pid in pids {
            let arrival = self.by_pid.entry(*pid).or_default();
            if arrival.missing().is_none() {
                arrival.listed = Some(began);
                arrival.restricted = began;
            }
        }
        self.restricted = Some(at);
    }

    /// Probes are for everyone again.
    pub(super) fn free(&mut self, at: Time) {
        if self.restricted.take().is_some() {
            self.freed = Some(at);
        }
    }

    /// A process was heard of. Whether it has to be listed to have probes.
    pub(super) fn has_to_be_listed(&mut self, pid: u32) -> bool {
        let arrival = self.by_pid.entry(pid).or_default();
        if self.restricted.is_none() {
            arrival.heard = true;
        }
        self.restricted.is_some() && arrival.listed.is_none()
    }

    /// A process is listed from now on.
    pub(super) fn list(&mut self, pid: u32, at: Time) {
        if let Some(restricted) = self.restricted {
            let arrival = self.by_pid.entry(pid).or_default();
            arrival.listed = Some(at);
            arrival.restricted = restricted;
        }
    }

    /// A process has made another one, which has its probes if it was listed by then.
    pub(super) fn forked(&mut self, parent: u32, child: u32, at: Time) {
        let Some(restricted) = self.restricted else {
            return;
        };
        // One that has only inherited them itself may lose them, and then has none to pass on.
        let since = self.by_pid.get(&parent).and_then(|parent| parent.listed);
        let arrival = self.by_pid.entry(child).or_default();
        arrival.restricted = restricted;
        arrival.inherited = since.is_some_and(|since| since + BIRTH <= at);
    }

    /// A process was seen at a door.
    pub(super) fn passed(&mut self, pid: u32, at: Time) {
        let arrival = self.by_pid.entry(pid).or_default();
        // One that passes doors of an interpreter for the second time is none that starts.
        arrival.passed.get_or_insert(at);
    }

    /// Why the calls of a process are not complete, to complete the sentence "incomplete: …".
    pub(super) fn reason(&self, pid: u32) -> Option<Arc<str>> {
        let arrival = self.by_pid.get(&pid)?;
        if arrival.is_unheard() && self.was_restricted_since(arrival.passed?) {
            return Some(UNHEARD_OF.into());
        }
        let missing = arrival.missing()?;
        // Rounded up: less may be missing, but not more.
        let missing = missing.as_micros().div_ceil(1000);
        Some(
            format!(
                "its probes came {missing} ms after its start; what it called before may be missing"
            )
            .into(),
        )
    }

    fn was_restricted_since(&self, time: Time) -> bool {
        self.restricted.is_some() || self.freed.is_some_and(|freed| freed > time)
    }

    /// Processes that were seen at a door and never got probes. They are told once.
    pub(super) fn take_missed(&mut self, now: Time, is_known: impl Fn(u32) -> bool) -> Vec<u32> {
        let (restricted, freed) = (self.restricted, self.freed);
        let was_restricted =
            |passed| restricted.is_some() || freed.is_some_and(|freed| freed > passed);
        let mut missed = Vec::new();
        self.by_pid.retain(|pid, arrival| {
            let Some(passed) = arrival.passed else {
                return true;
            };
            if arrival.is_unheard() && !is_known(*pid) && was_restricted(passed) {
                missed.push(*pid);
                return false;
            }
            restricted.is_some() || now.saturating_sub(passed) <= UNHEARD
        });
        missed
    }

    pub(super) fn forget(&mut self, pid: u32) {
        self.by_pid.remove(&pid);
    }
}

impl Arrival {
    /// It has never had probes.
    fn is_unheard(&self) -> bool {
        !self.heard && self.listed.is_none() && !self.inherited
    }

    /// How long it ran Python code without probes, if it did.
    fn missing(&self) -> Option<Duration> {
        // One that was never listed has been counted with everyone else.
        let (passed, listed) = (self.passed?, self.listed?);
        if self.inherited {
            return None;
        }
        let late = listed.checked_sub(passed.max(self.restricted))?;
        (!late.is_zero()).then_some(late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn restricted() -> Arrivals {
        let mut arrivals = Arrivals::new();
        arrivals.restrict(&[1], ms(999), ms(1000));
        arrivals
    }

    #[test]
    fn who_is_listed_before_the_door_is_complete() {
        let mut arrivals = restricted();
        assert!(!arrivals.has_to_be_listed(1));
        assert!(arrivals.has_to_be_listed(7));
        arrivals.list(7, ms(1010));
        arrivals.passed(7, ms(1012));
        arrivals.passed(7, ms(1013));
        assert_eq!(arrivals.reason(7), None);
        assert_eq!(arrivals.reason(8), None);
    }

    #[test]
    fn who_is_listed_later_has_lost_what_lies_between() {
        let mut arrivals = restricted();
        arrivals.passed(7, ms(1010));
        assert_eq!(arrivals.reason(7).unwrap(), UNHEARD_OF.into());
        arrivals.list(7, ms(1012) + Duration::from_micros(1));
        let reason = arrivals.reason(7).unwrap();
        assert!(reason.starts_with("its probes came 3 ms after"), "{reason}");
        // Another door of the same start, or of a later one, makes it no better.
        arrivals.passed(7, ms(1020));
        assert_eq!(arrivals.reason(7).unwrap(), reason);
        arrivals.restrict(&[1, 7], ms(2000), ms(2001));
        assert_eq!(arrivals.reason(7).unwrap(), reason);
        arrivals.forget(7);
        assert_eq!(arrivals.reason(7), None);
    }

    #[test]
    fn who_started_before_has_lost_what_came_after() {
        let mut arrivals = Arrivals::new();
        arrivals.passed(7, ms(990));
        arrivals.restrict(&[1], ms(999), ms(1000));
        arrivals.list(7, ms(1004));
        let reason = arrivals.reason(7).unwrap();
        assert!(reason.starts_with("its probes came 4 ms after"), "{reason}");
    }

    #[test]
    fn children_inherit_from_who_was_listed_before() {
        let mut arrivals = restricted();
        arrivals.forked(1, 7, ms(1099));
        arrivals.passed(7, ms(1100));
        assert_eq!(arrivals.reason(7), None);
        // It has to be listed nevertheless, so that its own children can inherit from it.
        assert!(arrivals.has_to_be_listed(7));
        arrivals.forked(7, 8, ms(1105));
        arrivals.passed(8, ms(1110));
        arrivals.list(7, ms(1120));
        arrivals.list(8, ms(1120));
        assert_eq!(arrivals.reason(7), None);
        assert!(arrivals.reason(8).is_some());
        // A child of one that is not listed is like any other.
        arrivals.forked(2, 9, ms(1299));
        assert!(arrivals.has_to_be_listed(9));
        arrivals.passed(9, ms(1300));
        arrivals.list(9, ms(1302));
        assert!(arrivals.reason(9).is_some());
        // So is one that was made while its parent was listed, or before.
        arrivals.forked(1, 10, ms(1010));
        assert!(arrivals.has_to_be_listed(10));
        arrivals.list(10, ms(1020));
        arrivals.passed(10, ms(1100));
        assert_eq!(arrivals.reason(10), None);
    }

    #[test]
    fn who_has_had_probes_misses_none_when_the_list_is_made_anew() {
        let mut arrivals = restricted();
        arrivals.list(7, ms(1010));
        arrivals.passed(7, ms(1012));
        arrivals.forked(1, 8, ms(1100));
        arrivals.passed(8, ms(1101));
        // One of them is counted in windows from now on, the other has ended.
        arrivals.restrict(&[1], ms(2000), ms(2001));
        assert_eq!((arrivals.reason(7), arrivals.reason(8)), (None, None));
        assert!(arrivals.take_missed(ms(2010), |_| false).is_empty());
    }

    #[test]
    fn who_never_got_probes_is_told_once() {
        let mut arrivals = restricted();
        arrivals.passed(7, ms(1010));
        arrivals.passed(8, ms(1010));
        arrivals.list(8, ms(1009));
        assert!(arrivals.take_missed(ms(1011), |pid| pid == 7).is_empty());
        assert_eq!(arrivals.take_missed(ms(1011), |_| false), [7]);
        assert!(arrivals.take_missed(ms(1011), |_| false).is_empty());
    }

    #[test]
    fn with_probes_for_everyone_nobody_misses_anything() {
        let mut arrivals = restricted();
        arrivals.passed(6, ms(1005));
        arrivals.free(ms(1006));
        assert!(!arrivals.has_to_be_listed(7));
        arrivals.passed(7, ms(1010));
        arrivals.list(7, ms(1020));
        arrivals.passed(8, ms(1010));
        assert_eq!((arrivals.reason(7), arrivals.reason(8)), (None, None));
        // But who passed a door before that, and was never heard of, has missed something.
        assert_eq!(arrivals.reason(6).unwrap(), UNHEARD_OF.into());
        assert_eq!(arrivals.take_missed(ms(1030), |_| false), [6]);
        assert_eq!(arrivals.by_pid.len(), 3);
        assert!(arrivals.take_missed(ms(9000), |_| false).is_empty());
        assert_eq!(arrivals.by_pid.len(), 1);
    }
}
