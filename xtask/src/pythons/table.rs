//! Which interpreters are fetched, and from where.

/// An interpreter that a Debian suite has as packages.
pub(super) struct Interpreter {
    /// Its name here, and that of its folder.
    pub(super) name: &'static str,
    /// Debian's suite.
    pub(super) suite: &'static str,
    /// The packages to install; apt finds what they depend on.
    pub(super) packages: &'static [&'static str],
    /// Fetched when no name is given.
    pub(super) needed_by_tests: bool,
    /// What its `function__entry` marker does.
    pub(super) marker: Marker,
    /// Whether it starts outside its root too, on any distribution with a C library as new as its
    /// own: it then needs no root.
    pub(super) runs_directly: bool,
}

/// What an interpreter's `function__entry` marker does.
#[derive(Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Marker {
    /// Fires on every entry of a frame.
    Live,
    /// Is in the file, but fires under a tracing function only.
    Dead,
    /// Is not in the file.
    None,
}

impl Marker {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Dead => "dead",
            Self::None => "none",
        }
    }
}

/// All that can be fetched. To add one, add a line: `CONTRIBUTING.md` tells how to try it.
pub(super) const INTERPRETERS: [Interpreter; 5] = [
    Interpreter {
        name: "3.9",
        suite: "bullseye",
        packages: &["python3.9-minimal", "libpython3.9-stdlib"],
        needed_by_tests: true,
        marker: Marker::Live,
        runs_directly: true,
    },
    Interpreter {
        name: "3.11",
        suite: "bookworm",
        packages: &["python3.11-minimal", "libpython3.11-stdlib"],
        needed_by_tests: true,
        marker: Marker::Dead,
        runs_directly: false,
    },
    Interpreter {
        name: "3.13",
        suite: "trixie",
        packages: &["python3.13-minimal", "libpython3.13-stdlib"],
        needed_by_tests: true,
        marker: Marker::None,
        runs_directly: false,
    },
    Interpreter {
        name: "3.14",
        suite: "sid",
        packages: &["python3.14-minimal", "libpython3.14-stdlib"],
        needed_by_tests: true,
        marker: Marker::None,
        runs_directly: false,
    },
    Interpreter {
        name: "3.15",
        suite: "sid",
        packages: &["python3.15-minimal", "libpython3.15-stdlib"],
        needed_by_tests: true,
        marker: Marker::Live,
        runs_directly: false,
    },
];

/// The names that the command line accepts.
pub(super) fn names() -> Vec<&'static str> {
    INTERPRETERS
        .iter()
        .map(|interpreter| interpreter.name)
        .collect()
}
