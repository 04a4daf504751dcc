//! How much of the time in windows is a process's own work, by samples.
//!
//! What a hit costs is not the same in every process: the kernel drives code and data of the process
//! out of the caches, and the processor forgets what it knew of its branches, so that for some time
//! after a hit the process itself is slower. But code that it runs long enough after a hit runs as
//! ever. Samples tell how much time is spent where, in windows and outside:
//!
//! ```text
//! share of time in a piece of code, in windows        own work in windows
//! ------------------------------------------------ = ---------------------   if it runs as ever there
//! share of time in the same piece, outside                time in windows
//! ```
//!
//! Each piece of code gives a ratio of its own, too large where the hit has slowed it down. One in
//! the lower part of all ratios is taken.

use std::collections::BTreeMap;

/// Bytes of code that are one piece at least: a line of the cache.
const LINE_BITS: u32 = 6;
/// Samples outside of windows that a piece has to have. Neighbours are taken together until it has.
const ENOUGH: f64 = 25.0;
/// Pieces without which nothing can be said.
const FEWEST_PIECES: usize = 6;
/// The part of the time outside that is in pieces with smaller ratios than the one that is taken.
/// Found by measurement, with functions of 50 to 3,000 ns.
const QUANTILE: f64 = 0.22;
/// What is kept of all samples from one interval to the next.
const KEPT: f64 = 0.85;

/// The samples of a process.
#[derive(Debug, Default)]
pub(super) struct Work {
    /// Samples of each line of code: outside of windows, and in windows.
    lines: BTreeMap<u64, (f64, f64)>,
    /// Samples that there would be if the process were never in the kernel.
    outside: f64,
    inside: f64,
}

impl Work {
    /// Takes in a sample outside of windows.
    pub(super) fn outside(&mut self, address: u64) {
        self.lines.entry(address >> LINE_BITS).or_default().0 += 1.0;
    }

    /// Takes in a sample in a window.
    pub(super) fn inside(&mut self, address: u64) {
        self.lines.entry(address >> LINE_BITS).or_default().1 += 1.0;
    }

    /// Takes in the processor time that samples were taken of, as the number of samples.
    pub(super) fn add_time(&mut self, outside: f64, inside: f64) {
        self.outside += outside;
        self.inside += inside;
    }

    /// Lets earlier samples count for less from now on.
    pub(super) fn fade(&mut self) {
        self.outside *= KEPT;
        self.inside *= KEPT;
        for (outside, inside) in self.lines.values_mut() {
            *outside *= KEPT;
            *inside *= KEPT;
        }
        self.lines
            .retain(|_, (outside, inside)| *outside + *inside > 0.05);
    }

    /// The part of the time in windows that is the process's own work. `None` while too little is
    /// known.
    pub(super) fn share(&self) -> Option<f64> {
        if self.inside < 1.0 || self.outside < 1.0 {
            return None;
        }
        let mut pieces = Vec::new();
        let (mut outside, mut inside) = (0.0, 0.0);
        for (more_outside, more_inside) in self.lines.values() {
            outside += more_outside;
            inside += more_inside;
            if outside >= ENOUGH {
                let ratio = (inside / self.inside) / (outside / self.outside);
                pieces.push((ratio, outside));
                (outside, inside) = (0.0, 0.0);
            }
        }
        if pieces.len() < FEWEST_PIECES {
            return None;
        }
        pieces.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        let all: f64 = pieces.iter().map(|(_, samples)| samples).sum();
        let mut below = 0.0;
        let taken = pieces.iter().find(|(_, samples)| {
            below += samples;
            below >= all * QUANTILE
        });
        taken.map(|(ratio, _)| ratio.clamp(0.0, 1.0))
    }
}
