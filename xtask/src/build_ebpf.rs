//! Builds pytop's eBPF programs into the object that the repository holds.
//!
//! The object is committed, so that who builds pytop needs plain stable Rust and no LLVM. Beside it
//! is a manifest of what it was made from and with. Three things keep the two honest:
//!
//! - `--check` compares hashes only, so it needs no eBPF toolchain: it fails when the sources
//!   changed and the object did not.
//! - The build is reproducible: the same sources and the same toolchain give the same bytes,
//!   wherever the repository lies. `--output` builds once more and compares.
//! - The object so built can be put into a test build by `PYTOP_BPF_OBJECT`.

mod manifest;
pub(crate) mod rustc_wrapper;
mod strip;
mod toolchain;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;

use crate::command;
use crate::workspace;
use manifest::Manifest;
use toolchain::{Choice, Toolchain};

/// The kind of object that is built: eBPF, little-endian.
const TARGET: &str = "bpfel-unknown-none";

/// Build the eBPF object and its manifest under assets/.
#[derive(Args)]
pub(crate) struct BuildEbpf {
    /// Build nothing: fail if the committed object was not made from the present sources.
    #[arg(long, conflicts_with_all = ["output", "toolchain"])]
    check: bool,
    /// Write the object to this file and leave assets/ alone. Fails if the committed object was
    /// made with the same toolchain and differs.
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The Rust to build with.
    #[arg(long, value_enum, default_value_t)]
    toolchain: Choice,
}

impl BuildEbpf {
    pub(crate) fn run(self) -> Result<()> {
        let committed = workspace::assets().join("pytop.bpf.o");
        let manifest = workspace::assets().join("pytop.bpf.json");
        let sources = manifest::sources(workspace::root())?;
        if self.check {
            Manifest::read(&manifest)?.check(&sources, &read(&committed)?)?;
            println!("assets/pytop.bpf.o was made from the present sources");
            return Ok(());
        }

        let toolchain = toolchain::find(self.toolchain)?;
        eprintln!("building the eBPF object with {}", toolchain.versions);
        let object = build(&toolchain)?;
        let built = Manifest::new(sources, &object, toolchain.versions);
        if let Some(output) = self.output {
            write(&output, &object)?;
            println!("{}: {} bytes", output.display(), object.len());
            println!("{}", built.compare(&Manifest::read(&manifest)?)?);
        } else {
            write(&committed, &object)?;
            built.write(&manifest)?;
            println!("assets/pytop.bpf.o: {} bytes", object.len());
        }
        Ok(())
    }
}

/// Compiles and links the programs, and strips the object.
fn build(toolchain: &Toolchain) -> Result<Vec<u8>> {
    let target = workspace::target().join("ebpf");
    let manifest = workspace::root().join("pytop-ebpf/Cargo.toml");
    let mut command = toolchain.cargo();
    command
        .args(["build", "--release", "--locked", "--target", TARGET])
        .arg("--manifest-path")
        .arg(&manifest)
        .arg("--target-dir")
        .arg(&target)
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(toolchain, &manifest)?)
        .env("CARGO_INCREMENTAL", "0");
    rustc_wrapper::ask(&mut command)?;
    command::run(&mut command)?;
    let linked = target.join(TARGET).join("release/pytop-ebpf");
    strip::debug_sections(&read(&linked)?)
        .with_context(|| format!("cannot strip {}", linked.display()))
}

/// The compiler's options, separated as cargo wants them.
fn rustflags(toolchain: &Toolchain, manifest: &Path) -> Result<String> {
    let mut flags = vec![
        format!("-Clinker={}", toolchain.linker.display()),
        // BTF is made from debug information.
        "-Cdebuginfo=2".into(),
        "-Clink-arg=--btf".into(),
        // Compare-and-exchange, and 32-bit arithmetic: Linux 5.12 and later.
        "-Ctarget-cpu=v3".into(),
        // aya-ebpf otherwise takes the architecture of the machine that builds. The programs read
        // registers by offsets that user space gives them, so one object serves all.
        "--cfg=bpf_target_arch=\"x86_64\"".into(),
    ];
    // BTF holds the names of source files. The later of two that match wins.
    let mut remap = |from: &Path, to: &str| {
        flags.push(format!("--remap-path-prefix={}={to}", from.display()));
    };
    remap(workspace::root(), "pytop");
    remap(&toolchain.library_source, "rust");
    for package in packages(toolchain, manifest)? {
        remap(&package.folder, &package.name);
    }
    Ok(flags.join("\x1f"))
}

/// A dependency from a registry.
struct Package {
    /// Its name and version.
    name: String,
    /// Where its sources are on this machine.
    folder: PathBuf,
}

fn packages(toolchain: &Toolchain, manifest: &Path) -> Result<Vec<Package>> {
    #[derive(serde::Deserialize)]
    struct Metadata {
        packages: Vec<Described>,
    }
    #[derive(serde::Deserialize)]
    struct Described {
        name: String,
        version: String,
        source: Option<String>,
        manifest_path: PathBuf,
    }
    let mut command = toolchain.cargo();
    command
        .args([
            "metadata",
            "--locked",
            "--format-version",
            "1",
            "--filter-platform",
            TARGET,
        ])
        .arg("--manifest-path")
        .arg(manifest);
    let metadata: Metadata = serde_json::from_str(&command::capture(&mut command)?)
        .context("cannot read the output of `cargo metadata`")?;
    Ok(metadata
        .packages
        .into_iter()
        .filter(|package| package.source.is_some())
        .filter_map(|package| {
            Some(Package {
                name: format!("{}-{}", package.name, package.version),
                folder: package.manifest_path.parent()?.to_path_buf(),
            })
        })
        .collect())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))
}

/// Fails with the commands that would install what is missing.
fn missing<T>(what: &str) -> Result<T> {
    bail!("{what}\n\n{}", toolchain::HOW_TO_INSTALL)
}
