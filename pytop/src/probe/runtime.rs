//! Draining what processes did beside running code: collections and imports.
//!
//! There are two tables of them, which take turns with those of calls: see [`Counts`]. Once the
//! kernel has waited for the programs that use the one of the interval, it stands still.
//!
//! [`Counts`]: super::counts::Counts

use std::os::fd::AsFd as _;

use aya::maps::{Array, HashMap, Map, MapData, MapError};
use pytop_common::runtime::RuntimeCount;

use super::counts::batch_error;
use super::syscall;

/// Entries that one system call takes out of a table.
const BATCH: usize = 512;

/// The maps in which collections and imports are counted.
pub(super) struct RuntimeCounts {
    tables: [MapData; 2],
    losses: Array<MapData, u64>,
    lost_before: u64,
}

impl RuntimeCounts {
    /// Those of the object, whose maps `take` takes by their names.
    pub(super) fn new(
        take: &mut impl FnMut(&str) -> Result<Map, MapError>,
    ) -> Result<Self, MapError> {
        Ok(Self {
            tables: [
                table(take("RUNTIME_FIRST")?)?,
                table(take("RUNTIME_SECOND")?)?,
            ],
            losses: Array::try_from(take("RUNTIME_LOSSES")?)?,
            lost_before: 0,
        })
    }

    /// Takes everything out of the table with this index, which no program uses any more.
    pub(super) fn take(&mut self, index: usize) -> Result<Vec<(u32, RuntimeCount)>, MapError> {
        let [first, second] = &self.tables;
        let table = if index == 0 { first } else { second };
        let mut taken = Vec::new();
        syscall::take_all(
            table.fd().as_fd(),
            BATCH,
            |pids: &[u32], counts: &[RuntimeCount]| {
                taken.extend(pids.iter().copied().zip(counts.iter().copied()));
            },
        )
        .map_err(batch_error)?;
        Ok(taken)
    }

    /// Hits that could not be counted since the call before.
    pub(super) fn take_lost(&mut self) -> Result<u64, MapError> {
        let lost = self.losses.get(&0, 0)?;
        let before = std::mem::replace(&mut self.lost_before, lost);
        Ok(lost.saturating_sub(before))
    }
}

/// The map itself, once it is certain that its entries are what they are taken for.
fn table(map: Map) -> Result<MapData, MapError> {
    HashMap::<_, u32, RuntimeCount>::try_from(&map)?;
    match map {
        Map::HashMap(data) => Ok(data),
        _ => Err(MapError::InvalidMapType { map_type: 0 }),
    }
}
