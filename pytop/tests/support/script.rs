//! A Python script, placed where the interpreter finds it.

use std::fs;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::interpreters::{Form, Interpreter};

/// A script in a folder of its own, which is removed with it.
pub(crate) struct Script {
    folder: TempDir,
    root: PathBuf,
    text: String,
    inside: String,
}

impl Script {
    /// A script of `pytop/tests/scripts`.
    pub(crate) fn named(name: &str, interpreter: &Interpreter, form: Form) -> Self {
        let path = Self::source(name);
        let text = fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", path.display()));
        let (_, name) = name.rsplit_once('/').unwrap_or(("", name));
        Self::of_text(name, text, interpreter, form)
    }

    /// A script of a folder of `pytop/tests/scripts`, with all that is beside it.
    pub(crate) fn of_folder(
        folder: &str,
        name: &str,
        interpreter: &Interpreter,
        form: Form,
    ) -> Self {
        let script = Self::named(&format!("{folder}/{name}"), interpreter, form);
        let folder = Self::source(folder);
        for file in fs::read_dir(&folder).expect("a folder of scripts") {
            let path = file.expect("a folder that stays").path();
            if path.extension().is_some_and(|extension| extension == "py") {
                let name = path.file_name().expect("a file has a name");
                fs::copy(&path, script.folder().join(name)).expect("a script can be copied");
            }
        }
        script
    }

    /// A script that a test has written.
    pub(crate) fn of_text(name: &str, text: String, interpreter: &Interpreter, form: Form) -> Self {
        let root = match form {
            Form::Chroot => interpreter.root.clone(),
            Form::Direct => PathBuf::from("/"),
        };
        let folder = tempfile::Builder::new()
            .prefix("pytop-test-")
            .tempdir_in(root.join("tmp"))
            .expect("a temporary folder can be made");
        let path = folder.path().join(name);
        fs::write(&path, &text).expect("a script can be written");
        let inside = Self::seen_from(&root, &path);
        Self {
            folder,
            root,
            text,
            inside,
        }
    }

    fn seen_from(root: &Path, path: &Path) -> String {
        let inside = path
            .strip_prefix(root)
            .expect("a script is within its root");
        format!("/{}", inside.to_str().expect("paths of tests are UTF-8"))
    }

    /// Places another script of `pytop/tests/scripts` beside it, and returns its path as processes
    /// see it.
    pub(crate) fn add(&self, name: &str) -> String {
        let path = self.folder.path().join(name);
        fs::copy(Self::source(name), &path).expect("a script can be copied");
        Self::seen_from(&self.root, &path)
    }

    fn source(name: &str) -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("tests/scripts")
            .join(name)
    }

    /// Its path as the process sees it: the filename of its code objects.
    pub(crate) fn filename(&self) -> &str {
        &self.inside
    }

    /// Its folder, as seen from here.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Its folder, as the process sees it.
    pub(crate) fn folder_inside(&self) -> String {
        Self::seen_from(&self.root, self.folder.path())
    }

    /// The number of the one line that contains `text`, counted from 1.
    pub(crate) fn line(&self, text: &str) -> u32 {
        let mut lines = self
            .text
            .lines()
            .zip(1_u32..)
            .filter(|(line, _)| line.contains(text));
        match (lines.next(), lines.next()) {
            (Some((_, number)), None) => number,
            (None, _) => panic!("{} has no line with {text:?}", self.inside),
            _ => panic!("{} has several lines with {text:?}", self.inside),
        }
    }
}
