//! Those who count, and those who only pretend to.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

use crate::command::{not_started, shown};

/// A way to count calls.
pub(super) struct Contestant {
    pub(super) name: String,
    how: How,
}

enum How {
    Nobody,
    /// pytop with these options says on its standard error when it counts.
    Pytop(PathBuf, Vec<String>),
    /// Another tool says on its standard output when it works, by this word.
    Other {
        command: Vec<OsString>,
        word: &'static str,
        /// Holds what it complains of, and what else it needs.
        folder: TempDir,
    },
}

impl How {
    fn pytop(pytop: &Path, options: &[&str]) -> Self {
        let options = options.iter().copied().map(str::to_owned);
        Self::Pytop(pytop.into(), options.collect())
    }
}

impl Contestant {
    /// The program without a probe.
    pub(super) fn nobody() -> Self {
        Self {
            name: "no probe".to_owned(),
            how: How::Nobody,
        }
    }

    /// An eBPF program that does nothing, where a method has its probes: the price of these.
    pub(super) fn empty(pytop: &Path, method: &'static str) -> Self {
        Self {
            name: format!("{method}, empty"),
            how: How::pytop(pytop, &["--method", method, "--count-nothing"]),
        }
    }

    /// pytop with a method.
    pub(super) fn method(pytop: &Path, method: &'static str) -> Self {
        Self {
            name: method.to_owned(),
            how: How::pytop(pytop, &["--method", method]),
        }
    }

    /// pytop with a method, measuring durations, too.
    pub(super) fn durations(pytop: &Path, method: &'static str) -> Self {
        Self {
            name: format!("{method}, timed"),
            how: How::pytop(pytop, &["--method", method, "--durations"]),
        }
    }

    /// pytop as it is used in a script.
    pub(super) fn pytop(pytop: &Path) -> Self {
        Self {
            name: "pytop".to_owned(),
            how: How::pytop(pytop, &[]),
        }
    }

    /// pytop with a method and one process, all functions of which it tells, and a bound of what
    /// counting costs, in percent.
    pub(super) fn process(pytop: &Path, method: &str, pid: u32, bound: Option<&str>) -> Self {
        let pid = pid.to_string();
        let mut options = vec!["--top", "0", "--method", method, "--pid", &pid];
        options.extend(
            bound
                .map(|percent| ["--max-overhead", percent])
                .iter()
                .flatten(),
        );
        Self {
            name: format!("{method}, one process"),
            how: How::pytop(pytop, &options),
        }
    }

    /// bpftrace with what comes nearest to pytop: the most entered functions of each second.
    pub(super) fn bpftrace(python: &Path) -> Result<Self> {
        // A path in a script must not have spaces.
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let link = folder.path().join("python");
        symlink(python, &link).with_context(|| format!("cannot make {}", link.display()))?;
        // BEGIN would run before the other probes are in place; the first timer is attached last.
        let script = format!(
            "interval:ms:20 /!@ready/ {{ printf(\"ready\\n\"); @ready = 1; }} \
             usdt:{}:python:function__entry {{ @[pid, str(arg0), str(arg1), arg2] = count(); }} \
             interval:s:1 {{ print(@, 20); clear(@); }}",
            link.display()
        );
        Ok(Self {
            name: "bpftrace".to_owned(),
            how: How::Other {
                command: ["bpftrace", "-e", &script].map(OsString::from).into(),
                word: "ready",
                folder,
            },
        })
    }

    /// py-spy, which looks at a process 100 times a second unless it is told otherwise.
    pub(super) fn py_spy(py_spy: &Path, pid: u32) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        let mut command: Vec<OsString> = vec![py_spy.into()];
        command.extend(["record", "--format", "raw", "--pid"].map(OsString::from));
        command.extend([pid.to_string().into(), "--output".into()]);
        command.push(folder.path().join("samples").into());
        Ok(Self {
            name: "py-spy".to_owned(),
            how: How::Other {
                command,
                word: "Sampling process",
                folder,
            },
        })
    }

    /// CPython's own profiler, which looks 1,000 times a second unless it is told otherwise.
    pub(super) fn profiling_sampling(python: &[String], pid: u32) -> Result<Self> {
        let folder = tempfile::tempdir().context("cannot make a temporary folder")?;
        // It is of the version of the process, and sees its files where the process does. Its
        // statistics are the only sign that it has begun.
        let mut command: Vec<String> = ["env", "LC_ALL=C", "PYTHONUNBUFFERED=1"]
            .map(str::to_owned)
            .into();
        command.extend(["nsenter", "--mount", "--target"].map(str::to_owned));
        command.push(pid.to_string());
        command.extend_from_slice(python);
        let sample = ["-m", "profiling.sampling", "attach", "--realtime-stats"];
        command.extend(sample.map(str::to_owned));
        command.push(pid.to_string());
        Ok(Self {
            name: "profiling.sampling".to_owned(),
            how: How::Other {
                command: command.into_iter().map(OsString::from).collect(),
                word: "Stats",
                folder,
            },
        })
    }

    /// Starts it and waits until it counts.
    pub(super) fn attach(&self) -> Result<Attached> {
        self.attach_printing(Stdio::null())
    }

    /// [`Contestant::attach`], with what pytop prints going somewhere.
    pub(super) fn attach_printing(&self, output: Stdio) -> Result<Attached> {
        let start = Instant::now();
        let mut attached = Attached::default();
        match &self.how {
            How::Nobody => {}
            How::Pytop(pytop, options) => {
                let mut command = Command::new(pytop);
                command.args(["--batch", "--format", "json"]).args(options);
                let child = attached.start(command.stdout(output).stderr(Stdio::piped()))?;
                let stderr = child
                    .stderr
                    .take()
                    .context("pytop without a standard error")?;
                wait_for("pytop: counting", stderr, &command)?;
            }
            How::Other {
                command,
                word,
                folder,
            } => {
                // It may complain at each end, of what does not matter here.
                let complaints = folder.path().join("stderr");
                let stderr = File::create(&complaints).context("cannot make a temporary file")?;
                let (program, arguments) = command.split_first().context("an empty command")?;
                let mut command = Command::new(program);
                command
                    .args(arguments)
                    .stdout(Stdio::piped())
                    .stderr(stderr);
                let child = attached.start(&mut command)?;
                let stdout = child.stdout.take().context("a tool without an output")?;
                wait_for(word, stdout, &command)
                    .with_context(|| fs::read_to_string(&complaints).unwrap_or_default())?;
            }
        }
        attached.time_to_ready = start.elapsed();
        Ok(attached)
    }
}

/// Reads until a word has come, and goes on reading in the background, so that the writer never
/// waits.
fn wait_for(word: &str, output: impl Read + Send + 'static, command: &Command) -> Result<()> {
    let mut output = BufReader::new(output);
    let mut heard = Vec::new();
    // It need not be followed by the end of a line.
    while !heard.ends_with(word.as_bytes()) {
        let mut byte = [0];
        if output
            .read(&mut byte)
            .context("cannot hear from a contestant")?
            == 0
        {
            bail!(
                "`{}` ended before it counted:\n{}",
                shown(command),
                String::from_utf8_lossy(&heard).trim_end()
            );
        }
        heard.extend_from_slice(&byte);
    }
    thread::spawn(move || std::io::copy(&mut output, &mut std::io::sink()));
    Ok(())
}

/// A contestant at work. It is killed when this goes.
#[derive(Default)]
pub(super) struct Attached {
    child: Option<Child>,
    shown: String,
    pub(super) time_to_ready: Duration,
}

impl Attached {
    fn start(&mut self, command: &mut Command) -> Result<&mut Child> {
        self.shown = shown(command);
        let child = command
            .spawn()
            .map_err(|error| not_started(command, &error))?;
        Ok(self.child.insert(child))
    }

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
