//! The sample workload, running.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command::{not_started, shown};
use crate::interpreters::countable_on_path;
use crate::pythons::Pythons;
use crate::workspace;

/// The processes of the sample workload. They end when this value goes, or when this program ends
/// in whatever way, since they run as long as their standard input is open.
pub(crate) struct Workload {
    child: Child,
}

impl Workload {
    /// Starts the workload and returns when all of its processes run.
    pub(crate) fn start(mut python: Command) -> Result<Self> {
        python
            .arg(workspace::assets().join("demo/shop.py"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = python
            .spawn()
            .map_err(|error| not_started(&python, &error))?;
        let output = child.stdout.take();
        let started = Self { child };
        let mut line = String::new();
        if let Some(output) = output {
            BufReader::new(output)
                .read_line(&mut line)
                .context("cannot hear from the workload")?;
        }
        if line.is_empty() {
            bail!("the workload ended at once: `{}`", shown(&python));
        }
        Ok(started)
    }
}

impl Drop for Workload {
    fn drop(&mut self) {
        // Closes its standard input first.
        let _ = self.child.wait();
    }
}

/// A Python whose calls can be counted: this machine's own, or one that is fetched for it.
pub(crate) fn python() -> Result<Command> {
    if let Some(python) = countable_on_path() {
        eprintln!("using {}", python.display());
        return Ok(Command::new(python));
    }
    eprintln!("no Python on the PATH has a live function__entry marker: using one of Debian's");
    let fetched = Pythons {
        versions: vec!["3.9".to_owned()],
        ..Pythons::default()
    }
    .fetch()?;
    fetched
        .interpreters
        .iter()
        .find(|python| python.name == "3.9")
        .and_then(|python| python.direct.as_ref())
        .context("there is no Python 3.9 among the fetched interpreters")?
        .command()
}
