//! Finding a milestone: a place that a process passes often enough to tell how it gets on, and seldom
//! enough that counting the passes costs next to nothing.
//!
//! All places that could be one are counted at once, which may cost as much as counting calls, so it
//! is over soon; those that were passed too often are left out, and the rest is counted for longer.
//!
//! ```text
//! 60 places, 5 ms ──▶ 58 are left, 40 ms: none is passed too often, and this one most
//! ```
//!
//! Nothing here knows a clock, a process, or a probe.

/// The longest look, in seconds of processor time.
const LONG: f64 = 0.1;
/// Passes in a look that a milestone has at least: a window is to have some.
const ENOUGH: u64 = 30;
/// Looks at most.
const STAGES: usize = 8;
/// What is passed more often than this times what is allowed is left out at once. How often it is in
/// the process's own time is not known well while much else is counted.
const TOO_OFTEN: f64 = 4.0;
/// The part of its time that is the process's own at least, whatever it passes.
const LEAST_OWN: f64 = 0.05;

/// What one may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Price {
    /// A pass, in seconds of processor time.
    pub(super) pass: f64,
    /// All passes of a look, likewise.
    pub(super) look: f64,
    /// Those of the milestone in the end, as a part of the process's own time: what is good, and what
    /// it may be at most.
    pub(super) share: (f64, f64),
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It goes on.
    GoOn,
    /// Only the [`Search::places`] that are left are to be counted from now on, from 0 again.
    Narrow,
    /// This is it.
    Found(u64),
    /// There is none.
    Nothing,
}

/// A search.
#[derive(Debug)]
pub(super) struct Search {
    places: Vec<u64>,
    stage: usize,
}

impl Search {
    /// A search among some places.
    pub(super) fn new(places: Vec<u64>) -> Self {
        Self { places, stage: 0 }
    }

    /// The places that are to be counted.
    pub(super) fn places(&self) -> &[u64] {
        &self.places
    }

    /// Takes in the passes of each place since they are counted, in which time the process has used
    /// so much processor time, in seconds.
    pub(super) fn take(&mut self, used: f64, passes: &[u64], price: Price) -> Outcome {
        let all: u64 = passes.iter().sum();
        let spent = all as f64 * price.pass;
        if spent < price.look && used < LONG {
            return Outcome::GoOn;
        }
        let own = (used - spent).max(used * LEAST_OWN);
        let share = |passes: u64| passes as f64 * price.pass / own;
        let counted = || self.places.iter().copied().zip(passes.iter().copied());
        let (good, most) = price.share;
        let rest = counted().filter(|(_, passes)| share(*passes) <= TOO_OFTEN * good);
        let rest: Vec<u64> = rest.map(|(place, _)| place).collect();
        if rest.len() < self.places.len() {
            self.stage += 1;
            if rest.is_empty() || self.stage == STAGES {
                return Outcome::Nothing;
            }
            self.places = rest;
            return Outcome::Narrow;
        }
        let fit = |(_, passes): &(u64, u64)| *passes >= ENOUGH && share(*passes) <= most;
        let (fine, dear): (Vec<_>, Vec<_>) = counted()
            .filter(fit)
            .partition(|(_, passes)| share(*passes) <= good);
        let best = fine.into_iter().max_by_key(|(_, passes)| *passes);
        let best = best.or_else(|| dear.into_iter().min_by_key(|(_, passes)| *passes));
        best.map_or(Outcome::Nothing, |(place, _)| Outcome::Found(place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PRICE: Price = Price {
        pass: 1e-6,
        look: 0.004,
        share: (0.015, 0.03),
    };

    /// Searches among places that are passed so often in a second of the process's own time; what it
    /// found, and the processor time that it has used.
    fn search(rates: &[f64]) -> (Outcome, f64) {
        let mut search = Search::new((0..rates.len() as u64).collect());
        let mut all = 0.0;
        let mut own = 0.0;
        loop {
            own += 0.000_05;
            let passes: Vec<u64> = search
                .places()
                .iter()
                .map(|place| {
                    let place = usize::try_from(*place).unwrap();
                    #[expect(
                        clippy::cast_possible_truncation,
                        clippy::cast_sign_loss,
                        reason = "small"
                    )]
                    let passes = (own * rates[place]) as u64;
                    passes
                })
                .collect();
            let used = own + passes.iter().sum::<u64>() as f64 * PRICE.pass;
            match search.take(used, &passes, PRICE) {
                Outcome::GoOn => {}
                Outcome::Narrow => {
                    all += used;
                    own = 0.0;
                }
                outcome => return (outcome, all + used),
            }
        }
    }

    #[test]
    fn the_one_that_is_passed_most_is_found_among_those_that_cost_little() {
        let rates = [
            20e6, 1e3, 5e6, 0.0, 12e3, 300e3, 9e3, 3e6, 1e6, 100.0, 20e3, 0.0,
        ];
        let (outcome, used) = search(&rates);
        assert_eq!(outcome, Outcome::Found(4));
        assert!(used < 0.25, "{used}");
    }

    #[test]
    fn one_that_costs_more_is_better_than_none() {
        assert_eq!(search(&[20e6, 29e3, 25e3, 28e3]).0, Outcome::Found(2));
    }

    #[test]
    fn there_may_be_none() {
        assert_eq!(search(&[]).0, Outcome::Nothing);
        assert_eq!(search(&[0.0, 10.0, 200.0]).0, Outcome::Nothing);
        assert_eq!(search(&[20e6, 5e6, 2e6, 40e3]).0, Outcome::Nothing);
    }

    #[test]
    fn it_has_an_end() {
        let rates: Vec<f64> = (0..48).map(|place| 500.0 + f64::from(place)).collect();
        let (outcome, used) = search(&rates);
        assert!(matches!(outcome, Outcome::Found(_) | Outcome::Nothing));
        assert!(used < 1.0, "{used}");
    }
}
