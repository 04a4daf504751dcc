//! The finder on made-up `/proc` trees, and on real processes.

mod live;
mod made_up;

use std::error::Error;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::file::Examine;
use super::finder::{Finder, Found};
use super::proc_root::ProcRoot;
use crate::model::Text;

/// Ends a file that these tests take for an interpreter; a version number follows.
const MARK: &[u8] = b"\nCPython for tests ";
/// Ends a file that these tests take for a damaged one.
const DAMAGED: &[u8] = b"\nnothing that works";

/// What these tests find in a file: its version.
type Version = char;

/// How often files were examined.
type Examined = Arc<AtomicUsize>;

fn finder(root: ProcRoot) -> (Finder<Version>, Examined) {
    let examined = Examined::default();
    let counter = Arc::clone(&examined);
    let examine: Examine<Version> = Box::new(move |file, path| {
        counter.fetch_add(1, Ordering::Relaxed);
        examine(file, path)
    });
    (Finder::new(root, examine), examined)
}

fn examine(mut file: &File, path: &Path) -> Result<Option<Version>, Box<dyn Error + Send + Sync>> {
    let length = i64::try_from(MARK.len() + 1)?;
    if file.metadata()?.len() <= length.unsigned_abs() {
        return Ok(None);
    }
    file.seek(SeekFrom::End(-length))?;
    let mut end = Vec::new();
    file.read_to_end(&mut end)?;
    if end.ends_with(DAMAGED) {
        return Err(format!("{} is damaged", Text::from(path)).into());
    }
    Ok(end
        .strip_prefix(MARK)
        .and_then(<[u8]>::first)
        .map(|version| char::from(*version)))
}

fn version(found: &Found<Version>) -> String {
    let versions = found.interpreters.iter();
    versions.map(|file| file.interpreter).collect()
}
