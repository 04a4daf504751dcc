use std::collections::HashMap;

use super::*;
use crate::session::budget::numbers::{Numbers, changed};

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
    let bytes =
        |words: &[u32]| -> Vec<u8> { words.iter().flat_map(|word| word.to_ne_bytes()).collect() };
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
fn memory_that_has_gone_tells_nothing_any_more() {
    let mut made = Made::new(&[LOOP]);
    let mut tally = made.choose().unwrap();
    made.values.clear();
    made.numbers.clear();
    made.look(&mut tally, Side::Outside);
    assert!(tally.may_be_another());
}

/// A loop has ended, and another one has begun, whose index is elsewhere.
#[test]
fn a_loop_that_goes_on_elsewhere_is_told_as_one() {
    let mut made = Made::new(&[LOOP, LOOP.times(0.0), LOOP.times(0.0), CLOCK]);
    let mut tally = made.choose().unwrap();
    assert_eq!(tally.address, 0);
    for _ in 0..10 {
        made.go_on(0.02);
        made.look(&mut tally, Side::Outside);
    }
    // In the last look, it stops.
    made.go_on(0.002);
    made.numbers.swap(0, 1);
    made.go_on(0.018);
    made.look(&mut tally, Side::Outside);
    assert!(!tally.may_be_another());
    for _ in 0..3 {
        made.go_on(0.02);
        made.look(&mut tally, Side::Outside);
        assert!(tally.may_be_another());
    }
    let mut numbers = Numbers::at(0..4);
    while !numbers.are_even() {
        made.go_on(LOOK);
        numbers.follow(&mut made);
    }
    let before = tally.passes();
    tally.go_on_as(numbers.choose_like(&tally).unwrap());
    assert_eq!((tally.address, tally.passes()), (1, before));
    for _ in 0..10 {
        made.go_on(0.02);
        made.look(&mut tally, Side::Outside);
    }
    assert!(!tally.may_be_another());
    let passes = tally.passes();
    let known = passes.known.as_secs_f64();
    assert!((passes.count / known / LOOP.outside - 1.0).abs() < 0.001);
    assert!(known > 0.35, "{known}");
}

/// Nothing is called: that the number stands still says so, but only where a window does, too.
#[test]
fn where_nothing_is_called_standing_still_tells() {
    let mut made = Made::new(&[LOOP]);
    let mut tally = made.choose().unwrap();
    made.numbers[0] = LOOP.times(0.0);
    let mut known = tally.passes().known;
    for (window, tells) in [
        (None, false),
        (Some((0.0, 0.001)), false),
        (Some((0.0, 0.003)), true),
        (Some((1.0, 0.001)), false),
    ] {
        if let Some((hits, seconds)) = window {
            tally.learn(hits, seconds);
        }
        for _ in 0..3 {
            made.go_on(0.02);
            made.look(&mut tally, Side::Outside);
        }
        made.look(&mut tally, Side::Opening);
        assert_eq!((tally.may_be_another(), tally.is_idle()), (!tells, tells));
        assert_eq!(tally.passes().known > known, tells);
        known = tally.passes().known;
    }
    // It goes on.
    made.numbers[0] = LOOP;
    made.go_on(0.02);
    made.look(&mut tally, Side::Outside);
    assert!(!tally.may_be_another());
}

/// Another loop, that calls nothing, may be as quick.
#[test]
fn what_does_not_count_along_is_left_again() {
    let calm = Growing {
        within: LOOP.outside,
        ..LOOP
    };
    let mut made = Made::new(&[LOOP, LOOP.times(0.0), CLOCK]);
    let mut tally = made.choose().unwrap();
    made.numbers = vec![LOOP.times(0.0), calm, CLOCK];
    made.go_on(0.02);
    made.look(&mut tally, Side::Outside);
    let follow = |made: &mut Made| {
        let mut numbers = Numbers::at(0..3);
        while !numbers.are_even() {
            made.go_on(LOOK);
            numbers.follow(made);
        }
        numbers
    };
    tally.go_on_as(follow(&mut made).choose_like(&tally).unwrap());
    assert_eq!(tally.address, 1);
    made.go_on(0.02);
    made.look(&mut tally, Side::Opening);
    assert!(!tally.may_be_another());
    let before = tally.passes();
    made.go_on(0.003);
    made.look(&mut tally, Side::Within);
    made.go_on(0.02);
    made.look(&mut tally, Side::Outside);
    assert!(tally.may_be_another());
    assert_eq!(tally.passes(), before);
    assert!(follow(&mut made).choose_like(&tally).is_none());
}

/// The loop ends in a window, or before it.
#[test]
fn a_window_in_which_the_number_stands_still_tells_nothing_of_it() {
    let mut made = Made::new(&[LOOP]);
    let mut tally = made.choose().unwrap();
    made.go_on(0.02);
    made.look(&mut tally, Side::Opening);
    made.numbers[0] = LOOP.times(0.0);
    made.is_within = true;
    let before = tally.passes();
    made.go_on(0.003);
    made.look(&mut tally, Side::Within);
    assert!(tally.may_be_another());
    assert_eq!(tally.passes(), before);
}

#[test]
fn numbers_of_a_loop_that_has_ended_are_not_chosen() {
    let mut made = Made::new(&[LOOP]);
    let mut numbers = Numbers::at(0..1);
    while !numbers.are_even() {
        made.go_on(LOOK);
        numbers.follow(&mut made);
    }
    made.numbers[0] = LOOP.times(0.0);
    made.go_on(0.05);
    numbers.look(Side::Opening, &mut made);
    assert!(numbers.are_known() && numbers.have_stopped());
    assert!(numbers.choose().is_none());
}

#[test]
fn another_number_is_no_tally_any_more() {
    let mut made = Made::new(&[LOOP]);
    let mut tally = made.choose().unwrap();
    made.numbers = vec![CLOCK];
    let mut looks = 0;
    while !tally.is_lost() {
        made.go_on(0.02);
        made.look(&mut tally, Side::Outside);
        looks += 1;
    }
    // Once may be anything.
    assert!((2..=6).contains(&looks), "{looks}");
}

/// The index of a short loop, and the number that counts its rounds, take turns at an address.
#[test]
fn one_that_is_another_number_now_and_then_is_no_tally_for_long() {
    for turns in [false, true] {
        let mut made = Made::new(&[LOOP.until(3_000.0)]);
        let mut tally = made.choose().unwrap();
        for look in 0..60 {
            if turns && look % 10 == 9 {
                made.values.insert(0, 20e6);
                made.look(&mut tally, Side::Outside);
            }
            made.go_on(0.02);
            made.look(&mut tally, Side::Outside);
        }
        assert_eq!(tally.is_lost(), turns);
    }
}

/// The index of a loop that begins anew lies at one of two addresses, and functions are called all the time.
#[test]
fn while_it_lies_elsewhere_nothing_is_known() {
    let (here, elsewhere) = (LOOP.until(3_000.0), LOOP.until(3_000.0).times(0.0));
    let mut made = Made::new(&[here]);
    let mut tally = made.choose().unwrap();
    // A window shows that functions are called meanwhile.
    made.numbers[0] = elsewhere;
    made.is_within = true;
    for _ in 0..3 {
        made.go_on(0.003);
        made.look(&mut tally, Side::Within);
        tally.learn(1_000.0, 0.003);
    }
    made.is_within = false;
    for turn in 0..60 {
        made.numbers[0] = if turn % 3 == 0 { elsewhere } else { here };
        made.go_on(0.02);
        made.look(&mut tally, Side::Outside);
    }
    let passes = tally.passes();
    let pace = passes.count / passes.known.as_secs_f64() / LOOP.outside;
    assert!(!tally.is_lost() && passes.known.as_secs_f64() > 0.3);
    assert!((0.95..1.05).contains(&pace), "{pace}");
}
