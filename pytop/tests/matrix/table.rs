//! The table that a test run ends with.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::Path;

use pytop::cpython::{CodeMethod, examine, examine_code};

use crate::support::Interpreter;

/// A row: an interpreter, and a method.
pub(crate) struct Line {
    pub(crate) interpreter: &'static Interpreter,
    pub(crate) method: &'static str,
    pub(crate) runs: u64,
    pub(crate) expected: u64,
    pub(crate) counted: u64,
}

/// Writes the table where `cargo xtask test` looks for it.
pub(crate) fn write(lines: &[Line]) {
    let table = table(lines);
    println!("{table}");
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("matrix.txt");
    fs::write(&path, table)
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

fn table(lines: &[Line]) -> String {
    let mut table = format!(
        "{:<8} {:<6} {:<24} {:<7} {:<16} {:>4} {:>10} {:>10}\n",
        "VERSION", "FROM", "FILE", "METHOD", "SITES", "RUNS", "EXPECTED", "COUNTED"
    );
    for line in lines {
        let interpreter = line.interpreter;
        let from = if interpreter.root == Path::new("/") {
            "pyenv"
        } else {
            "Debian"
        };
        let file = interpreter.executable.file_name().unwrap_or_default();
        writeln!(
            table,
            "{:<8} {from:<6} {:<24} {:<7} {:<16} {:>4} {:>10} {:>10}",
            interpreter.version,
            file.to_string_lossy(),
            line.method,
            sites(interpreter, line.method),
            line.runs,
            line.expected,
            line.counted
        )
        .expect("a text has room");
    }
    table
}

/// The instructions at which the probes are.
fn sites(interpreter: &Interpreter, method: &str) -> String {
    if method == "marker" {
        return "nop".to_owned();
    }
    let path = &interpreter.executable;
    let file = File::open(path).expect("it is there");
    let examined = examine(&file, path).expect("it is whole");
    let examined = examined.expect("it is a CPython");
    let found = examine_code(&file, path, &examined).expect("it is whole");
    match found.expect("it is counted") {
        CodeMethod::Eval(site) => site.instruction,
        CodeMethod::Resume(resume) => {
            let handlers = resume.handlers.iter();
            let instructions: Vec<_> = handlers
                .map(|handler| handler.instruction.as_str())
                .collect();
            instructions.join(" ")
        }
    }
}
