//! Traces as text: lines for reading, JSON for programs, folded stacks for flame graphs.

mod folded;
mod json;
mod text;

use std::io::{BufWriter, Write};

use foldhash::{HashMap, HashMapExt as _};

use self::folded::Folded;
pub use self::folded::Missing;
use super::ReportError;
use crate::cli::{TraceFormat, Weight};
use crate::model::Text;
use crate::trace::{Batch, Line, Selection, Stacks, What};

/// Prints what happens.
#[derive(Debug)]
pub struct TraceReport<W: Write> {
    output: BufWriter<W>,
    stacks: Stacks,
    programs: Programs,
    /// When the trace began, in nanoseconds of `CLOCK_MONOTONIC`.
    start: u64,
    style: Style,
    /// Lines are indented from the shallowest that there has been, if that was asked for.
    shallowest: Option<usize>,
}

#[derive(Debug)]
enum Style {
    Text,
    Json,
    Folded(Folded),
}

/// Programs by pid.
type Programs = HashMap<u32, Text>;

impl<W: Write> TraceReport<W> {
    /// A report of the functions of `selection`, in time since `start`, which is in nanoseconds of
    /// `CLOCK_MONOTONIC`.
    pub fn new(
        format: TraceFormat,
        weight: Weight,
        selection: Selection,
        start: u64,
        output: W,
    ) -> Self {
        Self {
            output: BufWriter::with_capacity(1 << 16, output),
            stacks: Stacks::new(selection),
            programs: HashMap::new(),
            start,
            style: match format {
                TraceFormat::Text => Style::Text,
                TraceFormat::Json => Style::Json,
                TraceFormat::Folded => Style::Folded(Folded::new(weight)),
            },
            shallowest: None,
        }
    }

    /// Indents from the shallowest line that there has been, for where there is little room.
    #[must_use]
    pub fn from_shallowest(mut self) -> Self {
        self.shallowest = Some(usize::MAX);
        self
    }

    /// Prints what has happened.
    pub fn write(&mut self, batch: &Batch) -> Result<(), ReportError> {
        let Self {
            output,
            stacks,
            programs,
            start,
            style,
            shallowest,
        } = self;
        for (pid, program) in &batch.programs {
            programs.insert(*pid, program.clone());
        }
        let mut result = Ok(());
        let mut tell = |mut line: Line<'_>| {
            if let Some(shallowest) = shallowest {
                if !matches!(line.what, What::Lost(_)) {
                    *shallowest = line.depth.min(*shallowest);
                }
                line.depth = line.depth.saturating_sub(*shallowest);
            }
            if result.is_ok() {
                result = match style {
                    Style::Text => text::write(output, *start, programs, &line),
                    Style::Json => json::write(output, *start, programs, &line),
                    Style::Folded(folded) => {
                        folded.take(programs, &line);
                        Ok(())
                    }
                };
            }
        };
        for traced in &batch.events {
            stacks.take(traced, &mut tell);
        }
        for gone in &batch.ended {
            stacks.end(gone, &mut tell);
        }
        result?;
        if let Style::Folded(folded) = style {
            for gone in &batch.ended {
                folded.end(gone);
            }
        }
        output.flush()?;
        Ok(())
    }

    /// Prints what is printed at the end. Returns what this does not show.
    pub fn finish(&mut self) -> Result<Missing, ReportError> {
        let mut missing = Missing::default();
        if let Style::Folded(folded) = &self.style {
            missing = folded.write(&mut self.output)?;
        }
        self.output.flush()?;
        Ok(missing)
    }
}
