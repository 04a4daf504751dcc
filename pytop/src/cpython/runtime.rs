//! From the notes of a file to the places where its collections and imports can be counted.
//!
//! ```text
//! gc__start(int generation)                     gc_collect_main, on the thread that collects
//! gc__done(long collected)                      the same, at its end
//! import__find__load__done(str name, int found) import_find_and_load, for `import` statements of
//!                                               what is not in sys.modules yet
//! ```
//!
//! They are in every version built `--with-dtrace`, those of 3.11 to 3.14 included, whose
//! `function__entry` is gone or dead. As of that one, all copies can be counted or none is.

use pytop_common::marker::Argument;
use pytop_common::runtime::{RuntimeMarker, RuntimeSpec};

use super::Architecture;
use super::arguments::{self, Surroundings};
use super::elf::Elf;
use super::marker::{self, MAX_ARGUMENTS, PROVIDER};
use super::notes::{Note, Notes};
use super::symbols::Dynamic;

/// More copies of these markers than this has no interpreter.
const MAX_SITES: usize = 64;

/// A copy of a marker of the garbage collector or the import system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RuntimeSite {
    /// Where the instruction is in the file.
    pub file_offset: u64,
    /// Where the 16-bit semaphore is in the file; `None` for a marker that is always on.
    pub semaphore_file_offset: Option<u64>,
    /// What the kernel has to know of it.
    pub spec: RuntimeSpec,
}

/// The markers of collections and imports. What cannot be counted has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RuntimeSites {
    /// Every start and every end of a collection.
    pub collections: Vec<RuntimeSite>,
    /// Every end of an import.
    pub imports: Vec<RuntimeSite>,
}

impl RuntimeSites {
    /// Those that the notes of a file describe.
    pub(super) fn of(elf: &Elf<'_>, dynamic: &Dynamic, host: Architecture, notes: &Notes) -> Self {
        let architecture = Architecture::of(elf);
        let is_other = !elf.is_64 || architecture != host;
        if is_other || notes.damaged || notes.found.len() > MAX_SITES {
            return Self::default();
        }
        let sites = |wanted| sites(elf, dynamic, architecture, &notes.found, wanted);
        let start = sites(RuntimeMarker::CollectionStart);
        let done = sites(RuntimeMarker::CollectionDone);
        Self {
            collections: start
                .zip(done)
                .map(|(start, done)| [start, done].concat())
                .unwrap_or_default(),
            imports: sites(RuntimeMarker::ImportDone).unwrap_or_default(),
        }
    }
}

/// Whether these are the provider and the name of one of these markers.
pub(super) fn is_told(provider: &[u8], name: &[u8]) -> bool {
    kind(provider, name).is_some()
}

/// Which of these markers it is, by provider and name.
fn kind(provider: &[u8], name: &[u8]) -> Option<RuntimeMarker> {
    match name {
        _ if provider != PROVIDER => None,
        b"gc__start" => Some(RuntimeMarker::CollectionStart),
        b"gc__done" => Some(RuntimeMarker::CollectionDone),
        b"import__find__load__done" => Some(RuntimeMarker::ImportDone),
        _ => None,
    }
}

/// All copies of one marker. `None` when there are none, or one of them cannot be counted.
fn sites(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    architecture: Architecture,
    notes: &[Note],
    wanted: RuntimeMarker,
) -> Option<Vec<RuntimeSite>> {
    let mut sites: Vec<RuntimeSite> = Vec::new();
    for note in notes {
        if kind(&note.provider, &note.name) != Some(wanted) {
            continue;
        }
        let site = site(elf, dynamic, architecture, note, wanted)?;
        // The same breakpoint twice would count everything twice.
        match sites
            .iter()
            .find(|known| known.file_offset == site.file_offset)
        {
            None => sites.push(site),
            Some(known) if *known == site => {}
            Some(_) => return None,
        }
    }
    (!sites.is_empty()).then_some(sites)
}

fn site(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    architecture: Architecture,
    note: &Note,
    wanted: RuntimeMarker,
) -> Option<RuntimeSite> {
    let place = marker::place(elf, architecture, note).ok()?;
    let found = if wanted == RuntimeMarker::ImportDone {
        found(elf, dynamic, architecture, place.address, &note.arguments)?
    } else {
        Argument::default()
    };
    Some(RuntimeSite {
        file_offset: place.file_offset,
        semaphore_file_offset: place.semaphore_file_offset,
        spec: RuntimeSpec {
            found,
            marker: wanted as u32,
            reserved: 0,
        },
    })
}

/// The second argument of an import's end.
fn found(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    architecture: Architecture,
    site: u64,
    text: &[u8],
) -> Option<Argument> {
    let text = str::from_utf8(text).ok()?;
    if text.len() > MAX_ARGUMENTS {
        return None;
    }
    let surroundings = Surroundings {
        site,
        relocatable: elf.relocatable,
        symbol: &|name| marker::symbol_address(elf, dynamic, name),
    };
    match arguments::split(text).as_slice() {
        [_name, found] => arguments::parse(architecture, found, &surroundings).ok(),
        _ => None,
    }
}
