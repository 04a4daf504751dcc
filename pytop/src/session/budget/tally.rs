//! A number in the memory of a process that counts along with its calls: the index of the loop in which
//! it calls, or a counter of the program's own.
//!
//! A process that passes no place which could be a milestone may do nothing for seconds but call
//! functions in one loop. That has a number, in an object of the interpreter, which grows by one each
//! time round. Where it is and what it counts need not be known: of two copies of the process's memory,
//! some words have grown, and some of these grow at an even pace. In a window the process is slower, and
//! so is a number that counts along; a clock is not.
//!
//! ```text
//!                 copy     copy   15 ms   15 ms   15 ms     in a window, 15 ms
//! 0x7f1c…0a0   4653531  4821359  +171634 +171879 +171702    +5210      it counts along
//! 0x7f1c…458  17283940 83920183  +66.6 M +66.5 M +66.6 M    +66.6 M    a clock
//! 0x7f1c…b10      4711     9041      -12 +900077    +300               anything
//! ```
//!
//! Nothing is written, and only what is in memory is read: see [`Memory`]. To look at a number costs the
//! process nothing. Nothing here knows a clock or a process.

use std::mem;
use std::time::Duration;

use super::reading::Passes;

/// Processor time of the process from one look to the next, in seconds.
pub(super) const LOOK: f64 = 0.015;
/// A number that is worth the while grows by so much at least from look to look, and by no more than that
/// in a second of processor time.
const GROWS: (u32, f64) = (200, 1e9);
/// Numbers that are followed, before it is known whether their pace is even, and after that.
const FOLLOWED: (usize, usize) = (4096, 64);
/// Looks at an even pace that are no chance.
const LOOKS: u32 = 4;
/// The pace is even up to this factor.
const EVEN: f64 = 1.25;
/// In windows the pace of what counts along is at most such a part of what it is outside.
const SLOWER: f64 = 0.7;
/// Processor time in windows, in seconds, that tells.
const TELLING: f64 = 0.002;
/// A number that grows so many times as quickly as it should, and by more than so many, has not grown: it
/// is another one.
const JUMP: (f64, f64) = (2.0, 100.0);
/// Jumps in excess of looks without one after which a tally is lost.
const LOST: u32 = 6;

/// Numbers that have grown from one copy of memory to the other, in so much processor time in seconds:
/// their offsets.
pub(super) fn grown(before: &[u8], after: &[u8], used: f64) -> impl Iterator<Item = usize> {
    let (before, _) = before.as_chunks();
    let (after, _) = after.as_chunks();
    let words = before.iter().zip(after).enumerate();
    let grown = words.filter(move |(_, (before, after))| {
        before != after && {
            let grown = u32::from_ne_bytes(**after).wrapping_sub(u32::from_ne_bytes(**before));
            grown >= GROWS.0 && f64::from(grown) <= used * GROWS.1
        }
    });
    grown.map(|(number, _)| number * size_of::<u32>())
}

/// A number that may be a tally.
#[derive(Clone, Copy, Debug)]
struct Number {
    address: u64,
    value: u32,
    /// How much it grows in a second of processor time outside of windows: the least and the most.
    pace: (f64, f64),
    /// How much it has grown in windows.
    within: f64,
}

/// Numbers among which one may be a tally.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    all: Vec<Number>,
    /// The processor time of the process at the last look.
    used: Duration,
    /// Looks outside of windows.
    looks: u32,
    /// Processor time in windows, in seconds.
    within: f64,
}

impl Numbers {
    /// Those at these addresses, if they are not too many: the first ones.
    pub(super) fn at(addresses: impl Iterator<Item = u64>) -> Self {
        let numbers = addresses.take(FOLLOWED.0).map(|address| Number {
            address,
            value: 0,
            pace: (f64::INFINITY, 0.0),
            within: 0.0,
        });
        Self {
            all: numbers.collect(),
            ..Self::default()
        }
    }

    /// None of them is a tally.
    pub(super) fn are_none(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that are left have an even pace.
    pub(super) fn are_even(&self) -> bool {
        self.looks > LOOKS
    }

    /// It is known which of them are slower in windows.
    pub(super) fn are_known(&self) -> bool {
        self.within >= TELLING || self.are_none()
    }

    /// A look outside of windows, after so much processor time: leaves out those that have not grown as
    /// they did before. What is read comes with a time only from the first of these looks on.
    pub(super) fn follow(&mut self, used: Duration, read: impl Fn(u64) -> Option<u32>) {
        let since = used.saturating_sub(self.used).as_secs_f64();
        let is_first = self.looks == 0;
        self.looks += 1;
        self.go_on(used, read, |number, grown| {
            if is_first {
                return true;
            }
            let pace = f64::from(grown) / since;
            let (least, most) = number.pace;
            number.pace = (least.min(pace), most.max(pace));
            grown >= GROWS.0 && number.pace.1 <= number.pace.0 * EVEN
        });
        if self.are_even() {
            self.all.truncate(FOLLOWED.1);
        }
    }

    /// A look at the end of a time in which a window was open, or which does not count.
    pub(super) fn look(
        &mut self,
        used: Duration,
        is_within: bool,
        read: impl Fn(u64) -> Option<u32>,
    ) {
        let since = used.saturating_sub(self.used).as_secs_f64();
        self.within += if is_within { since } else { 0.0 };
        self.go_on(used, read, |number, grown| {
            let is_it = !is_jump(grown, since * number.pace.1);
            number.within += if is_within { f64::from(grown) } else { 0.0 };
            is_it || !is_within
        });
    }

    /// Goes on to what the numbers are now, with those that are to be `kept`, by how much each has grown.
    fn go_on(
        &mut self,
        used: Duration,
        read: impl Fn(u64) -> Option<u32>,
        mut kept: impl FnMut(&mut Number, u32) -> bool,
    ) {
        self.used = used;
        self.all.retain_mut(|number| {
            let Some(value) = read(number.address) else {
                return false;
            };
            let grown = value.wrapping_sub(mem::replace(&mut number.value, value));
            kept(number, grown)
        });
    }

    /// The one that tells most precisely, of those that count along.
    pub(super) fn choose(
        &self,
        used: Duration,
        read: impl Fn(u64) -> Option<u32>,
    ) -> Option<Tally> {
        let counts_along = |number: &&Number| {
            let (least, _) = number.pace;
            number.within <= least * self.within * SLOWER
        };
        let numbers = self.all.iter().filter(counts_along);
        let best = numbers.max_by(|one, other| one.pace.0.total_cmp(&other.pace.0))?;
        Some(Tally {
            address: best.address,
            value: read(best.address)?,
            used,
            pace: best.pace.1,
            passes: Passes {
                is_free: true,
                ..Passes::default()
            },
            jumps: 0,
        })
    }
}

/// It has grown by far more than it should.
fn is_jump(grown: u32, expected: f64) -> bool {
    f64::from(grown) > expected * JUMP.0 + JUMP.1
}

/// A number that counts along.
#[derive(Debug)]
pub(super) struct Tally {
    address: u64,
    value: u32,
    /// The processor time of the process at the last look.
    used: Duration,
    /// How much it grows in a second of processor time outside of windows.
    pace: f64,
    passes: Passes,
    jumps: u32,
}

impl Tally {
    /// By how much it has grown so far.
    pub(super) fn passes(&self) -> Passes {
        self.passes
    }

    /// Whether it is another number most of the time.
    pub(super) fn is_lost(&self) -> bool {
        self.jumps >= LOST
    }

    /// Takes in what it is now. A loop begins again, or another object has come to lie there: what has
    /// passed since the last look is not known then.
    pub(super) fn look(&mut self, used: Duration, read: impl Fn(u64) -> Option<u32>) {
        let since = used.saturating_sub(self.used).as_secs_f64();
        self.used = used;
        let value = read(self.address);
        let grown = value.map(|value| value.wrapping_sub(mem::replace(&mut self.value, value)));
        match grown {
            Some(grown) if !is_jump(grown, since * self.pace) => {
                self.passes.count += u64::from(grown);
                self.jumps = self.jumps.saturating_sub(1);
            }
            _ => {
                self.passes.series += 1;
                self.jumps += 2;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Made-up memory, whose numbers grow by so much in a second outside of windows, and within.
    struct Made {
        paces: Vec<(f64, f64)>,
        values: HashMap<u64, f64>,
        used: f64,
    }

    impl Made {
        fn new(paces: &[(f64, f64)]) -> Self {
            Self {
                paces: paces.to_vec(),
                values: (0..paces.len() as u64)
                    .map(|number| (number, 1e6))
                    .collect(),
                used: 0.0,
            }
        }

        fn go_on(&mut self, seconds: f64, is_within: bool) {
            self.used += seconds;
            for (number, (outside, within)) in (0..).zip(&self.paces) {
                let pace = if is_within { within } else { outside };
                *self.values.entry(number).or_default() += seconds * pace;
            }
        }

        fn used(&self) -> Duration {
            Duration::from_secs_f64(self.used)
        }

        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the lower half, as memory has it"
        )]
        fn read(&self, address: u64) -> Option<u32> {
            self.values.get(&address).map(|value| *value as i64 as u32)
        }

        /// Follows all numbers, and looks at them in a window.
        fn choose(&mut self) -> Option<Tally> {
            let addresses = 0..self.paces.len() as u64;
            let mut numbers = Numbers::at(addresses);
            while !numbers.are_even() {
                self.go_on(LOOK, false);
                numbers.follow(self.used(), |at| self.read(at));
            }
            // Until the window opens.
            self.go_on(0.05, false);
            numbers.look(self.used(), false, |at| self.read(at));
            assert!(!numbers.are_known() || numbers.are_none());
            self.go_on(0.003, true);
            numbers.look(self.used(), true, |at| self.read(at));
            assert!(numbers.are_known());
            numbers.choose(self.used(), |at| self.read(at))
        }
    }

    #[test]
    fn words_that_have_grown_are_found() {
        let bytes = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_ne_bytes()).collect()
        };
        let before = bytes(&[7, 7, 7, 7, u32::MAX, 7]);
        let after = bytes(&[7, 206, 207, 6, 300, 7 + 20_000_000]);
        let grown = |after, used| grown(&before, after, used).collect::<Vec<_>>();
        assert_eq!(grown(&after, 0.015), [8, 16]);
        assert_eq!(grown(&after, 0.03), [8, 16, 20]);
        assert!(grown(&[], 0.015).is_empty());
    }

    #[test]
    fn what_counts_along_is_told_from_clocks() {
        // A clock in nanoseconds, a loop, one that counts down, an outer loop, what never changes.
        let paces = [
            (1e9, 1e9),
            (20e6, 0.7e6),
            (-20e6, -0.7e6),
            (2e6, 0.07e6),
            (0.0, 0.0),
        ];
        let tally = Made::new(&paces).choose().unwrap();
        assert_eq!(tally.address, 1);
        assert_eq!((tally.passes().count, tally.passes().is_free), (0, true));
        let tally = Made::new(&[paces[0], paces[3], paces[4]]).choose();
        assert_eq!(tally.unwrap().address, 1);
        assert!(Made::new(&[paces[0], paces[2]]).choose().is_none());
        assert!(Made::new(&[]).choose().is_none());
    }

    #[test]
    fn what_grows_in_fits_is_none() {
        let mut made = Made::new(&[(20e6, 0.7e6)]);
        let mut numbers = Numbers::at(0..1);
        numbers.follow(made.used(), |at| made.read(at));
        made.go_on(LOOK, false);
        numbers.follow(made.used(), |at| made.read(at));
        assert!(!numbers.are_none());
        made.go_on(LOOK, false);
        made.values.insert(0, 1_000.0);
        numbers.follow(made.used(), |at| made.read(at));
        assert!(numbers.are_none());
    }

    #[test]
    fn a_loop_that_begins_again_breaks_the_series() {
        let mut made = Made::new(&[(20e6, 0.7e6)]);
        let mut tally = made.choose().unwrap();
        let look = |tally: &mut Tally, made: &Made| tally.look(made.used(), |at| made.read(at));
        made.go_on(0.05, false);
        look(&mut tally, &made);
        let passes = tally.passes();
        assert_eq!((passes.series, passes.count), (0, 1_000_000));
        made.go_on(0.05, false);
        made.values.insert(0, 10.0);
        look(&mut tally, &made);
        let passes = tally.passes();
        assert_eq!((passes.series, passes.count), (1, 1_000_000));
        assert!(!tally.is_lost());
        // Half of all looks is too many, and so is memory that has gone.
        for _ in 0..8 {
            made.go_on(0.05, false);
            look(&mut tally, &made);
        }
        assert_eq!(tally.passes().count, 9_000_000);
        made.values.clear();
        for _ in 0..3 {
            look(&mut tally, &made);
        }
        assert!(tally.is_lost());
    }
}
