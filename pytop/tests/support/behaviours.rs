//! The scripts that have one behaviour each, and how often they enter which function.
//!
//! What the marker reports differs between versions. 3.9 (Python/ceval.c) fires whenever a frame
//! begins or goes on: a generator that is started, sent to, thrown into or closed, even one that was
//! never started. 3.15
//! (Python/bytecodes.c) fires when a generator is made, when it is started, and when it is sent to,
//! but not when it is thrown into or closed. It does not know the line of a function whose code
//! begins with `MAKE_CELL` or `COPY_FREE_VARS`, nor that of a generator expression that is being
//! made. Both give a generator that goes on the line of its `yield`. Comprehensions are functions
//! before 3.12 only.

use super::counted::{Functions, functions};
use super::python::Python;

/// A script of `pytop/tests/scripts` that takes the number of its rounds as argument, says
/// `ready`, and for each line that it reads does that many rounds and says `done`.
pub(crate) struct Behaviour {
    pub(crate) script: &'static str,
    entered: &'static [Entered],
}

/// A function, where the marker says that it is, and how often it is entered: in 3.9, in 3.15.
struct Entered {
    function: &'static str,
    /// A line that contains this text, and the distance from it.
    line: Option<(&'static str, u32)>,
    times: [u64; 2],
    per: Per,
}

#[derive(Clone, Copy)]
enum Per {
    Round,
    Go,
    Process,
}

const fn at(function: &'static str, text: &'static str, below: u32, times: [u64; 2]) -> Entered {
    Entered {
        function,
        line: Some((text, below)),
        times,
        per: Per::Round,
    }
}

const fn nowhere(function: &'static str, times: [u64; 2]) -> Entered {
    Entered {
        function,
        line: None,
        times,
        per: Per::Round,
    }
}

impl Entered {
    const fn per(self, per: Per) -> Self {
        Self { per, ..self }
    }
}

impl Behaviour {
    /// What has been entered after so many lines were read.
    pub(crate) fn functions(&self, python: &Python, rounds: u64, gos: u64) -> Functions {
        let version = usize::from(!python.interpreter.is_before_3_11());
        let entered = self
            .entered
            .iter()
            .filter(|entered| entered.times[version] > 0);
        functions(entered.map(|entered| {
            let line = entered.line.map(|(text, below)| python.line(text) + below);
            let times = match entered.per {
                Per::Round => rounds * gos,
                Per::Go => gos,
                Per::Process => 1,
            };
            (entered.function, line, entered.times[version] * times)
        }))
    }
}

/// Those in which one process calls.
pub(crate) const BEHAVIOURS: &[Behaviour] = &[
    Behaviour {
        script: "loop.py",
        entered: &[at("called", "def called", 0, [1, 1])],
    },
    Behaviour {
        script: "methods.py",
        entered: &[
            at("__init__", "def __init__", 0, [1, 1]),
            at("overridden", "class Base", 4, [1, 1]),
            // `super()` makes a closure of it.
            at("overridden", "class Derived", 1, [1, 0]),
            nowhere("overridden", [0, 1]),
            // A decorated function begins with its decorator.
            at("of_class", "@classmethod", 0, [1, 1]),
            at("of_nothing", "@staticmethod", 0, [1, 1]),
            at("attribute", "@property", 0, [1, 1]),
            at("__call__", "def __call__", 0, [1, 1]),
            at("__getitem__", "def __getitem__", 0, [2, 2]),
            at("__add__", "def __add__", 0, [1, 1]),
        ],
    },
    Behaviour {
        script: "closures.py",
        entered: &[
            at("make", "def make", 0, [1, 0]),
            nowhere("make", [0, 1]),
            at("add", "def add", 0, [2, 0]),
            nowhere("add", [0, 2]),
            at("plain", "def plain", 0, [1, 1]),
        ],
    },
    Behaviour {
        script: "recursion.py",
        entered: &[
            at("fibonacci", "def fibonacci", 0, [41, 41]),
            at("even", "def even", 0, [51, 51]),
            at("odd", "def odd", 0, [50, 50]),
        ],
    },
    Behaviour {
        script: "exceptions.py",
        entered: &[
            at("raises", "def raises", 0, [2, 2]),
            at("passes_on", "def passes_on", 0, [1, 1]),
            at("cleans_up", "def cleans_up", 0, [1, 1]),
            at("catches", "def catches", 0, [1, 1]),
            at("handles", "def handles", 0, [1, 1]),
        ],
    },
    Behaviour {
        script: "generators.py",
        entered: &[
            at("two", "def two", 0, [2, 4]),
            at("two", "def two", 1, [2, 2]),
            at("two", "def two", 2, [2, 2]),
            at("delegates", "def delegates", 0, [1, 2]),
            at("delegates", "def delegates", 1, [2, 2]),
            at("never_started", "def never_started", 0, [1, 1]),
            at("closed", "def closed", 0, [1, 2]),
            at("closed", "def closed", 1, [1, 0]),
            at("thrown_into", "def thrown_into", 0, [1, 2]),
            at("thrown_into", "def thrown_into", 2, [1, 0]),
            at("thrown_into", "def thrown_into", 4, [1, 0]),
            at("sent_to", "def sent_to", 0, [1, 2]),
            at("sent_to", "def sent_to", 1, [1, 1]),
            at("sent_to", "def sent_to", 3, [2, 2]),
            at("<genexpr>", "sum(x for x", 0, [4, 4]),
            nowhere("<genexpr>", [0, 1]),
        ],
    },
    Behaviour {
        script: "coroutines.py",
        entered: &[
            at("__await__", "def __await__", 0, [1, 2]),
            at("__await__", "def __await__", 1, [1, 1]),
            at("pauses", "def pauses", 0, [1, 2]),
            at("pauses", "def pauses", 1, [1, 1]),
            at("outer", "def outer", 0, [1, 2]),
            at("outer", "def outer", 1, [1, 1]),
            at("numbers", "def numbers", 0, [1, 2]),
            at("numbers", "def numbers", 1, [1, 1]),
            at("numbers", "def numbers", 2, [1, 1]),
            at("run", "def run", 0, [1, 1]),
        ],
    },
    Behaviour {
        script: "callbacks.py",
        entered: &[
            at("key", "def key", 0, [6, 6]),
            at("add", "def add", 0, [4, 4]),
            at("cached", "@functools.lru_cache", 0, [2, 2]).per(Per::Process),
            at("wrapped", "@functools.wraps", 0, [3, 3]),
            at("<lambda>", "square = lambda", 0, [7, 7]),
            at("<listcomp>", "[cached(item)", 0, [1, 0]),
            at("<setcomp>", "{wrapped(item)", 0, [1, 0]),
            at("__init__", "def __init__", 0, [2, 2]),
            at("__lt__", "def __lt__", 0, [1, 1]),
        ],
    },
    Behaviour {
        script: "threads.py",
        entered: &[
            at("first", "def first", 0, [1, 1]).per(Per::Go),
            at("second", "def second", 0, [2, 2]).per(Per::Go),
            at("shared", "def shared", 0, [3, 3]),
            at("own", "def own", 0, [2, 2]),
            at("<listcomp>", "threads = [", 0, [1, 0]).per(Per::Go),
        ],
    },
];

impl Behaviour {
    /// Entries that a round makes on any version, at least.
    pub(crate) fn a_round(&self) -> u64 {
        let rounds = self
            .entered
            .iter()
            .filter(|entered| matches!(entered.per, Per::Round));
        let (old, new) = rounds.fold((0, 0), |(old, new), entered| {
            (old + entered.times[0], new + entered.times[1])
        });
        old.min(new)
    }
}
