//! Running the few things that need root, and nothing else, as root.

use std::env;
use std::ffi::{OsStr, OsString};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{find, run};
use crate::workspace;

/// Whether this program runs as root.
pub(crate) fn is_root() -> bool {
    nix::unistd::geteuid().is_root()
}

/// A command that runs `program` as root: by `sudo`, unless this is root already.
pub(crate) fn as_root(program: impl AsRef<OsStr>) -> Result<Command> {
    if is_root() {
        return Ok(Command::new(program));
    }
    if find("sudo").is_none() {
        bail!(
            "{} must run as root, and there is no sudo here: run this task as root",
            program.as_ref().display()
        );
    }
    let mut command = Command::new("sudo");
    command.arg("--").arg(program);
    Ok(command)
}

/// A command that runs this task once more, as root, without its arguments. What is to be built or
/// fetched must have been by then, so that the user and not root owns it.
pub(crate) fn again_as_root() -> Result<Command> {
    let mut target = OsString::from("CARGO_TARGET_DIR=");
    target.push(workspace::target());
    let mut command = as_root("env")?;
    command
        .arg(target)
        .arg(env::current_exe().context("cannot find this program's own file")?);
    command.args(env::args_os().nth(1));
    Ok(command)
}

/// Has sudo ask for the password now, so that it does not do so in the middle of a task.
pub(crate) fn ask_early() -> Result<()> {
    if is_root() {
        return Ok(());
    }
    as_root("true")?;
    run(Command::new("sudo").arg("--validate"))
}
