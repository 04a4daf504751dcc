//! Installs pytop with its manual page and completions.

use std::fs::{self, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Args;
use nix::unistd::{AccessFlags, eaccess};

use crate::command::build_pytop;
use crate::workspace;

/// Build pytop, and install it with its manual page and the completions for bash, zsh and fish.
#[derive(Args)]
pub(crate) struct Install {
    /// The folder that gets bin/ and share/.
    #[arg(
        long,
        visible_alias = "root",
        value_name = "FOLDER",
        default_value = "/usr/local"
    )]
    prefix: PathBuf,
}

/// Files below the assets, and where they go below the prefix.
const DOCUMENTS: [(&str, &str); 4] = [
    ("man/pytop.1", "share/man/man1/pytop.1"),
    (
        "completions/pytop.bash",
        "share/bash-completion/completions/pytop",
    ),
    ("completions/_pytop", "share/zsh/site-functions/_pytop"),
    (
        "completions/pytop.fish",
        "share/fish/vendor_completions.d/pytop.fish",
    ),
];
const PROGRAM: &str = "bin/pytop";

impl Install {
    pub(crate) fn run(self) -> Result<()> {
        let prefix = std::path::absolute(&self.prefix)
            .with_context(|| format!("cannot use {}", self.prefix.display()))?;
        // Nobody wants to wait for a build first.
        check(&prefix)?;
        let program = build_pytop()?;
        for path in install(&program, &workspace::assets(), &prefix)? {
            println!("installed {}", path.display());
        }
        Ok(())
    }
}

/// Fails unless everything can be written.
fn check(prefix: &Path) -> Result<()> {
    for (_, to) in files(Path::new(""), Path::new("")) {
        let folder = prefix.join(to);
        let existing = folder.ancestors().skip(1).find(|folder| folder.exists());
        let existing = existing.unwrap_or(Path::new("/"));
        if !existing.is_dir() {
            bail!(
                "cannot install into {}: it is not a folder",
                existing.display()
            );
        }
        if eaccess(existing, AccessFlags::W_OK | AccessFlags::X_OK).is_err() {
            bail!(
                "may not write to {}: run this task as root, or choose a folder of your own \
                 (cargo xtask install --prefix ~/.local)",
                existing.display()
            );
        }
    }
    Ok(())
}

/// Installs the program and what belongs to it, and returns where everything is.
fn install(program: &Path, assets: &Path, prefix: &Path) -> Result<Vec<PathBuf>> {
    let mut installed = Vec::new();
    for (from, to) in files(program, assets) {
        let to = prefix.join(to);
        let mode = if from == program { 0o755 } else { 0o644 };
        place(&from, &to, mode).with_context(|| format!("cannot install {}", to.display()))?;
        installed.push(to);
    }
    Ok(installed)
}

/// Where each file comes from, and where it goes below the prefix.
fn files(program: &Path, assets: &Path) -> Vec<(PathBuf, &'static str)> {
    let documents = DOCUMENTS.map(|(from, to)| (assets.join(from), to));
    [(program.to_owned(), PROGRAM)]
        .into_iter()
        .chain(documents)
        .collect()
}

/// Copies a file so that it is there whole or not at all, and over one that is being run.
fn place(from: &Path, to: &Path, mode: u32) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut draft = to.as_os_str().to_owned();
    draft.push(format!(".{}.new", std::process::id()));
    let draft = PathBuf::from(draft);
    let placed = fs::copy(from, &draft)
        .and_then(|_| fs::set_permissions(&draft, Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&draft, to));
    if placed.is_err() {
        let _ = fs::remove_file(&draft);
    }
    placed
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path)
            .expect("it is there")
            .permissions()
            .mode()
            & 0o777
    }

    #[test]
    fn everything_is_put_in_its_place_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let prefix = folder.path().join("a/prefix");
        check(&prefix).unwrap();
        let program = folder.path().join("program");
        for answer in ["first", "second"] {
            fs::write(&program, format!("#!/bin/sh\necho {answer}\n")).unwrap();
            let installed = install(&program, &workspace::assets(), &prefix).unwrap();
            let [program, page, ..] = &installed[..] else {
                panic!("{installed:?}");
            };
            assert_eq!(program, &prefix.join("bin/pytop"));
            assert_eq!((mode(program), mode(page)), (0o755, 0o644));
            let output = Command::new("sh").arg(program).output().unwrap();
            assert_eq!(output.stdout, format!("{answer}\n").as_bytes());
            let text = fs::read_to_string(page).unwrap();
            assert!(text.contains(".TH PYTOP 1"), "{page:?}");
            assert_eq!(installed.len(), 1 + DOCUMENTS.len());
            for path in &installed {
                let folder = fs::read_dir(path.parent().unwrap()).unwrap();
                assert_eq!(folder.count(), 1, "beside {path:?}");
            }
        }
    }

    #[test]
    fn a_folder_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        let error = check(&file).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("cannot install into {}: it is not a folder", file.display())
        );
    }

    /// On `/proc` nobody may write, not even root.
    #[test]
    fn a_folder_in_which_one_may_not_write_is_refused() {
        let error = check(Path::new("/proc/sys")).unwrap_err().to_string();
        assert!(error.starts_with("may not write to /proc/sys: "), "{error}");
        assert!(error.contains("--prefix ~/.local"), "{error}");
    }
}
