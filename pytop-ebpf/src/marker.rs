//! Counting at a `function__entry` marker, which hands over the names and the line.

use aya_ebpf::programs::ProbeContext;
use pytop_common::count::{Encoding, FrameKey, Loss};

use crate::argument::{self, Copied};
use crate::counting::{self, Subject};
use crate::maps::MARKERS;
use crate::names::{Located, Span, TERMINATED};

/// A hit of a marker.
pub struct Marked {
    pub filename: u64,
    pub function: u64,
    pub line: i32,
}

impl Marked {
    /// What the marker tells.
    #[inline(always)]
    pub fn of(context: &ProbeContext) -> Result<Self, Loss> {
        let spec = MARKERS
            .get(argument::site(context))
            .ok_or(Loss::UnknownSite)?;
        let registers = Copied::of(context);
        let argument = |argument| registers.fetch(argument).ok_or(Loss::UnreadableName);
        let marked = Self {
            filename: argument(&spec.filename)?,
            function: argument(&spec.function)?,
            line: argument(&spec.line)? as i32,
        };
        if marked.filename == 0 || marked.function == 0 {
            return Err(Loss::UnreadableName);
        }
        Ok(marked)
    }

    /// The function of a process.
    #[inline(always)]
    pub fn key(&self, pid: u32) -> FrameKey {
        FrameKey {
            first: self.filename,
            second: self.function,
            pid,
            line: self.line,
        }
    }

    /// Where the names are.
    #[inline(always)]
    pub fn located(&self) -> Located {
        let terminated = |address| Span {
            address,
            size: TERMINATED,
            encoding: Encoding::Utf8 as u32,
        };
        Located {
            filename: terminated(self.filename),
            function: terminated(self.function),
            line: self.line,
        }
    }
}

impl Subject for Marked {
    #[inline(always)]
    fn locate(&self) -> Result<Option<Located>, Loss> {
        Ok(Some(self.located()))
    }
}

/// Counts a hit of a marker.
#[inline(always)]
pub fn count(context: &ProbeContext, pid: u32) -> Result<(), Loss> {
    let site = argument::site(context);
    let marked = Marked::of(context)?;
    counting::count(&marked.key(pid), &marked, site)
}
