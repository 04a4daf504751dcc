//! The programs whose calls are counted.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command::not_started;
use crate::interpreters::Interpreter;

/// A running Python script. It ends when this goes.
pub(super) struct Script {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Script {
    /// Starts a script in the root of a fetched interpreter and waits until it is ready.
    pub(super) fn start(python: &Interpreter, script: &str) -> Result<Self> {
        Self::of(python.chroot.command()?, script, &[])
    }

    /// Starts a script with arguments by the command of an interpreter.
    pub(super) fn of(mut command: Command, script: &str, arguments: &[&str]) -> Result<Self> {
        command
            .args(["-B", "-c", script])
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command
            .spawn()
            .map_err(|error| not_started(&command, &error))?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a script without an output")?;
        let mut script = Self {
            child,
            input,
            output: BufReader::new(output),
        };
        match script.answer()?.as_str() {
            "ready" => Ok(script),
            other => bail!("the script said {other:?} instead of being ready"),
        }
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The nanoseconds that one of so many calls took.
    pub(super) fn measure(&mut self, calls: usize) -> Result<f64> {
        let answer = self.ask(&calls.to_string())?;
        answer
            .parse()
            .with_context(|| format!("the script said {answer:?}, which is no number"))
    }

    /// Says a line to the script, and returns what it answers.
    pub(super) fn ask(&mut self, line: &str) -> Result<String> {
        let input = self
            .input
            .as_mut()
            .context("the script's input is closed")?;
        writeln!(input, "{line}").context("cannot reach the script")?;
        self.answer()
    }

    fn answer(&mut self) -> Result<String> {
        let mut line = String::new();
        self.output
            .read_line(&mut line)
            .context("cannot hear from the script")?;
        if line.is_empty() {
            bail!("the script ended");
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}
