//! Chooses the eBPF object to embed: the committed one, or the one that `PYTOP_BPF_OBJECT` names,
//! by which a freshly built object is tested before it is committed.

use std::env;
use std::path::PathBuf;

fn main() {
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
}
