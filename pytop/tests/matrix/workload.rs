//! The workload, and what it says should be counted.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

use crate::support::{Comparison, Counted, Form, Functions, Interpreter, Python, Running};

/// How the calls are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Without further ado.
    Plain,
    /// With a switch of threads every microsecond, if they want to.
    Switching,
    /// Under `sys.settrace`: first without, then with, then without.
    Settrace,
    /// The same, with an event for each bytecode.
    Opcodes,
    /// Under `sys.setprofile`.
    Setprofile,
    /// Under two tools of `sys.monitoring`, one of which switches events off.
    Monitoring,
    /// Under a tool of `sys.monitoring` that asks for each bytecode.
    Instructions,
}

impl Variant {
    const ALL: [Self; 7] = [
        Self::Plain,
        Self::Switching,
        Self::Settrace,
        Self::Opcodes,
        Self::Setprofile,
        Self::Monitoring,
        Self::Instructions,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Plain => "plain",
            Self::Switching => "switching",
            Self::Settrace => "settrace",
            Self::Opcodes => "opcodes",
            Self::Setprofile => "setprofile",
            Self::Monitoring => "monitoring",
            Self::Instructions => "instructions",
        }
    }

    /// The first version that has it, the second number.
    fn since(self) -> u32 {
        match self {
            Self::Plain | Self::Switching | Self::Settrace | Self::Setprofile => 6,
            Self::Opcodes => 7,
            Self::Monitoring | Self::Instructions => 12,
        }
    }

    /// Those that an interpreter has.
    pub(crate) fn of(interpreter: &Interpreter) -> impl Iterator<Item = Self> {
        let minor = interpreter.minor();
        Self::ALL
            .into_iter()
            .filter(move |variant| minor >= variant.since())
    }
}

/// The workload on an interpreter, with the files that it needs.
#[derive(Clone)]
pub(crate) struct Workload(Python);

impl Workload {
    pub(crate) fn new(interpreter: &'static Interpreter) -> Self {
        let python = Python::of_folder(interpreter, Form::Chroot, "matrix", "main.py");
        Self(python.option("-S"))
    }

    /// How to start one run of it.
    pub(crate) fn case(&self, method: &'static str, variant: Variant, warm: bool) -> Case {
        let temperature = if warm { "warm" } else { "cold" };
        let python = self.0.clone();
        Case {
            python: python
                .argument(&method)
                .argument(&variant.name())
                .argument(&temperature),
            method,
            variant,
            warm,
        }
    }
}

/// One run of the workload.
#[derive(Clone)]
pub(crate) struct Case {
    pub(crate) python: Python,
    /// The method that is to count it.
    pub(crate) method: &'static str,
    variant: Variant,
    /// Whether it has called everything before it is counted.
    pub(crate) warm: bool,
}

impl Case {
    pub(crate) fn interpreter(&self) -> &'static Interpreter {
        self.python.interpreter
    }

    /// Its name in failures.
    pub(crate) fn name(&self) -> String {
        format!(
            "{} of {} by {}, {}{}",
            self.interpreter().version,
            self.interpreter().executable.display(),
            self.method,
            self.variant.name(),
            if self.warm { ", warm" } else { "" }
        )
    }

    /// Starts it, and waits until it is ready.
    pub(crate) fn start(&self) -> Running {
        let running = self.python.spawn();
        // What children of the warming up have called is not to be counted.
        while running.line() != "ready" {}
        running
    }

    /// Has it make its calls, and returns what is to be counted.
    pub(crate) fn finish(&self, mut running: Running) -> Finished {
        running.go();
        let mut expected = Expected::default();
        loop {
            let line = running.line();
            if line == "done" {
                break;
            }
            expected.add(&line, self.method);
        }
        running.end_well();
        Finished {
            case: self.clone(),
            pid: running.pid(),
            expected,
        }
    }
}

/// A run of the workload that has ended.
pub(crate) struct Finished {
    pub(crate) case: Case,
    pub(crate) pid: u32,
    pub(crate) expected: Expected,
}

impl Finished {
    /// Compares what was counted with what was called; adds the calls that were counted.
    pub(crate) fn compare(&self, counted: &Counted, all: &mut Comparison) -> u64 {
        let name = self.case.name();
        let listed = counted.process(self.pid);
        assert!(!listed.is_empty(), "{name} is not listed");
        for process in listed {
            assert_eq!(process.method.as_deref(), Some(self.case.method), "{name}");
            assert_eq!(process.reason, None, "{name}");
        }
        let mut calls = 0;
        for (pid, expected) in &self.expected.0 {
            let found = of_files(counted, *pid, expected, self.case.method);
            calls += found.values().sum::<u64>();
            let functions = expected.functions(self.case.method);
            all.add(&name, &found, &functions);
        }
        calls
    }
}

impl Finished {
    /// Adds what was counted, function by function, wherever functions of one name are.
    pub(crate) fn add_functions(&self, counted: &Counted, to: &mut BTreeMap<String, u64>) {
        for (pid, expected) in &self.expected.0 {
            for ((filename, function, _), calls) in counted.all_functions(*pid) {
                // Methods cut long names at different characters.
                if expected.files.contains(&filename) && !function.ends_with('…') {
                    *to.entry(function).or_default() += calls;
                }
            }
        }
    }
}

/// What the processes of a run should have called.
#[derive(Debug, Default)]
pub(crate) struct Expected(BTreeMap<u32, Entered>);

#[derive(Debug, Default)]
struct Entered {
    files: BTreeSet<String>,
    rows: BTreeMap<(String, String, u32), u64>,
}

/// What the workload says of one process.
#[derive(Deserialize)]
struct Report {
    pid: u32,
    rows: Vec<(String, String, u32, u64)>,
}

impl Expected {
    /// Adds a line of the workload's.
    pub(crate) fn add(&mut self, line: &str, method: &str) {
        let report: Report =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        let entered = self.0.entry(report.pid).or_default();
        for (filename, function, line, calls) in report.rows {
            let filename = shown(&filename, FILENAME_BYTES, method);
            let function = shown(&function, FUNCTION_BYTES, method);
            entered.files.insert(filename.clone());
            *entered.rows.entry((filename, function, line)).or_default() += calls;
        }
    }

    /// The calls of all processes.
    pub(crate) fn calls(&self) -> u64 {
        let rows = self.0.values().flat_map(|entered| entered.rows.values());
        rows.sum()
    }
}

impl Entered {
    fn functions(&self, method: &str) -> Functions {
        let mut functions = Functions::new();
        for ((filename, function, line), calls) in &self.rows {
            *functions
                .entry(row(filename, function, Some(*line), method))
                .or_default() += calls;
        }
        functions
    }
}

/// A row as it is compared. The marker gives the line of a `yield` where the other methods give the
/// first line of the function, and none for some functions of 3.15: its lines are tested elsewhere.
fn row(filename: &str, function: &str, line: Option<u32>, method: &str) -> (String, Option<u32>) {
    let line = line.filter(|line| method != "marker" && *line > 0);
    (format!("{function} in {filename:?}"), line)
}

/// What was counted of a process in the files of the workload.
fn of_files(counted: &Counted, pid: u32, expected: &Entered, method: &str) -> Functions {
    let mut functions = Functions::new();
    for ((filename, function, line), calls) in counted.all_functions(pid) {
        if expected.files.contains(&filename) {
            *functions
                .entry(row(&filename, &function, line, method))
                .or_default() += calls;
        }
    }
    functions
}

/// Bytes of a name that are shown, at most.
const FILENAME_BYTES: usize = 511;
const FUNCTION_BYTES: usize = 255;

/// A name as it is shown. The marker gives it as UTF-8; the other methods read it as the interpreter
/// keeps it, with one, two or four bytes for each character.
fn shown(name: &str, bytes: usize, method: &str) -> String {
    let widest = name.chars().map(u32::from).max().unwrap_or(0);
    let size = |character: char| match (method, widest) {
        ("marker", _) => character.len_utf8(),
        (_, 0..=0xff) => 1,
        (_, 0x100..=0xffff) => 2,
        _ => 4,
    };
    let mut left = bytes;
    let fits = |character: &char| {
        let room = left.checked_sub(size(*character));
        left = room.unwrap_or(0);
        room.is_some()
    };
    let mut cut: String = name.chars().take_while(fits).collect();
    if cut.len() < name.len() {
        cut.push('…');
    }
    cut
}
