//! What an interpreter does beside running code: collecting garbage and importing modules.

use crate::marker::Argument;

/// A marker that tells of it (Include/pydtrace.d of CPython).
#[repr(u32)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum RuntimeMarker {
    /// `gc__start`: a collection begins, on this thread.
    #[default]
    CollectionStart = 0,
    /// `gc__done`: the collection of this thread has ended.
    CollectionDone = 1,
    /// `import__find__load__done`: a module that was not there yet has been looked for, and loaded
    /// if it was found.
    ImportDone = 2,
}

/// One such marker in a file, found by the probe's attach cookie.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuntimeSpec {
    /// Where [`RuntimeMarker::ImportDone`] tells whether the module was found: not 0 if it was.
    pub found: Argument,
    /// A [`RuntimeMarker`], as a number because the kernel side reads it from a map.
    pub marker: u32,
    /// Always zero.
    pub reserved: u32,
}

/// What one process did in one interval. Only what has ended counts, in the interval of its end.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RuntimeCount {
    /// Collections whose start was seen, too.
    pub collections: u64,
    /// The time between their starts and ends, in nanoseconds.
    pub pause: u64,
    /// The longest of them, in nanoseconds.
    pub longest: u64,
    /// Modules that were found and loaded.
    pub imports: u64,
}

const _: () = {
    assert!(size_of::<RuntimeSpec>() == 24);
    assert!(size_of::<RuntimeCount>() == 32);
};

#[cfg(feature = "user")]
mod pod {
    use super::{RuntimeCount, RuntimeSpec};

    // SAFETY: `repr(C)`, made of integers only, without padding (asserted above).
    unsafe impl aya::Pod for RuntimeSpec {}
    // SAFETY: as for `RuntimeSpec`.
    unsafe impl aya::Pod for RuntimeCount {}
}
