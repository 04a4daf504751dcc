//! Where things are in this repository.

use std::env;
use std::path::{Path, PathBuf};

/// The folder of the workspace's `Cargo.toml`.
pub(crate) fn root() -> &'static Path {
    // Set when this was compiled, which `cargo xtask` does again wherever the folder has moved.
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .unwrap_or(Path::new("."))
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
