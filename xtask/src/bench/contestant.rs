//! Those who count, and those who only pretend to.

use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::command::{not_started, shown};

/// A way to count calls.
pub(super) struct Contestant {
    pub(super) name: &'static str,
    how: How,
}

enum How {
    Nobody,
    /// pytop with these options says on its standard error when it counts.
    Pytop(PathBuf, &'static [&'static str]),
    /// bpftrace with this script says so on its standard output.
    Bpftrace(String),
}

impl Contestant {
    /// The program without a probe.
    pub(super) fn nobody() -> Self {
        Self {
            name: "no probe",
            how: How::Nobody,
        }
    }

    /// An eBPF program that does nothing: the price of the probe itself.
    pub(super) fn empty(pytop: &Path) -> Self {
        Self {
            name: "empty program",
            how: How::Pytop(pytop.into(), &["--count-nothing"]),
        }
    }

    /// pytop as it is used in a script.
    pub(super) fn pytop(pytop: &Path) -> Self {
        Self {
            name: "pytop",
            how: How::Pytop(pytop.into(), &[]),
        }
    }

    /// bpftrace with what comes nearest to pytop: the most entered functions of each second.
    pub(super) fn bpftrace(python: &Path) -> Self {
        // BEGIN would run before the other probes are in place; the first timer is attached last.
        let script = format!(
            "interval:ms:20 /!@ready/ {{ printf(\"ready\\n\"); @ready = 1; }} \
             usdt:{}:python:function__entry {{ @[pid, str(arg0), str(arg1), arg2] = count(); }} \
             interval:s:1 {{ print(@, 20); clear(@); }}",
            python.display()
        );
        Self {
            name: "bpftrace",
            how: How::Bpftrace(script),
        }
    }

    /// Whether it has a probe at all.
    pub(super) fn counts(&self) -> bool {
        !matches!(self.how, How::Nobody)
    }

    /// Starts it and waits until it counts.
    pub(super) fn attach(&self) -> Result<Attached> {
        let start = Instant::now();
        let ready = |child, command: &Command| Attached {
            child: Some(child),
            shown: shown(command),
            time_to_ready: start.elapsed(),
        };
        match &self.how {
            How::Nobody => Ok(Attached {
                child: None,
                shown: String::new(),
                time_to_ready: Duration::ZERO,
            }),
            How::Pytop(pytop, options) => {
                let mut command = Command::new(pytop);
                command.args(["--batch", "--format", "json"]).args(*options);
                command.stdout(Stdio::null()).stderr(Stdio::piped());
                let mut child = command
                    .spawn()
                    .map_err(|error| not_started(&command, &error))?;
                let stderr = child
                    .stderr
                    .take()
                    .context("pytop without a standard error")?;
                wait_for("pytop: counting", stderr, &command)?;
                Ok(ready(child, &command))
            }
            How::Bpftrace(script) => {
                let mut command = Command::new("bpftrace");
                command
                    .args(["-e", script])
                    .stdout(Stdio::piped())
                    .stderr(Stdio::null());
                let mut child = command
                    .spawn()
                    .map_err(|error| not_started(&command, &error))?;
                let stdout = child.stdout.take().context("bpftrace without an output")?;
                wait_for("ready", stdout, &command)?;
                Ok(ready(child, &command))
            }
        }
    }
}

/// Reads until a line that begins with `start`, and goes on reading in the background, so that the
/// writer never waits.
fn wait_for(start: &str, output: impl Read + Send + 'static, command: &Command) -> Result<()> {
    let mut output = BufReader::new(output);
    let mut heard = String::new();
    loop {
        let mut line = String::new();
        output
            .read_line(&mut line)
            .context("cannot hear from a contestant")?;
        if line.starts_with(start) {
            break;
        }
        if line.is_empty() {
            bail!(
                "`{}` ended before it counted:\n{}",
                shown(command),
                heard.trim_end()
            );
        }
        heard.push_str(&line);
    }
    thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    Ok(())
}

/// A contestant at work.
pub(super) struct Attached {
    child: Option<Child>,
    shown: String,
    pub(super) time_to_ready: Duration,
}

impl Attached {
    /// Ends it as Ctrl-C would, and waits until it has ended.
    pub(super) fn detach(mut self) -> Result<()> {
        let Some(mut child) = self.child.take() else {
            return Ok(());
        };
        interrupt(&child)?;
        let status = child.wait().context("cannot wait for a contestant")?;
        if !status.success() {
            bail!("`{}` ended with {status}", self.shown);
        }
        Ok(())
    }

    /// Its process id; `None` for nobody.
    pub(super) fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

fn interrupt(child: &Child) -> Result<()> {
    let pid = i32::try_from(child.id()).context("a process id out of range")?;
    kill(Pid::from_raw(pid), Signal::SIGINT).context("cannot end a contestant")
}
