//! Files made in memory, examined as a whole.

mod blocks;
mod code;
mod damage;
mod identity;
mod listing;
mod markers;
mod program;
mod returns;
mod seeds;
mod versions;

use std::cell::Cell;
use std::io;
use std::path::Path;

use object::elf;

use super::source::{Fault, ReadAt};
use super::{Architecture, Interpreter, NotCountable, examine_for};
use program::{Kind, Marker, Named, Program, RODATA, Symbol};

/// Where [`cpython`] has its marker among the instructions, and its semaphore in the data.
const MARKER: u64 = 0x80;
const SEMAPHORE: u64 = 16;
/// Where it has `Py_GetVersion`.
const GET_VERSION: u64 = 0x40;

fn examine_bytes(bytes: &Vec<u8>) -> Result<Option<Interpreter>, Fault> {
    examine_named(bytes, "program")
}

fn examine_named(bytes: &Vec<u8>, name: &str) -> Result<Option<Interpreter>, Fault> {
    let length = bytes.len() as u64;
    examine_for(Architecture::X86_64, bytes, length, Path::new(name))
}

fn examine_program(program: &Program) -> Option<Interpreter> {
    examine_bytes(&program.build()).expect("the file is whole")
}

/// Why the program, which is a CPython, is not counted.
fn reason(program: &Program) -> NotCountable {
    let interpreter = examine_program(program).expect("it is a CPython");
    interpreter.entry.expect_err("it cannot be counted")
}

fn function(name: &'static str, address: u64, size: u64) -> Symbol {
    Symbol {
        name,
        kind: Kind::Function,
        address,
        size,
    }
}

fn undefined(name: &'static str) -> Symbol {
    Symbol {
        name,
        kind: Kind::Undefined,
        address: 0,
        size: 0,
    }
}

/// A CPython without markers, built like Debian's: `Py_GetVersion` refers to the text by its
/// address.
fn without_markers(version: &str) -> Program {
    let mut program = Program::new();
    program.add_rodata(b"%.80s (%.80s) %.80s\0");
    let literal = program.add_rodata(format!("{version}\0").as_bytes());
    program.text[0x40..0x4d].copy_from_slice(
        &[
            // mov $literal,%ecx; mov $0xfa,%esi; ret
            &[0xb9][..],
            &u32::try_from(literal).unwrap().to_le_bytes(),
            &[0xbe, 0xfa, 0, 0, 0, 0xc3, 0xcc, 0xcc],
        ]
        .concat(),
    );
    program.exports = vec![
        function("_PyEval_EvalFrameDefault", program.text_at(0), 0x40),
        function("PyEval_EvalFrameEx", program.text_at(0x20), 0),
        function("Py_GetVersion", program.text_at(GET_VERSION), 13),
        undefined("malloc"),
    ];
    program
}

/// A CPython whose marker has these arguments.
fn cpython(version: &str, arguments: &'static str) -> Program {
    let mut program = without_markers(version);
    let base = program.add_rodata(&[0]);
    program.text[usize::try_from(MARKER).unwrap()] = 0x90;
    program.sections = vec![
        base_section(&program, base),
        Named {
            name: ".probes",
            kind: elf::SHT_PROGBITS,
            allocated: true,
            address: program.data_at(SEMAPHORE),
            offset: program::DATA.0 + SEMAPHORE,
            size: 2,
        },
    ];
    program.markers = vec![Marker {
        provider: "python",
        name: "function__entry",
        location: program.text_at(MARKER),
        base,
        semaphore: program.data_at(SEMAPHORE),
        arguments,
    }];
    program
}

/// Where the program header of the loaded segment is that begins at this offset of the file.
fn load_header(bytes: &[u8], offset: u64) -> usize {
    let load = elf::PT_LOAD.0.to_le_bytes();
    (64..)
        .step_by(56)
        .take(8)
        .find(|at| {
            bytes[*at..].starts_with(&load) && bytes[at + 8..].starts_with(&offset.to_le_bytes())
        })
        .expect("there is such a segment")
}

/// The section by which prelink's moves are seen.
fn base_section(program: &Program, address: u64) -> Named {
    Named {
        name: ".stapsdt.base",
        kind: elf::SHT_PROGBITS,
        allocated: true,
        address,
        offset: RODATA.0 + (address - program.rodata_at(0)),
        size: 1,
    }
}

/// Debian's arguments of the marker in 3.9.
const ARGUMENTS: &str = "8@%r13 8@%r14 -4@%eax";

/// Counts what is read of a file, and can fail.
struct Watched {
    bytes: Vec<u8>,
    /// The file has lost everything from here on since it was opened.
    cut: usize,
    reads: Cell<usize>,
    read: Cell<usize>,
    fail_after: usize,
}

impl Watched {
    fn new(bytes: Vec<u8>) -> Self {
        Self {
            cut: bytes.len(),
            bytes,
            reads: Cell::new(0),
            read: Cell::new(0),
            fail_after: usize::MAX,
        }
    }

    fn examine(&self) -> Result<Option<Interpreter>, Fault> {
        let length = self.bytes.len() as u64;
        examine_for(Architecture::X86_64, self, length, Path::new("program"))
    }
}

impl ReadAt for Watched {
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.reads.set(self.reads.get() + 1);
        if self.reads.get() > self.fail_after {
            return Err(io::Error::from_raw_os_error(5));
        }
        let rest = self.bytes.get(..self.cut).unwrap_or_default();
        let start = usize::try_from(offset).unwrap();
        let rest = rest.get(start..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.read.set(self.read.get() + buffer.len());
        Ok(count)
    }
}
