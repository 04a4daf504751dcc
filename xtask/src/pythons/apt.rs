//! An apt that shares nothing with the machine's own: neither lists, cache, sources nor hooks.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::capture;

/// Where packages come from.
pub(super) struct Source {
    /// The mirror's address, as in `sources.list`.
    pub(super) mirror: String,
    /// Debian's keyring.
    pub(super) keyring: PathBuf,
    /// Debian's name of this machine's architecture.
    pub(super) architecture: String,
}

/// Fetches packages of a suite, and all that they depend on, into `folder`. Returns their files in
/// the order of their names.
pub(super) fn fetch(
    folder: &Path,
    source: &Source,
    suite: &str,
    packages: &[&str],
) -> Result<Vec<PathBuf>> {
    let archives = folder.join("cache/archives");
    for needed in [archives.join("partial"), folder.join("lists/partial")] {
        fs::create_dir_all(&needed).with_context(|| format!("cannot make {}", needed.display()))?;
    }
    let write = |name: &str, content: &str| {
        fs::write(folder.join(name), content)
            .with_context(|| format!("cannot write {}", folder.join(name).display()))
    };
    write(
        "sources.list",
        &format!("deb {} {suite} main\n", source.mirror),
    )?;
    write("status", &installed(&source.architecture))?;
    let settings = capture(Command::new("apt-config").arg("dump"))?;
    write("apt.conf", &configuration(folder, source, &settings))?;

    let apt = || {
        let mut command = Command::new("apt-get");
        command
            .env("APT_CONFIG", folder.join("apt.conf"))
            .env("LC_ALL", "C");
        command
    };
    capture(apt().arg("update").arg("--error-on=any").arg("-qq"))
        .with_context(|| format!("cannot read Debian's {suite} at {}", source.mirror))?;
    capture(
        apt()
            .args(["install", "-qq", "--yes", "--download-only"])
            .args(packages),
    )
    .with_context(|| format!("cannot fetch {} of Debian's {suite}", packages.join(", ")))?;

    let mut files = fs::read_dir(&archives)
        .with_context(|| format!("cannot list {}", archives.display()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "deb"))
        .collect::<Vec<_>>();
    files.sort();
    if files.is_empty() {
        bail!("apt-get fetched no packages into {}", archives.display());
    }
    Ok(files)
}

/// The content of apt's configuration file.
///
/// Of the machine's settings only those of `Acquire` are kept, such as a proxy: hooks that run after
/// an update would reach into the machine's own state.
fn configuration(folder: &Path, source: &Source, settings: &str) -> String {
    let mut text = String::new();
    for line in settings
        .lines()
        .filter(|line| line.starts_with("Acquire::"))
    {
        let of_lists = ["IndexTargets", "Changelogs", "Languages"];
        if !of_lists
            .iter()
            .any(|part| line["Acquire::".len()..].starts_with(part))
        {
            let _ = writeln!(text, "{line}");
        }
    }
    let mut set = |key: &str, value: &str| {
        let _ = writeln!(text, "{key} \"{value}\";");
    };
    for (key, name) in [
        ("Dir::State", ""),
        ("Dir::State::lists", "lists"),
        ("Dir::State::status", "status"),
        ("Dir::Cache", "cache"),
        ("Dir::Etc::sourcelist", "sources.list"),
    ] {
        set(key, &folder.join(name).to_string_lossy());
    }
    for key in [
        "sourceparts",
        "parts",
        "main",
        "preferences",
        "preferencesparts",
        "trustedparts",
    ] {
        set(&format!("Dir::Etc::{key}"), "/dev/null");
    }
    set("Dir::Etc::trusted", &source.keyring.to_string_lossy());
    set("APT::Architecture", &source.architecture);
    set("APT::Architectures::", &source.architecture);
    set("APT::Install-Recommends", "false");
    // The user that apt would become to fetch files may not be allowed into this folder.
    set("APT::Sandbox::User", "root");
    set("Acquire::Languages", "none");
    set("Debug::NoLocking", "true");
    text
}

/// The packages that count as installed: an interpreter needs no dialogues with its administrator,
/// and theirs would bring Perl.
fn installed(architecture: &str) -> String {
    format!(
        "Package: debconf\nStatus: install ok installed\nArchitecture: {architecture}\n\
         Multi-Arch: foreign\nVersion: 999\nProvides: debconf-2.0\nMaintainer: nobody\n\
         Description: stands in for the real one\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_proxy_is_kept_and_its_hooks_are_not() {
        let source = Source {
            mirror: "http://a.example/debian".into(),
            keyring: "/keys.gpg".into(),
            architecture: "amd64".into(),
        };
        let settings = "Acquire::http::Proxy \"http://p.example:3128\";\n\
                        Acquire::IndexTargets::deb::Packages \"\";\n\
                        APT::Update::Post-Invoke:: \"rm -rf /var/cache/apt\";\n";
        let text = configuration(Path::new("/x y"), &source, settings);
        assert!(
            text.starts_with("Acquire::http::Proxy \"http://p.example:3128\";\nDir::"),
            "{text}"
        );
        assert!(
            text.contains("Dir::State::lists \"/x y/lists\";\n"),
            "{text}"
        );
        assert!(
            !text.contains("Invoke") && !text.contains("IndexTargets"),
            "{text}"
        );
    }
}
