//! Chooses the eBPF object to embed: the committed one, or the one that `PYTOP_BPF_OBJECT` names,
//! by which a freshly built object is tested before it is committed. And makes a number of what pytop
//! knows of CPython, so that what one build has found in a file is not taken for what another would
//! find.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::{Path, PathBuf};

fn main() -> io::Result<()> {
    let knowledge = Path::new("src/cpython");
    println!("cargo::rerun-if-changed={}", knowledge.display());
    let mut number = DefaultHasher::new();
    hash(knowledge, &mut number)?;
    println!("cargo::rustc-env=PYTOP_ANALYSIS={:016x}", number.finish());

    println!("cargo::rerun-if-env-changed=PYTOP_BPF_OBJECT");
    let object = env::var_os("PYTOP_BPF_OBJECT").map_or_else(
        || {
            // Of this run, not of this script's compilation: checkouts can share a target folder.
            let package = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_default();
            PathBuf::from(package).join("../assets/pytop.bpf.o")
        },
        PathBuf::from,
    );
    println!("cargo::rerun-if-changed={}", object.display());
    println!("cargo::rustc-env=PYTOP_BPF_OBJECT={}", object.display());
    Ok(())
}

/// Hashes everything in a folder, in the order of the names.
fn hash(folder: &Path, number: &mut DefaultHasher) -> io::Result<()> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<_>>>()?;
    paths.sort();
    for path in paths {
        if path.is_dir() {
            hash(&path, number)?;
        } else {
            path.hash(number);
            fs::read(&path)?.hash(number);
        }
    }
    Ok(())
}
