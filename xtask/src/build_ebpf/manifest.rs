//! What the committed object was made from, and with.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::toolchain::Versions;
use super::{read, write};

/// The files that go into the object; a folder stands for all files below it.
///
/// The workspace's own `Cargo.toml` is left out: of it, only the edition reaches the object, and
/// most of its changes have nothing to do with eBPF.
const SOURCES: [&str; 5] = [
    "pytop-ebpf/Cargo.toml",
    "pytop-ebpf/Cargo.lock",
    "pytop-ebpf/src",
    "pytop-common/Cargo.toml",
    "pytop-common/src",
];

/// The SHA-256 of each source file, by its path in the repository.
pub(super) type Sources = BTreeMap<String, String>;

/// The content of `assets/pytop.bpf.json`.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Manifest {
    object: Object,
    toolchain: Versions,
    sources: Sources,
}

#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Object {
    bytes: usize,
    sha256: String,
}

impl Object {
    fn new(object: &[u8]) -> Self {
        Self {
            bytes: object.len(),
            sha256: sha256(object),
        }
    }
}

impl Manifest {
    pub(super) fn new(sources: Sources, object: &[u8], toolchain: Versions) -> Self {
        Self {
            object: Object::new(object),
            toolchain,
            sources,
        }
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        serde_json::from_slice(&read(path)?)
            .with_context(|| format!("cannot understand {}", path.display()))
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let mut text = serde_json::to_string_pretty(self)?;
        text.push('\n');
        write(path, text.as_bytes())
    }

    /// Fails when the sources or the object are not those that this manifest was written for.
    pub(super) fn check(&self, sources: &Sources, object: &[u8]) -> Result<()> {
        let changed = changes(&self.sources, sources);
        if !changed.is_empty() {
            bail!(
                "assets/pytop.bpf.o is older than its sources:{changed}\n\
                 Run `cargo xtask build-ebpf` and commit what it writes to assets/."
            );
        }
        if Object::new(object) != self.object {
            bail!(
                "assets/pytop.bpf.o is not the object that assets/pytop.bpf.json describes.\n\
                 Run `cargo xtask build-ebpf` and commit what it writes to assets/."
            );
        }
        Ok(())
    }

    /// Compares this build with the committed one; the answer is a sentence for the user.
    pub(super) fn compare(&self, committed: &Self) -> Result<String> {
        if self.object == committed.object {
            return Ok("It is the committed object, byte for byte.".to_owned());
        }
        let changed = changes(&committed.sources, &self.sources);
        if !changed.is_empty() {
            return Ok(format!(
                "The committed object was made from other sources:{changed}"
            ));
        }
        if self.toolchain != committed.toolchain {
            return Ok(format!(
                "The committed object was made with another toolchain, and differs: {}.",
                committed.toolchain
            ));
        }
        bail!(
            "assets/pytop.bpf.o is not what its sources and this toolchain give: {} was built, {} \
             is committed",
            self.object.sha256,
            committed.object.sha256
        );
    }
}

/// The hashes of the files in the repository at `root` that go into the object.
pub(super) fn sources(root: &Path) -> Result<Sources> {
    let mut sources = Sources::new();
    for name in SOURCES {
        collect(root, name, &mut sources)?;
    }
    Ok(sources)
}

fn collect(root: &Path, name: &str, sources: &mut Sources) -> Result<()> {
    let path = root.join(name);
    if !path.is_dir() {
        sources.insert(name.to_owned(), sha256(&read(&path)?));
        return Ok(());
    }
    for entry in fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))? {
        let entry = entry.with_context(|| format!("cannot list {}", path.display()))?;
        let below =
            entry.file_name().into_string().ok().with_context(|| {
                format!("{} holds a file whose name is not UTF-8", path.display())
            })?;
        collect(root, &format!("{name}/{below}"), sources)?;
    }
    Ok(())
}

/// A line for each file that differs, or nothing.
fn changes(before: &Sources, now: &Sources) -> String {
    let files = before.keys().chain(now.keys()).collect::<BTreeSet<_>>();
    let mut lines = String::new();
    for file in files {
        let what = match (before.get(file), now.get(file)) {
            (Some(before), Some(now)) if before == now => continue,
            (Some(_), Some(_)) => "changed",
            (None, _) => "new",
            (_, None) => "gone",
        };
        let _ = write!(lines, "\n  {what}: {file}");
    }
    lines
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn versions(rustc: &str) -> Versions {
        Versions {
            rustc: rustc.into(),
            llvm: "22.1.8".into(),
            bpf_linker: "0.13.0".into(),
        }
    }

    /// A repository that holds nothing but the sources.
    fn repository() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for folder in ["pytop-ebpf/src/deep", "pytop-common/src"] {
            fs::create_dir_all(root.path().join(folder)).unwrap();
        }
        for file in [
            "pytop-ebpf/Cargo.toml",
            "pytop-ebpf/Cargo.lock",
            "pytop-ebpf/src/main.rs",
            "pytop-ebpf/src/deep/map.rs",
            "pytop-common/Cargo.toml",
            "pytop-common/src/lib.rs",
        ] {
            fs::write(root.path().join(file), file).unwrap();
        }
        root
    }

    #[test]
    fn every_change_of_a_source_is_found_and_named() {
        let root = repository();
        let before = sources(root.path()).unwrap();
        assert_eq!(before.len(), 6);
        let manifest = Manifest::new(before, b"object", versions("1"));
        manifest
            .check(&sources(root.path()).unwrap(), b"object")
            .unwrap();

        fs::write(root.path().join("pytop-ebpf/src/deep/map.rs"), "else").unwrap();
        fs::write(root.path().join("pytop-common/src/new.rs"), "").unwrap();
        fs::remove_file(root.path().join("pytop-ebpf/src/main.rs")).unwrap();
        let error = manifest
            .check(&sources(root.path()).unwrap(), b"object")
            .unwrap_err();
        let error = error.to_string();
        for line in [
            "\n  new: pytop-common/src/new.rs",
            "\n  changed: pytop-ebpf/src/deep/map.rs",
            "\n  gone: pytop-ebpf/src/main.rs",
        ] {
            assert!(error.contains(line), "{error}");
        }
    }

    #[test]
    fn an_object_that_is_not_the_manifests_is_found() {
        let root = repository();
        let sources = sources(root.path()).unwrap();
        let manifest = Manifest::new(sources.clone(), b"object", versions("1"));
        assert!(manifest.check(&sources, b"0bject").is_err());
    }

    #[test]
    fn only_the_same_toolchain_must_give_the_same_object() {
        let sources = sources(repository().path()).unwrap();
        let build = |object: &[u8], rustc| Manifest::new(sources.clone(), object, versions(rustc));
        let committed = build(b"object", "1");
        assert!(
            build(b"object", "2")
                .compare(&committed)
                .unwrap()
                .contains("byte for byte")
        );
        assert!(
            build(b"0bject", "2")
                .compare(&committed)
                .unwrap()
                .contains("another toolchain")
        );
        assert!(build(b"0bject", "1").compare(&committed).is_err());
    }

    #[test]
    fn the_hash_is_sha_256() {
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(b"abc"), expected);
    }
}
