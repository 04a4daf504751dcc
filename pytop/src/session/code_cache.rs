//! What was found in interpreters, kept from one run to the next.
//!
//! Finding where an interpreter without a marker can be counted takes some ten milliseconds, which
//! is long where twenty interpreters run. It depends on the file alone, so it is kept in the user's
//! cache folder, by the linker's identification of the file, one small file for each:
//!
//! ```text
//! ~/.cache/pytop/code-0a1b….json
//! {"pytop":"0.1.0","analysis":"5f2c…","content":"683eb0-1c0d…","found":"{…}",
//!  "verified":["fe:00 525064 6834848 1764…"],"sum":"9f86d0…"}
//! ```
//!
//! A probe in the wrong place would hurt a program, so nothing is taken on trust. The folder and the
//! file have to belong to the user, with no right to write for anyone else. The entry has to have
//! its checksum and to be of this version. The interpreter has to be the very file that was
//! examined, byte for byte: whoever changes a program leaves it its identification, and reading and
//! hashing the whole of it takes a tenth of the time. Whatever fails is ignored, and replaced.
//!
//! A file whose bytes have been compared is known again without that, by its device, inode, size,
//! and times of modification and change, to the nanosecond. Nobody can set the time of change, and
//! each write sets it, but for these, for which the bytes are compared every time:
//!
//! - a write soon after another one, which may get the same time, or through a shared mapping, whose
//!   time is set at the first write to a page only, until the page is written back (30 s by
//!   default, `vm.dirty_expire_centisecs`): files that were changed within the [`SETTLING`] time;
//! - a file system that does not keep the time itself (network, FUSE), or does not set it for
//!   mappings (tmpfs): all but those of [`KEEPS_TIMES`].

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{BuildHasher as _, Hasher as _};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use foldhash::quality::FixedState;
use nix::unistd::{User, geteuid};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::cpython::{ANALYSIS, CodeMethod};

/// Larger than any entry, in bytes.
const MAX_ENTRY: u64 = 64 * 1024;
/// Larger than any interpreter, in bytes.
const MAX_INTERPRETER: u64 = 512 << 20;
/// Bytes of an interpreter that are read at once.
const CHUNK: usize = 1 << 18;

/// How long ago the last change of a file has to be for the file to be known by its times.
const SETTLING: Duration = Duration::from_mins(1);
/// Files of one content that are known by their times.
const MOST_VERIFIED: usize = 64;
/// The file systems that set the time of change at each write, by their numbers (statfs(2)).
const KEEPS_TIMES: [libc::c_long; 5] = [
    libc::EXT4_SUPER_MAGIC,
    libc::XFS_SUPER_MAGIC,
    libc::BTRFS_SUPER_MAGIC,
    libc::F2FS_SUPER_MAGIC,
    libc::OVERLAYFS_SUPER_MAGIC,
];

/// The folder of the kept findings.
#[derive(Debug, Default)]
pub(super) struct CodeCache {
    folder: Option<PathBuf>,
    /// Held while an entry is replaced: several files can have one.
    replacing: Mutex<()>,
}

/// What is in a file of the folder.
#[derive(Serialize, Deserialize)]
struct Entry {
    pytop: String,
    analysis: String,
    /// Length and hash of the interpreter's file.
    content: String,
    /// A [`CodeMethod`] in JSON.
    found: String,
    /// The files that had this content when they were read, as [`identity`] has them, oldest first.
    verified: Vec<String>,
    /// SHA-256 of all the others.
    sum: String,
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
            replacing: Mutex::default(),
        }
    }

    /// What is known of an interpreter's file.
    pub(super) fn find(&self, interpreter: &File, build_id: &[u8]) -> Option<CodeMethod> {
        let path = self.path(build_id)?;
        let entry = Entry::read(&path)?;
        // Taken before the file is read: what is written meanwhile makes it another one.
        let identity = identity(interpreter, SystemTime::now());
        let is_verified = |identity| entry.verified.contains(identity);
        if !identity.as_ref().is_some_and(is_verified) {
            (entry.content == content(interpreter)?).then_some(())?;
            if let Some(identity) = identity {
                self.note(&path, &entry.content, identity);
            }
        }
        parse(&entry.found)
    }

    /// Keeps what was found in an interpreter's file. A failure costs the next run some
    /// milliseconds.
    pub(super) fn keep(&self, interpreter: &File, build_id: &[u8], method: &CodeMethod) {
        let _ = self.try_keep(interpreter, build_id, method);
    }

    fn try_keep(&self, interpreter: &File, build_id: &[u8], method: &CodeMethod) -> Option<()> {
        let path = self.path(build_id)?;
        let folder = path.parent()?;
        let identity = identity(interpreter, SystemTime::now());
        let entry = Entry {
            pytop: env!("CARGO_PKG_VERSION").to_owned(),
            analysis: ANALYSIS.to_owned(),
            content: content(interpreter)?,
            found: serde_json::to_string(method).ok()?,
            verified: identity.into_iter().collect(),
            sum: String::new(),
        };
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o700).create(folder).ok()?;
        is_own_folder(folder).then_some(())?;
        let _replacing = self
            .replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        entry.write(&path)
    }

    /// Notes that a file had the content of an entry. A failure costs the next run a look at it.
    fn note(&self, path: &Path, content: &str, identity: String) {
        let _replacing = self
            .replacing
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(mut entry) = Entry::read(path)
            && entry.content == content
            && !entry.verified.contains(&identity)
        {
            let excess = (entry.verified.len() + 1).saturating_sub(MOST_VERIFIED);
            entry.verified.drain(..excess);
            entry.verified.push(identity);
            entry.write(path);
        }
    }

    fn path(&self, build_id: &[u8]) -> Option<PathBuf> {
        // Twenty bytes, unless somebody has chosen another style.
        if !(8..=64).contains(&build_id.len()) {
            return None;
        }
        let folder = self.folder.as_ref()?;
        Some(folder.join(format!("code-{}.json", hex(build_id))))
    }
}

impl Entry {
    /// The entry in a file, if it is whole, of this version, and nobody else can have written it.
    fn read(path: &Path) -> Option<Self> {
        let entry: Self = serde_json::from_slice(&read_own(path).ok()?).ok()?;
        entry.is_valid().then_some(entry)
    }

    fn write(mut self, path: &Path) -> Option<()> {
        self.sum = self.checksum();
        let mut text = serde_json::to_vec(&self).ok()?;
        text.push(b'\n');
        write_whole(path, &text).ok()
    }

    /// Whether it is whole, and of this version.
    fn is_valid(&self) -> bool {
        self.pytop == env!("CARGO_PKG_VERSION")
            && self.analysis == ANALYSIS
            && self.sum == self.checksum()
    }

    fn checksum(&self) -> String {
        let mut hasher = Sha256::new();
        let texts = [&self.pytop, &self.analysis, &self.content, &self.found];
        for text in texts.into_iter().chain(&self.verified) {
            hasher.update(text.len().to_le_bytes());
            hasher.update(text);
        }
        hex(&hasher.finalize())
    }
}

fn parse(found: &str) -> Option<CodeMethod> {
    serde_json::from_str(found).ok()
}

/// Length and hash of a file. `None` for one that cannot be read, or is larger than any interpreter.
fn content(file: &File) -> Option<String> {
    let length = file.metadata().ok()?.len();
    if length > MAX_INTERPRETER {
        return None;
    }
    let mut hasher = FixedState::default().build_hasher();
    let mut chunk = vec![0; CHUNK];
    let mut offset = 0;
    while offset < length {
        let count = file.read_at(&mut chunk, offset).ok()?;
        if count == 0 {
            return None;
        }
        hasher.write(chunk.get(..count)?);
        offset += count as u64;
    }
    Some(format!("{length:x}-{:016x}", hasher.finish()))
}

/// What tells the file and its present state from every other. `None` when that may not be enough.
fn identity(file: &File, now: SystemTime) -> Option<String> {
    let system = nix::sys::statfs::fstatfs(file).ok()?;
    if !KEEPS_TIMES.contains(&system.filesystem_type().0) {
        return None;
    }
    let stat = file.metadata().ok()?;
    let seconds = u64::try_from(stat.ctime()).ok()?;
    let changed = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))?;
    // A change in the future is none that has settled.
    if now.duration_since(changed).ok()? < SETTLING {
        return None;
    }
    Some(format!(
        "{:x}:{:x} {} {} {}.{:09} {}.{:09}",
        libc::major(stat.dev()),
        libc::minor(stat.dev()),
        stat.ino(),
        stat.len(),
        stat.mtime(),
        stat.mtime_nsec(),
        stat.ctime(),
        stat.ctime_nsec()
    ))
}

/// The ways in for fuzzing.
#[cfg(feature = "fuzzing")]
pub mod fuzzing {
    use crate::cpython::CodeMethod;

    /// What is read from an entry of the cache, or from the finding in it.
    #[must_use]
    pub fn entry(text: &[u8]) -> Option<CodeMethod> {
        let entry = serde_json::from_slice::<super::Entry>(text).ok();
        let entry = entry.filter(super::Entry::is_valid);
        match entry {
            Some(entry) => super::parse(&entry.found),
            None => super::parse(str::from_utf8(text).ok()?),
        }
    }
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

fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::cpython::{CodeLayout, EvalSite, Layout, Stepping, TextLayout, Value};

    const BUILD_ID: &[u8] = &[7; 20];

    struct Fixture {
        folder: tempfile::TempDir,
        interpreter: File,
        cache: CodeCache,
        method: CodeMethod,
    }

    impl Fixture {
        /// A cache that has what was found in an interpreter.
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("python");
            fs::write(&path, (0..=255).collect::<Vec<u8>>()).unwrap();
            let method = CodeMethod::Eval(EvalSite {
                address: 0x40_0040,
                file_offset: 0x40,
                instruction: "push".to_owned(),
                stepping: Stepping::Emulated,
                frame: Value::Register { word: 14, plus: 0 },
                layout: Layout {
                    frame_to_code: 0x20,
                    tagged_code_pointer: false,
                    frame_to_previous: 0x18,
                    frame_to_owner: None,
                    object_to_type: 8,
                    code_type: None,
                    code: CodeLayout {
                        filename: 0x68,
                        name: 0x70,
                        qualified_name: None,
                        first_line: 0x28,
                        bytecode: None,
                        instrumentation_version: None,
                    },
                    text: TextLayout {
                        length: 0x10,
                        state: 0x20,
                        ascii_data: 0x30,
                        other_data: 0x48,
                    },
                    thread: None,
                },
            });
            let fixture = Self {
                interpreter: File::open(&path).unwrap(),
                cache: CodeCache {
                    folder: Some(folder.path().join("cache/pytop")),
                    replacing: Mutex::default(),
                },
                folder,
                method,
            };
            fixture
                .cache
                .keep(&fixture.interpreter, BUILD_ID, &fixture.method);
            assert_eq!(fixture.find(), Some(fixture.method.clone()));
            fixture
        }

        fn find(&self) -> Option<CodeMethod> {
            self.cache.find(&self.interpreter, BUILD_ID)
        }

        fn entry(&self) -> PathBuf {
            self.cache.path(BUILD_ID).unwrap()
        }
    }

    #[test]
    fn nobody_else_can_read_or_write_it() {
        let fixture = Fixture::new();
        let entry = fixture.entry();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(&entry), 0o600);
        assert_eq!(mode(entry.parent().unwrap()), 0o700);
        assert_eq!(fs::read_dir(entry.parent().unwrap()).unwrap().count(), 1);
        assert_eq!(fixture.cache.find(&fixture.interpreter, &[8; 20]), None);
        assert_eq!(fixture.cache.find(&fixture.interpreter, &[7; 2]), None);
    }

    #[test]
    fn a_damaged_entry_is_ignored_and_replaced() {
        let fixture = Fixture::new();
        let whole = fs::read(fixture.entry()).unwrap();
        for position in 0..whole.len() {
            let mut damaged = whole.clone();
            damaged[position] ^= 1;
            fs::write(fixture.entry(), &damaged).unwrap();
            let found = fixture.find();
            assert!(
                found.is_none() || found.as_ref() == Some(&fixture.method),
                "{position}: {found:?}"
            );
            fs::write(fixture.entry(), &whole[..position]).unwrap();
            assert!(position + 1 == whole.len() || fixture.find().is_none());
        }
        fixture
            .cache
            .keep(&fixture.interpreter, BUILD_ID, &fixture.method);
        assert!(fixture.find().is_some());
    }

    #[test]
    fn an_entry_of_another_file_or_version_is_ignored() {
        let fixture = Fixture::new();
        let text = fs::read_to_string(fixture.entry()).unwrap();
        for (is, was) in [
            (r#""analysis":"0""#, format!(r#""analysis":"{ANALYSIS}""#)),
            (
                r#""pytop":"0.0""#,
                format!(r#""pytop":"{}""#, env!("CARGO_PKG_VERSION")),
            ),
            (r#""content":"ff-"#, r#""content":"100-"#.to_owned()),
        ] {
            assert!(text.contains(&was), "{text}");
            fs::write(fixture.entry(), text.replace(&was, is)).unwrap();
            assert_eq!(fixture.find(), None);
            // With its checksum made anew, too.
            let mut entry: Entry = serde_json::from_str(&text.replace(&was, is)).unwrap();
            entry.sum = entry.checksum();
            fs::write(fixture.entry(), serde_json::to_vec(&entry).unwrap()).unwrap();
            assert_eq!(fixture.find(), None);
        }
        fs::write(fixture.entry(), &text).unwrap();
        // One byte far from any probe.
        let mut content: Vec<u8> = (0..=255).collect();
        content[0xf0] ^= 1;
        fs::write(fixture.folder.path().join("python"), content).unwrap();
        assert_eq!(fixture.find(), None);
    }

    /// The files that an entry has verified.
    fn verified(fixture: &Fixture) -> Vec<String> {
        Entry::read(&fixture.entry()).unwrap().verified
    }

    #[test]
    fn a_file_that_has_just_changed_is_not_known_by_its_times() {
        let fixture = Fixture::new();
        assert_eq!(verified(&fixture), [""; 0]);
        let changed = fixture.interpreter.metadata().unwrap().ctime();
        let changed = Duration::from_secs(changed.try_into().unwrap());
        let at = |age| identity(&fixture.interpreter, SystemTime::UNIX_EPOCH + changed + age);
        assert_eq!(at(Duration::from_secs(59)), None);
        // Where the temporary folder is on a tmpfs, its files are never known by their times.
        let system = nix::sys::statfs::fstatfs(&fixture.interpreter).unwrap();
        let keeps_times = KEEPS_TIMES.contains(&system.filesystem_type().0);
        assert_eq!(at(SETTLING).is_some(), keeps_times);
        let before = identity(&fixture.interpreter, SystemTime::UNIX_EPOCH);
        assert_eq!(before, None);
    }

    #[test]
    fn a_file_of_memory_is_not_known_by_its_times() {
        let name = nix::sys::memfd::MFdFlags::MFD_CLOEXEC;
        let file = File::from(nix::sys::memfd::memfd_create(c"python", name).unwrap());
        let later = SystemTime::now() + 2 * SETTLING;
        assert_eq!(identity(&file, later), None);
    }

    #[test]
    fn a_settled_file_is_known_until_it_changes() {
        // The program of this test has not been written to for long, or is compared byte for byte.
        let program = File::open("/bin/sh").unwrap();
        let identity = identity(&program, SystemTime::now()).expect("/bin/sh has settled");
        let fixture = Fixture::new();
        fixture.cache.keep(&program, BUILD_ID, &fixture.method);
        assert_eq!(verified(&fixture), std::slice::from_ref(&identity));
        assert_eq!(
            fixture.cache.find(&program, BUILD_ID),
            Some(fixture.method.clone())
        );
        // Known by its times alone: the content is not looked at.
        let mut entry = Entry::read(&fixture.entry()).unwrap();
        "1-0".clone_into(&mut entry.content);
        entry.write(&fixture.entry()).unwrap();
        assert!(fixture.cache.find(&program, BUILD_ID).is_some());
        // Another time of change, and the content counts again.
        let mut entry = Entry::read(&fixture.entry()).unwrap();
        entry.verified = vec![format!("{identity}1")];
        entry.write(&fixture.entry()).unwrap();
        assert_eq!(fixture.cache.find(&program, BUILD_ID), None);
        // And once it has been compared, it is known.
        let mut entry = Entry::read(&fixture.entry()).unwrap();
        entry.content = content(&program).unwrap();
        entry.verified = (0..MOST_VERIFIED).map(|it| it.to_string()).collect();
        entry.write(&fixture.entry()).unwrap();
        assert!(fixture.cache.find(&program, BUILD_ID).is_some());
        let verified = verified(&fixture);
        assert_eq!(verified.len(), MOST_VERIFIED);
        assert_eq!(
            (verified[0].as_str(), verified.last()),
            ("1", Some(&identity))
        );
    }

    #[test]
    fn an_entry_that_others_can_have_written_is_ignored() {
        let fixture = Fixture::new();
        let entry = fixture.entry();
        let folder = entry.parent().unwrap();
        let set = |path: &Path, mode| {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        };
        set(&entry, 0o622);
        assert_eq!(fixture.find(), None);
        set(&entry, 0o600);
        set(folder, 0o777);
        assert_eq!(fixture.find(), None);
        set(folder, 0o700);
        assert!(fixture.find().is_some());

        let elsewhere = fixture.folder.path().join("elsewhere");
        fs::rename(&entry, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &entry).unwrap();
        assert_eq!(fixture.find(), None);
    }
}
