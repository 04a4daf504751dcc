//! The interpreters that `cargo xtask test` has fetched.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;

use serde::Deserialize;

/// Where the tests find the index of interpreters.
const VARIABLE: &str = "PYTOP_PYTHONS";

#[derive(Deserialize)]
struct Index {
    schema: u32,
    interpreters: Vec<Interpreter>,
}

/// A real interpreter.
#[derive(Debug, Deserialize)]
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
    chroot: Launch,
    direct: Option<Launch>,
}

/// What a `function__entry` marker does.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Marker {
    /// It fires at every entry of a frame.
    Live,
    /// It is in the file, but fires under a tracing function only.
    Dead,
    /// It is not in the file.
    None,
}

#[derive(Debug, Deserialize)]
struct Launch {
    command: Vec<String>,
    environment: BTreeMap<String, String>,
}

/// How an interpreter is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// In its own root folder. Every interpreter can be started so.
    Chroot,
    /// Like any program of this machine.
    Direct,
}

impl Interpreter {
    fn launch(&self, form: Form) -> &Launch {
        match form {
            Form::Chroot => &self.chroot,
            Form::Direct => match &self.direct {
                Some(launch) => launch,
                None => panic!("Python {} starts in its own root only", self.name),
            },
        }
    }

    /// The words that start it, to which Python's arguments are to be added.
    pub(crate) fn words(&self, form: Form) -> Vec<String> {
        self.launch(form).command.clone()
    }

    /// What has to be set in its environment.
    pub(crate) fn environment(&self, form: Form) -> &BTreeMap<String, String> {
        &self.launch(form).environment
    }

    /// A command that starts it, to which Python's arguments are to be added.
    pub(crate) fn command(&self, form: Form) -> Command {
        let words = self.words(form);
        let (program, arguments) = words.split_first().expect("a command has a first word");
        let mut command = Command::new(program);
        command.args(arguments).envs(self.environment(form));
        command
    }

    /// Its executable as its processes see it.
    pub(crate) fn executable_inside(&self, form: Form) -> String {
        self.words(form).pop().expect("a command has a last word")
    }

    /// The oldest and the newest differ in what their markers report, see the tests of each.
    pub(crate) fn is_before_3_11(&self) -> bool {
        let minor = self
            .name
            .strip_prefix("3.")
            .and_then(|minor| minor.parse::<u32>().ok());
        minor.expect("versions are called 3.something") < 11
    }
}

/// All interpreters.
pub(crate) fn interpreters() -> &'static [Interpreter] {
    static INDEX: OnceLock<Vec<Interpreter>> = OnceLock::new();
    INDEX.get_or_init(|| {
        let Some(path) = std::env::var_os(VARIABLE) else {
            panic!(
                "{VARIABLE} is not set. Live tests run as root on interpreters that have to be \
                 fetched first: run `cargo xtask test`"
            );
        };
        let path = PathBuf::from(path);
        let text = fs::read_to_string(&path).unwrap_or_else(|error| {
            panic!(
                "cannot read {}: {error}; run `cargo xtask test`",
                path.display()
            )
        });
        let index: Index = serde_json::from_str(&text).unwrap_or_else(|error| {
            panic!(
                "{} is damaged: {error}; run `cargo xtask test`",
                path.display()
            )
        });
        assert_eq!(index.schema, 1, "{} is of another version", path.display());
        index.interpreters
    })
}

/// The interpreter of this minor version, such as `3.9`.
pub(crate) fn interpreter(name: &str) -> &'static Interpreter {
    interpreters()
        .iter()
        .find(|interpreter| interpreter.name == name)
        .unwrap_or_else(|| panic!("Python {name} was not fetched; run `cargo xtask pythons`"))
}

/// Those whose markers are live: at least 3.9 and 3.15.
pub(crate) fn live() -> [&'static Interpreter; 2] {
    let live = ["3.9", "3.15"].map(interpreter);
    for interpreter in live {
        assert_eq!(
            interpreter.marker,
            Marker::Live,
            "Python {}",
            interpreter.name
        );
    }
    live
}
