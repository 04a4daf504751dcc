//! What a program that does nothing but call functions loses while `--max-overhead` bounds what
//! counting costs, and how near the told calls come to the real ones.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead as _, BufReader, Seek as _};
use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

use super::contestant::Contestant;
use super::figures::Figures;
use super::python::Script;
use super::resources::processor_time;
use super::twins::Twins;
use crate::interpreters::Interpreter;

/// The bound, in percent of the processor time of each process.
const BOUND: &str = "5";
/// Seconds of calling without pytop, before and after, and without a bound.
const WITHOUT: u32 = 2;
/// Seconds in which the process is found out. Its calls count, but its time does not.
const FOUND_OUT: u32 = 1;
/// Seconds of calling under the bound.
const COUNTED: u32 = 10;
/// Functions of the program. Each is called as often in a round as its number says.
const FUNCTIONS: usize = 10;
/// A program looks at the clock after so many nanoseconds, or passes nothing else for longer.
const READING: u32 = 100_000;
const ALONE: [u32; 3] = [1_000_000, 5_000_000, 1_000_000_000];
/// What functions do, each with whether there is a bound.
const LOADS: [(Work, bool); 9] = [
    (Work::Nothing, true),
    (Work::Loop(0), true),
    (Work::Loop(70), true),
    (Work::Loop(200), true),
    (Work::Loop(400), true),
    (Work::Alone(ALONE[0]), true),
    (Work::Alone(ALONE[1]), true),
    (Work::Alone(ALONE[2]), true),
    (Work::Nothing, false),
];

/// What a function does.
#[derive(Clone, Copy)]
enum Work {
    Nothing,
    /// So many steps of a loop, of some 6 to 10 ns each, beside the call of `range`.
    Loop(u32),
    /// Nothing, in a program that hardly passes a milestone: it looks at the clock after so many nanoseconds
    /// only, and begins its loop anew.
    Alone(u32),
}

impl Work {
    /// The body of a function in Python.
    fn body(self) -> String {
        match self {
            Self::Nothing | Self::Alone(_) => "pass".to_owned(),
            Self::Loop(steps) => format!("for _ in range({steps}): pass"),
        }
    }

    /// After so many nanoseconds the program looks at the clock.
    fn reading(self) -> u32 {
        match self {
            Self::Nothing | Self::Loop(_) => READING,
            Self::Alone(nanoseconds) => nanoseconds,
        }
    }

    fn name(self) -> String {
        match self {
            Self::Nothing => "nothing".to_owned(),
            Self::Loop(steps) => format!("loop of {steps}"),
            Self::Alone(nanoseconds) => format!("alone for {} ms", nanoseconds / 1_000_000),
        }
    }
}

/// What one turn of a program says.
struct Turn {
    /// Processor time of a call without pytop, in nanoseconds.
    each: f64,
    /// How much more of it a call takes with pytop, in percent.
    slower: f64,
    /// Told calls to real ones: the median of all functions, and the one that is furthest off.
    median: f64,
    worst: f64,
    /// The part of a processor that pytop takes, in percent.
    pytop: f64,
}

/// Prints the cost and the exactness for each interpreter, with its method, and each length of
/// functions, and the cost without a bound.
pub(super) fn measure(pytop: &Path, pythons: &[(&Interpreter, &str)], rounds: usize) -> Result<()> {
    let contestants: Vec<_> = pythons
        .iter()
        .flat_map(|python| LOADS.iter().map(move |load| (python, load)))
        .collect();
    let mut turns: Vec<_> = contestants.iter().map(|_| Vec::new()).collect();
    for _ in 0..rounds {
        for (((python, method), (work, is_bound)), turns) in contestants.iter().zip(&mut turns) {
            let bound = is_bound.then_some(BOUND);
            turns.push(turn(pytop, python, method, *work, bound)?);
        }
    }

    println!(
        "\nA program that does nothing but call {FUNCTIONS} functions, for {COUNTED} s with \
         --max-overhead {BOUND}"
    );
    println!(
        "{:<15} {:<17} {:>20} {:>20} {:>24} {:>24} {:>18}",
        "",
        "",
        "ns a call",
        "slower, %",
        "told/real: median",
        "told/real: worst",
        "pytop, % of a CPU"
    );
    for (((python, method), (work, is_bound)), turns) in contestants.iter().zip(&turns) {
        let figures = |of: fn(&Turn) -> f64, decimals: usize| {
            let figures = Figures::of(turns.iter().map(of).collect());
            let spread = figures.spread_to(decimals);
            format!("{:.decimals$} ({spread})", figures.median)
        };
        println!(
            "{:<15} {:<17} {:>20} {:>20} {:>24} {:>24} {:>18}",
            format!("{} {method}", python.version),
            if *is_bound {
                work.name()
            } else {
                format!("{}, unbound", work.name())
            },
            figures(|turn| turn.each, 0),
            figures(|turn| turn.slower, 1),
            figures(|turn| turn.median, 3),
            figures(|turn| turn.worst, 3),
            figures(|turn| turn.pytop, 1),
        );
    }
    Ok(())
}

/// A new process and its twin without pytop, with it on one of them, and without it again.
fn turn(
    pytop: &Path,
    python: &Interpreter,
    method: &str,
    work: Work,
    bound: Option<&str>,
) -> Result<Turn> {
    let arguments = [
        work.body(),
        FUNCTIONS.to_string(),
        work.reading().to_string(),
    ];
    let arguments = arguments.each_ref().map(String::as_str);
    let start = || {
        let command = python.chroot.command()?;
        Script::of(command, include_str!("bound.py"), &arguments)
    };
    let mut twins = Twins::of(start()?, start()?);
    let before = Both::in_seconds(&mut twins, WITHOUT)?;
    let mut printed = tempfile::tempfile().context("cannot make a temporary file")?;
    let output = printed.try_clone().context("cannot share a file")?;
    // It begins and ends while the script waits, so that the told calls are those of the two phases.
    let pid = twins.watched.pid();
    let contestant = Contestant::process(pytop, method, pid, bound);
    let attached = contestant.attach_printing(output.into())?;
    let at_first = Both::in_seconds(&mut twins, FOUND_OUT)?;
    let seconds = if bound.is_some() { COUNTED } else { WITHOUT };
    let own = attached.pid().context("nobody counts")?;
    let used_before = processor_time(own)?;
    let counted = Both::in_seconds(&mut twins, seconds)?;
    let used = processor_time(own)?.saturating_sub(used_before);
    attached.detach()?;
    let after = Both::in_seconds(&mut twins, WITHOUT)?;

    printed.rewind().context("cannot read a temporary file")?;
    let told = told(printed, pid)?;
    let called = at_first.watched.calls.iter().zip(&counted.watched.calls);
    let ratios: Vec<f64> = (1..)
        .zip(called.map(|(at_first, counted)| at_first + counted))
        .map(|(number, called)| {
            let told = told.get(&format!("function_{number}")).copied();
            told.unwrap_or(0) as f64 / called as f64
        })
        .collect();
    // The twins need not be equally quick: their memory lies elsewhere.
    let slower = counted.ratio() / f64::midpoint(before.ratio(), after.ratio());
    Ok(Turn {
        each: f64::midpoint(before.watched.each(), after.watched.each()),
        slower: (slower - 1.0) * 100.0,
        worst: furthest_off(&ratios).context("no function was called")?,
        median: Figures::of(ratios).median,
        pytop: used.as_secs_f64() / f64::from(seconds) * 100.0,
    })
}

/// The ratio that is furthest from one: half is as far off as two.
fn furthest_off(ratios: &[f64]) -> Option<f64> {
    let distance = |ratio: &f64| ratio.ln().abs();
    let furthest = ratios
        .iter()
        .max_by(|one, other| distance(one).total_cmp(&distance(other)));
    furthest.copied()
}

/// What the twins say of a phase.
struct Both {
    watched: Called,
    other: Called,
}

impl Both {
    /// Has them call their functions for so long.
    fn in_seconds(twins: &mut Twins, seconds: u32) -> Result<Self> {
        let (watched, other) = twins.ask(&seconds.to_string())?;
        Ok(Self {
            watched: Called::read(&watched)?,
            other: Called::read(&other)?,
        })
    }

    /// Processor time of a call of the one that is watched to that of the other.
    fn ratio(&self) -> f64 {
        self.watched.each() / self.other.each()
    }
}

/// What a script says of a phase.
struct Called {
    /// Of each function.
    calls: Vec<u64>,
    nanoseconds: u64,
}

impl Called {
    fn read(answer: &str) -> Result<Self> {
        let numbers = answer
            .split_whitespace()
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()
            .with_context(|| format!("the script said {answer:?}, which is no numbers"))?;
        match numbers.split_last() {
            Some((nanoseconds, calls)) if calls.len() == FUNCTIONS => Ok(Self {
                calls: calls.to_vec(),
                nanoseconds: *nanoseconds,
            }),
            _ => bail!("the script said {answer:?} of {FUNCTIONS} functions"),
        }
    }

    /// Processor time of a call, in nanoseconds.
    fn each(&self) -> f64 {
        self.nanoseconds as f64 / self.calls.iter().sum::<u64>() as f64
    }
}

/// A snapshot, as far as it says what was called.
#[derive(Deserialize)]
struct Snapshot {
    processes: Vec<Process>,
    rows: Vec<Row>,
}

#[derive(Deserialize)]
struct Process {
    pid: u32,
    /// Why its counts are incomplete.
    reason: Option<String>,
}

#[derive(Deserialize)]
struct Row {
    function: String,
    calls: u64,
}

/// Calls of each function over all snapshots of a run that counted one process.
fn told(printed: File, pid: u32) -> Result<BTreeMap<String, u64>> {
    let mut told = BTreeMap::new();
    for line in BufReader::new(printed).lines() {
        let line = line.context("cannot read what pytop printed")?;
        let snapshot: Snapshot =
            serde_json::from_str(&line).with_context(|| format!("pytop printed {line:?}"))?;
        for process in snapshot.processes {
            let reason = process.reason.unwrap_or_default();
            ensure!(
                process.pid == pid && reason.is_empty(),
                "pytop says of process {}: {reason:?}",
                process.pid
            );
        }
        for row in snapshot.rows {
            *told.entry(row.function).or_insert(0) += row.calls;
        }
    }
    Ok(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_few_is_as_far_off_as_too_many() {
        for (ratios, furthest) in [
            (vec![], None),
            (vec![1.1, 1.0, 0.95], Some(1.1)),
            (vec![1.5, 0.5, 1.0], Some(0.5)),
            (vec![1.5, 0.0], Some(0.0)),
        ] {
            assert_eq!(furthest_off(&ratios), furthest);
        }
    }
}
