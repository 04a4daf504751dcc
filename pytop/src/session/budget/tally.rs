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
//! When the loop ends, its number stands still. What is called from then on is not known, until another one is
//! found that goes on in its place, or a window shows that nothing is called.
//!
//! Nothing is written, and only what is in memory is read: see [`Memory`](crate::discover::Memory). To read a
//! number costs the process nothing; to ask for its processor time does. Nothing here knows a clock or a
//! process.

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::reading::Passes;

/// Processor time of the process from one look to the next, in seconds.
pub(super) const LOOK: f64 = 0.003;
/// A number that grows so many times as quickly as it should, and by more than so many, has not grown: it
/// is another one, or has begun again.
const JUMP: (f64, f64) = (2.0, 100.0);
/// One that has fallen may do so again, until that has not been seen in so many looks.
const FALLS: u32 = 100;
/// The pace is even up to this factor.
pub(super) const EVEN: f64 = 1.25;
/// So much should lie between two looks of which one follows the other at once, and as many seconds of
/// processor time at least and at most.
pub(super) const CLOSE: (f64, f64, f64) = (50.0, 50e-6, 100e-6);
/// From look to look it is taken to be slower by this factor at most: in one it may have stopped, or begun
/// anew.
const SLOWS: f64 = 0.99;
/// What lay between them in the end is off by no more than this factor.
const CLOSELY: f64 = 4.0;
/// Looks that told nothing, in excess of those that did, after which a tally is lost.
const LOST: u32 = 6;
/// So many times a number leaps up, and is another one each time, until it is taken for one that does so again
/// and again.
const LEAPS: u32 = 3;
/// In windows the pace of what counts along is at most such a part of what it is outside. In less processor
/// time, in seconds, there is nothing to be said of that.
pub(super) const SLOWER: (f64, f64) = (0.7, 0.001);
/// Where nothing was called in so much of the processor time of a window, in seconds, nothing is called.
const IDLE: f64 = 0.002;
/// A number that should have grown by so much in a window, and has not at all, stands still.
const STILL: f64 = 10.0;

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
    pub(super) fn until(&self, now: &Self) -> (f64, u32) {
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

/// It has grown by far more than it should.
pub(super) fn is_jump(grown: u32, expected: f64) -> bool {
    f64::from(grown) > expected * JUMP.0 + JUMP.1
}

/// What has grown by far more than it should has not begun anew: one that does so falls. Its place is another
/// number's in turn, or it counts in large steps.
fn is_leap(grown: u32) -> bool {
    grown.cast_signed() > 0
}

/// A number that counts along.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tally {
    address: u64,
    /// At the last look.
    seen: Seen,
    paces: Paces,
    passes: Passes,
    /// It falls now and then, as far as is known: looks until it is taken not to.
    falls: u32,
    /// Looks that told nothing, in excess of those that did.
    silent: u32,
    /// It has become far greater all of a sudden, so often.
    leaps: u32,
    /// It has stood still although functions were called: the index of a loop that begins anew lies elsewhere
    /// for some time.
    roams: bool,
    state: State,
    /// Passes and seconds of the last look outside of windows: it may have stopped meanwhile, as the next one
    /// tells.
    pending: Option<(f64, f64)>,
}

/// How much a number grows in a second of processor time.
#[derive(Clone, Copy, Debug)]
pub(super) struct Paces {
    pub(super) outside: f64,
    /// In windows; 0 where that is not known.
    pub(super) within: f64,
}

/// What a number does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Growing,
    /// It grows in windows as it does outside: it is that of another loop, which calls nothing.
    Wrong,
    /// It stands still. It may be that another one counts along now.
    Still,
    /// It stands still, as nothing is called.
    Idle,
}

impl Tally {
    /// A number at an address, whose pace is known, and whether it falls now and then.
    pub(super) fn new(address: u64, seen: Seen, paces: Paces, falls: bool) -> Self {
        Self {
            address,
            seen,
            paces,
            passes: Passes {
                is_free: true,
                ..Passes::default()
            },
            falls: if falls { FALLS } else { 0 },
            silent: 0,
            leaps: 0,
            roams: false,
            state: State::Growing,
            pending: None,
        }
    }

    /// By how much it has grown so far.
    pub(super) fn passes(&self) -> Passes {
        self.passes
    }

    /// Whether it is another number most of the time.
    pub(super) fn is_lost(&self) -> bool {
        self.silent >= LOST || self.leaps >= LEAPS
    }

    /// It falls now and then.
    pub(super) fn falls(&self) -> bool {
        self.falls > 0
    }

    /// How much it grows in a second of processor time outside of windows.
    pub(super) fn pace(&self) -> f64 {
        self.paces.outside
    }

    /// It stands still, or is wrong, and another number may have taken its place.
    pub(super) fn may_be_another(&self) -> bool {
        matches!(self.state, State::Still | State::Wrong)
    }

    /// The address of one that is known not to count along.
    pub(super) fn wrong(&self) -> Option<u64> {
        (self.state == State::Wrong).then_some(self.address)
    }

    /// It stands still, as nothing is called.
    pub(super) fn is_idle(&self) -> bool {
        self.state == State::Idle
    }

    /// Another number goes on where this one stands still: the loop has begun again.
    pub(super) fn go_on_as(&mut self, other: Self) {
        *self = Self {
            passes: self.passes,
            paces: Paces {
                within: self.paces.within,
                ..other.paces
            },
            ..other
        };
    }

    /// In so much processor time of a window, in seconds, there were so many hits. If this stands still, it
    /// does not count these, or there is nothing to be counted.
    pub(super) fn learn(&mut self, hits: f64, seconds: f64) {
        match self.state {
            State::Still | State::Idle if hits > 0.0 => {
                self.state = State::Still;
                self.roams = true;
            }
            State::Still | State::Idle if seconds >= IDLE => self.state = State::Idle,
            State::Growing | State::Wrong | State::Still | State::Idle => {}
        }
    }

    /// Takes in what it is now.
    ///
    /// From one look to the next, a loop may begin anew any number of times. So if it does that, two looks
    /// close to each other stand for the time since the last one. In windows it hardly gets on, and looks
    /// follow each other so soon that it does not begin anew unseen.
    pub(super) fn look(&mut self, side: Side, reader: &mut impl Reader) {
        let Some(used) = reader.used() else {
            self.silent += 1;
            return;
        };
        let Some(value) = reader.value(self.address) else {
            self.state = State::Still;
            return;
        };
        let now = Seen { value, used };
        let (seconds, grown) = self.seen.until(&now);
        self.seen = now;
        let fell = is_jump(grown, seconds * self.paces.outside);
        self.leaps += u32::from(fell && is_leap(grown));
        self.falls = if fell {
            FALLS
        } else {
            self.falls.saturating_sub(1)
        };
        let grown = f64::from(grown);
        let passes = match side {
            Side::Within => (!fell && self.is_slower(seconds, grown)).then_some(grown),
            _ if !self.falls() || self.is_as_expected(seconds, grown) => Some(grown),
            Side::Outside => self.close_pace(reader).map(|pace| pace * seconds),
            Side::Opening => None,
        };
        if self.roams && side == Side::Outside && passes.is_some_and(|passes| passes <= 0.0) {
            self.state = State::Still;
            self.pending = None;
            return;
        }
        if side == Side::Within && !fell && passes.is_none() {
            self.state = State::Wrong;
        }
        self.see_whether_it_grows(side, (seconds, grown), passes);
        let pending = self.pending.take();
        if self.may_be_another() {
            return;
        }
        self.add(pending);
        let passes = passes.map(|passes| (passes, seconds));
        match side {
            Side::Outside => self.pending = passes,
            Side::Opening | Side::Within => self.add(passes),
        }
        if passes.is_some() {
            self.silent = self.silent.saturating_sub(1);
        } else if side != Side::Opening {
            self.silent += 1;
        }
    }

    fn see_whether_it_grows(
        &mut self,
        side: Side,
        (seconds, grown): (f64, f64),
        passes: Option<f64>,
    ) {
        let Some(passes) = passes.filter(|_| self.state != State::Wrong) else {
            return;
        };
        let (pace, enough) = match side {
            Side::Within => (self.paces.within, STILL),
            Side::Outside | Side::Opening => (self.paces.outside, JUMP.1),
        };
        if passes > 0.0 {
            self.state = State::Growing;
            match side {
                Side::Within => self.paces.within = passes / seconds,
                Side::Outside if seconds * pace >= enough => {
                    self.paces.outside = (passes / seconds).max(self.paces.outside * SLOWS);
                }
                Side::Outside | Side::Opening => {}
            }
        } else if grown <= 0.0 && seconds * pace >= enough && self.state == State::Growing {
            self.state = State::Still;
        }
    }

    /// Passes in so many seconds are known.
    fn add(&mut self, passes: Option<(f64, f64)>) {
        if let Some((passes, seconds)) = passes {
            self.passes.count += passes;
            self.passes.known += Duration::from_secs_f64(seconds);
        }
    }

    /// It has grown as if it had not begun anew since the last look.
    fn is_as_expected(&self, seconds: f64, grown: f64) -> bool {
        let expected = seconds * self.paces.outside;
        grown <= expected * EVEN && expected <= grown * EVEN
    }

    /// It has grown in a window as what counts along does.
    fn is_slower(&self, seconds: f64, grown: f64) -> bool {
        let (part, least) = SLOWER;
        seconds < least || grown <= seconds * self.paces.outside * part
    }

    /// How much it grows in a second, by two looks close to each other.
    fn close_pace(&mut self, reader: &mut impl Reader) -> Option<f64> {
        let (growth, shortest, longest) = CLOSE;
        let distance = (growth / self.paces.outside).clamp(shortest, longest);
        let (seconds, grown) = reader.read_twice(self.address, distance)?;
        let is_close = seconds * CLOSELY >= distance && seconds <= distance * CLOSELY;
        let fell = is_jump(grown, seconds * self.paces.outside);
        self.leaps += u32::from(is_close && fell && is_leap(grown));
        (is_close && !fell).then(|| f64::from(grown) / seconds)
    }
}
