//! The index of fetched interpreters, which the tests, the demo and the benchmark read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

use crate::command::quoted;
use crate::pythons::Marker;
use crate::workspace;

/// The content of `target/pythons/index.json`. Tests find the file by `PYTOP_PYTHONS`.
#[derive(Serialize, Deserialize)]
pub(crate) struct Index {
    /// Raised when a field changes its meaning.
    pub(crate) schema: u32,
    /// All that were fetched, the oldest version first.
    pub(crate) interpreters: Vec<Interpreter>,
}

/// A CPython of one of Debian's suites.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Interpreter {
    /// Its minor version, such as `3.9`.
    pub(crate) name: String,
    /// Its version, such as `3.9.2`.
    pub(crate) version: String,
    /// What its `function__entry` marker does.
    pub(crate) marker: Marker,
    /// The folder that is its `/`.
    pub(crate) root: PathBuf,
    /// Its file, as seen from outside the root.
    pub(crate) executable: PathBuf,
    /// How to start it in its root, which only root may do.
    pub(crate) chroot: Launch,
    /// How to start it outside its root, if it starts there.
    pub(crate) direct: Option<Launch>,
    /// The packages that it is made of, with their versions.
    pub(crate) packages: Vec<String>,
}

/// How to start an interpreter: the arguments of Python follow the command.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Launch {
    /// The program and its first arguments.
    pub(crate) command: Vec<String>,
    /// Set in its environment, beside what is there.
    pub(crate) environment: BTreeMap<String, String>,
}

impl Launch {
    /// The command, to which Python's arguments are to be added.
    pub(crate) fn command(&self) -> Result<Command> {
        let (program, arguments) = self.command.split_first().context("an empty command")?;
        let mut command = Command::new(program);
        command.args(arguments).envs(&self.environment);
        Ok(command)
    }
}

/// Where the interpreters are.
pub(crate) fn folder() -> PathBuf {
    workspace::target().join("pythons")
}

/// The file of the [`Index`].
pub(crate) fn path() -> PathBuf {
    folder().join("index.json")
}

/// The `python3` of this machine's PATH, if it is a CPython that pytop counts and starts.
pub(crate) fn on_path() -> Option<PathBuf> {
    const ASK: &str = "import sys\n\
        known = (3, 6) <= sys.version_info[:2] <= (3, 15)\n\
        sys.exit(not (known and sys.implementation.name == 'cpython'))";
    crate::command::find("python3").filter(|python| {
        Command::new(python)
            .args(["-I", "-c", ASK])
            .output()
            .is_ok_and(|output| output.status.success())
    })
}

impl Interpreter {
    /// A command line for the user, who adds Python's arguments.
    pub(crate) fn how_to_run(&self) -> String {
        let launch = self.direct.as_ref().unwrap_or(&self.chroot);
        let settings = launch
            .environment
            .iter()
            .filter(|(name, _)| *name != "PYTHONDONTWRITEBYTECODE")
            .map(|(name, value)| format!("{name}={}", quoted(value)));
        let command = launch.command.iter().map(|part| quoted(part).into_owned());
        settings.chain(command).collect::<Vec<_>>().join(" ")
    }
}
