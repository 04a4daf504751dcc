//! Running other programs, with errors that say which one failed and how.

use std::borrow::Cow;
use std::env;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::workspace;

/// Runs a program to its end, with this program's own input and output.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .map_err(|error| not_started(command, &error))?;
    if status.success() {
        return Ok(());
    }
    bail!("`{}` failed: {status}", shown(command))
}

/// Runs a program to its end and returns what it wrote to its standard output. What it wrote to
/// its standard error is part of the error when it fails, and dropped otherwise.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| not_started(command, &error))?;
    if !status.success() {
        let stderr = String::from_utf8_lossy(&stderr);
        bail!(
            "`{}` failed: {status}\n{}",
            shown(command),
            stderr.trim_end()
        );
    }
    String::from_utf8(stdout).with_context(|| format!("`{}` did not print UTF-8", shown(command)))
}

/// An error for a program that could not be started.
pub(crate) fn not_started(command: &Command, error: &io::Error) -> anyhow::Error {
    let program = command.get_program().to_string_lossy();
    match error.kind() {
        io::ErrorKind::NotFound => anyhow!("`{program}` is not installed (or not on the PATH)"),
        _ => anyhow!("cannot start `{}`: {error}", shown(command)),
    }
}

/// Where a program is on the PATH.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join(program))
        .find(|path| is_executable(path))
}

/// Whether a file can be started, for all that its mode tells.
pub(crate) fn is_executable(path: &Path) -> bool {
    path.metadata()
        .is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}

/// The cargo that runs this task, in the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace::root());
    command
}

/// Builds pytop with optimisation and returns its path.
pub(crate) fn build_pytop() -> Result<PathBuf> {
    run(cargo().args(["build", "--release", "--package", "pytop", "--bin", "pytop"]))?;
    Ok(workspace::target().join("release/pytop"))
}

/// A command line as one would type it.
pub(crate) fn shown(command: &Command) -> String {
    let mut line = command.get_program().to_string_lossy().into_owned();
    for argument in command.get_args() {
        line.push(' ');
        line.push_str(&quoted(&argument.to_string_lossy()));
    }
    line
}

/// A word as one would type it into a shell.
pub(crate) fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_=+./:,@%".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) {
        Cow::Borrowed(word)
    } else {
        Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("apt-get");
        command.args(["-o", "Dir::Cache=/a b", "it's", ""]);
        assert_eq!(
            shown(&command),
            r"apt-get -o 'Dir::Cache=/a b' 'it'\''s' ''"
        );
    }

    #[test]
    fn a_failure_names_the_command_its_status_and_its_words() {
        let error = capture(Command::new("sh").args(["-c", "echo no luck >&2; exit 3"]));
        let error = error.unwrap_err().to_string();
        assert!(
            error.contains("exit status: 3") && error.contains("no luck"),
            "{error}"
        );
        let error = run(&mut Command::new("no-such-program"))
            .unwrap_err()
            .to_string();
        assert_eq!(
            error,
            "`no-such-program` is not installed (or not on the PATH)"
        );
    }
}
