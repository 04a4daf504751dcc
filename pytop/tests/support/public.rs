//! What users that are not root may run.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::install::install_copy;
use super::outcome::Outcome;

const NOBODY: &str = "65534";

/// Copies of files that everyone may run.
pub(crate) struct Public(TempDir);

impl Public {
    pub(crate) fn new() -> Self {
        let folder = tempfile::Builder::new()
            .prefix("pytop-test-")
            .permissions(Permissions::from_mode(0o755))
            .tempdir()
            .expect("a temporary folder can be made");
        Self(folder)
    }

    pub(crate) fn copy(&self, file: &Path, mode: u32) -> PathBuf {
        let copy = self
            .0
            .path()
            .join(file.file_name().expect("files have names"));
        install_copy(&copy, file, mode);
        copy
    }

    /// The command that runs pytop, copied here, as a user who has these capabilities and no others.
    pub(crate) fn command(&self, capabilities: &[&str]) -> Command {
        let pytop = self.0.path().join("pytop");
        if !pytop.exists() {
            self.copy(Path::new(env!("CARGO_BIN_EXE_pytop")), 0o755);
        }
        let mut set = "-all".to_owned();
        for capability in capabilities {
            let name = capability.strip_prefix("CAP_").expect("its full name");
            set.push_str(",+");
            set.push_str(&name.to_lowercase());
        }
        let mut command = Command::new("setpriv");
        command
            .args(["--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
            .args(["--inh-caps", &set, "--ambient-caps", &set])
            .args(["--bounding-set", &set])
            .arg(pytop);
        command
    }

    /// Runs pytop as such a user.
    pub(crate) fn pytop(&self, capabilities: &[&str], arguments: &[&str]) -> Outcome {
        let mut command = self.command(capabilities);
        command.args(arguments);
        Outcome::of(command)
    }
}
