//! Runs every test, those included that load eBPF programs and count calls of real interpreters.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead as _, BufReader, ErrorKind, IsTerminal as _, Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::command::{cargo, not_started};
use crate::interpreters;
use crate::privilege::{as_root, ask_early};
use crate::pythons::Pythons;
use crate::workspace;

/// Fetch the test interpreters, build, and run every test.
///
/// The tests of the package pytop need root, and are started by sudo when this is not root; all
/// others run as the user. No test is skipped: on a machine where eBPF does not work they fail.
#[derive(Args)]
pub(crate) struct Test {
    /// Only tests whose name contains one of these, and options of the test runner.
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "FILTER"
    )]
    arguments: Vec<String>,
}

impl Test {
    pub(crate) fn run(self) -> Result<()> {
        ask_early()?;
        Pythons::default().fetch()?;
        let of_pytop = build_tests_of_pytop()?;

        let mut runs = vec![
            ("documentation", tests(&["--workspace", "--doc"])),
            (
                "other packages",
                tests(&["--workspace", "--exclude=pytop", "--lib", "--bins"]),
            ),
        ];
        for test in &of_pytop {
            runs.push((&test.source, test.command()?));
        }
        // An older one would pass for this run's.
        let table = workspace::target().join("tmp/matrix.txt");
        remove(&table)?;
        let (mut total, mut failed) = (Tally::default(), Vec::new());
        for (name, mut command) in runs {
            // Whatever fails, the others are run: one look shows all that is wrong.
            eprintln!("\n     Testing {name}");
            if !run(command.args(&self.arguments), &mut total)? {
                failed.push(name);
            }
        }
        if let Ok(table) = fs::read_to_string(&table) {
            println!("\nCalls of known number, on each interpreter by each method:\n\n{table}");
        }
        println!("\n{} passed, {} failed", total.passed, total.failed);
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        if total.passed == 0 {
            bail!("no test has such a name: {}", self.arguments.join(" "));
        }
        Ok(())
    }
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// `cargo test` of `what`, to which arguments of the test runner are to be added.
fn tests(what: &[&str]) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--no-fail-fast"])
        .args(what)
        .arg("--");
    colour(&mut command);
    command
}

/// The test runner sees a pipe, and would write without colours.
fn colour(command: &mut Command) {
    if stdout().is_terminal() {
        command.arg("--color=always");
    }
}

/// What the closing lines of test runners add up to.
#[derive(Default, Debug, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
}

impl Tally {
    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 0 ignored; …`.
    fn add(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        let before = |word: &str| {
            let mut words = counts
                .split([' ', ';'])
                .collect::<Vec<_>>()
                .into_iter()
                .rev();
            words.find(|other| *other == word)?;
            words.next()?.parse::<u64>().ok()
        };
        self.passed += before("passed").unwrap_or(0);
        self.failed += before("failed").unwrap_or(0);
    }
}

/// Runs tests and shows what they print. False if one failed.
fn run(command: &mut Command, total: &mut Tally) -> Result<bool> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| not_started(command, &error))?;
    let mut output = BufReader::new(child.stdout.take().context("tests without an output")?);
    let mut line = Vec::new();
    while output
        .read_until(b'\n', &mut line)
        .context("cannot read the output of the tests")?
        > 0
    {
        stdout()
            .write_all(&line)
            .context("cannot write to standard output")?;
        total.add(&String::from_utf8_lossy(&line));
        line.clear();
    }
    Ok(child.wait().context("cannot wait for the tests")?.success())
}

/// A test program of the package pytop.
#[derive(Debug, PartialEq, Eq)]
struct TestProgram {
    /// The source file, as `pytop/tests/failure.rs`.
    source: String,
    executable: PathBuf,
}

impl TestProgram {
    /// The command that runs it as root, to which its arguments are to be added.
    fn command(&self) -> Result<Command> {
        // As cargo would run it.
        let package = workspace::root().join("pytop");
        let mut command = as_root("env")?;
        command
            .arg(setting("PYTOP_PYTHONS", &interpreters::path()))
            .arg(setting("CARGO_MANIFEST_DIR", &package))
            // Snapshots are compared only: root would leave files that the user cannot remove.
            .arg(setting("INSTA_WORKSPACE_ROOT", workspace::root()))
            .arg("INSTA_UPDATE=no")
            .arg(&self.executable)
            .current_dir(&package);
        colour(&mut command);
        Ok(command)
    }
}

fn setting(name: &str, path: &Path) -> OsString {
    let mut setting = OsString::from(name);
    setting.push("=");
    setting.push(path);
    setting
}

/// Builds the tests of the package pytop, as the user.
fn build_tests_of_pytop() -> Result<Vec<TestProgram>> {
    let mut command = cargo();
    command
        .args([
            "test",
            "--package",
            "pytop",
            "--lib",
            "--bins",
            "--test",
            "*",
            "--no-run",
        ])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let output = command
        .output()
        .map_err(|error| not_started(&command, &error))?;
    if !output.status.success() {
        bail!("the tests do not build");
    }
    let output = String::from_utf8(output.stdout).context("cargo did not print UTF-8")?;
    let tests = built_tests(&output, workspace::root());
    if tests.is_empty() {
        bail!("cargo built no tests");
    }
    Ok(tests)
}

/// The test programs that cargo names in its messages, one JSON object a line.
fn built_tests(messages: &str, root: &Path) -> Vec<TestProgram> {
    #[derive(Deserialize)]
    struct Message {
        target: Target,
        profile: Profile,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        src_path: PathBuf,
    }
    #[derive(Deserialize)]
    struct Profile {
        test: bool,
    }
    messages
        .lines()
        // Messages of other kinds have other fields.
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.profile.test)
        .filter_map(|message| {
            let source = &message.target.src_path;
            let source = source
                .strip_prefix(root)
                .unwrap_or(source)
                .display()
                .to_string();
            Some(TestProgram {
                source,
                executable: message.executable?,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cargos_messages_name_the_test_programs() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"src_path":"/w/a/src/lib.rs"},"profile":{"test":false},"executable":null}
{"reason":"compiler-artifact","target":{"src_path":"/w/a/src/main.rs"},"profile":{"test":false},"executable":"/a"}
{"reason":"compiler-artifact","target":{"src_path":"/w/a/src/lib.rs"},"profile":{"test":true},"executable":"/a-1"}
{"reason":"compiler-artifact","target":{"src_path":"/w/a/tests/b.rs"},"profile":{"test":true},"executable":"/b-2"}
{"reason":"build-finished","success":true}"#;
        let test = |source: &str, executable: &str| TestProgram {
            source: source.into(),
            executable: executable.into(),
        };
        assert_eq!(
            built_tests(messages, Path::new("/w")),
            [test("a/src/lib.rs", "/a-1"), test("a/tests/b.rs", "/b-2")]
        );
    }

    #[test]
    fn closing_lines_are_added_up() {
        let mut tally = Tally::default();
        for line in [
            "running 3 tests",
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out",
            "test result: \x1b[31mFAILED\x1b[m. 17 passed; 2 failed; 0 ignored; 0 measured",
            "test a::b ... ok",
        ] {
            tally.add(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 20,
                failed: 2
            }
        );
    }
}
