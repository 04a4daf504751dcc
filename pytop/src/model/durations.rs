//! How long the calls of a function took.

use std::time::Duration;

use hdrhistogram::Histogram;
use pytop_common::durations::bounds;

/// Durations are told with two digits: no less than the kernel side's buckets tell.
const DIGITS: u8 = 2;

/// The calls of a function that have ended, by their wall-clock time: waiting is in it, too.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many they are.
    finished: u64,
    /// Nanoseconds of those within no other call of the function.
    outermost: u64,
    /// Nanoseconds of those within another call of the function.
    nested: u64,
    /// Nanoseconds of all without the calls that they have made.
    own: u64,
    /// Nanoseconds of the longest one.
    longest: u64,
    /// Calls by the number of the kernel side's bucket, in the order of these.
    buckets: Vec<(u32, u64)>,
    p50: u64,
    p99: u64,
}

/// What is added to [`Durations`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Finished {
    /// Nanoseconds of calls within no other call of the function.
    pub outermost: u64,
    /// Nanoseconds of calls within another call of the function.
    pub nested: u64,
    /// Nanoseconds of all calls without those that they have made.
    pub own: u64,
    /// Nanoseconds of the longest one.
    pub longest: u64,
    /// Calls by the number of the kernel side's bucket.
    pub buckets: Vec<(u32, u64)>,
}

impl Finished {
    /// How many calls they are.
    #[must_use]
    pub fn calls(&self) -> u64 {
        self.buckets.iter().map(|(_, calls)| calls).sum()
    }
}

impl Durations {
    /// Adds calls. The percentiles are those from before, until [`Durations::settle`].
    pub fn add(&mut self, finished: &Finished) {
        self.outermost = self.outermost.saturating_add(finished.outermost);
        self.nested = self.nested.saturating_add(finished.nested);
        self.own = self.own.saturating_add(finished.own);
        self.longest = self.longest.max(finished.longest);
        for (bucket, calls) in &finished.buckets {
            self.finished = self.finished.saturating_add(*calls);
            match self.buckets.binary_search_by_key(bucket, |(it, _)| *it) {
                Ok(index) => {
                    if let Some((_, sum)) = self.buckets.get_mut(index) {
                        *sum = sum.saturating_add(*calls);
                    }
                }
                Err(index) => self.buckets.insert(index, (*bucket, *calls)),
            }
        }
    }

    /// Finds the percentiles of all that was added.
    pub fn settle(&mut self) {
        let histogram = self.histogram();
        self.p50 = self.percentile(histogram.as_ref(), 0.5);
        self.p99 = self.percentile(histogram.as_ref(), 0.99);
    }

    /// Adds the calls of another one. As for [`Durations::add`].
    pub fn merge(&mut self, other: &Self) {
        self.add(&Finished {
            outermost: other.outermost,
            nested: other.nested,
            own: other.own,
            longest: other.longest,
            buckets: other.buckets.clone(),
        });
    }

    /// Every call with the middle of its bucket.
    fn histogram(&self) -> Option<Histogram<u64>> {
        let highest = self.buckets.last().map_or(0, |(last, _)| bounds(*last).1);
        let mut histogram = Histogram::new_with_max(highest.max(2), DIGITS).ok()?;
        for (bucket, calls) in &self.buckets {
            let (least, beyond) = bounds(*bucket);
            histogram.saturating_record_n(least.midpoint(beyond), *calls);
        }
        Some(histogram)
    }

    /// No longer than the longest, of which more is known.
    fn percentile(&self, histogram: Option<&Histogram<u64>>, quantile: f64) -> u64 {
        histogram.map_or(0, |histogram| {
            histogram.value_at_quantile(quantile).min(self.longest)
        })
    }

    /// Calls that have ended, each run of a generator from its start or resumption to its `yield` or
    /// end as one.
    #[must_use]
    pub fn finished(&self) -> u64 {
        self.finished
    }

    /// The time in which at least one call ran: one within another of the same thread counts once.
    #[must_use]
    pub fn total(&self) -> Duration {
        Duration::from_nanos(self.outermost)
    }

    /// The time of all calls without the calls that they have made.
    #[must_use]
    pub fn own(&self) -> Duration {
        Duration::from_nanos(self.own)
    }

    /// The mean of the calls.
    #[must_use]
    pub fn mean(&self) -> Duration {
        let all = self.outermost.saturating_add(self.nested);
        Duration::from_nanos(all.checked_div(self.finished).unwrap_or(0))
    }

    /// Half of the calls took no longer, within 4 %.
    #[must_use]
    pub fn p50(&self) -> Duration {
        Duration::from_nanos(self.p50)
    }

    /// 99 of 100 calls took no longer, within 4 %.
    #[must_use]
    pub fn p99(&self) -> Duration {
        Duration::from_nanos(self.p99)
    }

    /// The longest call.
    #[must_use]
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.longest)
    }

    /// Calls by duration: from and up to which, and how many, shortest first.
    pub fn distribution(&self) -> impl Iterator<Item = (Duration, Duration, u64)> + '_ {
        self.buckets.iter().map(|(bucket, calls)| {
            let (least, beyond) = bounds(*bucket);
            let (least, beyond) = (Duration::from_nanos(least), Duration::from_nanos(beyond));
            (least, beyond, *calls)
        })
    }
}

/// A duration with three digits and its unit.
#[must_use]
pub fn short(duration: Duration) -> String {
    let nanoseconds = duration.as_nanos() as f64;
    let (value, unit) = match nanoseconds {
        ..999.5 => return format!("{nanoseconds:.0}ns"),
        ..999_500.0 => (nanoseconds / 1e3, "us"),
        ..999_500_000.0 => (nanoseconds / 1e6, "ms"),
        _ => (nanoseconds / 1e9, "s"),
    };
    match value {
        ..9.995 => format!("{value:.2}{unit}"),
        ..99.95 => format!("{value:.1}{unit}"),
        _ => format!("{value:.0}{unit}"),
    }
}

/// Calls that were counted but have no duration, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Untimed {
    /// More than 255 calls ran in their thread.
    pub deep: u64,
    /// There was no room for their thread.
    pub threads: u64,
    /// They were not seen ending: left by an exception, where that is not seen.
    pub unseen: u64,
    /// The table of durations was full.
    pub table_full: u64,
    /// Whose they were was not known any more.
    pub unnamed: u64,
    /// They made a generator, which is counted in 3.15, and ran nothing.
    pub generators_made: u64,
}

impl Untimed {
    /// All of them.
    #[must_use]
    pub fn total(self) -> u64 {
        self.reasons().map(|(_, calls)| calls).sum()
    }

    /// The reasons that there were, and the calls of each.
    pub fn reasons(self) -> impl Iterator<Item = (&'static str, u64)> {
        [
            ("too deep", self.deep),
            ("too many threads", self.threads),
            ("end not seen", self.unseen),
            ("table full", self.table_full),
            ("name unknown", self.unnamed),
            ("made a generator", self.generators_made),
        ]
        .into_iter()
        .filter(|(_, calls)| *calls > 0)
    }
}

#[cfg(test)]
mod tests {
    use pytop_common::durations::bucket;

    use super::*;

    fn durations(calls: &[(u64, u64)]) -> Durations {
        let mut durations = Durations::default();
        durations.add(&Finished {
            outermost: calls.iter().map(|(length, calls)| length * calls).sum(),
            longest: calls.iter().map(|(length, _)| *length).max().unwrap_or(0),
            buckets: calls
                .iter()
                .map(|(length, calls)| (bucket(*length), *calls))
                .collect(),
            ..Finished::default()
        });
        durations.settle();
        durations
    }

    fn is_near(found: Duration, expected: u64) -> bool {
        (found.as_nanos() as f64 / expected as f64 - 1.0).abs() < 0.04
    }

    #[test]
    fn percentiles_are_near() {
        for unit in [700, 1_000_000, 123_456_789, 400_000_000_000] {
            let some = durations(&[(unit, 60), (unit * 3, 38), (unit * 10, 2)]);
            assert_eq!(some.finished(), 100);
            assert!(is_near(some.p50(), unit), "{unit}: {some:?}");
            assert!(is_near(some.p99(), unit * 10), "{unit}: {some:?}");
            assert_eq!(some.longest(), Duration::from_nanos(unit * 10));
            let mean = (unit * 60 + unit * 114 + unit * 20) / 100;
            assert_eq!(some.mean(), Duration::from_nanos(mean));
        }
    }

    #[test]
    fn one_call_is_told_no_longer_than_it_was() {
        let one = durations(&[(1_000_000, 1)]);
        assert!(one.p99() <= one.longest());
        assert!(is_near(one.p50(), 1_000_000));
        let none = Durations::default();
        assert_eq!(none.mean(), Duration::ZERO);
        assert_eq!(none.p50(), Duration::ZERO);
    }

    #[test]
    fn durations_are_told_with_three_digits() {
        for (nanoseconds, expected) in [
            (0, "0ns"),
            (999, "999ns"),
            (1000, "1.00us"),
            (9_994, "9.99us"),
            (9_995, "10.0us"),
            (99_960, "100us"),
            (999_499, "999us"),
            (999_500, "1.00ms"),
            (12_345_678, "12.3ms"),
            (1_000_000_000, "1.00s"),
            (7_200_000_000_000, "7200s"),
        ] {
            assert_eq!(short(Duration::from_nanos(nanoseconds)), expected);
        }
    }

    #[test]
    fn what_is_merged_is_what_was_added() {
        let (one, other) = (durations(&[(800, 5)]), durations(&[(800, 1), (90_000, 2)]));
        let mut both = one.clone();
        both.merge(&other);
        assert_eq!(both.finished(), 8);
        assert_eq!(both.total(), one.total() + other.total());
        assert_eq!(both.distribution().count(), 2);
        let counts: Vec<u64> = both.distribution().map(|(.., calls)| calls).collect();
        assert_eq!(counts, [6, 2]);
    }

    #[test]
    fn a_nested_call_is_in_the_mean_but_not_in_the_total() {
        let mut durations = Durations::default();
        durations.add(&Finished {
            outermost: 3000,
            nested: 1000,
            own: 3000,
            longest: 3000,
            buckets: vec![(bucket(3000), 1), (bucket(1000), 1)],
        });
        assert_eq!(durations.total(), Duration::from_micros(3));
        assert_eq!(durations.mean(), Duration::from_micros(2));
        assert_eq!(durations.own(), Duration::from_micros(3));
    }
}
