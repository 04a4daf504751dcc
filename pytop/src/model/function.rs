//! What is counted: a function of a process.

use std::hash::{BuildHasher as _, Hash, Hasher};
use std::sync::LazyLock;

use foldhash::fast::RandomState;

use super::Text;

/// A function of a process.
///
/// There may be a hundred thousand, each in every snapshot, in the totals, and on the screen. These
/// share one value, by its address or its hash, so that names are looked at only when a function is
/// new.
#[derive(Clone, Debug)]
pub struct Function {
    /// The process.
    pub pid: u32,
    /// The code object's filename, as the process has it.
    pub filename: Text,
    /// The line, counted from 1; `None` when the interpreter does not tell.
    pub line: Option<u32>,
    /// The function's name, as the process has it.
    pub name: Text,
    hash: u64,
}

/// Names are for traced programs to choose; the seed is random so that they cannot choose them to
/// collide.
static SEED: LazyLock<RandomState> = LazyLock::new(RandomState::default);

impl Function {
    /// A function of a process.
    #[must_use]
    pub fn new(pid: u32, filename: Text, line: Option<u32>, name: Text) -> Self {
        let hash = SEED.hash_one((pid, &filename, line, &name));
        Self {
            pid,
            filename,
            line,
            name,
            hash,
        }
    }
}

impl PartialEq for Function {
    fn eq(&self, other: &Self) -> bool {
        self.hash == other.hash
            && (self.pid, self.line) == (other.pid, other.line)
            && self.filename == other.filename
            && self.name == other.name
    }
}

impl Eq for Function {}

impl Hash for Function {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.hash);
    }
}
