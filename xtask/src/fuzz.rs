//! Feeds parsers with whatever may break them.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::command::{capture, cargo, not_started, run};
use crate::workspace;

/// What the task needs, and does not install.
const INSTALL: &str = "cargo install cargo-fuzz --version 0.13.2 --locked";
/// An input that takes longer than this is a failure, in seconds.
const SLOWEST: u32 = 5;
/// A target that needs more memory than this is a failure, in megabytes.
const MOST_MEMORY: u32 = 1024;

/// Fuzz the parsers of what files, the kernel and other processes decide.
///
/// Each target starts from its folder in fuzz/seeds and from what earlier runs found of interest,
/// which is kept in target/fuzz/corpus. A panic, an overflow, an input that takes 5 seconds, and
/// more than 1 GiB of memory are failures. Needs cargo-fuzz and a C++ compiler.
#[derive(Args)]
pub(crate) struct Fuzz {
    /// How long each target is run.
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    seconds: u32,
    /// Only these targets.
    #[arg(value_name = "TARGET")]
    targets: Vec<String>,
}

impl Fuzz {
    pub(crate) fn run(self) -> Result<()> {
        let targets = self.chosen()?;
        if capture(cargo().args(["fuzz", "--version"])).is_err() {
            bail!("cargo-fuzz is not installed: run `{INSTALL}`");
        }
        let folder = workspace::target().join("fuzz");
        let triple = host()?;
        let mut build = cargo();
        // No sanitizer: they need an unstable compiler, and there is no unsafe code in parsers.
        build
            .args(["fuzz", "build", "--sanitizer", "none", "--debug-assertions"])
            .args(["--target", &triple, "--target-dir"])
            .arg(&folder);
        run(&mut build)?;

        let programs = folder.join(triple).join("release");
        let mut failed = Vec::new();
        for target in &targets {
            if !self.fuzz(target, &programs.join(target), &folder)? {
                failed.push(target.as_str());
            }
        }
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }

    /// The targets to run, in the order of their names.
    fn chosen(&self) -> Result<Vec<String>> {
        let folder = workspace::root().join("fuzz/fuzz_targets");
        let mut all = Vec::new();
        for file in
            fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?
        {
            let path = file?.path();
            if let Some(name) = path.file_stem().and_then(|name| name.to_str()) {
                all.push(name.to_owned());
            }
        }
        all.sort_unstable();
        if let Some(unknown) = self.targets.iter().find(|target| !all.contains(target)) {
            bail!("there is no target {unknown}, but {}", all.join(", "));
        }
        if !self.targets.is_empty() {
            all.retain(|target| self.targets.contains(target));
        }
        Ok(all)
    }

    /// Runs one target. False if it failed.
    fn fuzz(&self, target: &str, program: &Path, folder: &Path) -> Result<bool> {
        let corpus = made(folder.join("corpus").join(target))?;
        let failures = made(folder.join("failures").join(target))?;
        let log_path = failures.join("log");
        let log = File::create(&log_path)
            .with_context(|| format!("cannot make {}", log_path.display()))?;
        let mut command = Command::new(program);
        command
            .arg(format!("-max_total_time={}", self.seconds))
            .arg(format!("-timeout={SLOWEST}"))
            .arg(format!("-rss_limit_mb={MOST_MEMORY}"))
            .arg(format!("-artifact_prefix={}/", failures.display()))
            .arg("-print_final_stats=1")
            .arg(corpus)
            .arg(workspace::root().join("fuzz/seeds").join(target))
            .current_dir(&failures)
            .stdout(log.try_clone().context("cannot share the log")?)
            .stderr(log);
        let status = command
            .status()
            .map_err(|error| not_started(&command, &error))?;
        let log =
            fs::read(&log_path).with_context(|| format!("cannot read {}", log_path.display()))?;
        let log = String::from_utf8_lossy(&log);
        let executions = executions(&log);
        let shown = executions.map_or_else(|| "?".to_owned(), grouped);
        if status.success() && executions.is_some_and(|executions| executions > 0) {
            println!("{target:<14}{shown:>13} executions in {} s", self.seconds);
            return Ok(true);
        }
        println!("{target:<14}{shown:>13} executions, then it failed: {status}");
        println!("{}", told(&log));
        println!(
            "the input is in {}; once more: {} INPUT\n",
            failures.display(),
            program.display()
        );
        Ok(false)
    }
}

fn made(folder: PathBuf) -> Result<PathBuf> {
    fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// The compiler's own target, for which it builds programs that run here.
fn host() -> Result<String> {
    let version = capture(Command::new("rustc").arg("-vV"))?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host
        .context("rustc does not say what it runs on")?
        .to_owned())
}

/// How many inputs were tried, as libFuzzer says it at its end.
fn executions(log: &str) -> Option<u64> {
    let line = log
        .lines()
        .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))?;
    line.trim().parse().ok()
}

/// A number in groups of three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut shown = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            shown.push(',');
        }
        shown.push(digit);
    }
    shown
}

/// What the log tells of the failure: all from the panic or libFuzzer's complaint on.
fn told(log: &str) -> &str {
    const MOST: usize = 6_000;
    let start = ["\nthread '", "==ERROR", "ERROR: libFuzzer"]
        .iter()
        .filter_map(|sign| log.find(sign))
        .min()
        .unwrap_or(log.len().saturating_sub(MOST));
    let told = log.get(start..).unwrap_or(log).trim();
    let end = (0..=told.len().min(MOST))
        .rev()
        .find(|end| told.is_char_boundary(*end));
    told.get(..end.unwrap_or_default()).unwrap_or(told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libfuzzers_log_is_read() {
        let log = "#2 INITED cov: 5\nthread 'x' panicked\nat y\n\
            stat::number_of_executed_units: 1234567\nstat::average_exec_per_sec: 10\n";
        assert_eq!(executions(log), Some(1_234_567));
        assert!(told(log).starts_with("thread 'x' panicked"));
        assert_eq!(executions("==1== ERROR: libFuzzer: timeout"), None);
        assert_eq!(
            told("==1== ERROR: libFuzzer: timeout"),
            "ERROR: libFuzzer: timeout"
        );
    }

    #[test]
    fn numbers_are_grouped() {
        for (number, shown) in [
            (0, "0"),
            (999, "999"),
            (1000, "1,000"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(grouped(number), shown);
        }
    }
}
