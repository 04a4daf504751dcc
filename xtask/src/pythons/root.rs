//! Unpacking packages into a folder that `chroot` can run a program in.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::command::not_started;

/// Unpacks `packages` into `root`, laid out with `/bin`, `/sbin` and `/lib*` as links into `/usr`:
/// newer packages expect them there, older ones do not mind.
pub(super) fn unpack(root: &Path, packages: &[PathBuf]) -> Result<()> {
    let make = |path: PathBuf| {
        fs::create_dir_all(&path).with_context(|| format!("cannot make {}", path.display()))
    };
    for name in ["bin", "sbin", "lib", "lib64"] {
        make(root.join("usr").join(name))?;
        let link = root.join(name);
        symlink(format!("usr/{name}"), &link)
            .with_context(|| format!("cannot make the link {}", link.display()))?;
    }
    for name in ["proc", "sys", "dev", "tmp"] {
        make(root.join(name))?;
    }
    for package in packages {
        unpack_one(root, package)
            .with_context(|| format!("cannot unpack {}", package.display()))?;
    }
    Ok(())
}

/// Makes the absolute links in a folder of `root` relative, so that they lead to the same file for a
/// program that runs outside the root.
pub(super) fn relink(root: &Path, folder: &str) -> Result<()> {
    let up = "../".repeat(Path::new(folder).components().count());
    let path = root.join(folder);
    for entry in fs::read_dir(&path)
        .with_context(|| format!("cannot list {}", path.display()))?
        .flatten()
    {
        let Ok(target) = fs::read_link(entry.path()) else {
            continue;
        };
        if let Ok(below_root) = target.strip_prefix("/") {
            fs::remove_file(entry.path())
                .and_then(|()| symlink(Path::new(&up).join(below_root), entry.path()))
                .with_context(|| format!("cannot replace the link {}", entry.path().display()))?;
        }
    }
    Ok(())
}

/// `dpkg-deb --extract` would put a folder where the root has a link.
fn unpack_one(root: &Path, package: &Path) -> Result<()> {
    let mut reader = Command::new("dpkg-deb");
    reader
        .arg("--fsys-tarfile")
        .arg(package)
        .stdout(Stdio::piped());
    let mut reading = reader
        .spawn()
        .map_err(|error| not_started(&reader, &error))?;
    let archive = reading.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let mut writer = Command::new("tar");
    writer
        .args([
            "--extract",
            "--keep-directory-symlink",
            "--no-same-owner",
            "--directory",
        ])
        .arg(root)
        .stdin(archive);
    let writing = writer
        .status()
        .map_err(|error| not_started(&writer, &error));
    let reading = reading.wait().context("cannot wait for dpkg-deb")?;
    let writing = writing?;
    if !reading.success() || !writing.success() {
        bail!("dpkg-deb: {reading}; tar: {writing}");
    }
    Ok(())
}

/// The folder below `root` in which this architecture's shared libraries are.
fn libraries() -> String {
    format!("usr/lib/{}-linux-gnu", std::env::consts::ARCH)
}

/// A command that runs `executable` of `root` without chroot, and so without root, by the root's
/// own loader and libraries. The kernel takes such a process for one of the loader's, so this is
/// for preparation and not for what is to be counted.
pub(super) fn through_loader(root: &Path, executable: &Path) -> Result<Command> {
    let libraries = root.join(libraries());
    let loader = fs::read_dir(&libraries)
        .with_context(|| format!("cannot list {}", libraries.display()))?
        .flatten()
        .find(|entry| entry.file_name().to_string_lossy().starts_with("ld-linux-"))
        .with_context(|| format!("{} holds no program loader", libraries.display()))?
        .path();
    let mut command = Command::new(loader);
    command
        .arg("--library-path")
        .arg(&libraries)
        .arg(executable)
        .env("PYTHONHOME", root.join("usr"));
    for variable in [
        "PYTHONDONTWRITEBYTECODE",
        "PYTHONPATH",
        "PYTHONPYCACHEPREFIX",
    ] {
        command.env_remove(variable);
    }
    Ok(command)
}

/// Fills `folder`, which is beside `root`, with links to those of its libraries that another
/// distribution may lack, so that the interpreter starts there without chroot.
pub(super) fn link_libraries(root: &Path, folder: &Path) -> Result<()> {
    const LIBRARIES: [&str; 5] = [
        "libexpat.so.",
        "libz.so.",
        "libffi.so.",
        "libssl.so.",
        "libcrypto.so.",
    ];
    let name = root.file_name().context("the root has no name")?;
    let relative = Path::new("..").join(name).join(libraries());
    let libraries = root.join(libraries());
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for entry in fs::read_dir(&libraries)
        .with_context(|| format!("cannot list {}", libraries.display()))?
        .flatten()
    {
        let name = entry.file_name();
        if LIBRARIES
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
        {
            symlink(relative.join(&name), folder.join(&name))
                .with_context(|| format!("cannot fill {}", folder.display()))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absolute_links_stay_within_the_root() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("usr/lib/python3.9");
        fs::create_dir_all(&folder).unwrap();
        fs::create_dir(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/site.py"), "site").unwrap();
        fs::write(folder.join("os.py"), "os").unwrap();
        symlink("/etc/site.py", folder.join("site.py")).unwrap();
        symlink("os.py", folder.join("path.py")).unwrap();
        relink(root.path(), "usr/lib/python3.9").unwrap();
        assert_eq!(fs::read_to_string(folder.join("site.py")).unwrap(), "site");
        assert_eq!(
            fs::read_link(folder.join("path.py")).unwrap(),
            Path::new("os.py")
        );
    }
}
