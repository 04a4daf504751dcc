//! A number in the memory of a process that counts along with its calls: the index of the loop in which
//! it calls, or a counter of the program's own.
//!
//! A process that passes no place which could be a milestone, or only rarely, may do nothing for seconds
//! but call functions in one loop. That has a number, in an object of the interpreter, which grows by one
//! each time round. Where it is and what it counts need not be known: of two copies of the process's
//! memory, some words have grown, and some of these grow at an even pace. In a window the process is
//! slower, and so is a number that counts along; a clock is not.
//!
//! ```text
//!                 copy     copy    3 ms    3 ms    3 ms      in a window, 3 ms
//! 0x7f1c…0a0   4653531  4687127  +34171  +34202  +34180     +1042      it counts along
//! 0x7f1c…0c8     83112   116791  +34102  -65812  +34198     +1043      so does this: its loop begins anew
//! 0x7f1c…458  17283940 20600183  +3.3 M  +3.3 M  +3.3 M    +3.3 M      a clock
//! 0x7f1c…b10      4711     9041     -12 +900077    +300                anything
//! ```
//!
//! Nothing is written, and only what is in memory is read: see [`Memory`](crate::discover::Memory). To read a
//! number costs the process nothing; to ask for its processor time does. Nothing here knows a clock or a
//! process.

use std::time::Duration;

use super::reading::Passes;

/// Processor time of the process from one look to the next, in seconds.
pub(super) const LOOK: f64 = 0.003;
/// A number that is worth the while grows by so much at least from look to look, and by no more than that
/// in a second of processor time.
const GROWS: (u32, f64) = (20, 1e9);
/// What counts along in windows, in which next to nothing is done, does so in a second at least.
const FINE: f64 = 30e3;
/// Numbers that are followed, before it is known whether their pace is even, and after that.
const FOLLOWED: (usize, usize) = (1024, 64);
/// Numbers that are read at one time.
const AT_ONCE: usize = 16;
/// Looks that tell whether a pace is even, and how many of them may show another one: a loop begins again.
const LOOKS: (u32, u32) = (8, 3);
/// The pace is even up to this factor.
const EVEN: f64 = 1.25;
/// In windows the pace of what counts along is at most such a part of what it is outside.
const SLOWER: f64 = 0.7;
/// Processor time in windows, in seconds, that tells of a number, and that is enough for all of them.
const TELLING: (f64, f64) = (0.001, 0.004);
/// One that never fell is taken rather than one that did and is so many times as quick.
const STEADY: f64 = 30.0;
/// A number that grows so many times as quickly as it should, and by more than so many, has not grown: it
/// is another one, or has begun again.
const JUMP: (f64, f64) = (2.0, 100.0);
/// One that has fallen may do so again, until that has not been seen in so many looks.
const FALLS: u32 = 100;
/// So much should lie between two looks of which one follows the other at once, and as many seconds of
/// processor time at least and at most.
const CLOSE: (f64, f64, f64) = (50.0, 20e-6, 100e-6);
/// What lay between them in the end is off by no more than this factor.
const CLOSELY: f64 = 4.0;
/// Looks that told nothing, in excess of those that did, after which a tally is lost.
const LOST: u32 = 6;

/// Numbers that have grown, or fallen, from one copy of memory to the other, in so much processor time in
/// seconds: their offsets.
pub(super) fn changed(before: &[u8], after: &[u8], used: f64) -> impl Iterator<Item = usize> {
    let (before, _) = before.as_chunks();
    let (after, _) = after.as_chunks();
    let words = before.iter().zip(after).enumerate();
    let changed = words.filter(move |(_, (before, after))| {
        before != after && {
            let grown = u32::from_ne_bytes(**after).wrapping_sub(u32::from_ne_bytes(**before));
            let changed = grown.cast_signed().unsigned_abs();
            changed >= GROWS.0 && f64::from(changed) <= used * GROWS.1
        }
    });
    changed.map(|(number, _)| number * size_of::<u32>())
}

/// Where the time lies that ends with a look at a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Outside of windows.
    Outside,
    /// Likewise, but a window has just opened.
    Opening,
    /// In a window.
    Within,
}

/// What a number was, and the processor time of the process then.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    pub(super) value: u32,
    pub(super) used: Duration,
}

impl Seen {
    /// Processor time since then, in seconds, and by how much it has grown.
    fn until(&self, now: &Self) -> (f64, u32) {
        let seconds = now.used.saturating_sub(self.used).as_secs_f64();
        (seconds, now.value.wrapping_sub(self.value))
    }
}

/// What reads the memory of the process.
pub(super) trait Reader {
    /// The processor time of the process. To ask for it takes some microseconds from the process. `None` when
    /// it has ended.
    fn used(&mut self) -> Option<Duration>;

    /// The number at an address. `None` where there is none any more.
    fn value(&self, address: u64) -> Option<u32>;

    /// Lets so many seconds pass.
    fn wait(&mut self, seconds: f64);

    /// Reads a number twice, about so many seconds from one to the other: the processor time between, in
    /// seconds, and by how much it has grown. `None` where that cannot be said.
    fn read_twice(&mut self, address: u64, seconds: f64) -> Option<(f64, u32)>;
}

/// How quickly a number grows outside of windows.
#[derive(Clone, Copy, Debug, Default)]
struct Growth {
    /// In a second of processor time: the least and the most.
    range: (f64, f64),
    /// Looks that showed such a pace, and those that did not.
    looks: (u32, u32),
}

impl Growth {
    /// It is the quickest one that was seen: a number that falls and grows again shows less.
    fn take(&mut self, seconds: f64, grown: u32) {
        let pace = f64::from(grown) / seconds.max(f64::MIN_POSITIVE);
        let (least, most) = self.range;
        if grown < GROWS.0 || pace > GROWS.1 || pace * EVEN < most {
            self.looks.1 += 1;
        } else if pace > least * EVEN {
            self.looks = (1, self.looks.0 + self.looks.1);
            self.range = (pace, pace);
        } else {
            self.looks.0 += 1;
            self.range = (least.min(pace), most.max(pace));
        }
    }

    fn is_even(&self) -> bool {
        self.looks.1 <= LOOKS.1
    }
}

/// A number that may be a tally.
#[derive(Clone, Copy, Debug, Default)]
struct Number {
    address: u64,
    seen: Seen,
    /// From look to look, and from one to another that follows at once: where it falls often, that alone
    /// is even.
    wide: Growth,
    close: Growth,
    /// Processor time in windows, in seconds, and by how much it has grown there.
    within: (f64, f64),
    /// It cannot be read any more.
    has_gone: bool,
}

impl Number {
    /// What it grew from look to look is all that it grew: it was not quicker in between.
    fn is_wide(&self) -> bool {
        let (wide, close) = (self.wide, self.close);
        wide.is_even() && (!close.is_even() || wide.range.1 * EVEN >= close.range.1)
    }

    fn falls(&self) -> bool {
        self.wide.looks.1 > 0 || !self.is_wide()
    }

    fn pace(&self) -> (f64, f64) {
        if self.is_wide() {
            self.wide.range
        } else {
            self.close.range
        }
    }

    fn counts_along(&self) -> bool {
        let (seconds, grown) = self.within;
        let (least, _) = self.pace();
        seconds >= TELLING.0 && least >= FINE && grown <= least * seconds * SLOWER
    }

    /// How precisely it tells.
    fn is_worth(&self) -> f64 {
        self.pace().0 * if self.falls() { 1.0 } else { STEADY }
    }
}

/// Numbers among which one may be a tally.
#[derive(Debug, Default)]
pub(super) struct Numbers {
    all: Vec<Number>,
    /// Looks outside of windows.
    looks: u32,
    /// Processor time in windows, in seconds.
    within: f64,
}

impl Numbers {
    /// Those at these addresses, if they are not too many: the first ones.
    pub(super) fn at(addresses: impl Iterator<Item = u64>) -> Self {
        let all = addresses.take(FOLLOWED.0).map(|address| Number {
            address,
            ..Number::default()
        });
        Self {
            all: all.collect(),
            ..Self::default()
        }
    }

    /// None of them is a tally.
    pub(super) fn are_none(&self) -> bool {
        self.all.is_empty()
    }

    /// Those that are left have an even pace.
    pub(super) fn are_even(&self) -> bool {
        self.looks > LOOKS.0
    }

    /// It is known which of them are slower in windows.
    pub(super) fn are_known(&self) -> bool {
        self.within >= TELLING.1 || self.are_none()
    }

    /// One of them falls now and then.
    pub(super) fn fall(&self) -> bool {
        self.all.iter().any(Number::falls)
    }

    /// A look outside of windows: leaves out those that have not grown as they did before.
    pub(super) fn follow(&mut self, reader: &mut impl Reader) {
        self.looks += 1;
        let is_first = self.looks == 1;
        // Some at a time, so that they are all read again soon.
        for numbers in self.all.chunks_mut(AT_ONCE) {
            look_at(numbers, reader, |number, (seconds, grown)| {
                if !is_first {
                    number.wide.take(seconds, grown);
                }
            });
            reader.wait(CLOSE.2);
            look_at(numbers, reader, |number, (seconds, grown)| {
                number.close.take(seconds, grown);
            });
        }
        self.all
            .retain(|it| !it.has_gone && (it.wide.is_even() || it.close.is_even()));
        if self.are_even() {
            self.all.truncate(FOLLOWED.1);
        }
    }

    /// A look that tells which of them are slower in windows.
    pub(super) fn look(&mut self, side: Side, reader: &mut impl Reader) {
        let is_within = side == Side::Within;
        let mut longest: f64 = 0.0;
        look_at(&mut self.all, reader, |number, (seconds, grown)| {
            longest = longest.max(seconds);
            if is_within && !is_jump(grown, seconds * number.pace().1) {
                number.within.0 += seconds;
                number.within.1 += f64::from(grown);
            }
        });
        self.all.retain(|number| !number.has_gone);
        self.within += if is_within { longest } else { 0.0 };
    }

    /// The one that tells most precisely, of those that count along.
    pub(super) fn choose(&self) -> Option<Tally> {
        let numbers = self.all.iter().filter(|number| number.counts_along());
        let best = numbers.max_by(|one, other| one.is_worth().total_cmp(&other.is_worth()))?;
        Some(Tally {
            address: best.address,
            seen: best.seen,
            pace: best.pace().1,
            passes: Passes {
                is_free: true,
                ..Passes::default()
            },
            falls: if best.falls() { FALLS } else { 0 },
            silent: 0,
        })
    }
}

/// Looks at some numbers, and takes in the processor time since the last look, in seconds, and by how much
/// each has grown.
fn look_at(
    numbers: &mut [Number],
    reader: &mut impl Reader,
    mut take: impl FnMut(&mut Number, (f64, u32)),
) {
    let used = reader.used();
    for number in numbers {
        let Some((used, value)) = used.zip(reader.value(number.address)) else {
            number.has_gone = true;
            continue;
        };
        let now = Seen { value, used };
        let grown = number.seen.until(&now);
        number.seen = now;
        take(number, grown);
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
    /// At the last look.
    seen: Seen,
    /// How much it grows in a second of processor time outside of windows.
    pace: f64,
    passes: Passes,
    /// It falls now and then, as far as is known: looks until it is taken not to.
    falls: u32,
    /// Looks that told nothing, in excess of those that did.
    silent: u32,
}

impl Tally {
    /// By how much it has grown so far.
    pub(super) fn passes(&self) -> Passes {
        self.passes
    }

    /// Whether it is another number most of the time.
    pub(super) fn is_lost(&self) -> bool {
        self.silent >= LOST
    }

    /// It falls now and then.
    pub(super) fn falls(&self) -> bool {
        self.falls > 0
    }

    /// Takes in what it is now.
    ///
    /// From one look to the next, a loop may begin anew any number of times. So if it does that, two looks
    /// close to each other stand for the time since the last one. In windows it hardly gets on, and looks
    /// follow each other so soon that it does not begin anew unseen.
    pub(super) fn look(&mut self, side: Side, reader: &mut impl Reader) {
        let Some((used, value)) = reader.used().zip(reader.value(self.address)) else {
            self.silent += 2;
            return;
        };
        let now = Seen { value, used };
        let (seconds, grown) = self.seen.until(&now);
        self.seen = now;
        let fell = is_jump(grown, seconds * self.pace);
        self.falls = if fell {
            FALLS
        } else {
            self.falls.saturating_sub(1)
        };
        let passes = match side {
            Side::Within => (!fell).then(|| f64::from(grown)),
            _ if !self.falls() => Some(f64::from(grown)),
            Side::Outside => self.close_pace(reader).map(|pace| pace * seconds),
            Side::Opening => None,
        };
        if let Some(passes) = passes {
            self.passes.count += passes;
            self.passes.known += Duration::from_secs_f64(seconds);
            self.silent = self.silent.saturating_sub(1);
        } else if side == Side::Outside {
            self.silent += 1;
        }
    }

    /// How much it grows in a second, by two looks close to each other.
    fn close_pace(&mut self, reader: &mut impl Reader) -> Option<f64> {
        let (growth, shortest, longest) = CLOSE;
        let distance = (growth / self.pace).clamp(shortest, longest);
        let (seconds, grown) = reader.read_twice(self.address, distance)?;
        let is_close = seconds * CLOSELY >= distance && seconds <= distance * CLOSELY;
        let is_it = is_close && !is_jump(grown, seconds * self.pace);
        is_it.then(|| f64::from(grown) / seconds)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A number that grows by so much in a second outside of windows, and within, up to a limit, and then
    /// begins anew.
    #[derive(Clone, Copy)]
    struct Growing {
        outside: f64,
        within: f64,
        limit: f64,
    }

    const CLOCK: Growing = Growing {
        outside: 1e9,
        within: 1e9,
        limit: f64::INFINITY,
    };
    const LOOP: Growing = Growing {
        outside: 10e6,
        within: 0.4e6,
        limit: f64::INFINITY,
    };

    impl Growing {
        fn until(self, limit: f64) -> Self {
            Self { limit, ..self }
        }

        fn times(self, part: f64) -> Self {
            Self {
                outside: self.outside * part,
                within: self.within * part,
                limit: self.limit,
            }
        }
    }

    /// Made-up memory.
    struct Made {
        numbers: Vec<Growing>,
        values: HashMap<u64, f64>,
        used: f64,
        is_within: bool,
    }

    impl Made {
        fn new(numbers: &[Growing]) -> Self {
            let first = |(number, growing): (u64, &Growing)| (number, 1e6 % growing.limit);
            Self {
                numbers: numbers.to_vec(),
                values: (0..).zip(numbers).map(first).collect(),
                used: 0.0,
                is_within: false,
            }
        }

        fn go_on(&mut self, seconds: f64) {
            self.used += seconds;
            for (number, growing) in (0..).zip(&self.numbers) {
                let pace = if self.is_within {
                    growing.within
                } else {
                    growing.outside
                };
                let value = self.values.entry(number).or_default();
                *value += seconds * pace;
                if growing.limit < f64::INFINITY {
                    *value %= growing.limit;
                }
            }
        }

        /// Follows all numbers, and looks at them in windows.
        fn choose(&mut self) -> Option<Tally> {
            let mut numbers = Numbers::at(0..self.numbers.len() as u64);
            while !numbers.are_even() {
                self.go_on(LOOK);
                numbers.follow(self);
            }
            while !numbers.are_known() {
                self.go_on(0.05);
                numbers.look(Side::Opening, self);
                self.is_within = true;
                for _ in 0..3 {
                    self.go_on(0.001);
                    numbers.look(Side::Within, self);
                }
                self.is_within = false;
            }
            numbers.choose()
        }

        fn look(&mut self, tally: &mut Tally, side: Side) {
            tally.look(side, self);
        }
    }

    impl Reader for Made {
        fn used(&mut self) -> Option<Duration> {
            Some(Duration::from_secs_f64(self.used))
        }

        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the lower half, as memory has it"
        )]
        fn value(&self, address: u64) -> Option<u32> {
            self.values.get(&address).map(|value| *value as i64 as u32)
        }

        fn wait(&mut self, seconds: f64) {
            self.go_on(seconds);
        }

        fn read_twice(&mut self, address: u64, seconds: f64) -> Option<(f64, u32)> {
            let before = self.value(address)?;
            self.go_on(seconds);
            Some((seconds, self.value(address)?.wrapping_sub(before)))
        }
    }

    #[test]
    fn words_that_have_changed_are_found() {
        let bytes = |words: &[u32]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_ne_bytes()).collect()
        };
        let before = bytes(&[7, 7, 7, 7, u32::MAX, 7, 77]);
        let after = bytes(&[7, 26, 27, 6, 300, 7 + 20_000_000, 1]);
        let changed = |after, used| changed(&before, after, used).collect::<Vec<_>>();
        assert_eq!(changed(&after, 0.015), [8, 16, 24]);
        assert_eq!(changed(&after, 0.03), [8, 16, 20, 24]);
        assert!(changed(&[], 0.015).is_empty());
    }

    #[test]
    fn what_counts_along_is_told_from_clocks() {
        let backwards = LOOP.times(-1.0);
        let never = LOOP.times(0.0);
        let tally = Made::new(&[CLOCK, LOOP, backwards, LOOP.times(0.1), never]).choose();
        let tally = tally.unwrap();
        assert_eq!(tally.address, 1);
        assert!(tally.passes().is_free && !tally.falls());
        let tally = Made::new(&[CLOCK, LOOP.times(0.1), never]).choose();
        assert_eq!(tally.unwrap().address, 1);
        assert!(Made::new(&[CLOCK, backwards]).choose().is_none());
        assert!(Made::new(&[]).choose().is_none());
    }

    #[test]
    fn one_that_never_falls_is_taken_unless_it_is_far_slower() {
        let inner = LOOP.until(50_000.0);
        let tally = |part| Made::new(&[inner, LOOP.times(part)]).choose().unwrap();
        assert_eq!(tally(0.1).address, 1);
        assert_eq!(tally(0.01).address, 0);
    }

    #[test]
    fn what_grows_in_fits_is_none() {
        let mut made = Made::new(&[LOOP]);
        let mut numbers = Numbers::at(0..1);
        let mut random: u32 = 1;
        while !numbers.are_none() {
            assert!(!numbers.are_even());
            made.go_on(LOOK);
            numbers.follow(&mut made);
            random = random.wrapping_mul(0x9e37_79b9).rotate_left(7);
            let fit = f64::from(random % 1000) * 1e4;
            made.numbers[0] = Growing {
                outside: fit,
                ..LOOP
            };
        }
    }

    /// However long its loop is, from 0.4 ms to some seconds.
    #[test]
    fn a_loop_that_begins_anew_is_told_from_close_looks() {
        for limit in [4e3, 20e3, 44e3, 150e3, 600e3, 20e6, f64::INFINITY] {
            let mut made = Made::new(&[CLOCK, LOOP.until(limit)]);
            let mut tally = made.choose().unwrap();
            let known = |tally: &Tally| tally.passes().known.as_secs_f64();
            let (before, began) = (tally.passes().count, known(&tally));
            for number in 0..300 {
                made.go_on(0.02 + 0.0001 * f64::from(number));
                made.look(&mut tally, Side::Outside);
            }
            let pace = (tally.passes().count - before) / (known(&tally) - began);
            // The first looks may not show that it falls.
            assert!((pace / LOOP.outside - 1.0).abs() < 0.01, "{limit}: {pace}");
            assert!(known(&tally) > 0.6 * (made.used - began), "{limit}");
            assert!(!tally.is_lost());

            let (before, began) = (tally.passes().count, known(&tally));
            for _ in 0..100 {
                made.go_on(0.02);
                made.look(&mut tally, Side::Opening);
                let (count, so_far) = (tally.passes().count, known(&tally));
                made.is_within = true;
                for _ in 0..4 {
                    made.go_on(0.001);
                    made.look(&mut tally, Side::Within);
                }
                made.is_within = false;
                let time = known(&tally) - so_far;
                let pace = (tally.passes().count - count) / time;
                assert!(
                    time <= 0.0 || (pace / LOOP.within - 1.0).abs() < 0.02,
                    "{pace}"
                );
            }
            assert!(tally.passes().count > before && known(&tally) > began);
        }
    }

    #[test]
    fn memory_that_has_gone_is_no_tally_any_more() {
        let mut made = Made::new(&[LOOP]);
        let mut tally = made.choose().unwrap();
        made.values.clear();
        made.numbers.clear();
        for _ in 0..3 {
            assert!(!tally.is_lost());
            made.look(&mut tally, Side::Outside);
        }
        assert!(tally.is_lost());
    }

    #[test]
    fn another_number_is_no_tally_any_more() {
        let mut made = Made::new(&[LOOP]);
        let mut tally = made.choose().unwrap();
        made.numbers = vec![CLOCK];
        for _ in 0..6 {
            assert!(!tally.is_lost());
            made.go_on(0.02);
            made.look(&mut tally, Side::Outside);
        }
        assert!(tally.is_lost());
    }
}
