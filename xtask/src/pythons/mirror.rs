//! Where this machine gets Debian's packages from, and the keys that prove them Debian's.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::command::{capture, run};

/// An address of Debian's archive, as it stands in a line of `sources.list`.
///
/// It is the one that this machine's apt uses. On a machine of another distribution it is the one
/// that python-apt has on file for Debian (`/usr/share/python-apt/templates/Debian.info`, there on
/// every Ubuntu that can add a repository).
pub(super) fn address(given: Option<&str>) -> Result<String> {
    if let Some(given) = given
        .map(str::to_owned)
        .or_else(|| env::var("PYTOP_DEBIAN_MIRROR").ok())
    {
        return Ok(given);
    }
    let fields = "$(SITE) $(COMPONENT) $(LABEL)";
    let targets = capture(Command::new("apt-get").args([
        "indextargets",
        "--format",
        fields,
        "Identifier: Packages",
    ]))?;
    let template = Path::new("/usr/share/python-apt/templates/Debian.info");
    from_index_targets(&targets)
        .or_else(|| from_template(&fs::read_to_string(template).ok()?))
        .context(
            "this machine's apt knows no mirror of Debian: name one in PYTOP_DEBIAN_MIRROR, as the \
             address would stand in a Debian machine's sources.list",
        )
}

/// The first site that holds Debian's own `main`.
///
/// apt knows the label of a site whose index it has fetched. One that was never updated is judged
/// by its address.
fn from_index_targets(targets: &str) -> Option<String> {
    targets.lines().find_map(|line| {
        let mut fields = line.splitn(3, ' ');
        let (site, component) = (fields.next()?, fields.next()?);
        let label = fields.next().unwrap_or("");
        let of_debian = match label {
            "" => site.contains("debian") && !site.contains("security"),
            _ => label == "Debian",
        };
        (of_debian && component == "main").then(|| site.to_owned())
    })
}

/// The `BaseURI` of the first suite that has one.
fn from_template(template: &str) -> Option<String> {
    template
        .lines()
        .find_map(|line| line.strip_prefix("BaseURI:"))
        .map(|address| address.trim().to_owned())
}

/// Debian's keyring: this machine's, or one from this distribution's own package of it, unpacked
/// below `folder`.
pub(super) fn keyring(folder: &Path) -> Result<PathBuf> {
    const PACKAGE: &str = "debian-archive-keyring";
    let in_root = |root: &Path| {
        ["gpg", "pgp"]
            .map(|end| {
                root.join("usr/share/keyrings")
                    .join(format!("{PACKAGE}.{end}"))
            })
            .into_iter()
            .find(|path| path.exists())
    };
    let unpacked = folder.join("keyring");
    if let Some(path) = in_root(Path::new("/")).or_else(|| in_root(&unpacked)) {
        return Ok(path);
    }
    fs::create_dir_all(&unpacked).with_context(|| format!("cannot make {}", unpacked.display()))?;
    // The package is checked with the keys of this distribution.
    capture(
        Command::new("apt-get")
            .args(["download", PACKAGE])
            .current_dir(&unpacked),
    )
    .with_context(|| {
        format!("Debian's packages cannot be checked without its keys: install {PACKAGE}")
    })?;
    for entry in fs::read_dir(&unpacked)?.flatten() {
        if entry.path().extension().is_some_and(|end| end == "deb") {
            run(Command::new("dpkg-deb")
                .arg("-x")
                .arg(entry.path())
                .arg(&unpacked))?;
        }
    }
    match in_root(&unpacked) {
        Some(path) => Ok(path),
        None => bail!("the package {PACKAGE} holds no keyring where one was expected"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_site_of_debians_main_is_found() {
        for (targets, site) in [
            // A Debian machine, the security suite first.
            (
                "http://a.example/debian-security main Debian-Security\n\
                 http://b.example/debian main Debian\n",
                Some("http://b.example/debian"),
            ),
            // Never updated: no labels.
            (
                "http://a.example/debian-security main \nhttp://b.example/debian main \n",
                Some("http://b.example/debian"),
            ),
            (
                "http://a.example/debian main",
                Some("http://a.example/debian"),
            ),
            // Someone else's packages for Debian.
            (
                "https://c.example/linux/debian stable Docker\nhttps://d.example/debian main D CE\n",
                None,
            ),
            ("http://e.example/ubuntu main Ubuntu\n", None),
            (
                "mirror+file:/etc/apt/m.list main Debian\n",
                Some("mirror+file:/etc/apt/m.list"),
            ),
            ("", None),
        ] {
            assert_eq!(from_index_targets(targets).as_deref(), site, "{targets}");
        }
    }

    #[test]
    fn the_templates_first_address_is_taken() {
        let template = "X-Exclude-Suites: buzz\n\nSuite: sid\nBaseURI: https://a.example/debian/\n\
                        Suite: trixie\nBaseURI: https://b.example/debian/\n";
        assert_eq!(
            from_template(template).as_deref(),
            Some("https://a.example/debian/")
        );
    }
}
