//! Fetches real interpreters from Debian's archive for the tests and the demo.
//!
//! Each lies in a folder that `chroot` can enter, with its own C library, below `target/pythons`.
//! The machine's packages and the state of its apt are not touched, and root is not needed. What
//! is there already is not fetched again, so a second run works without a network.

mod apt;
mod mirror;
mod root;
mod table;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::command::{capture, find};
use crate::interpreters::{self, Index, Launch};
use apt::Source;
use table::INTERPRETERS;
pub(crate) use table::Marker;

/// Raised when what is fetched or how it is laid out changes, so that it is fetched anew.
const RECIPE: u32 = 1;

/// Fetch the Python interpreters that the tests need into target/pythons/.
#[derive(Args, Default)]
pub(crate) struct Pythons {
    /// The versions to fetch, such as 3.9 (default: those that the tests need).
    #[arg(value_name = "VERSION", value_parser = table::names())]
    pub(crate) versions: Vec<String>,
    /// Fetch them again, for newer packages.
    #[arg(long)]
    pub(crate) refresh: bool,
    /// The mirror of Debian to fetch from (default: `PYTOP_DEBIAN_MIRROR`, or the one that this
    /// machine's apt uses).
    #[arg(long, value_name = "URL")]
    pub(crate) mirror: Option<String>,
}

/// What is kept of a finished fetch, beside the root.
#[derive(Serialize, Deserialize)]
struct Stamp {
    recipe: String,
    version: String,
    packages: Vec<String>,
}

impl Pythons {
    pub(crate) fn run(self) -> Result<()> {
        let index = self.fetch()?;
        println!(
            "{:<8} {:<7} {:<9} HOW TO RUN",
            "VERSION", "MARKER", "ROOT FS"
        );
        for python in index.interpreters {
            let (megabytes, how) = (size(&python.root) / 1_000_000, python.how_to_run());
            let marker = python.marker.name();
            println!(
                "{:<8} {marker:<7} {:<9} {how}",
                python.version,
                format!("{megabytes} MB")
            );
        }
        Ok(())
    }

    /// Fetches what is missing and returns all that is there.
    pub(crate) fn fetch(&self) -> Result<Index> {
        let folder = interpreters::folder();
        fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        // Two tasks at once, such as a test run and a demo, must not unpack over each other.
        let lock = File::create(folder.join("lock")).context("cannot make a lock file")?;
        lock.lock().context("cannot lock target/pythons")?;

        let mut source = None;
        let mut found = Vec::new();
        for wanted in &INTERPRETERS {
            let here = folder.join(wanted.name);
            let asked = match self.versions.as_slice() {
                [] => wanted.needed_by_tests,
                names => names.iter().any(|name| name == wanted.name),
            };
            let mut stamp = Stamp::read(&here, wanted).filter(|_| !(asked && self.refresh));
            if asked && stamp.is_none() {
                let source = match &source {
                    Some(source) => source,
                    None => source.insert(find_source(&folder, self.mirror.as_deref())?),
                };
                eprintln!(
                    "fetching Python {} from Debian's {}",
                    wanted.name, wanted.suite
                );
                stamp = Some(fetch(wanted, source, &here)?);
            }
            if let Some(stamp) = stamp {
                found.push(described(wanted, &here, stamp));
            }
        }
        let index = Index {
            schema: 1,
            interpreters: found,
        };
        let text = serde_json::to_string_pretty(&index)? + "\n";
        let path = interpreters::path();
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(index)
    }
}

impl Stamp {
    /// The stamp of a complete interpreter that was made by the present recipe.
    fn read(folder: &Path, wanted: &table::Interpreter) -> Option<Self> {
        let bytes = fs::read(folder.join("stamp.json")).ok()?;
        let stamp = serde_json::from_slice::<Self>(&bytes).ok()?;
        (stamp.recipe == recipe(wanted) && executable(folder, wanted).exists()).then_some(stamp)
    }
}

fn recipe(wanted: &table::Interpreter) -> String {
    let architecture = std::env::consts::ARCH;
    format!(
        "{RECIPE}: {architecture} {} {}",
        wanted.suite,
        wanted.packages.join(" ")
    )
}

fn executable(folder: &Path, wanted: &table::Interpreter) -> PathBuf {
    folder.join(format!("root/usr/bin/python{}", wanted.name))
}

/// Where to fetch from on this machine.
fn find_source(folder: &Path, mirror: Option<&str>) -> Result<Source> {
    for program in ["apt-get", "apt-config", "dpkg", "dpkg-deb", "tar"] {
        if find(program).is_none() {
            bail!(
                "the test interpreters are Debian packages, and `{program}` is not installed: \
                 run this on Debian or Ubuntu"
            );
        }
    }
    let architecture = capture(Command::new("dpkg").arg("--print-architecture"))?;
    let architecture = architecture.trim().to_owned();
    if !["amd64", "arm64"].contains(&architecture.as_str()) {
        bail!("pytop counts on x86-64 and aarch64 only, and this is {architecture}");
    }
    Ok(Source {
        mirror: mirror::address(mirror)?,
        keyring: mirror::keyring(folder)?,
        architecture,
    })
}

/// Fetches an interpreter into `folder`, which is there when and only when it is complete.
fn fetch(wanted: &table::Interpreter, source: &Source, folder: &Path) -> Result<Stamp> {
    let partial = folder.with_file_name(format!("{}.partial", wanted.name));
    remove(&partial)?;
    let packages = apt::fetch(&partial.join("apt"), source, wanted.suite, wanted.packages)?;
    let root = partial.join("root");
    root::unpack(&root, &packages)?;
    if wanted.runs_directly {
        root::link_libraries(&root, &partial.join("lib"))?;
    }
    let stamp = Stamp {
        recipe: recipe(wanted),
        version: try_out(&root, &executable(&partial, wanted))?,
        packages: packages
            .iter()
            .filter_map(|path| package_name(path))
            .collect(),
    };
    remove(&partial.join("apt"))?;
    fs::write(
        partial.join("stamp.json"),
        serde_json::to_string_pretty(&stamp)?,
    )
    .with_context(|| format!("cannot write into {}", partial.display()))?;
    remove(folder)?;
    fs::rename(&partial, folder).with_context(|| format!("cannot rename {}", partial.display()))?;
    Ok(stamp)
}

/// Runs the interpreter once, and returns its version.
///
/// This leaves the compiled modules of the standard library beside their sources, now and as this
/// user: root would leave files that `cargo clean` cannot remove.
fn try_out(root: &Path, executable: &Path) -> Result<String> {
    const IMPORT: &str = "import argparse, asyncio, collections, concurrent.futures, contextlib, \
        ctypes, dataclasses, functools, gc, importlib, inspect, itertools, json, logging, os, \
        random, re, select, signal, site, socket, string, subprocess, sys, tempfile, threading, \
        time, types, typing, unittest, weakref\n\
        print('%d.%d.%d' % sys.version_info[:3])";
    let version = capture(root::through_loader(root, executable)?.args(["-c", IMPORT]))
        .with_context(|| format!("{} does not run", executable.display()))?;
    Ok(version.trim().to_owned())
}

/// `libc6 2.31-13` from `…/libc6_2.31-13_amd64.deb`.
fn package_name(path: &Path) -> Option<String> {
    let stem = path.file_stem()?.to_str()?;
    let mut parts = stem.split('_');
    let (name, version) = (parts.next()?, parts.next()?);
    Some(format!("{name} {}", version.replace("%3a", ":")))
}

fn described(
    wanted: &table::Interpreter,
    folder: &Path,
    stamp: Stamp,
) -> interpreters::Interpreter {
    let text = |path: &Path| path.to_string_lossy().into_owned();
    // The roots hold compiled modules of what is imported often; see `try_out` for the others.
    let lasting = ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned());
    let root = folder.join("root");
    let executable = executable(folder, wanted);
    let chroot = Launch {
        command: vec![
            "/usr/sbin/chroot".into(),
            text(&root),
            format!("/usr/bin/python{}", wanted.name),
        ],
        environment: BTreeMap::from([lasting.clone()]),
    };
    let direct = wanted.runs_directly.then(|| Launch {
        command: vec![text(&executable)],
        environment: BTreeMap::from([
            lasting,
            ("PYTHONHOME".into(), text(&root.join("usr"))),
            ("LD_LIBRARY_PATH".into(), text(&folder.join("lib"))),
        ]),
    });
    interpreters::Interpreter {
        name: wanted.name.to_owned(),
        version: stamp.version,
        marker: wanted.marker,
        root,
        executable,
        chroot,
        direct,
        packages: stamp.packages,
    }
}

fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

/// The bytes of the files below a folder; 0 for what cannot be read.
fn size(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .filter_map(|entry| {
            let file = entry.metadata().ok()?;
            Some(if file.is_dir() {
                size(&entry.path())
            } else {
                file.len()
            })
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_is_named_by_its_file() {
        for (file, name) in [
            (
                "/c/libc6_2.31-13+deb11u11_amd64.deb",
                Some("libc6 2.31-13+deb11u11"),
            ),
            (
                "/c/libcrypt1_1%3a4.4.18-4_amd64.deb",
                Some("libcrypt1 1:4.4.18-4"),
            ),
            ("/c/odd.deb", None),
        ] {
            assert_eq!(package_name(Path::new(file)).as_deref(), name);
        }
    }
}
