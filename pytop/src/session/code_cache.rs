//! What was found in interpreters, kept from one run to the next.
//!
//! Finding where an interpreter without a marker can be counted takes some ten milliseconds, which
//! is long where twenty interpreters run. It depends on the file alone, so it is kept in the user's
//! cache folder, by the linker's identification of the file, one small file for each:
//!
//! ```text
//! ~/.cache/pytop/code-0a1b….json
//! {"pytop":"0.1.0","analysis":1,"length":6831704,"sum":"9f86d0…","found":"{…}"}
//! ```
//!
//! A probe in the wrong place would hurt a program, so nothing is taken on trust. The folder and the
//! file have to belong to the user, with no right to write for anyone else. The content has to have
//! its checksum and to be of this version. The interpreter has to have, at each site, the very
//! bytes that were there when it was examined. Whatever fails is ignored, and replaced.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{User, geteuid};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::attachments::File as InterpreterFile;
use crate::cpython::{ANALYSIS, CodeMethod};

/// Larger than any entry, in bytes.
const MAX_ENTRY: u64 = 64 * 1024;
/// Bytes of the interpreter that are compared at each site.
const SITE_BYTES: usize = 16;

/// The folder of the kept findings.
#[derive(Debug, Default)]
pub(super) struct CodeCache {
    folder: Option<PathBuf>,
}

/// What is in a file of the folder.
#[derive(Serialize, Deserialize)]
struct Entry {
    pytop: String,
    analysis: u32,
    /// Of the interpreter's file, in bytes.
    length: u64,
    /// SHA-256 of `found`.
    sum: String,
    /// A [`Finding`] in JSON.
    found: String,
}

#[derive(Serialize, Deserialize)]
struct Finding {
    method: CodeMethod,
    sites: Vec<Site>,
}

/// What the interpreter has where a probe is to be.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Site {
    file_offset: u64,
    bytes: Vec<u8>,
}

impl CodeCache {
    /// That of the user who runs this program, whoever's environment it is: `sudo` may leave the
    /// variables of somebody else.
    pub(super) fn of_user() -> Self {
        let named = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
        let named = named.filter(|folder| folder.is_absolute() && is_own_folder(folder));
        let folder = named.or_else(|| {
            let user = User::from_uid(geteuid()).ok()??;
            Some(user.dir.join(".cache"))
        });
        Self {
            folder: folder.map(|folder| folder.join("pytop")),
        }
    }

    /// What is known of an interpreter.
    pub(super) fn find(&self, interpreter: &InterpreterFile) -> Option<CodeMethod> {
        let path = self.path(interpreter)?;
        let text = read_own(&path).ok()?;
        let entry: Entry = serde_json::from_slice(&text).ok()?;
        let is_valid = entry.pytop == env!("CARGO_PKG_VERSION")
            && entry.analysis == ANALYSIS
            && entry.length == interpreter.file.metadata().ok()?.len()
            && entry.sum == sum(&entry.found);
        let finding: Finding = serde_json::from_str(is_valid.then_some(&entry.found)?).ok()?;
        (finding.sites == sites(&interpreter.file, &finding.method)?).then_some(finding.method)
    }

    /// Keeps what was found in an interpreter. A failure costs the next run some milliseconds.
    pub(super) fn keep(&self, interpreter: &InterpreterFile, method: &CodeMethod) {
        let _ = self.try_keep(interpreter, method);
    }

    fn try_keep(&self, interpreter: &InterpreterFile, method: &CodeMethod) -> Option<()> {
        let path = self.path(interpreter)?;
        let folder = path.parent()?;
        let found = serde_json::to_string(&Finding {
            method: method.clone(),
            sites: sites(&interpreter.file, method)?,
        });
        let found = found.ok()?;
        let entry = Entry {
            pytop: env!("CARGO_PKG_VERSION").to_owned(),
            analysis: ANALYSIS,
            length: interpreter.file.metadata().ok()?.len(),
            sum: sum(&found),
            found,
        };
        let mut text = serde_json::to_vec(&entry).ok()?;
        text.push(b'\n');
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).ok()?;
        is_own_folder(folder).then_some(())?;
        write_whole(&path, &text).ok()
    }

    fn path(&self, interpreter: &InterpreterFile) -> Option<PathBuf> {
        let build_id = interpreter.interpreter.build_id.as_ref()?;
        // Twenty bytes, unless somebody has chosen another style.
        if !(8..=64).contains(&build_id.len()) {
            return None;
        }
        let folder = self.folder.as_ref()?;
        Some(folder.join(format!("code-{}.json", hex(build_id))))
    }
}

/// The bytes at each probe of a method.
fn sites(file: &File, method: &CodeMethod) -> Option<Vec<Site>> {
    let probes = method.probes().ok()?;
    let offsets = probes.iter().map(|probe| probe.file_offset);
    let offsets = offsets.chain(method.executor_file_offset());
    offsets
        .map(|file_offset| {
            let mut bytes = vec![0; SITE_BYTES];
            file.read_exact_at(&mut bytes, file_offset).ok()?;
            Some(Site { file_offset, bytes })
        })
        .collect()
}

/// Reads a file that belongs to the user, and that nobody else can have written.
fn read_own(path: &Path) -> io::Result<Vec<u8>> {
    is_own_folder(path.parent().unwrap_or(path))
        .then_some(())
        .ok_or(io::ErrorKind::PermissionDenied)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || !is_own(&metadata) || metadata.len() > MAX_ENTRY {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    let mut text = Vec::new();
    file.take(MAX_ENTRY).read_to_end(&mut text)?;
    Ok(text)
}

/// Writes a file so that it is there whole or not at all, whoever else writes it meanwhile.
fn write_whole(path: &Path, text: &[u8]) -> io::Result<()> {
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let written = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .custom_flags(libc::O_NOFOLLOW)
        .open(&draft)
        .and_then(|mut file| file.write_all(text))
        .and_then(|()| fs::rename(&draft, path));
    if written.is_err() {
        let _ = fs::remove_file(&draft);
    }
    written
}

fn is_own_folder(folder: &Path) -> bool {
    fs::symlink_metadata(folder).is_ok_and(|metadata| metadata.is_dir() && is_own(&metadata))
}

fn is_own(metadata: &fs::Metadata) -> bool {
    const OTHERS_MAY_WRITE: u32 = 0o022;
    metadata.uid() == geteuid().as_raw() && metadata.mode() & OTHERS_MAY_WRITE == 0
}

fn sum(text: &str) -> String {
    hex(&Sha256::digest(text))
}

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
