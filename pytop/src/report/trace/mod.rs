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
    Folded(Box<Folded>),
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
                TraceFormat::Folded => Style::Folded(Box::new(Folded::new(weight))),
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

#[cfg(test)]
mod tests {
    use pytop_common::trace::{Event, Kind};

    use super::*;
    use crate::probe::Names;
    use crate::trace::{Gone, Traced};

    fn traced(kind: Kind, name: &str, depth: u32, lost: u32) -> Traced {
        let event = Event {
            text: name.bytes().map(u64::from).sum(),
            pid: 7,
            tid: 7,
            depth,
            lost,
            kind: kind as u8,
            ..Event::default()
        };
        let names = (!name.is_empty()).then(|| Names {
            filename: Text::from("a.py"),
            function: Text::from(name),
        });
        Traced { event, names }
    }

    fn folded(weight: Weight, times: &[(u64, Traced)], ended: Vec<Gone>) -> (String, Missing) {
        let selection = Selection::default();
        let mut output = Vec::new();
        let mut report = TraceReport::new(TraceFormat::Folded, weight, selection, 0, &mut output);
        let event = |(time, traced): &(u64, Traced)| {
            let mut traced = traced.clone();
            traced.event.time = time * 1000;
            traced
        };
        let batch = Batch {
            events: times.iter().map(event).collect(),
            ended,
            ..Batch::default()
        };
        report.write(&batch).expect("memory");
        let missing = report.finish().expect("memory");
        drop(report);
        (String::from_utf8(output).expect("text"), missing)
    }

    #[test]
    fn what_passes_after_an_unseen_end_is_the_callers_time() {
        let times = [
            (0, traced(Kind::Entry, "main", 1, 0)),
            (1, traced(Kind::Entry, "a", 2, 0)),
            (2, traced(Kind::Entry, "b", 3, 0)),
            // An exception has left both.
            (28, traced(Kind::Return, "", 1, 0)),
        ];
        let (time, _) = folded(Weight::Time, &times, Vec::new());
        assert_eq!(time, " (7);main (a.py) 27\n (7);main (a.py);a (a.py) 1\n");
    }

    #[test]
    fn what_passes_until_a_thread_ends_is_the_time_of_where_it_was() {
        let times = [
            (0, traced(Kind::Entry, "main", 1, 0)),
            (1, traced(Kind::Entry, "a", 2, 0)),
        ];
        let event = &times[0].1.event;
        let gone = Gone {
            pid: event.pid,
            tid: event.tid,
            lost: 0,
            time: 28_000,
            has_ended: true,
        };
        let (time, _) = folded(Weight::Time, &times, vec![gone]);
        assert_eq!(time, " (7);main (a.py) 1\n (7);main (a.py);a (a.py) 27\n");
    }

    #[test]
    fn folded_stacks_behind_a_loss_have_what_is_known() {
        let times = [
            (0, traced(Kind::Entry, "main", 1, 0)),
            (1, traced(Kind::Entry, "a", 2, 0)),
            (2, traced(Kind::Return, "", 2, 0)),
            // `b` was entered meanwhile: its return is told, its entry is not.
            (12, traced(Kind::Entry, "f", 3, 5)),
            (15, traced(Kind::Return, "", 3, 0)),
            (19, traced(Kind::Return, "b", 2, 0)),
            (20, traced(Kind::Entry, "a", 2, 0)),
            (26, traced(Kind::Return, "", 2, 0)),
            (28, traced(Kind::Return, "", 1, 0)),
            (30, traced(Kind::Entry, "main", 1, 0)),
            (31, traced(Kind::Return, "", 1, 0)),
        ];
        let missing = Missing { merged: 0, lost: 5 };
        let calls = " (7);main (a.py) 2\n (7);main (a.py);a (a.py) 1\n (7);(lost);f (a.py) 1\n \
                     (7);(lost);a (a.py) 1\n";
        assert_eq!(
            folded(Weight::Calls, &times, Vec::new()),
            (calls.to_owned(), missing)
        );
        let time = " (7);main (a.py) 2\n (7);main (a.py);a (a.py) 1\n (7);(lost) 17\n \
                    (7);(lost);f (a.py) 3\n (7);(lost);a (a.py) 6\n";
        assert_eq!(
            folded(Weight::Time, &times, Vec::new()),
            (time.to_owned(), missing)
        );
    }
}
