//! How long functions take: what the kernel side keeps of the calls that run, and where it puts those
//! that have ended.
//!
//! A call that is timed is an [`Activation`] on the [`Stack`] of its thread until it ends. Then its
//! duration goes to the [`Record`] of its function in the current interval, or where another function
//! has that, to the table of [`Spilled`] ones.

/// A call that runs.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Activation {
    /// Key of the function's names in the table of texts. 0: it is on the stack only for the sake of
    /// the others, and is not timed.
    pub text: u64,
    /// What its exit is known by: no other call that runs in the thread has the same, but for
    /// a marker's, whose identity is that of the function. 0 when it is that of any exit.
    pub identity: u64,
    /// When it was entered, in nanoseconds of `CLOCK_MONOTONIC`.
    pub entered: u64,
    /// The time of the calls that it has made and that have ended, in nanoseconds.
    pub callees: u64,
    /// The function's line.
    pub line: i32,
    /// 1 when another call of the function runs in the thread, further out.
    pub nested: u16,
    /// 1 when it may be left unseen: it has had an exception.
    pub doubtful: u16,
}

/// Calls that a [`Stack`] has room for. A power of two; the last place is never used, so that a counter
/// of one byte is enough for all.
pub const ACTIVATIONS: usize = 256;

/// The calls that run in a thread, innermost last.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Stack {
    /// The process in the upper and the thread in the lower half; 0 when nobody has the stack.
    pub owner: u64,
    /// Calls on the stack.
    pub depth: u32,
    /// Calls that run and found no room on it.
    pub beyond: u32,
    /// How many of those on the stack have this lowest byte of `text`: who finds 0 knows, without a
    /// look at the stack, that his function does not run.
    pub running: [u8; 256],
    /// The calls.
    pub activations: [Activation; ACTIVATIONS],
}

/// Number of stacks that are found by the number of the thread alone. A power of two.
pub const STACKS: usize = 2048;
/// Number of stacks of threads that find that place taken.
pub const MORE_STACKS: usize = 4096;

/// The names of the function that has a slot, by the number of the slot.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Named {
    /// Key of the names in the table of texts.
    pub text: u64,
    /// The line of the row.
    pub line: i32,
    /// Always zero.
    pub reserved: u32,
}

/// The calls of a function that have ended in an interval.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record {
    /// Key of the function's names; 0 when nobody has the record.
    pub text: u64,
    /// The process in the upper and the line in the lower half.
    pub owner: u64,
    /// Nanoseconds of calls within no other one of the function.
    pub outermost: u64,
    /// Nanoseconds of calls within another one of the function.
    pub nested: u64,
    /// Nanoseconds of the calls that they have made.
    pub callees: u64,
    /// The longest call, in nanoseconds.
    pub longest: u64,
    /// Always zero.
    pub reserved: [u64; 2],
    /// Calls by [`bucket`].
    pub buckets: [u32; BUCKETS],
}

/// Power of two of the number of records of an interval.
pub const RECORD_BITS: u32 = 13;
/// Number of records of an interval.
pub const RECORDS: usize = 1 << RECORD_BITS;

/// The record that a function may have.
#[inline]
#[must_use]
pub const fn record(text: u64, owner: u64) -> u32 {
    let mixed = (text ^ owner.rotate_left(29)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (u64::BITS - RECORD_BITS)) as u32
}

/// A function and a [`bucket`] of durations, where the function has no record or the record no such
/// bucket.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SpilledKey {
    /// As [`Record::text`].
    pub text: u64,
    /// As [`Record::owner`].
    pub owner: u64,
    /// The bucket.
    pub bucket: u32,
    /// Always zero.
    pub reserved: u32,
}

/// The calls with a [`SpilledKey`]. The fields are those of [`Record`].
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spilled {
    /// How many they are.
    pub finished: u64,
    /// As [`Record::outermost`].
    pub outermost: u64,
    /// As [`Record::nested`].
    pub nested: u64,
    /// As [`Record::callees`].
    pub callees: u64,
    /// As [`Record::longest`].
    pub longest: u64,
}

/// Entries of a table of [`Spilled`] ones.
pub const SPILLED: usize = 65_536;

/// Why a call that was counted is not timed. The discriminant is the index into their table.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Untimed {
    /// Too many calls run in its thread.
    Deep = 0,
    /// There is no room for one more thread.
    Threads = 1,
    /// It was not seen ending.
    Unseen = 2,
    /// The table of durations is full.
    Full = 3,
    /// It is not known which function it was.
    Unnamed = 4,
    /// It made a generator, and ran nothing.
    Made = 5,
}

impl Untimed {
    /// Number of reasons.
    pub const COUNT: u32 = 6;
}

/// Power of two of the number of buckets between a duration and its double. The middle of a bucket is
/// thus no more than 3.2 % from any duration in it.
const FINE_BITS: u32 = 4;
/// Power of two of the nanoseconds of the smallest buckets.
const UNIT_BITS: u32 = 4;
/// Buckets of a [`Record`]: durations of less than 274 seconds.
pub const BUCKETS: usize = 31 << FINE_BITS;

/// The number of the bucket of a duration in nanoseconds. Buckets are log-linear: a sixteenth wide of
/// the power of two that they begin with or follow.
#[inline]
#[must_use]
#[expect(
    clippy::cast_possible_truncation,
    reason = "both are cut to a few bits before"
)]
pub const fn bucket(duration: u64) -> u32 {
    let units = duration >> UNIT_BITS;
    if units < 1 << FINE_BITS {
        return units as u32;
    }
    // There is no instruction that counts zeros.
    let mut rest = units;
    let mut exponent = 0;
    let mut step = 32;
    while step > 0 {
        if rest >> step != 0 {
            rest >>= step;
            exponent += step;
        }
        step /= 2;
    }
    let fine = (units >> (exponent - FINE_BITS) & ((1 << FINE_BITS) - 1)) as u32;
    (exponent - FINE_BITS + 1) << FINE_BITS | fine
}

/// The least duration of a bucket, and the first one beyond it, in nanoseconds.
#[must_use]
pub const fn bounds(bucket: u32) -> (u64, u64) {
    let group = bucket >> FINE_BITS;
    if group == 0 {
        let least = (bucket as u64) << UNIT_BITS;
        return (least, least + (1 << UNIT_BITS));
    }
    let shift = group - 1 + UNIT_BITS;
    if shift > 63 - FINE_BITS - 1 {
        return (u64::MAX, u64::MAX);
    }
    let fine = (bucket & ((1 << FINE_BITS) - 1) | 1 << FINE_BITS) as u64;
    (fine << shift, (fine + 1) << shift)
}

const _: () = {
    assert!(size_of::<Activation>() == 40);
    assert!(size_of::<Stack>() == 10_512);
    assert!(size_of::<Named>() == 16);
    assert!(size_of::<Record>() == 2048);
    assert!(size_of::<SpilledKey>() == 24);
    assert!(size_of::<Spilled>() == 40);
};

#[cfg(feature = "user")]
mod pod {
    use super::{Record, Spilled, SpilledKey, Stack};

    // SAFETY: `repr(C)`, made of integers only, without padding (asserted above).
    unsafe impl aya::Pod for Record {}
    // SAFETY: as for `Record`.
    unsafe impl aya::Pod for Spilled {}
    // SAFETY: as for `Record`.
    unsafe impl aya::Pod for SpilledKey {}
    // SAFETY: as for `Record`.
    unsafe impl aya::Pod for Stack {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_is_in_its_bucket() {
        let mut before = 0;
        for exponent in 0..58 {
            for part in 0..97_u64 {
                let duration = (1_u64 << exponent) + (((1_u64 << exponent) * part) / 97);
                let number = bucket(duration);
                let (least, beyond) = bounds(number);
                assert!(
                    least <= duration && duration < beyond,
                    "{duration} in {number}: {least} to {beyond}"
                );
                assert!(number >= before, "{duration}");
                before = number;
                let middle = least.midpoint(beyond) as f64;
                if duration >= 256 {
                    assert!(
                        (middle / duration as f64 - 1.0).abs() <= 0.032,
                        "{duration}"
                    );
                }
            }
        }
    }

    #[test]
    fn buckets_leave_no_gap() {
        for number in 0..700 {
            assert_eq!(bounds(number).1, bounds(number + 1).0);
            assert_eq!(bucket(bounds(number).0), number);
        }
        assert_eq!(bucket(274_000_000_000) as usize, BUCKETS - 1);
        assert_eq!(bucket(275_000_000_000) as usize, BUCKETS);
        assert!(bounds(u32::MAX).0 > 0);
        assert!(bucket(u64::MAX) > 900);
    }
}
