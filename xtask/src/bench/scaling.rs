//! What a counted call adds to a program, by how much there is to count.

use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow};

use super::contestant::Contestant;
use super::figures::Figures;
use super::plot::Series;
use super::python::Script;
use crate::interpreters::Interpreter;

/// Calls of one measurement in each process, unless their number is what varies.
const CALLS: usize = 100_000;
/// How long a program is counted first: what was called in three intervals is taken to last, and
/// costs less than a function that may be new.
const WARM_UP: Duration = Duration::from_secs(4);
/// Functions that a process calls in turn, unless their number is what varies.
const FUNCTIONS: usize = 10;

/// A program to be counted.
#[derive(Clone, Copy)]
struct Load {
    processes: usize,
    functions: usize,
    calls: usize,
}

/// Prints the processor time that a counted call adds, and returns it as lines of a plot.
pub(super) fn measure(pytop: &Path, python: &Interpreter, rounds: usize) -> Result<Vec<Series>> {
    println!(
        "\nPython {}: processor time that a counted call adds, in ns",
        python.version
    );
    println!("{:<22} {:>9} {:>7} {:>15}", "", "", "median", "spread");
    let load = |processes, functions, calls| Load {
        processes,
        functions,
        calls,
    };
    let lines = [
        (
            "processes",
            [1, 2, 4, 8, 16, 32]
                .map(|number| (number, load(number, FUNCTIONS, CALLS)))
                .to_vec(),
        ),
        (
            "functions",
            [1, 10, 100, 1_000, 10_000]
                .map(|number| (number, load(1, number, CALLS)))
                .to_vec(),
        ),
        (
            "calls at a time",
            [1_000, 10_000, 100_000, 1_000_000]
                .map(|number| (number, load(1, FUNCTIONS, number)))
                .to_vec(),
        ),
    ];
    let mut series = Vec::new();
    for (name, points) in lines {
        let mut line = Vec::new();
        for (number, load) in points {
            let added = added(pytop, python, load, rounds)?;
            println!(
                "{name:<22} {number:>9} {:>7.0} {:>15}",
                added.median,
                added.spread()
            );
            line.push((number as f64, added.median));
        }
        series.push(Series { name, points: line });
    }
    Ok(series)
}

/// What is added to one call, with each round's difference as a reading.
fn added(pytop: &Path, python: &Interpreter, load: Load, rounds: usize) -> Result<Figures> {
    let script = format!(
        "FUNCTIONS = {}\n{}",
        load.functions,
        include_str!("scaling.py")
    );
    let mut scripts = (0..load.processes)
        .map(|_| Script::start(python, &script))
        .collect::<Result<Vec<_>>>()?;
    let mut readings = Vec::new();
    for _ in 0..rounds {
        let without = of_all(&mut scripts, load.calls)?;
        let attached = Contestant::pytop(pytop).attach()?;
        let start = Instant::now();
        while start.elapsed() < WARM_UP {
            of_all(&mut scripts, CALLS)?;
        }
        let with = of_all(&mut scripts, load.calls)?;
        attached.detach()?;
        readings.push(with - without);
    }
    Ok(Figures::of(readings))
}

/// The mean of all processes, which call at the same time.
fn of_all(scripts: &mut [Script], calls: usize) -> Result<f64> {
    let number = scripts.len();
    let sum = thread::scope(|scope| {
        let measured: Vec<_> = scripts
            .iter_mut()
            .map(|script| scope.spawn(move || script.measure(calls)))
            .collect();
        measured
            .into_iter()
            .map(|thread| thread.join().map_err(|_| anyhow!("a measurement failed"))?)
            .sum::<Result<f64>>()
    })
    .context("cannot measure a process")?;
    Ok(sum / number as f64)
}
