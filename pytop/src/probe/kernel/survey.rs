//! What this kernel lets this user do, tried step by step.
//!
//! These are the steps of [`Kernel::load`](super::Kernel::load), which ends at the first that
//! fails. Here the others are tried as well, as far as they can be.

use super::{
    Capacity, Counts, LoadError, Program, Room, explain_map, load_object, prefer_links,
    require_lossless_uprobes, require_program, require_uprobes, uprobe_pmu_type,
};

/// What was tried, and what came of it.
#[derive(Debug)]
pub struct Survey {
    /// The kernel has uprobes as perf events.
    pub events: Result<(), LoadError>,
    /// It lets this user place one; `None` if it has none.
    pub uprobes: Option<Result<(), LoadError>>,
    /// It takes eBPF maps from this user.
    pub maps: Result<(), LoadError>,
    /// What it does with programs; `None` if they could not be tried, for want of maps.
    pub loaded: Option<Loaded>,
}

/// What the kernel does with programs.
#[derive(Debug)]
pub struct Loaded {
    /// It knows the types that the programs are described by (BTF).
    pub types: bool,
    /// No hit of its uprobes is passed over.
    pub lossless: Result<(), LoadError>,
    /// It can place all probes of a file with one link.
    pub links: bool,
    /// It takes all of the programs that count.
    pub programs: Result<(), LoadError>,
}

impl Survey {
    /// Tries everything, with room for as many functions as `capacity` says. Nothing is
    /// left in the kernel.
    #[must_use]
    pub fn take(capacity: Capacity) -> Self {
        let pmu_type = uprobe_pmu_type();
        let uprobes = pmu_type.as_ref().ok().map(|kind| require_uprobes(*kind));
        let (maps, loaded) = match load_object(capacity, Room::NONE, false) {
            Err(error) => (Err(error), None),
            Ok((mut ebpf, mut programs)) => {
                let lossless = require_lossless_uprobes(&programs);
                let links = prefer_links(&mut programs);
                let mut all = Program::COUNTING.into_iter();
                let loaded = Loaded {
                    types: programs.has_types(),
                    lossless,
                    links,
                    programs: all.try_for_each(|program| require_program(&mut programs, program)),
                };
                let counts = Counts::new(&mut ebpf, capacity, false).map(drop);
                (counts.map_err(|error| explain_map(&error)), Some(loaded))
            }
        };
        Self {
            events: pmu_type.map(drop),
            uprobes,
            maps,
            loaded,
        }
    }
}
