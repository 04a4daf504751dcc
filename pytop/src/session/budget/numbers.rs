//! The search for a number that counts along, a [`Tally`], among all that are in the memory of a process.

use super::tally::{CLOSE, EVEN, Paces, Reader, SLOWER, Seen, Side, Tally, is_jump};

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
/// Another loop may be quicker or slower up to this factor, as the processor is: it could as well be another
/// number of the same loop from twice as much on.
const ALIKE: f64 = 1.8;
/// Calls of next to nothing are so much slower in windows at most.
const SLOWEST: f64 = 0.005;
/// Processor time in windows, in seconds, that is enough to know which of all numbers are slower there.
const TELLING: f64 = 0.004;
/// A number that should have grown by so much, and has by no more than such a part of it, has stopped.
const STOPPED: (f64, f64) = (100.0, 0.3);
/// One that never fell is taken rather than one that did and is so many times as quick.
const STEADY: f64 = 30.0;

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
    /// It cannot be read any more, or has stopped.
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

    /// It never fell, and has not grown outside of windows as it should.
    fn has_stopped(&self, seconds: f64, grown: u32) -> bool {
        let (least, most) = self.pace();
        let (enough, part) = STOPPED;
        let is_it = f64::from(grown) >= seconds * least * part && !is_jump(grown, seconds * most);
        seconds * least >= enough && !is_it && !self.falls()
    }

    /// It has hardly grown in windows, in which the slowest would have grown by more.
    fn stood_still(&self) -> bool {
        let (seconds, grown) = self.within;
        let (least, _) = self.pace();
        grown + 1.0 < least * seconds * SLOWEST
    }

    fn counts_along(&self) -> bool {
        let (seconds, grown) = self.within;
        let (least, _) = self.pace();
        let is_slower = grown <= least * seconds * SLOWER.0;
        seconds >= SLOWER.1 && least >= FINE && is_slower && !self.stood_still()
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
    /// Some have stopped since their pace was known to be even.
    have_stopped: bool,
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
        self.within >= TELLING || self.are_none()
    }

    /// Some have stopped: a loop has ended meanwhile.
    pub(super) fn have_stopped(&self) -> bool {
        self.have_stopped || self.all.iter().any(Number::stood_still)
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
        let stopped = &mut self.have_stopped;
        look_at(&mut self.all, reader, |number, (seconds, grown)| {
            longest = longest.max(seconds);
            if is_within && !is_jump(grown, seconds * number.pace().1) {
                number.within.0 += seconds;
                number.within.1 += f64::from(grown);
            }
            if !is_within && number.has_stopped(seconds, grown) {
                (number.has_gone, *stopped) = (true, true);
            }
        });
        self.all.retain(|number| !number.has_gone);
        self.within += if is_within { longest } else { 0.0 };
    }

    /// The one that tells most precisely, of those that count along.
    pub(super) fn choose(&self) -> Option<Tally> {
        let numbers = self.all.iter().filter(|number| number.counts_along());
        let best = numbers.clone().map(Number::is_worth).reduce(f64::max)?;
        Self::greatest(numbers.filter(|number| number.is_worth() * EVEN >= best))
    }

    /// One that grows about as quickly as a former one did.
    pub(super) fn choose_like(&self, former: &Tally) -> Option<Tally> {
        let pace = former.pace();
        Self::greatest(self.all.iter().filter(|number| {
            let (least, most) = number.pace();
            let is_alike = number.is_wide() && least <= pace * ALIKE && pace <= most * ALIKE;
            is_alike && Some(number.address) != former.wrong()
        }))
    }

    /// Of numbers that grow alike, the greatest has done so for longest: a loop has an index, and objects that
    /// are made of it, which are behind and lie elsewhere before long.
    fn greatest<'a>(numbers: impl Iterator<Item = &'a Number>) -> Option<Tally> {
        let number = numbers.max_by_key(|number| number.seen.value)?;
        let (within, grown) = number.within;
        let paces = Paces {
            outside: number.pace().1,
            within: if within > 0.0 { grown / within } else { 0.0 },
        };
        Some(Tally::new(
            number.address,
            number.seen,
            paces,
            number.falls(),
        ))
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
