//! The interpreters that `cargo xtask test` has fetched.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
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

    /// The second number of its version.
    pub(crate) fn minor(&self) -> u32 {
        let minor = self
            .name
            .strip_prefix("3.")
            .and_then(|minor| minor.parse::<u32>().ok());
        minor.expect("versions are called 3.something")
    }

    /// The oldest and the newest differ in what their markers report, see the tests of each.
    pub(crate) fn is_before_3_11(&self) -> bool {
        self.minor() < 11
    }

    /// The method that counts it without a marker.
    pub(crate) fn method_without_marker(&self) -> &'static str {
        if self.is_before_3_11() {
            "eval"
        } else {
            "resume"
        }
    }

    /// The method that counts it unless another one is asked for.
    pub(crate) fn method(&self) -> &'static str {
        match self.marker {
            Marker::Live => "marker",
            Marker::Dead | Marker::None => self.method_without_marker(),
        }
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

/// Those that pyenv has installed, if it is there: CPython's releases as most people build them,
/// without markers and in a shared library, if asked to.
pub(crate) fn installed() -> &'static [Interpreter] {
    static INSTALLED: OnceLock<Vec<Interpreter>> = OnceLock::new();
    INSTALLED.get_or_init(|| {
        let mut interpreters: Vec<_> = pyenv_versions()
            .into_iter()
            .filter_map(|folder| of_pyenv(&folder))
            .collect();
        interpreters.sort_by_key(Interpreter::minor);
        interpreters
    })
}

/// All interpreters at hand: those that were fetched, and those that pyenv has installed.
pub(crate) fn at_hand() -> impl Iterator<Item = &'static Interpreter> {
    interpreters().iter().chain(installed())
}

fn pyenv_versions() -> Vec<PathBuf> {
    let Ok(output) = Command::new("pyenv").arg("root").output() else {
        return Vec::new();
    };
    let root = String::from_utf8(output.stdout).expect("a path");
    let Ok(versions) = fs::read_dir(Path::new(root.trim()).join("versions")) else {
        return Vec::new();
    };
    versions
        .map(|version| version.expect("a folder that stays").path())
        .collect()
}

/// The interpreter in a folder of pyenv's, if it is one that pytop counts.
fn of_pyenv(folder: &Path) -> Option<Interpreter> {
    // Free-threaded and debug builds are refused, which other tests show.
    const ASK: &str = "import sys, sysconfig\n\
        asked = sysconfig.get_config_var\n\
        if sys.version_info < (3, 6) or asked('Py_DEBUG') or asked('Py_GIL_DISABLED'): sys.exit(1)\n\
        print('%d.%d.%d' % sys.version_info[:3])";
    let program = folder.join("bin/python3");
    let output = Command::new(&program)
        .args(["-I", "-c", ASK])
        .output()
        .ok()?;
    if !output.status.success() {
        return None;
    }
    let version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    let (name, _) = version.rsplit_once('.')?;
    let library = folder.join(format!("lib/libpython{name}.so.1.0"));
    // Before 3.8 the name of the library tells how it allocates.
    let older = folder.join(format!("lib/libpython{name}m.so.1.0"));
    let executable = [library, older].into_iter().find(|path| path.exists());
    Some(Interpreter {
        name: name.to_owned(),
        marker: Marker::None,
        root: PathBuf::from("/"),
        executable: executable.unwrap_or_else(|| program.clone()),
        chroot: Launch {
            command: vec![program.to_str()?.to_owned()],
            environment: BTreeMap::from([("PYTHONDONTWRITEBYTECODE".into(), "1".into())]),
        },
        direct: None,
        version,
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
