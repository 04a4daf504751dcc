//! The sample workload, running.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command::{not_started, shown};
use crate::interpreters::{Interpreter, on_path};
use crate::pythons::Pythons;
use crate::workspace;

/// The processes of the sample workload. They end when this value goes, or when this program ends
/// in whatever way, since they run as long as their standard input is open.
pub(crate) struct Workload {
    child: Child,
    /// A folder that was made for it.
    folder: Option<PathBuf>,
}

impl Workload {
    /// Starts the workload and returns when all of its processes run.
    pub(crate) fn start(mut python: Command) -> Result<Self> {
        python.arg(script());
        Self::spawn(python)
    }

    /// Starts the workload in the root of a fetched interpreter, where paths are those of any
    /// machine. Needs root.
    pub(crate) fn start_in_root(python: &Interpreter) -> Result<Self> {
        let folder = python.root.join("srv");
        fs::create_dir_all(&folder)
            .and_then(|()| fs::copy(script(), folder.join("shop.py")))
            .with_context(|| format!("cannot fill {}", folder.display()))?;
        let mut command = python.chroot.command()?;
        command.arg("/srv/shop.py");
        let mut workload = Self::spawn(command)?;
        workload.folder = Some(folder);
        Ok(workload)
    }

    fn spawn(mut python: Command) -> Result<Self> {
        python.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = python
            .spawn()
            .map_err(|error| not_started(&python, &error))?;
        let output = child.stdout.take();
        let started = Self {
            child,
            folder: None,
        };
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
        if let Some(folder) = &self.folder {
            let _ = fs::remove_dir_all(folder);
        }
    }
}

fn script() -> PathBuf {
    workspace::assets().join("demo/shop.py")
}

/// This machine's own Python, or one that is fetched for it where it has none.
pub(crate) fn python() -> Result<Command> {
    if let Some(python) = on_path() {
        eprintln!("using {}", python.display());
        return Ok(Command::new(python));
    }
    eprintln!("there is no python3 of 3.6 to 3.15 on the PATH: using one of Debian's");
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
