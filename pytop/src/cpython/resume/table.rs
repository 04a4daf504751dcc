//! The table of the handlers of all bytecodes: 256 addresses, of which a stripped file says
//! nothing.
//!
//! ```text
//! static void *opcode_targets[256] = { &&TARGET_CACHE, &&TARGET_BEFORE_ASYNC_WITH, …
//!                                      &&_unknown_opcode, &&_unknown_opcode, … };
//! ```
//!
//! It is among the read-only data of a program at a fixed address. In a library and in a program
//! that is loaded anywhere it is filled by the dynamic loader, from the addends of
//! `R_X86_64_RELATIVE` relocations or from what the file has in its place (`DT_RELR`). Either way
//! it is a run of addresses of instructions, and the numbers without a bytecode, dozens at places
//! that each version has for itself, share one handler that no bytecode has.

use object::elf as constants;

use super::opcodes::{COUNT, Opcodes, Usage};
use crate::cpython::NotCountable;
use crate::cpython::code::Failure;
use crate::cpython::elf::{Elf, u64_of};
use crate::cpython::source::Fault;
use crate::cpython::symbols::Dynamic;

/// Bytes that are in memory at once, a multiple of a relocation's 24.
const CHUNK: u64 = 24 << 15;
/// More data or relocations than this are not searched, in bytes.
const MAX_DATA: u64 = 512 << 20;
/// Fewer handlers than this no table has.
const MIN_DISTINCT: usize = 150;
/// More runs of addresses that look like the table have no program.
const MAX_CANDIDATES: usize = 100_000;
/// `R_X86_64_RELATIVE`: the base of the program plus the addend.
const RELATIVE: u64 = 8;

const DATA: &str = "its data";
const RELOCATIONS: &str = "its relocation table";

/// The table of the handlers.
#[derive(Debug)]
pub(super) struct Table {
    /// Where it is.
    pub(super) address: u64,
    /// The handlers, by the number of the bytecode.
    pub(super) handlers: Vec<u64>,
}

impl Table {
    /// The handler of a bytecode.
    pub(super) fn handler(&self, opcode: u8) -> u64 {
        self.handlers
            .get(usize::from(opcode))
            .copied()
            .unwrap_or_default()
    }
}

/// Finds the table.
pub(super) fn find(
    elf: &Elf<'_>,
    dynamic: &Dynamic,
    opcodes: &'static Opcodes,
) -> Result<Table, Failure> {
    let mut search = Search::new(elf, opcodes);
    search.data(elf)?;
    search.relocations(elf, dynamic)?;
    if search.exhausted {
        return Err(
            NotCountable::BadOpcodeTable("cannot be told from the rest of its data").into(),
        );
    }
    let mut found = search.found.into_iter();
    match (found.next(), found.next()) {
        (Some(table), None) => Ok(table),
        (Some(_), Some(_)) => Err(NotCountable::BadOpcodeTable("is there several times").into()),
        (None, _) => Err(NotCountable::BadOpcodeTable(
            "was not found: it was built without computed gotos, or its bytecodes are not those \
             of its version",
        )
        .into()),
    }
}

struct Search {
    opcodes: &'static Opcodes,
    executable: Vec<(u64, u64)>,
    /// Addresses of instructions one after the other, and where the next one would be.
    run: Vec<u64>,
    next: u64,
    candidates: usize,
    searched: u64,
    exhausted: bool,
    found: Vec<Table>,
}

impl Search {
    fn new(elf: &Elf<'_>, opcodes: &'static Opcodes) -> Self {
        let executable = elf
            .segments
            .iter()
            .filter(|segment| segment.kind == constants::PT_LOAD && segment.executable)
            .map(|segment| {
                let end = segment.address.saturating_add(segment.file_size);
                (segment.address, end)
            })
            .collect();
        Self {
            opcodes,
            executable,
            run: Vec::with_capacity(2 * COUNT),
            next: 0,
            candidates: 0,
            searched: 0,
            exhausted: false,
            found: Vec::new(),
        }
    }

    /// Searches what is in the file itself. Old linkers put read-only data between the
    /// instructions.
    fn data(&mut self, elf: &Elf<'_>) -> Result<(), Fault> {
        for segment in elf.segments.iter().filter(|s| s.kind == constants::PT_LOAD) {
            let skipped = segment.address.wrapping_neg() % 8;
            let mut position = skipped;
            self.run.clear();
            while position < segment.file_size && self.allows(CHUNK) {
                let length = (segment.file_size - position).min(CHUNK);
                let offset = segment.offset.saturating_add(position);
                let bytes = elf.source.read(offset, length, CHUNK, DATA)?;
                let mut address = segment.address.wrapping_add(position);
                for word in bytes.chunks_exact(8) {
                    self.take(address, u64_of(elf.endian, word));
                    address = address.wrapping_add(8);
                }
                position += CHUNK;
            }
        }
        Ok(())
    }

    /// Searches what the loader will put into the program.
    fn relocations(&mut self, elf: &Elf<'_>, dynamic: &Dynamic) -> Result<(), Fault> {
        let Some((table, size)) = dynamic.relocations() else {
            return Ok(());
        };
        let mut position = 0;
        self.run.clear();
        while position < size && self.allows(CHUNK) {
            let length = (size - position).min(CHUNK);
            let address = table.saturating_add(position);
            let bytes = elf.read_at(address, length, CHUNK, RELOCATIONS)?;
            for entry in bytes.chunks_exact(24) {
                let field =
                    |index: usize| u64_of(elf.endian, entry.get(index * 8..).unwrap_or_default());
                if field(1) == RELATIVE {
                    self.take(field(0), field(2));
                } else {
                    self.run.clear();
                }
            }
            position += CHUNK;
        }
        Ok(())
    }

    fn allows(&mut self, more: u64) -> bool {
        self.searched = self.searched.saturating_add(more);
        self.exhausted |= self.searched > MAX_DATA;
        !self.exhausted
    }

    /// Takes a word that the program will have at an address.
    fn take(&mut self, address: u64, value: u64) {
        let executable = |(start, end): &(u64, u64)| *start <= value && value < *end;
        if !self.executable.iter().any(executable) {
            self.run.clear();
            return;
        }
        if address != self.next {
            self.run.clear();
        }
        self.next = address.wrapping_add(8);
        if self.run.len() == self.run.capacity() {
            // The last 255 may be the beginning of the table.
            self.run.drain(..=self.run.len() - COUNT);
        }
        self.run.push(value);
        let Some(start) = self.run.len().checked_sub(COUNT) else {
            return;
        };
        let Some(handlers) = self.run.get(start..) else {
            return;
        };
        if self.exhausted || !shares_unused(self.opcodes, handlers) {
            return;
        }
        self.candidates += 1;
        self.exhausted |= self.candidates > MAX_CANDIDATES;
        let table = address.wrapping_sub(8 * (COUNT as u64 - 1));
        if is_table(self.opcodes, handlers) && self.found.iter().all(|t| t.address != table) {
            self.found.push(Table {
                address: table,
                handlers: handlers.to_vec(),
            });
            self.exhausted |= self.found.len() > COUNT;
        }
    }
}

/// Whether all numbers without a bytecode have the same handler.
fn shares_unused(opcodes: &Opcodes, handlers: &[u64]) -> bool {
    let mut unused = (0_u8..=u8::MAX)
        .zip(handlers)
        .filter(|(opcode, _)| opcodes.usage(*opcode) == Usage::Unused)
        .map(|(_, handler)| *handler);
    let first = unused.next();
    unused.all(|handler| Some(handler) == first)
}

/// Whether, besides, no bytecode has the handler of those numbers, and most have their own.
fn is_table(opcodes: &Opcodes, handlers: &[u64]) -> bool {
    let usages = (0_u8..=u8::MAX).map(|opcode| opcodes.usage(opcode));
    let unknown = usages
        .clone()
        .zip(handlers)
        .find(|(usage, _)| *usage == Usage::Unused)
        .map(|(_, handler)| *handler);
    let apart = usages
        .zip(handlers)
        .filter(|(usage, _)| *usage == Usage::Used)
        .all(|(_, handler)| Some(*handler) != unknown);
    let mut distinct = handlers.to_vec();
    distinct.sort_unstable();
    distinct.dedup();
    apart && distinct.len() > MIN_DISTINCT
}
