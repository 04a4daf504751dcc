//! Interpreters that are likely to be started: those that a command line would find.
//!
//! A probe that is placed when the first process of an interpreter appears misses what that process
//! does before. For the interpreters in the folders of executables it can be in place already:
//!
//! ```text
//! /usr/local/bin, /usr/bin, PATH      python, python3, python3.9, python3.13t
//! each folder's ../lib, ../lib64,     libpython3.9.so.1.0, of which such an executable may be
//! ../lib/x86_64-linux-gnu             but a shell
//! ```
//!
//! What is in a file is told by the file; names only say where to look, so that a name too many
//! costs a look at a file, and one too few a few calls of one process.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// Where executables are, whatever the search path says.
const FOLDERS: [&str; 2] = ["/usr/bin", "/usr/local/bin"];

/// Files that are looked at, at most.
const MOST_FILES: usize = 64;

/// Calls of [`Installed::files`] for which a listing of the folders is good.
const LISTING_LASTS: u32 = 30;

/// The interpreters in the folders of executables.
#[derive(Debug)]
pub struct Installed {
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
    listing_lasts: u32,
}

impl Installed {
    /// Those in the folders of a search path such as that of `PATH`, and in the usual ones.
    #[must_use]
    pub fn on(search_path: &OsStr) -> Self {
        let folders = std::env::split_paths(search_path).chain(FOLDERS.map(PathBuf::from));
        Self::within(folders)
    }

    fn within(folders: impl Iterator<Item = PathBuf>) -> Self {
        let mut distinct = Vec::new();
        for folder in folders.filter(|folder| folder.is_absolute()) {
            if let Ok(folder) = folder.canonicalize()
                && !distinct.contains(&folder)
            {
                distinct.push(folder);
            }
        }
        Self {
            folders: distinct,
            files: Vec::new(),
            listing_lasts: 0,
        }
    }

    /// Files that may hold an interpreter, by the names that the kernel has for them. To be called
    /// about every second: it lists the folders again when half a minute has passed.
    pub fn files(&mut self) -> &[PathBuf] {
        if let Some(left) = self.listing_lasts.checked_sub(1) {
            self.listing_lasts = left;
        } else {
            self.files = self.list();
            self.listing_lasts = LISTING_LASTS;
        }
        &self.files
    }

    fn list(&self) -> Vec<PathBuf> {
        let mut files = BTreeSet::new();
        for folder in &self.folders {
            let executables = named(folder, is_executable_name);
            // Libraries that are nobody's would be looked for in vain in most folders.
            let homes: BTreeSet<PathBuf> = executables
                .iter()
                .filter_map(|file| Some(file.parent()?.parent()?.to_owned()))
                .collect();
            files.extend(executables);
            for home in homes {
                let lib = home.join("lib");
                let multiarch = format!("{}-linux-gnu", std::env::consts::ARCH);
                for folder in [lib.join(multiarch), home.join("lib64"), lib] {
                    files.extend(named(&folder, is_library_name));
                }
            }
        }
        files.into_iter().take(MOST_FILES).collect()
    }
}

/// The files of a folder with such a name, by their own names: most are links to one another.
fn named(folder: &Path, is_wanted: fn(&[u8]) -> bool) -> Vec<PathBuf> {
    // A folder that is not there, or not for us, has none.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(|entry| is_wanted(entry.file_name().as_bytes()))
        .filter_map(|entry| entry.path().canonicalize().ok())
        .collect()
}

/// `python`, and `python` with a version: digits and points, and letters for the kind of build.
fn is_executable_name(name: &[u8]) -> bool {
    let Some(version) = name.strip_prefix(b"python") else {
        return false;
    };
    let is_number = |byte: &u8| byte.is_ascii_digit() || *byte == b'.';
    let kind = version.iter().skip_while(|byte| is_number(byte));
    version.first().is_none_or(is_number) && kind.into_iter().all(u8::is_ascii_alphabetic)
}

/// `libpython3.9.so.1.0`, and not `libpython3.9.a`.
fn is_library_name(name: &[u8]) -> bool {
    name.starts_with(b"libpython3") && name.windows(3).any(|part| part == b".so")
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn names_say_where_to_look() {
        for (name, expected) in [
            ("python", true),
            ("python3", true),
            ("python3.15", true),
            ("python3.6m", true),
            ("python3.13t", true),
            ("python3-config", false),
            ("python3.9-gdb.py", false),
            ("pythonpath.sh", false),
            ("ipython3", false),
            ("pytho", false),
        ] {
            assert_eq!(is_executable_name(name.as_bytes()), expected, "{name}");
        }
        for (name, expected) in [
            ("libpython3.9.so.1.0", true),
            ("libpython3.13t.so", true),
            ("libpython3.9.a", false),
            ("libpython2.7.so.1.0", false),
            ("libpyth", false),
        ] {
            assert_eq!(is_library_name(name.as_bytes()), expected, "{name}");
        }
    }

    #[test]
    fn links_lead_to_files_and_executables_to_libraries() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let root = folder.path().canonicalize().expect("it is there");
        let place = |name: &str| {
            let path = root.join(name);
            fs::create_dir_all(path.parent().expect("below the root")).expect("it is ours");
            path
        };
        for name in ["own/bin/python3.9", "own/lib/libpython3.9.so.1.0"] {
            fs::write(place(name), "").expect("it is ours");
        }
        for (name, target) in [
            ("own/bin/python3", "python3.9"),
            ("bin/python", "../own/bin/python3"),
            ("bin/python3.8", "missing"),
            ("other", "bin"),
        ] {
            symlink(target, place(name)).expect("it is ours");
        }
        fs::write(place("lib/libpython3.7.so.1.0"), "").expect("it is ours");
        let folders = ["bin", "other", "nowhere"].map(|name| root.join(name));
        let relative = PathBuf::from("bin");
        let mut installed = Installed::within(folders.into_iter().chain([relative]));
        assert_eq!(installed.folders, [root.join("bin")]);
        let files =
            ["own/bin/python3.9", "own/lib/libpython3.9.so.1.0"].map(|name| root.join(name));
        assert_eq!(installed.files(), files);
    }

    #[test]
    fn a_listing_is_made_again_after_a_while() {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        let mut installed = Installed::within([folder.path().to_owned()].into_iter());
        assert!(installed.files().is_empty());
        fs::write(folder.path().join("python3"), "").expect("it is ours");
        let calls = (0..=LISTING_LASTS).find(|_| !installed.files().is_empty());
        assert_eq!(calls, Some(LISTING_LASTS));
    }
}
