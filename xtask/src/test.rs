//! Runs every test, the live ones included, which count calls of real interpreters as root.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::Deserialize;

use crate::command::{cargo, not_started, run};
use crate::interpreters;
use crate::privilege::{as_root, ask_early, is_root};
use crate::pythons::Pythons;
use crate::workspace;

/// Fetch the test interpreters, build, and run every test.
///
/// The tests in pytop/tests need root, and are started by sudo when this is not root; all others run
/// as the user. No test is skipped: on a machine where eBPF does not work they fail.
#[derive(Args)]
pub(crate) struct Test {
    /// The mirror of Debian to fetch interpreters from (default: the one that apt uses).
    #[arg(long, env = "PYTOP_DEBIAN_MIRROR", value_name = "URL")]
    mirror: Option<String>,
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
        let Self { mirror, arguments } = self;
        ask_early()?;
        Pythons {
            mirror,
            ..Pythons::default()
        }
        .fetch()?;
        if is_root() {
            return run(&mut tests(&["--workspace"], &arguments));
        }
        // Everything that fails is shown, as `--no-fail-fast` does for one cargo command.
        let mut failed = Vec::new();
        let mut note = |what: &str, result: Result<()>| {
            if let Err(error) = result {
                eprintln!("xtask: {error:#}");
                failed.push(what.to_owned());
            }
        };
        note(
            "unit tests",
            run(&mut tests(&["--workspace", "--lib", "--bins"], &arguments)),
        );
        for live in live_tests()? {
            let result = live
                .command(&arguments)
                .and_then(|mut command| run(&mut command));
            note(&live.name, result);
        }
        note(
            "documentation",
            run(&mut tests(&["--workspace", "--doc"], &arguments)),
        );
        if !failed.is_empty() {
            bail!("failed: {}", failed.join(", "));
        }
        Ok(())
    }
}

/// `cargo test` of `what`.
fn tests(what: &[&str], arguments: &[String]) -> Command {
    let mut command = cargo();
    command
        .args(["test", "--no-fail-fast"])
        .args(what)
        .arg("--")
        .args(arguments)
        .env("PYTOP_PYTHONS", interpreters::path());
    command
}

/// A test program of pytop/tests.
struct LiveTest {
    name: String,
    executable: PathBuf,
}

impl LiveTest {
    /// The command that runs it as root.
    fn command(&self, arguments: &[String]) -> Result<Command> {
        let mut command = as_root("env")?;
        command
            .arg(setting("PYTOP_PYTHONS", &interpreters::path()))
            // Snapshots are compared only: root would leave files that the user cannot remove.
            .arg(setting("INSTA_WORKSPACE_ROOT", workspace::root()))
            .arg("INSTA_UPDATE=no")
            .arg(&self.executable)
            .args(arguments)
            .current_dir(workspace::root().join("pytop"));
        eprintln!("\n     Running tests/{}.rs as root", self.name);
        Ok(command)
    }
}

fn setting(name: &str, path: &std::path::Path) -> std::ffi::OsString {
    let mut setting = std::ffi::OsString::from(name);
    setting.push("=");
    setting.push(path);
    setting
}

/// Builds the live tests.
fn live_tests() -> Result<Vec<LiveTest>> {
    let mut command = cargo();
    command
        .args(["test", "--package", "pytop", "--test", "*", "--no-run"])
        .arg("--message-format=json-render-diagnostics")
        .stderr(Stdio::inherit());
    let output = command
        .output()
        .map_err(|error| not_started(&command, &error))?;
    if !output.status.success() {
        bail!("the live tests do not build");
    }
    let output = String::from_utf8(output.stdout).context("cargo did not print UTF-8")?;
    let tests = built_tests(&output);
    if tests.is_empty() {
        bail!("cargo built no live tests");
    }
    Ok(tests)
}

/// The test programs that cargo names in its messages, one JSON object a line.
fn built_tests(messages: &str) -> Vec<LiveTest> {
    #[derive(Deserialize)]
    struct Message {
        reason: String,
        target: Option<Target>,
        executable: Option<PathBuf>,
    }
    #[derive(Deserialize)]
    struct Target {
        kind: Vec<String>,
        name: String,
    }
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Message>(line).ok())
        .filter(|message| message.reason == "compiler-artifact")
        .filter_map(|message| {
            let target = message.target.filter(|target| target.kind == ["test"])?;
            Some(LiveTest {
                name: target.name,
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
            {"reason":"compiler-artifact","target":{"kind":["lib"],"name":"a"},"executable":null}
            {"reason":"compiler-artifact","target":{"kind":["bin"],"name":"b"},"executable":"/b"}
            {"reason":"compiler-artifact","target":{"kind":["test"],"name":"c"},"executable":"/c"}
            {"reason":"build-finished","success":true}"#;
        let tests = built_tests(messages);
        let names = tests
            .iter()
            .map(|test| (test.name.as_str(), test.executable.to_str()));
        assert_eq!(names.collect::<Vec<_>>(), [("c", Some("/c"))]);
    }
}
