//! A wrapper around rustc that makes symbol names independent of where the repository lies.
//!
//! Cargo gives each crate a hash by `-C metadata`, which becomes part of every symbol. For a crate
//! outside its workspace's folder, as pytop-common is to pytop-ebpf, the hash covers the crate's
//! absolute path, and that of all crates that depend on it too. Here it is replaced by the crate's
//! name. Names are enough to tell crates apart as long as no two versions of one crate go into the
//! object; rustc refuses them if they ever do.

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result};

use super::TARGET;

/// Set for the build in which this program is the wrapper.
const ASKED: &str = "PYTOP_XTASK_WRAPS_RUSTC";

/// Has a cargo command use this program as its wrapper.
pub(super) fn ask(cargo: &mut Command) -> Result<()> {
    let this = env::current_exe().context("cannot find this program's own file")?;
    cargo.env("RUSTC_WRAPPER", this).env(ASKED, "1");
    Ok(())
}

/// Becomes rustc when cargo has called this program as its wrapper: returns only if it has not, or
/// with the status of a failure.
pub(crate) fn run_if_asked() -> Option<ExitCode> {
    env::var_os(ASKED)?;
    let mut arguments = env::args_os().skip(1);
    let rustc = arguments.next()?;
    let error = Command::new(&rustc)
        .args(rewritten(arguments.collect()))
        .exec();
    eprintln!("xtask: cannot start {}: {error}", rustc.display());
    Some(ExitCode::FAILURE)
}

/// rustc's arguments, with the metadata replaced in those of a crate for eBPF.
fn rewritten(mut arguments: Vec<OsString>) -> Vec<OsString> {
    let after = |option: &str| {
        let at = arguments.iter().position(|argument| argument == option)?;
        arguments.get(at + 1).cloned()
    };
    if after("--target").is_some_and(|target| target == TARGET)
        && let Some(name) = after("--crate-name")
    {
        for argument in &mut arguments {
            if argument.to_string_lossy().starts_with("metadata=") {
                *argument = "metadata=".into();
                argument.push(&name);
            }
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arguments(target: &str, metadata: &str) -> Vec<OsString> {
        let metadata = format!("metadata={metadata}");
        [
            "--crate-name",
            "pytop_common",
            "-C",
            &metadata,
            "--target",
            target,
        ]
        .map(OsString::from)
        .into()
    }

    #[test]
    fn only_crates_for_ebpf_lose_their_hash() {
        assert_eq!(
            rewritten(arguments(TARGET, "12ab")),
            arguments(TARGET, "pytop_common")
        );
        let host = arguments("x86_64-unknown-linux-gnu", "12ab");
        assert_eq!(rewritten(host.clone()), host);
    }
}
