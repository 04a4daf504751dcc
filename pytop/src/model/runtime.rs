//! What an interpreter does beside running code.

use std::time::Duration;

/// Collections and imports of a process in one interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Runtime {
    /// Its garbage collections; `None` where the interpreter does not tell.
    pub gc: Option<Collections>,
    /// Modules that it has imported; `None` where the interpreter does not tell.
    pub imports: Option<u64>,
}

/// Garbage collections that have ended in an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Collections {
    /// How many.
    pub count: u64,
    /// The time that they took, all together. Of one that began before the interval, all of it.
    pub pause: Duration,
    /// The time that the longest of them took.
    pub longest: Duration,
}

impl Collections {
    /// The share of the interval that was spent in collections; 0 for an empty interval. Above 1
    /// when they began earlier, or several threads collected at once.
    #[must_use]
    pub fn share(&self, interval: Duration) -> f64 {
        if interval.is_zero() {
            0.0
        } else {
            self.pause.as_secs_f64() / interval.as_secs_f64()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_share_is_that_of_the_interval() {
        let collections = Collections {
            count: 2,
            pause: Duration::from_millis(50),
            longest: Duration::from_millis(30),
        };
        for (interval, expected) in [(0, 0.0), (25, 2.0), (200, 0.25)] {
            let share = collections.share(Duration::from_millis(interval));
            assert!((share - expected).abs() < 1e-12, "{interval}: {share}");
        }
    }
}
