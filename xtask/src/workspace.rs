//! Where things are in this repository.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    static ROOT: LazyLock<PathBuf> = LazyLock::new(|| {
        // Set by `cargo run`.
        let xtask = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
        let mut root = xtask.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        root.pop();
        root
    });
    &ROOT
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder),
        None => root().join("target"),
    }
}

/// The committed files that are no source code: the eBPF object, the demo's workload, the picture.
pub(crate) fn assets() -> PathBuf {
    root().join("assets")
}
