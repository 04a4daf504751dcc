//! Measures what pytop costs: the traced program for each call, and the machine while it runs.

mod bound;
mod contestant;
mod figures;
mod plot;
mod python;
mod resources;
mod samplers;
mod scaling;
mod twins;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::{Args, ValueEnum};
use tempfile::TempDir;

use crate::command::{build_pytop, find, run};
use crate::interpreters::{Index, Interpreter};
use crate::privilege::{again_as_root, is_root};
use crate::pythons::Pythons;
use contestant::Contestant;
use figures::Figures;
use python::Script;

/// Measure what a counted call, pytop itself, and its start cost, and print a table.
///
/// The contestants take turns in each round, so that a change of the machine's speed meets all of
/// them. bpftrace and py-spy take part if they are installed.
#[derive(Args)]
pub(crate) struct Bench {
    /// How often each contestant has its turn.
    #[arg(long, default_value_t = 7)]
    rounds: usize,
    /// Write the plot of the cost by processes, functions and calls to this file, as SVG.
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
    /// Measure this alone.
    #[arg(long, value_enum)]
    only: Option<Part>,
    /// Measure; set when this runs again as root.
    #[arg(long, hide = true, value_name = "PYTOP")]
    built: Option<PathBuf>,
}

/// What is measured.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// What a call costs by each method.
    Calls,
    /// What a program loses to pytop and to samplers.
    Samplers,
    /// What a call costs by the number of CPUs, processes, functions and calls.
    Scaling,
    /// What a program that does nothing but call functions loses under --max-overhead 5, and how
    /// near the estimates come to its calls: six minutes a round, of which there are
    /// three at most.
    Bound,
    /// The time until all probes are in place.
    Start,
    /// Processor time and memory of pytop itself.
    Resources,
}

/// Calls of one measurement: about a third of a second's worth when they are counted.
const CALLS: usize = 300_000;
/// Rounds at most of what has many contestants.
const SCALING_ROUNDS: usize = 2;
/// Rounds at most of what takes minutes each.
const BOUND_ROUNDS: usize = 3;
/// Measurements of one turn. The first is thrown away: it warms the caches.
const MEASUREMENTS: usize = 3;

impl Bench {
    pub(crate) fn run(self) -> Result<()> {
        if let Some(pytop) = &self.built {
            return self.measure(pytop, &Pythons::default().fetch()?);
        }
        let pytop = build_pytop()?;
        let pythons = Pythons::default().fetch()?;
        if is_root() {
            return self.measure(&pytop, &pythons);
        }
        let mut again = again_as_root()?;
        run(again
            .arg("--built")
            .arg(&pytop)
            .args(env::args_os().skip(2)))
    }

    fn measure(&self, pytop: &Path, pythons: &Index) -> Result<()> {
        let interpreter = |name: &str| {
            let found = pythons
                .interpreters
                .iter()
                .find(|python| python.name == name);
            found.with_context(|| format!("Python {name} was not fetched"))
        };
        let wanted = |part| self.only.is_none_or(|only| only == part);
        if wanted(Part::Calls) {
            self.calls(pytop, interpreter("3.9")?, &["marker", "eval"])?;
            self.calls(pytop, interpreter("3.11")?, &["resume"])?;
            self.calls(pytop, interpreter("3.13")?, &["resume"])?;
            self.calls(pytop, interpreter("3.14")?, &["resume"])?;
            self.calls(pytop, interpreter("3.15")?, &["marker", "resume"])?;
        }
        if wanted(Part::Samplers) {
            samplers::measure(pytop, interpreter("3.15")?, self.rounds)?;
        }
        if wanted(Part::Scaling) {
            let rounds = self.rounds.min(SCALING_ROUNDS);
            let series = scaling::measure(pytop, interpreter("3.9")?, rounds)?;
            if let Some(path) = &self.plot {
                let title = "Processor time that a counted call adds, in ns, by the number of";
                fs::write(path, plot::svg(title, &series))
                    .with_context(|| format!("cannot write {}", path.display()))?;
            }
        }
        if wanted(Part::Bound) {
            let pythons = [
                (interpreter("3.9")?, "marker"),
                (interpreter("3.14")?, "resume"),
            ];
            bound::measure(pytop, &pythons, self.rounds.min(BOUND_ROUNDS))?;
        }
        if wanted(Part::Start) {
            self.start(pytop, pythons)?;
        }
        if wanted(Part::Resources) {
            resources::measure(pytop, interpreter("3.9")?)?;
        }
        Ok(())
    }

    /// What one call costs the traced program, by each of the methods.
    fn calls(&self, pytop: &Path, python: &Interpreter, methods: &[&'static str]) -> Result<()> {
        let mut contestants = vec![Contestant::nobody()];
        for method in methods {
            contestants.push(Contestant::empty(pytop, method));
            contestants.push(Contestant::method(pytop, method));
            contestants.push(Contestant::durations(pytop, method));
        }
        let has_rival = methods.contains(&"marker") && find("bpftrace").is_some();
        if has_rival {
            contestants.push(Contestant::bpftrace(&python.executable)?);
        }
        let mut hot = Script::start(python, include_str!("bench/hot.py"))?;
        let mut readings = vec![Vec::new(); contestants.len()];
        for _ in 0..self.rounds {
            for (contestant, readings) in contestants.iter().zip(&mut readings) {
                let attached = contestant.attach()?;
                hot.measure(CALLS)?;
                for _ in 1..MEASUREMENTS {
                    readings.push(hot.measure(CALLS)?);
                }
                attached.detach()?;
            }
        }

        println!(
            "\nPython {}: one call of an idle function, in ns",
            python.version
        );
        println!(
            "{:<16} {:>7} {:>15} {:>7} {:>9}",
            "", "median", "spread", "added", "to empty"
        );
        let base = Figures::of(readings.remove(0));
        let nobody = contestants.remove(0);
        println!(
            "{:<16} {:>7.0} {:>15}",
            nobody.name,
            base.median,
            base.spread()
        );
        let base = base.median;
        let mut costs = contestants
            .iter()
            .zip(&readings)
            .map(|(contestant, readings)| Cost {
                name: &contestant.name,
                added: readings.iter().map(|reading| reading - base).collect(),
                figures: Figures::of(readings.clone()),
            });
        let mut by_marker = None;
        for _ in methods {
            let (Some(floor), Some(counted), Some(timed)) =
                (costs.next(), costs.next(), costs.next())
            else {
                break;
            };
            for cost in [&floor, &counted, &timed] {
                cost.print(&floor);
            }
            println!(
                "{:<16} {:>41.2}x of a call that is counted only",
                "",
                timed.to(&counted)
            );
            if floor.figures.median < 2.0 * base {
                println!("a probe should cost far more than a call: is something else tracing?");
            }
            by_marker = by_marker.or(Some((floor, counted)));
        }
        if let (true, Some((floor, counted)), Some(rival)) = (has_rival, by_marker, costs.next()) {
            rival.print(&floor);
            println!(
                "a call counted at the marker costs {:.2}x of one counted by bpftrace",
                counted.to(&rival)
            );
        }
        Ok(())
    }

    /// How long it takes from the start of the program to the last probe.
    fn start(&self, pytop: &Path, pythons: &Index) -> Result<()> {
        let live = pythons
            .interpreters
            .iter()
            .filter(|python| ["3.9", "3.15"].contains(&python.name.as_str()));
        let running = live
            .map(|python| Script::start(python, include_str!("bench/many.py")))
            .collect::<Result<Vec<_>>>()?;
        self.time_start("2 processes of 2 interpreters", pytop)?;
        drop(running);
        let copies = pythons
            .interpreters
            .iter()
            .filter(|python| ["3.9", "3.11", "3.13", "3.15"].contains(&python.name.as_str()))
            .map(Copies::make)
            .collect::<Result<Vec<_>>>()?;
        let commands = copies.iter().flat_map(|copies| &copies.executables);
        let crowds = commands
            .map(|(root, executable)| {
                let mut command = Command::new("chroot");
                // A copy elsewhere would not find its library.
                command.arg(root).arg(executable).env("PYTHONHOME", "/usr");
                resources::crowd(command, PROCESSES_OF_COPY, FUNCTIONS_OF_COPY)
            })
            .collect::<Result<Vec<_>>>()?;
        let processes = crowds.len() * PROCESSES_OF_COPY;
        let name = format!("{processes} processes of {} interpreters", crowds.len());
        self.time_start(&name, pytop)
    }

    fn time_start(&self, running: &str, pytop: &Path) -> Result<()> {
        let contestant = Contestant::pytop(pytop);
        // The first one looks at interpreters that it has never seen, and the caches are cold.
        contestant.attach()?.detach()?;
        let mut readings = Vec::new();
        for _ in 0..self.rounds {
            let attached = contestant.attach()?;
            readings.push(attached.time_to_ready.as_secs_f64() * 1000.0);
            attached.detach()?;
        }
        let each = Figures::of(readings);
        println!(
            "\nFrom pytop's start to all probes in place, with {running}: {:.0} ms ({})",
            each.median,
            each.spread()
        );
        Ok(())
    }
}

/// What one contestant takes for a call.
struct Cost<'a> {
    name: &'a str,
    figures: Figures,
    /// What each reading is more than that of a call without a probe, in nanoseconds.
    added: Vec<f64>,
}

impl Cost<'_> {
    /// What it adds to a call, to what another one adds in the same turns: a machine that is slow for
    /// some seconds is slow for both.
    fn to(&self, other: &Self) -> f64 {
        let turns = self.added.iter().zip(&other.added);
        Figures::of(turns.map(|(own, others)| own / others).collect()).median
    }

    fn print(&self, floor: &Self) {
        println!(
            "{:<16} {:>7.0} {:>15} {:>7.0} {:>8.2}x",
            self.name,
            self.figures.median,
            self.figures.spread(),
            Figures::of(self.added.clone()).median,
            self.to(floor)
        );
    }
}

/// Copies of each of four interpreters, processes of each copy, and functions of each process.
const COPIES: usize = 5;
const PROCESSES_OF_COPY: usize = 25;
const FUNCTIONS_OF_COPY: usize = 20;

/// Copies of an interpreter, each a file of its own. They are removed when this goes.
struct Copies {
    _folder: TempDir,
    /// The root, and the path in it.
    executables: Vec<(PathBuf, PathBuf)>,
}

impl Copies {
    fn make(python: &Interpreter) -> Result<Self> {
        let root = &python.root;
        let folder = tempfile::Builder::new()
            .prefix("pytop-bench-")
            .tempdir_in(root.join("tmp"))
            .context("cannot make a temporary folder")?;
        let mut executables = Vec::new();
        for copy in 0..COPIES {
            let path = folder.path().join(format!("python{}-{copy}", python.name));
            fs::copy(&python.executable, &path)
                .with_context(|| format!("cannot make {}", path.display()))?;
            let inside = path.strip_prefix(root).context("a path in its root")?;
            executables.push((root.clone(), Path::new("/").join(inside)));
        }
        Ok(Self {
            _folder: folder,
            executables,
        })
    }
}
