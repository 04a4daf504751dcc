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
use crate::interpreters::Interpreter;

/// The bound, in percent of the processor time of each process.
const BOUND: &str = "5";
/// Seconds of calling without pytop, before and after.
const WITHOUT: u32 = 2;
/// Seconds in which the process is found out. Its calls count, but its time does not.
const FOUND_OUT: u32 = 1;
/// Seconds of calling under the bound.
const COUNTED: u32 = 10;
/// Functions of the program. Each is called as often in a round as its number says.
const FUNCTIONS: usize = 10;
/// The lengths of functions, as steps of a loop, each with whether there is a bound.
const LOADS: [(u32, bool); 5] = [(0, true), (70, true), (200, true), (400, true), (0, false)];

/// What one turn of a program says.
struct Turn {
    /// Processor time of a call without pytop, in nanoseconds.
    each: f64,
    /// How much more of it a call takes with pytop, in percent.
    slower: f64,
    /// Told calls to real ones: the median of all functions, and the one that is furthest off.
    median: f64,
    worst: f64,
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
        for (((python, method), (steps, is_bound)), turns) in contestants.iter().zip(&mut turns) {
            let bound = is_bound.then_some(BOUND);
            turns.push(turn(pytop, python, method, *steps, bound)?);
        }
    }

    println!(
        "\nA program that does nothing but call {FUNCTIONS} functions, counted for {COUNTED} s with \
         --max-overhead {BOUND}"
    );
    println!(
        "{:<15} {:<14} {:>22} {:>22} {:>24} {:>24}",
        "", "", "ns a call", "slower by, %", "told to real, median", "the worst function's"
    );
    for (((python, method), (steps, is_bound)), turns) in contestants.iter().zip(&turns) {
        let figures = |of: fn(&Turn) -> f64, decimals: usize| {
            let figures = Figures::of(turns.iter().map(of).collect());
            let spread = figures.spread_to(decimals);
            format!("{:.decimals$} ({spread})", figures.median)
        };
        println!(
            "{:<15} {:<14} {:>22} {:>22} {:>24} {:>24}",
            format!("{} {method}", python.version),
            match (steps, is_bound) {
                (0, true) => "nothing".to_owned(),
                (steps, true) => format!("loop of {steps}"),
                (_, false) => "without bound".to_owned(),
            },
            figures(|turn| turn.each, 0),
            figures(|turn| turn.slower, 1),
            figures(|turn| turn.median, 3),
            figures(|turn| turn.worst, 3),
        );
    }
    Ok(())
}

/// A new process without pytop, with it, and without it again.
fn turn(
    pytop: &Path,
    python: &Interpreter,
    method: &str,
    steps: u32,
    bound: Option<&str>,
) -> Result<Turn> {
    let arguments = [steps.to_string(), FUNCTIONS.to_string()];
    let [steps, functions] = &arguments;
    let script = include_str!("bound.py");
    let mut script = Script::of(python.chroot.command()?, script, &[steps, functions])?;
    let before = Called::in_seconds(&mut script, WITHOUT)?;
    let mut printed = tempfile::tempfile().context("cannot make a temporary file")?;
    let output = printed.try_clone().context("cannot share a file")?;
    // It begins and ends while the script waits, so that the told calls are those of the two phases.
    let contestant = Contestant::process(pytop, method, script.pid(), bound);
    let attached = contestant.attach_printing(output.into())?;
    let at_first = Called::in_seconds(&mut script, FOUND_OUT)?;
    let counted = Called::in_seconds(&mut script, COUNTED)?;
    attached.detach()?;
    let after = Called::in_seconds(&mut script, WITHOUT)?;

    printed.rewind().context("cannot read a temporary file")?;
    let told = told(printed, script.pid())?;
    let called = at_first.calls.iter().zip(&counted.calls);
    let mut ratios: Vec<f64> = (1..)
        .zip(called.map(|(at_first, counted)| at_first + counted))
        .map(|(number, called)| {
            let told = told.get(&format!("function_{number}")).copied();
            told.unwrap_or(0) as f64 / called as f64
        })
        .collect();
    // Half of the calls is as wrong as twice as many.
    ratios.sort_by(|one, other| one.ln().abs().total_cmp(&other.ln().abs()));
    let worst = ratios.last().copied().context("no function was called")?;
    let each = f64::midpoint(before.each(), after.each());
    Ok(Turn {
        each,
        slower: (counted.each() / each - 1.0) * 100.0,
        median: Figures::of(ratios).median,
        worst,
    })
}

/// What the script says of a phase.
struct Called {
    /// Of each function.
    calls: Vec<u64>,
    nanoseconds: u64,
}

impl Called {
    /// Has the script call its functions for so long.
    fn in_seconds(script: &mut Script, seconds: u32) -> Result<Self> {
        let answer = script.ask(&seconds.to_string())?;
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
