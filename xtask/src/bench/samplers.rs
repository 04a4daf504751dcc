//! What a program loses to pytop, and what to profilers that look at it now and then.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use super::contestant::Contestant;
use super::figures::Figures;
use super::python::Script;
use crate::command::find;
use crate::interpreters::Interpreter;

/// Calls of one measurement: a tenth of a second's worth when nobody looks.
const CALLS: usize = 2_000_000;
/// Measurements of one turn. The first is thrown away: it warms the caches.
const MEASUREMENTS: usize = 3;

/// A mount of /proc that goes with the process: CPython's profiler reads that of its own root.
const WITH_PROC: &str = "mount -t proc proc \"$0\" && exec \"$@\"";

/// Prints what a call takes in a program that does nothing else, alone and under each tool at its
/// default rate.
pub(super) fn measure(pytop: &Path, python: &Interpreter, rounds: usize) -> Result<()> {
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "sh", "-c", WITH_PROC])
        .arg(python.root.join("proc"))
        .args(&python.chroot.command)
        .envs(&python.chroot.environment);
    let mut hot = Script::of(command, include_str!("hot.py"), &[])?;
    let contestants = [
        ("nobody", Some(Contestant::nobody())),
        ("pytop, every call", Some(Contestant::pytop(pytop))),
        (
            "py-spy, 100 samples a second",
            find("py-spy")
                .map(|py_spy| Contestant::py_spy(&py_spy, hot.pid()))
                .transpose()?,
        ),
        (
            "profiling.sampling, 1,000 samples a second",
            has_profiler(python)?
                .then(|| Contestant::profiling_sampling(&python.chroot.command, hot.pid()))
                .transpose()?,
        ),
    ];
    let mut readings = vec![Vec::new(); contestants.len()];
    for _ in 0..rounds {
        for ((_, contestant), readings) in contestants.iter().zip(&mut readings) {
            let Some(contestant) = contestant else {
                continue;
            };
            let attached = contestant.attach()?;
            hot.measure(CALLS)?;
            for _ in 1..MEASUREMENTS {
                readings.push(hot.measure(CALLS)?);
            }
            attached.detach()?;
        }
    }

    println!(
        "\nPython {}: one call of an idle function while it is watched, in ns",
        python.version
    );
    println!(
        "{:<44} {:>7} {:>15} {:>9}",
        "by", "median", "spread", "slower"
    );
    let mut alone = None;
    for ((name, contestant), readings) in contestants.iter().zip(readings) {
        if contestant.is_none() {
            println!("{name:<44} not installed");
            continue;
        }
        let figures = Figures::of(readings);
        let alone = *alone.get_or_insert(figures.median);
        println!(
            "{name:<44} {:>7.0} {:>15} {:>8.2}x",
            figures.median,
            figures.spread(),
            figures.median / alone
        );
    }
    Ok(())
}

/// Whether the interpreter has CPython's profiler, as 3.15 and later do.
fn has_profiler(python: &Interpreter) -> Result<bool> {
    let mut import = python.chroot.command()?;
    import
        .args(["-c", "import profiling.sampling"])
        .stderr(Stdio::null());
    let status = import.status().context("cannot start an interpreter")?;
    Ok(status.success() && find("nsenter").is_some())
}
