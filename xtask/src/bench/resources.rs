//! What pytop's own process uses while many functions are alive.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead as _, BufReader, Read, Seek as _};
use std::num::NonZeroU16;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::contestant::Contestant;
use super::figures::Figures;
use super::python::Script;
use crate::interpreters::Interpreter;
use crate::terminal::Terminal;

/// How long to watch a process.
const WATCH: Duration = Duration::from_secs(20);
/// How long a process may take until it does the same each second.
const SETTLE: Duration = Duration::from_secs(5);

/// Processes of the crowd, and the functions of each.
const PROCESSES: usize = 500;
const FUNCTIONS: usize = 200;

/// Prints the processor time and the memory of pytop with 10,000 functions alive, and with 100,000
/// in 500 processes.
pub(super) fn measure(pytop: &Path, python: &Interpreter) -> Result<()> {
    {
        let _many = Script::start(python, include_str!("many.py"))?;
        usage_with("10,000 live functions", pytop)?;
    }
    let _crowd = crowd(python.chroot.command()?, PROCESSES, FUNCTIONS)?;
    let functions = format!(
        "{} live functions of {PROCESSES} processes",
        PROCESSES * FUNCTIONS
    );
    usage_with(&functions, pytop)
}

/// Starts processes that each call functions of their own once a second.
pub(super) fn crowd(command: Command, processes: usize, functions: usize) -> Result<Script> {
    let arguments = [processes, functions].map(|number| number.to_string());
    let [processes, functions] = &arguments;
    Script::of(command, include_str!("crowd.py"), &[processes, functions])
}

fn usage_with(functions: &str, pytop: &Path) -> Result<()> {
    println!("\npytop with {functions}, one snapshot a second, for {WATCH:?}");
    println!(
        "{:<16} {:>12} {:>12} {:>12}",
        "", "% of a core", "MB resident", "MB at most"
    );
    let mut printed = tempfile::tempfile().context("cannot make a temporary file")?;
    let output = printed.try_clone().context("cannot share a file")?;
    let attached = Contestant::pytop(pytop).attach_printing(output.into())?;
    let pid = attached.pid().context("pytop has no process")?;
    let usage = Usage::watch(pid, |time| {
        sleep(time);
        Ok(())
    })?;
    attached.detach()?;
    usage.print("--batch, JSON");

    let (columns, rows) = (NonZeroU16::new(120), NonZeroU16::new(40));
    let (Some(columns), Some(rows)) = (columns, rows) else {
        return Ok(());
    };
    let mut terminal = Terminal::start(&Command::new(pytop), columns, rows)?;
    let usage = Usage::watch(terminal.pid(), |time| terminal.watch(time))?;
    usage.print("the screen");
    terminal.press("q")?;
    let status = terminal.wait(Duration::from_secs(10))?;
    if !status.success() {
        bail!("pytop ended with {status}");
    }
    printed.rewind().context("cannot read a temporary file")?;
    Drains::read(printed)?.print();
    Ok(())
}

/// A snapshot, as far as it says how it was made.
#[derive(Deserialize)]
struct Snapshot {
    drain_s: f64,
    functions: u64,
    total_calls: u64,
    uncounted: BTreeMap<String, u64>,
}

/// What the snapshots of a run say of themselves.
struct Drains {
    /// In milliseconds.
    time: Figures,
    functions: Figures,
    calls: u64,
    uncounted: u64,
}

impl Drains {
    fn read(printed: impl Read) -> Result<Self> {
        let (mut times, mut functions) = (Vec::new(), Vec::new());
        let (mut calls, mut uncounted) = (0, 0);
        let mut snapshots = Vec::new();
        for line in BufReader::new(printed).lines() {
            let line = line.context("cannot read what pytop printed")?;
            let snapshot: Snapshot =
                serde_json::from_str(&line).with_context(|| format!("pytop printed {line:?}"))?;
            snapshots.push(snapshot);
        }
        // The last one is of a part of an interval.
        snapshots.pop();
        for snapshot in snapshots {
            times.push(snapshot.drain_s * 1000.0);
            functions.push(snapshot.functions as f64);
            calls += snapshot.total_calls;
            uncounted += snapshot.uncounted.values().sum::<u64>();
        }
        Ok(Self {
            time: Figures::of(times),
            functions: Figures::of(functions),
            calls,
            uncounted,
        })
    }

    fn print(&self) {
        println!(
            "A drain takes {:.0} ms ({}), the kernel's wait included, for {:.0} functions ({}); {} \
             of {} calls are in no row",
            self.time.median,
            self.time.spread(),
            self.functions.median,
            self.functions.spread(),
            self.uncounted,
            self.calls,
        );
    }
}

/// What a process used over a while.
struct Usage {
    percent: f64,
    resident: f64,
    peak: f64,
}

impl Usage {
    /// Watches a process for a while, which `pass` lets pass.
    fn watch(pid: u32, mut pass: impl FnMut(Duration) -> Result<()>) -> Result<Self> {
        pass(SETTLE)?;
        let (start, before) = (Instant::now(), processor_time(pid)?);
        pass(WATCH)?;
        let used = processor_time(pid)?.saturating_sub(before);
        let status = fs::read_to_string(format!("/proc/{pid}/status"))
            .with_context(|| format!("cannot read the status of process {pid}"))?;
        Ok(Self {
            percent: used.as_secs_f64() / start.elapsed().as_secs_f64() * 100.0,
            resident: megabytes(&status, "VmRSS:")?,
            peak: megabytes(&status, "VmHWM:")?,
        })
    }

    fn print(&self, name: &str) {
        println!(
            "{name:<16} {:>12.2} {:>12.1} {:>12.1}",
            self.percent, self.resident, self.peak
        );
    }
}

/// The time for which a process has been on a processor, in user and in kernel mode, that of its
/// ended threads included.
pub(super) fn processor_time(pid: u32) -> Result<Duration> {
    // The unit of `utime` and `stime` is 1/USER_HZ of a second (proc_pid_stat(5)), which is 100 on
    // both architectures; the kernel scales their sum to the time that it measured exactly.
    const TICKS_PER_SECOND: f64 = 100.0;
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    // The second field is a name in parentheses, which may hold anything.
    let (_, rest) = stat.rsplit_once(')').context("stat without a name")?;
    let ticks = rest
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(str::parse::<f64>)
        .sum::<Result<f64, _>>()
        .with_context(|| format!("{path} is not as expected"))?;
    Ok(Duration::from_secs_f64(ticks / TICKS_PER_SECOND))
}

/// A line of /proc/PID/status in kB, as MB.
fn megabytes(status: &str, name: &str) -> Result<f64> {
    status
        .lines()
        .find_map(|line| {
            line.strip_prefix(name)?
                .trim()
                .strip_suffix(" kB")?
                .parse::<f64>()
                .ok()
        })
        .map(|kilobytes| kilobytes * 1024.0 / 1e6)
        .with_context(|| format!("the status of the process has no {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_time_and_memory() {
        let this = std::process::id();
        let before = processor_time(this).unwrap();
        while processor_time(this).unwrap() == before {}
        let status = fs::read_to_string("/proc/self/status").unwrap();
        assert!(megabytes(&status, "VmHWM:").unwrap() >= megabytes(&status, "VmRSS:").unwrap());
        assert!(megabytes(&status, "VmNone:").is_err());
    }
}
