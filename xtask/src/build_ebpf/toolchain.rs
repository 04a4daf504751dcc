//! Finding a Rust that can compile for eBPF, and the linker.
//!
//! The target needs a `core`. A nightly toolchain compiles one from the `rust-src` component
//! (`-Z build-std`); Debian ships one compiled, for the rustc of its `rustc-web` package, whose
//! unstable features `RUSTC_BOOTSTRAP` opens. bpf-linker works on LLVM's bitcode and must be built
//! on an LLVM at least as new as the compiler's.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use super::{TARGET, missing};
use crate::command::{self, capture, find as find_program, is_executable};

/// What to type when something is missing.
pub(super) const HOW_TO_INSTALL: &str = "\
Install either toolchain. On Debian 12 or later, the distribution's:

    sudo apt-get install rustc-web libstd-rust-web-dev-bpf llvm-22-dev libpolly-22-dev libzstd-dev
    LLVM_PREFIX=/usr/lib/llvm-22 cargo install bpf-linker --version 0.13.0 --locked \\
        --no-default-features --features llvm-22

or, where rustup has a nightly and the LLVM of that nightly is installed (`rustc +nightly -vV`
tells its version, here 23):

    rustup toolchain install nightly --component rust-src
    LLVM_PREFIX=/usr/lib/llvm-23 cargo install bpf-linker --version 0.13.0 --locked \\
        --no-default-features --features llvm-23";

/// Which Rust to build with.
#[derive(Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Choice {
    /// The distribution's if it is there, else a nightly
    #[default]
    Auto,
    /// A rustc that has `core` for eBPF compiled, such as Debian's rustc-web
    Distribution,
    /// rustup's nightly, with the component rust-src
    Nightly,
}

/// A compiler for eBPF, and its linker.
pub(super) struct Toolchain {
    kind: Kind,
    /// bpf-linker.
    pub(super) linker: PathBuf,
    /// Where the sources of the standard library are, for a library that is compiled here.
    pub(super) library_source: PathBuf,
    /// What it is made of.
    pub(super) versions: Versions,
}

enum Kind {
    /// This rustc has a compiled `core`.
    Distribution(PathBuf),
    /// The name of rustup's toolchain.
    Nightly(String),
}

/// What the object's bytes depend on besides its sources.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Versions {
    /// First line of `rustc -vV`.
    pub(super) rustc: String,
    /// The LLVM of that rustc.
    pub(super) llvm: String,
    /// `bpf-linker --version`.
    pub(super) bpf_linker: String,
}

impl fmt::Display for Versions {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{}, LLVM {}, {}",
            self.rustc, self.llvm, self.bpf_linker
        )
    }
}

impl Toolchain {
    /// A cargo that compiles with this toolchain for [`TARGET`].
    pub(super) fn cargo(&self) -> Command {
        let mut command;
        match &self.kind {
            Kind::Distribution(rustc) => {
                command = command::cargo();
                command.env("RUSTC", rustc).env("RUSTC_BOOTSTRAP", "1");
            }
            Kind::Nightly(name) => {
                command = Command::new("rustup");
                command
                    .args(["run", name, "cargo"])
                    .env_remove("RUSTC")
                    .env("CARGO_UNSTABLE_BUILD_STD", "core");
            }
        }
        // What the user sets for other builds would change the object.
        for variable in ["RUSTFLAGS", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER"] {
            command.env_remove(variable);
        }
        command
    }
}

/// Finds a complete toolchain, or says how to get one.
pub(super) fn find(choice: Choice) -> Result<Toolchain> {
    let (kind, rustc) = match choice {
        Choice::Auto => distribution().or_else(nightly),
        Choice::Distribution => distribution(),
        Choice::Nightly => nightly(),
    }
    .map_or_else(
        || missing(&format!("found no Rust with a `core` for {TARGET}.")),
        Ok,
    )?;
    let Some(linker) = find_program("bpf-linker").or_else(in_cargo_home) else {
        return missing("found a Rust for eBPF, but no bpf-linker on the PATH or in cargo's bin.");
    };
    let (rustc_version, llvm) = rustc_versions(&rustc)?;
    let bpf_linker = capture(Command::new(&linker).arg("--version"))?
        .trim()
        .to_owned();
    let sysroot = capture(Command::new(&rustc).args(["--print", "sysroot"]))?;
    Ok(Toolchain {
        kind,
        linker,
        library_source: Path::new(sysroot.trim()).join("lib/rustlib/src/rust"),
        versions: Versions {
            rustc: rustc_version,
            llvm,
            bpf_linker,
        },
    })
}

/// A rustc with a compiled `core`: Debian's lies in /usr/bin, often behind rustup's on the PATH.
fn distribution() -> Option<(Kind, PathBuf)> {
    let folders = env::split_paths(&env::var_os("PATH")?).collect::<Vec<_>>();
    folders
        .into_iter()
        .chain([PathBuf::from("/usr/bin")])
        .map(|folder| folder.join("rustc"))
        .find(|rustc| is_executable(rustc) && has_core(rustc))
        .map(|rustc| (Kind::Distribution(rustc.clone()), rustc))
}

fn has_core(rustc: &Path) -> bool {
    let libraries =
        capture(Command::new(rustc).args(["--print", "target-libdir", "--target", TARGET]));
    let Ok(folder) = libraries.map(|text| PathBuf::from(text.trim())) else {
        return false;
    };
    folder.read_dir().is_ok_and(|files| {
        files
            .flatten()
            .any(|file| file.file_name().to_string_lossy().starts_with("libcore-"))
    })
}

/// rustup's nightly, whatever its date, if it has the sources of `core`.
fn nightly() -> Option<(Kind, PathBuf)> {
    let listed = capture(Command::new("rustup").args(["toolchain", "list"])).ok()?;
    listed
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .find_map(|name| {
            let rustc =
                capture(Command::new("rustup").args(["which", "--toolchain", name, "rustc"]));
            let rustc = PathBuf::from(rustc.ok()?.trim());
            let core = rustc
                .parent()?
                .parent()?
                .join("lib/rustlib/src/rust/library/core");
            core.is_dir()
                .then(|| (Kind::Nightly(name.to_owned()), rustc))
        })
}

fn in_cargo_home() -> Option<PathBuf> {
    let home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(env::home_dir()?.join(".cargo")))?;
    Some(home.join("bin/bpf-linker")).filter(|path| is_executable(path))
}

/// The version of rustc, and that of its LLVM.
fn rustc_versions(rustc: &Path) -> Result<(String, String)> {
    let text = capture(Command::new(rustc).arg("-vV"))?;
    let first = text.lines().next().context("`rustc -vV` printed nothing")?;
    let llvm = text
        .lines()
        .find_map(|line| line.strip_prefix("LLVM version: "))
        .context("`rustc -vV` does not name its LLVM")?;
    Ok((first.to_owned(), llvm.to_owned()))
}
