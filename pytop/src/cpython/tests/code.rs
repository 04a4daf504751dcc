//! Interpreters made in memory, with an evaluation loop as GCC makes it for 3.13.

use super::program::DATA;
use super::*;
use crate::cpython::code::examine_code_for;
use crate::cpython::{CodeMethod, Family, Handler, Resume, Stepping, Value};

/// Where the state of the runtime is in the data.
const RUNTIME: u64 = 0x100;
/// Where the first handler is in the text, behind an instruction that ends what is before.
const HANDLERS: u64 = 0x100;
const UNUSED: [std::ops::RangeInclusive<u8>; 3] = [119..=148, 223..=235, 255..=255];
const RESUME: u8 = 149;
const CHECK: u8 = 207;
const INSTRUMENTED: u8 = 236;
const NOP: u8 = 30;
const ENTER_EXECUTOR: u8 = 70;

/// mov %rbp,0x38(%rbx); add $2,%rbp
const BEGIN: [u8; 8] = [0x48, 0x89, 0x6b, 0x38, 0x48, 0x83, 0xc5, 0x02];
/// mov 0x18(%r14),%rax; mov (%rbx),%rdi
const LOAD: [u8; 7] = [0x49, 0x8b, 0x46, 0x18, 0x48, 0x8b, 0x3b];
/// cmp %rax,0xa8(%rdi)
const COMPARE: [u8; 7] = [0x48, 0x39, 0x87, 0xa8, 0, 0, 0];
/// cmpl $0,0x3c(%r14)
const TRACING: [u8; 5] = [0x41, 0x83, 0x7e, 0x3c, 0];

/// An evaluation loop.
struct Loop {
    program: Program,
    table: u64,
    handlers: [u64; 256],
}

impl Loop {
    fn new() -> Self {
        Self::with(|_, _| None)
    }

    /// With other instructions for some handlers, given the bytecode and the table's address.
    fn with(other: impl Fn(u8, [u8; 4]) -> Option<Vec<u8>>) -> Self {
        let mut program = without_markers("3.13.5");
        program
            .text
            .resize(usize::try_from(HANDLERS).unwrap(), 0xcc);
        while !program.rodata.len().is_multiple_of(8) {
            program.rodata.push(0);
        }
        let table = program.rodata_at(program.rodata.len() as u64);
        let low = u32::try_from(table).unwrap().to_le_bytes();
        // jmp *table(,%rax,8)
        let dispatch = [&[0xff, 0x24, 0xc5], &low[..]].concat();
        let mut handlers = [0; 256];
        let mut add = |code: &[u8]| {
            let address = program.text_at(program.text.len() as u64);
            program.text.extend_from_slice(code);
            address
        };
        let mut ud2 = [0xcc; 16];
        ud2[..2].copy_from_slice(&[0x0f, 0x0b]);
        let unknown = add(&ud2);
        for opcode in 0..=u8::MAX {
            let code = match opcode {
                _ if UNUSED.iter().any(|range| range.contains(&opcode)) => {
                    handlers[usize::from(opcode)] = unknown;
                    continue;
                }
                _ if let Some(code) = other(opcode, low) => code,
                // je +0 to what follows
                RESUME => [&BEGIN[..], &TRACING, &[0x74, 0], &dispatch].concat(),
                CHECK => [&BEGIN[..], &LOAD, &COMPARE, &[0x75, 0], &dispatch].concat(),
                // xor %al,%al
                INSTRUMENTED => [
                    &BEGIN[..],
                    &LOAD,
                    &[0x30, 0xc0],
                    &COMPARE,
                    &[0x74, 0],
                    &dispatch,
                ]
                .concat(),
                // movzwl (%rbp),%eax
                NOP => [&BEGIN[..], &[0x0f, 0xb7, 0x45, 0], &dispatch].concat(),
                _ => [&BEGIN[..], &dispatch].concat(),
            };
            handlers[usize::from(opcode)] = add(&code);
        }
        for handler in handlers {
            program.add_rodata(&handler.to_le_bytes());
        }
        program.data.resize(0x500, 0);
        let runtime = usize::try_from(RUNTIME).unwrap();
        program.data[runtime..][..792].copy_from_slice(&offsets());
        program.sections = vec![Named {
            name: ".PyRuntime",
            kind: elf::SHT_PROGBITS,
            allocated: true,
            address: program.data_at(RUNTIME),
            offset: DATA.0 + RUNTIME,
            size: 792,
        }];
        Self {
            program,
            table,
            handlers,
        }
    }

    fn handler(&self, opcode: u8) -> u64 {
        self.handlers[usize::from(opcode)]
    }

    /// The number at an index of the offsets for debuggers.
    fn number(&mut self, index: usize) -> &mut u8 {
        let runtime = usize::try_from(RUNTIME).unwrap();
        &mut self.program.data[runtime + 8 * index]
    }

    fn examine(&self) -> Result<CodeMethod, NotCountable> {
        code_of(&self.program.build())
    }

    fn resume(&self) -> Resume {
        match self.examine() {
            Ok(CodeMethod::Resume(resume)) => resume,
            other => panic!("{other:?}"),
        }
    }

    fn reason(&self) -> String {
        self.examine().expect_err("it is refused").to_string()
    }
}

/// `_Py_DebugOffsets` of 3.13.5.
fn offsets() -> Vec<u8> {
    let mut numbers = [0_u64; 99];
    numbers[0] = u64::from_le_bytes(*b"xdebugpy");
    numbers[1] = 0x030d_05f0;
    for (index, number) in [
        (20, 0x48),
        (26, 8),
        (28, 0x38),
        (30, 0x46),
        (32, 0x70),
        (33, 0x78),
        (34, 0x80),
        (36, 0x44),
        (40, 0xc8),
        (42, 8),
        (65, 0x20),
        (66, 0x10),
        (67, 0x28),
    ] {
        numbers[3 + index] = number;
    }
    numbers
        .iter()
        .flat_map(|number| number.to_le_bytes())
        .collect()
}

fn code_of(bytes: &Vec<u8>) -> Result<CodeMethod, NotCountable> {
    let interpreter = examine_bytes(bytes).unwrap().expect("it is a CPython");
    let length = bytes.len() as u64;
    examine_code_for(Architecture::X86_64, bytes, length, &interpreter).unwrap()
}

#[test]
fn the_handlers_of_3_13() {
    let made = Loop::new();
    let resume = made.resume();
    let value = |word, plus| Value::Register { word, plus };
    let handler = |family, opcode, at, instruction: &str| Handler {
        opcode,
        family,
        address: made.handler(opcode) + at,
        file_offset: made.handler(opcode) + at - 0x40_2000,
        instruction: instruction.into(),
        stepping: Stepping::Emulated,
        frame: value(5, 0),
        next_instruction: value(4, -2),
        thread_state: Some(value(1, 0)),
        current_when_zero_flag: (family != Family::Resume).then_some(true),
        deopt_enters: false,
    };
    let expected = [
        handler(Family::Resume, RESUME, 13, "je"),
        handler(Family::ResumeCheck, CHECK, 22, "jne"),
        handler(Family::Instrumented, INSTRUMENTED, 24, "je"),
    ];
    assert_eq!(resume.handlers, expected);
    assert_eq!(resume.layout.code.filename, 0x70);
    let executor = made.handler(ENTER_EXECUTOR) - 0x40_2000;
    assert_eq!(resume.executor_file_offset, Some(executor));
}

#[test]
fn the_seeds_are_interpreters() {
    seeds::check("resume", &Loop::new().program);
    let mut program = without_markers("3.8.18");
    program.text[..14].copy_from_slice(&EVALUATE);
    seeds::check("eval", &program);
}

#[test]
fn a_changed_table_is_none() {
    let unchanged = Loop::new();
    let unknown = unchanged.handler(255);
    let start = unchanged.program.rodata.len() - 2048;
    for (opcode, address) in [
        // A bytecode without a handler, and a handler without a bytecode.
        (RESUME, unknown),
        (120, unchanged.handler(3)),
        // No instructions.
        (3, unchanged.program.data_at(0)),
        (3, 0),
    ] {
        let mut changed = Loop::new();
        let at = start + 8 * usize::from(opcode);
        changed.program.rodata[at..at + 8].copy_from_slice(&address.to_le_bytes());
        assert!(changed.reason().contains("was not found"), "{opcode}");
    }
    // The handler of another bytecode of the family would count those.
    for (opcode, taken) in [(RESUME, 3), (3, CHECK)] {
        let mut changed = Loop::new();
        let at = start + 8 * usize::from(opcode);
        let address = unchanged.handler(taken).to_le_bytes();
        changed.program.rodata[at..at + 8].copy_from_slice(&address);
        let reason = changed.reason();
        assert!(
            reason.contains("is also that of another bytecode"),
            "{reason}"
        );
    }
}

#[test]
fn a_second_table_is_one_too_many() {
    let mut made = Loop::new();
    let start = made.program.rodata.len() - 2048;
    let table = made.program.rodata[start..].to_vec();
    made.program.data.resize(0x500, 0);
    made.program.data.extend(table);
    assert!(made.reason().contains("is there several times"));
}

#[test]
fn a_table_that_the_loader_fills() {
    let right = Loop::new().resume();
    let mut made = Loop::new();
    let start = made.program.rodata.len() - 2048;
    made.program.rodata[start..].fill(0);
    assert!(made.reason().contains("was not found"));
    let table = made.program.data_at(made.program.data.len() as u64);
    for (place, handler) in (made.table..).step_by(8).zip(made.handlers) {
        // R_X86_64_RELATIVE
        for word in [place, 8, handler] {
            made.program.data.extend(word.to_le_bytes());
        }
    }
    made.program.relocations = Some((table, 256 * 24));
    assert_eq!(made.resume(), right);
    // One of another kind among them.
    let at = made.program.data.len() - 24 * 100 + 8;
    made.program.data[at] = 6;
    assert!(made.reason().contains("was not found"));
}

#[test]
fn a_table_that_no_instruction_uses() {
    let mut made = Loop::new();
    // Moved by a few bytes, it is where nobody looks for it.
    let start = made.program.rodata.len() - 2048;
    made.program.rodata.splice(start..start, [0; 16]);
    assert!(made.reason().contains("is not used"), "{}", made.reason());
    assert_ne!(made.table, 0);
}

#[test]
fn jumps_into_a_handler_move_the_site() {
    // RESUME_CHECK gives up into the middle of RESUME, behind what they have in common.
    let first = Loop::new();
    let middle = first.handler(RESUME) + 8;
    let distance = i32::try_from(middle.cast_signed() - first.handler(CHECK).cast_signed() - 28);
    let distance = distance.unwrap().to_le_bytes();
    let made = Loop::with(|opcode, table| {
        (opcode == CHECK).then(|| {
            let branch = [&[0x0f, 0x85], &distance[..]].concat();
            let dispatch = [&[0xff, 0x24, 0xc5], &table[..]].concat();
            [&BEGIN[..], &LOAD, &COMPARE, &branch, &dispatch].concat()
        })
    });
    let resume = made.resume();
    let [plain, check, _] = resume.handlers.as_slice() else {
        panic!("{resume:?}");
    };
    assert_eq!(plain.address, made.handler(RESUME));
    assert_eq!(plain.instruction, "mov");
    assert_eq!(plain.stepping, Stepping::SingleStepped);
    assert_eq!(plain.next_instruction, Value::Register { word: 4, plus: 0 });
    assert_eq!(plain.current_when_zero_flag, None);
    assert!(!plain.deopt_enters && !check.deopt_enters);
    assert_eq!(check.address, made.handler(CHECK) + 22);
    assert_eq!(check.stepping, Stepping::Emulated);
}

#[test]
fn a_deopt_to_the_start_is_told_and_any_other_jump_there_refused() {
    let start = Loop::new().handler(RESUME).cast_signed();
    let jump = |from: u64, opcode: &[u8]| {
        let end = from.cast_signed() + i64::try_from(opcode.len()).unwrap() + 4;
        let distance = i32::try_from(start - end).unwrap().to_le_bytes();
        [opcode, &distance].concat()
    };
    let at = Loop::new().handler(CHECK);
    let made = Loop::with(|opcode, table| {
        (opcode == CHECK).then(|| {
            let dispatch = [&[0xff, 0x24, 0xc5], &table[..]].concat();
            let branch = jump(at + 22, &[0x0f, 0x85]);
            [&BEGIN[..], &LOAD, &COMPARE, &branch, &dispatch].concat()
        })
    });
    let entered: Vec<_> = made
        .resume()
        .handlers
        .iter()
        .map(|h| h.deopt_enters)
        .collect();
    assert_eq!(entered, [true, false, false]);
    let at = Loop::new().handler(200);
    let made = Loop::with(|opcode, _| {
        (opcode == 200).then(|| [&BEGIN[..], &jump(at + 8, &[0xe9])].concat())
    });
    assert!(
        made.reason()
            .contains("is entered by a jump from elsewhere")
    );
}

#[test]
fn a_handler_that_is_run_into_is_refused() {
    // The one before RESUME ends in no jump.
    let made = Loop::with(|opcode, _| {
        (opcode == 118).then(|| [&BEGIN[..], &[0x31, 0xc0, 0x31, 0xc9]].concat())
    });
    let reason = made.reason();
    assert!(
        reason.contains("RESUME may be entered from the instruction before"),
        "{reason}"
    );
}

#[test]
fn handlers_that_contradict_each_other_are_refused() {
    // mov %r12,0x38(%rbx) in one of the family: the next instruction would be in r12.
    let other = [&[0x4c, 0x89, 0x63, 0x38][..], &BEGIN[4..]].concat();
    let made = Loop::with(|opcode, table| {
        let dispatch = [&[0xff, 0x24, 0xc5], &table[..]].concat();
        (opcode == RESUME).then(|| [&other[..], &TRACING, &[0x74, 0], &dispatch].concat())
    });
    assert!(made.reason().contains("cannot tell apart"));
    // Another thread in each: r14 and r13.
    let made = Loop::with(|opcode, table| {
        let dispatch = [&[0xff, 0x24, 0xc5], &table[..]].concat();
        let load = [0x49, 0x8b, 0x45, 0x18, 0x48, 0x8b, 0x3b];
        (opcode == CHECK).then(|| [&BEGIN[..], &load, &COMPARE, &[0x75, 0], &dispatch].concat())
    });
    assert!(made.reason().contains("cannot tell apart"));
    // The family compares another field.
    let made = Loop::with(|opcode, table| {
        let dispatch = [&[0xff, 0x24, 0xc5], &table[..]].concat();
        let compare = [0x48, 0x39, 0x87, 0xb0, 0, 0, 0];
        [CHECK, INSTRUMENTED]
            .contains(&opcode)
            .then(|| [&BEGIN[..], &LOAD, &compare, &[0x75, 0], &dispatch].concat())
    });
    assert!(made.reason().contains("cannot tell apart"));
}

#[test]
fn offsets_for_debuggers_that_are_not_those_of_the_version() {
    for (index, value, part) in [
        (0, b'X', "cookie"),
        (2, 1, "free-threaded"),
        (2, 2, "impossible flag"),
        (3 + 32, 0x68, "changed"),
        (3 + 65, 0x18, "changed"),
        (3 + 20, 0x40, "changed"),
    ] {
        let mut made = Loop::new();
        *made.number(index) = value;
        let reason = made.reason();
        assert!(reason.contains(part), "{index}: {reason}");
    }
    let mut made = Loop::new();
    made.program.sections.clear();
    assert!(made.reason().contains("is missing"));
}

#[test]
fn what_is_no_release_of_a_known_version() {
    for version in ["3.13.0a1", "3.13.0b4", "3.16.0", "3.16.0a1", "3.20.1"] {
        let made = without_markers(version);
        let reason = code_of(&made.build()).unwrap_err().to_string();
        assert!(reason.contains("does not know"), "{version}: {reason}");
    }
    let reason = code_of(&without_markers("3.5.2").build()).unwrap_err();
    assert!(reason.to_string().contains("too old"));
}

#[test]
fn a_debug_build_is_refused() {
    let mut made = Loop::new();
    let address = made.program.text_at(0);
    made.program
        .exports
        .push(function("_Py_NegativeRefcount", address, 8));
    assert_eq!(made.examine(), Err(NotCountable::DebugBuild));
}

#[test]
fn a_tail_calling_build_is_refused() {
    let made = Loop::with(|opcode, table| {
        // mov %r15,0x38(%r12); add $2,%r15
        let begin = [0x4d, 0x89, 0x7c, 0x24, 0x38, 0x49, 0x83, 0xc7, 0x02];
        // mov 0x18(%r14),%rax; mov (%r12),%rdi
        let load = [0x49, 0x8b, 0x46, 0x18, 0x49, 0x8b, 0x3c, 0x24];
        let what = match opcode {
            RESUME | CHECK | INSTRUMENTED => [&load[..], &COMPARE, &[0x75, 0]].concat(),
            // movzwl (%r15),%eax
            NOP => vec![0x41, 0x0f, 0xb7, 0x07],
            _ => Vec::new(),
        };
        let mut code = [&begin[..], &what, &[0xff, 0x24, 0xc5], &table].concat();
        code.resize(code.len().next_multiple_of(16), 0xcc);
        Some(code)
    });
    assert_eq!(made.examine(), Err(NotCountable::TailCalling));
}

#[test]
fn other_processors_are_refused() {
    let mut made = Loop::new();
    made.program.machine = elf::EM_AARCH64;
    let architecture = Architecture::Aarch64;
    let expected = Err(NotCountable::MethodArchitecture { architecture });
    assert_eq!(made.examine(), expected);
}

/// The evaluation function of 3.8: endbr64; push %r15; push %r14; mov %rdi,%r14; then a branch.
const EVALUATE: [u8; 14] = [
    0xf3, 0x0f, 0x1e, 0xfa, 0x41, 0x57, 0x41, 0x56, 0x49, 0x89, 0xfe, 0x74, 0x00, 0xc3,
];

#[test]
fn the_evaluation_function() {
    for (version, word) in [
        ("3.6.15", 14),
        ("3.8.18", 14),
        ("3.9.2", 13),
        ("3.10.13", 13),
    ] {
        let mut program = without_markers(version);
        program.text[..14].copy_from_slice(&EVALUATE);
        let Ok(CodeMethod::Eval(site)) = code_of(&program.build()) else {
            panic!("{version}");
        };
        assert_eq!(site.address, program.text_at(11));
        assert_eq!(site.file_offset, program::TEXT.0 + 11);
        assert_eq!(site.instruction, "je");
        assert_eq!(site.stepping, Stepping::Emulated);
        assert_eq!(site.frame, Value::Register { word, plus: 0 });
        // A jump to the start is a call of the function to itself; one to the branch leaves a push, and
        // one to that the first instruction.
        for (distance, address, stepping) in [
            (0x8e, program.text_at(11), Stepping::Emulated),
            (0x99, program.text_at(4), Stepping::Emulated),
            (0x92, program.text_at(0), Stepping::SingleStepped),
        ] {
            program.text[0x70..0x72].copy_from_slice(&[0xeb, distance]);
            let Ok(CodeMethod::Eval(site)) = code_of(&program.build()) else {
                panic!("{version}");
            };
            assert_eq!((site.address, site.stepping), (address, stepping));
        }
    }
}

#[test]
fn no_evaluation_function() {
    let mut program = without_markers("3.8.18");
    program.exports.remove(0);
    let reason = code_of(&program.build()).unwrap_err().to_string();
    assert!(reason.contains("not among its symbols"), "{reason}");
    let mut program = without_markers("3.8.18");
    program.text[..2].copy_from_slice(&[0x06, 0x06]);
    let reason = code_of(&program.build()).unwrap_err().to_string();
    assert!(reason.contains("does not begin with"), "{reason}");
}

#[test]
fn no_changed_byte_makes_it_panic_or_read_much() {
    let bytes = Loop::new().program.build();
    let interpreter = examine_bytes(&bytes).unwrap().unwrap();
    let Ok(CodeMethod::Resume(right)) = code_of(&bytes) else {
        panic!("it is countable");
    };
    let (mut same, mut refused) = (0, 0);
    for position in (0..bytes.len()).step_by(7) {
        // Padding between the pieces says nothing.
        if bytes.get(position.wrapping_sub(8)..position + 8) == Some(&[0; 16]) {
            continue;
        }
        for value in [0x00, 0xeb] {
            let mut file = Watched::new(bytes.clone());
            file.bytes[position] = value;
            let length = bytes.len() as u64;
            let found = examine_code_for(Architecture::X86_64, &file, length, &interpreter);
            assert!(
                file.read.get() < 64 * bytes.len(),
                "{position}: {}",
                file.read.get()
            );
            match found {
                Ok(Ok(CodeMethod::Resume(found))) if found == right => same += 1,
                _ => refused += 1,
            }
        }
    }
    assert!(same > 100 && refused > 100, "{same} {refused}");
}

#[test]
fn a_file_cut_anywhere_is_refused() {
    let bytes = Loop::new().program.build();
    let interpreter = examine_bytes(&bytes).unwrap().unwrap();
    for length in (0..bytes.len()).step_by(61) {
        let cut = bytes[..length].to_vec();
        let length = length as u64;
        let found = examine_code_for(Architecture::X86_64, &cut, length, &interpreter);
        assert!(!matches!(found, Ok(Ok(_))), "{length}");
    }
}

#[test]
fn sizes_beyond_all_reason_take_no_memory() {
    let bytes = Loop::new().program.build();
    let interpreter = examine_bytes(&bytes).unwrap().unwrap();
    for value in [u64::MAX, i64::MAX as u64, 1 << 40, 1 << 33] {
        for position in (0..1024).step_by(8) {
            let mut file = Watched::new(bytes.clone());
            file.bytes[position..position + 8].copy_from_slice(&value.to_le_bytes());
            let found = examine_code_for(Architecture::X86_64, &file, u64::MAX, &interpreter);
            // Memory is only taken to be read into: the sum is a bound for it.
            assert!(file.read.get() < 16 << 20, "{position}: {found:?}");
        }
    }
}
