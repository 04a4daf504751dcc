//! The probes of collections and imports.
//!
//! They come after those that count calls, so that nobody waits for them who wants these, and whether
//! they are in place changes nothing of what is told of calls.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use pytop_common::runtime::{RuntimeCount, RuntimeSpec};

use super::attachments::{File, Reach};
use crate::discover::FileId;
use crate::model::{Collections, ProcessStatus, Runtime};
use crate::probe::{Description, Kernel, Place, Probe, Program, SiteId, Target};

/// The probes in place, and those that are wanted.
#[derive(Default)]
pub(super) struct RuntimeProbes {
    wanted: Vec<(Arc<File>, Reach)>,
    /// What the kernel has been told of markers. Most files have the same.
    described: Vec<(RuntimeSpec, SiteId)>,
    placed: HashMap<(FileId, Reach), Placed>,
}

/// The probes of a file.
struct Placed {
    /// They wait for their turn, or could not be placed, if there are none.
    probes: Vec<Probe>,
    tells: Tells,
}

/// What a file tells.
#[derive(Clone, Copy, Default)]
struct Tells {
    collections: bool,
    imports: bool,
}

impl RuntimeProbes {
    /// Remembers that an interpreter is to have these probes, if it has the markers.
    pub(super) fn want(&mut self, file: &Arc<File>, reach: Reach) {
        self.placed.entry((file.id, reach)).or_insert_with(|| {
            self.wanted.push((Arc::clone(file), reach));
            Placed {
                probes: Vec::new(),
                tells: Tells::default(),
            }
        });
    }

    /// Places what is wanted.
    pub(super) fn place_wanted(&mut self, kernel: &mut Kernel) {
        for (file, reach) in std::mem::take(&mut self.wanted) {
            // It may be of no use any more.
            let Some(placed) = self.placed.get_mut(&(file.id, reach)) else {
                continue;
            };
            let runtime = &file.interpreter.runtime;
            let sites = runtime.collections.iter().chain(&runtime.imports);
            let at = sites.map(|site| {
                Some(Place {
                    offset: site.file_offset,
                    semaphore_offset: site.semaphore_file_offset,
                    site: number_of(&mut self.described, kernel, site.spec)?,
                })
            });
            let at = at.collect::<Option<Vec<_>>>().unwrap_or_default();
            if at.is_empty() || !placed.probes.is_empty() {
                continue;
            }
            let target = Target {
                file: &file.file,
                path: &file.path,
                pid: reach.pid(),
            };
            // Where they cannot be placed, nothing is told of the process, and its calls are counted.
            if let Ok(probes) = kernel.attach(Program::RuntimeEvent, &target, &at) {
                placed.probes = probes;
                placed.tells = Tells {
                    collections: !runtime.collections.is_empty(),
                    imports: !runtime.imports.is_empty(),
                };
            }
        }
    }

    /// What there is to be told of a process with these interpreters, of which nothing was counted.
    pub(super) fn nothing_of(&self, interpreters: &[(FileId, Reach)]) -> Runtime {
        let placed = || interpreters.iter().filter_map(|key| self.placed.get(key));
        Runtime {
            gc: placed()
                .any(|placed| placed.tells.collections)
                .then(Collections::default),
            imports: placed().any(|placed| placed.tells.imports).then_some(0),
        }
    }

    /// Takes out the probes that `is_over` tells, and returns them.
    pub(super) fn take(&mut self, is_over: impl Fn(FileId, Reach) -> bool) -> Vec<Probe> {
        let over = self
            .placed
            .extract_if(|(file, reach), _| is_over(*file, *reach));
        over.flat_map(|(_, placed)| placed.probes).collect()
    }
}

/// The number of a marker in the kernel's table. `None` when there is no room.
fn number_of(
    described: &mut Vec<(RuntimeSpec, SiteId)>,
    kernel: &mut Kernel,
    spec: RuntimeSpec,
) -> Option<SiteId> {
    if let Some((_, site)) = described.iter().find(|(known, _)| *known == spec) {
        return Some(*site);
    }
    let site = kernel.describe(&Description::Runtime(spec)).ok()?;
    described.push((spec, site));
    Some(site)
}

/// Adds what was counted to the processes, which are in the order of their pids. What was counted of
/// others was not asked for.
pub(super) fn add(processes: &mut [ProcessStatus], counted: &[(u32, RuntimeCount)]) {
    for (pid, count) in counted {
        let Ok(index) = processes.binary_search_by_key(pid, |process| process.pid) else {
            continue;
        };
        let Some(process) = processes.get_mut(index) else {
            continue;
        };
        if let Some(gc) = &mut process.runtime.gc {
            *gc = Collections {
                count: count.collections,
                pause: Duration::from_nanos(count.pause),
                longest: Duration::from_nanos(count.longest),
            };
        }
        if let Some(imports) = &mut process.runtime.imports {
            *imports = count.imports;
        }
    }
}

/// What there is to say of collections and imports that could not be counted.
pub(super) fn loss(lost: u64) -> Option<String> {
    (lost > 0).then(|| {
        format!(
            "{lost} garbage collections or imports are not counted in this interval: there was no \
             room for so many processes"
        )
    })
}
