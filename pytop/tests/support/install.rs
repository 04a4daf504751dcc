//! Files that are to be run.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

/// Writes a file that can be run at once.
///
/// Another process writes it. A descriptor of ours would go along with the fork of whatever
/// command another test starts just then, and the kernel runs no file that anyone may write to.
pub(crate) fn install(path: &Path, content: &[u8], mode: u32) {
    let mut writer = Command::new("sh")
        .args(["-c", "exec cat >\"$0\""])
        .arg(path)
        .stdin(Stdio::piped())
        .spawn()
        .expect("a shell can be started");
    let mut to = writer.stdin.take().expect("its input is a pipe");
    to.write_all(content).expect("it reads its input");
    drop(to);
    let status = writer.wait().expect("it can be waited for");
    assert!(status.success(), "cannot write {}", path.display());
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("it is ours");
}

/// Copies a file so that the copy can be run at once.
pub(crate) fn install_copy(path: &Path, original: &Path, mode: u32) {
    let content = fs::read(original)
        .unwrap_or_else(|error| panic!("cannot read {}: {error}", original.display()));
    install(path, &content, mode);
}
