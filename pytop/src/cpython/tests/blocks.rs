//! Real handlers of real interpreters, as GCC made them, followed to their branch.

use crate::cpython::Value;
use crate::cpython::block::{Block, Path};

const RSP: u8 = 4;
const RBP: u8 = 5;
const RBX: u8 = 3;

/// What a handler does, in terms of what registers held at its start.
struct Expected {
    name: &'static str,
    code: &'static [u8],
    frame: Path,
    next_instruction: Path,
    thread: Path,
    /// Both sides of the comparison at the end.
    compared: (Path, Path),
    /// Where the three are at the end, by words of `pt_regs`.
    places: [Value; 3],
}

fn at(register: u8, hops: &[i64]) -> Path {
    hops.iter().fold(Path::start(register), |path, hop| {
        path.load(*hop).expect("it is short")
    })
}

const fn register(word: u8, plus: i64) -> Value {
    Value::Register { word, plus }
}

fn handlers() -> Vec<Expected> {
    vec![
        Expected {
            name: "RESUME_CHECK of Debian's 3.14.10: a tagged pointer, and a variable on the stack",
            code: &[
                0xf3, 0x0f, 0x1e, 0xfa, // endbr64
                0x48, 0x8b, 0x03, // mov (%rbx),%rax
                0x49, 0x8d, 0x7a, 0x02, // lea 0x2(%r10),%rdi
                0x4c, 0x89, 0x53, 0x38, // mov %r10,0x38(%rbx)
                0x48, 0x89, 0xbd, 0xa8, 0xfd, 0xff, 0xff, // mov %rdi,-0x258(%rbp)
                0x49, 0x8b, 0x4c, 0x24, 0x18, // mov 0x18(%r12),%rcx
                0x48, 0x83, 0xe0, 0xfe, // and $-2,%rax
                0x48, 0x39, 0x88, 0xa8, 0, 0, 0, // cmp %rcx,0xa8(%rax)
                0x0f, 0x85, 0x02, 0x01, 0, 0, // jne
            ],
            frame: at(RBX, &[]),
            next_instruction: at(10, &[]),
            thread: at(12, &[]),
            compared: (at(RBX, &[0, 0xa8]), at(12, &[0x18])),
            places: [register(5, 0), register(7, 0), register(3, 0)],
        },
        Expected {
            name: "RESUME of pyenv's 3.12.1: the thread on the stack, read into a register and lost",
            code: &[
                0x49, 0x8d, 0x42, 0x02, // lea 0x2(%r10),%rax
                0x48, 0x8b, 0x3b, // mov (%rbx),%rdi
                0x4c, 0x89, 0x53, 0x38, // mov %r10,0x38(%rbx)
                0x48, 0x89, 0x44, 0x24, 0x10, // mov %rax,0x10(%rsp)
                0x48, 0x8b, 0x44, 0x24, 0x08, // mov 0x8(%rsp),%rax
                0x4c, 0x89, 0x54, 0x24, 0x20, // mov %r10,0x20(%rsp)
                0x48, 0x8b, 0x70, 0x10, // mov 0x10(%rax),%rsi
                0x48, 0x8b, 0x46, 0x30, // mov 0x30(%rsi),%rax
                0x48, 0x39, 0x87, 0xa0, 0, 0, 0, // cmp %rax,0xa0(%rdi)
                0x0f, 0x84, 0x6a, 0x11, 0, 0, // je
            ],
            frame: at(RBX, &[]),
            next_instruction: at(10, &[]),
            thread: at(RSP, &[8]),
            compared: (at(RBX, &[0, 0xa0]), at(RSP, &[8, 0x10, 0x30])),
            places: [
                register(5, 0),
                register(7, 0),
                Value::Memory {
                    base: 19,
                    displacement: 8,
                    plus: 0,
                },
            ],
        },
        Expected {
            name: "RESUME_CHECK of pyenv's 3.13.0: the next instruction has moved on",
            code: &[
                0x48, 0x8b, 0x04, 0x24, // mov (%rsp),%rax
                0x4c, 0x89, 0x7d, 0x38, // mov %r15,0x38(%rbp)
                0x49, 0x83, 0xc7, 0x02, // add $0x2,%r15
                0x48, 0x8b, 0x40, 0x18, // mov 0x18(%rax),%rax
                0x48, 0x8b, 0x55, 0x00, // mov 0x0(%rbp),%rdx
                0x48, 0x39, 0x82, 0xa8, 0, 0, 0, // cmp %rax,0xa8(%rdx)
                0x75, 0xad, // jne
            ],
            frame: at(RBP, &[]),
            next_instruction: at(15, &[]),
            thread: at(RSP, &[0]),
            compared: (at(RBP, &[0, 0xa8]), at(RSP, &[0, 0x18])),
            places: [
                register(4, 0),
                register(0, -2),
                Value::Memory {
                    base: 19,
                    displacement: 0,
                    plus: 0,
                },
            ],
        },
    ]
}

#[test]
fn handlers_are_followed_to_their_branch() {
    for expected in handlers() {
        let name = expected.name;
        let block = Block::follow(expected.code, 0x1000).expect(name);
        assert_eq!(block.end(), 0x1000 + expected.code.len() as u64, "{name}");
        assert_eq!(block.decided_by(), Some(expected.compared), "{name}");
        let first = block.stores.first().expect(name);
        assert_eq!(first.value, Some(expected.next_instruction), "{name}");
        assert_eq!(
            first
                .address
                .load(0)
                .and_then(|field| field.container(0x38)),
            Some(expected.frame),
            "{name}"
        );
        let last = block.steps.last().expect(name);
        let wanted = [expected.frame, expected.next_instruction, expected.thread];
        let places = wanted.map(|path| block.locate(last, path));
        assert_eq!(places, expected.places.map(Some), "{name}");
    }
}

#[test]
fn the_lowest_byte_set_to_zero_is_told() {
    // INSTRUMENTED_RESUME: mov 0x18(%rsi),%rax; xor %al,%al; cmp 0xa8(%rdi),%rax; je
    let code = [
        0x48, 0x8b, 0x46, 0x18, 0x30, 0xc0, 0x48, 0x3b, 0x87, 0xa8, 0, 0, 0, 0x74, 0x0b,
    ];
    let block = Block::follow(&code, 0).expect("it ends in a branch");
    let (breaker, version) = block.decided_by().expect("it compares");
    assert_eq!(version, at(7, &[0xa8]));
    assert_eq!(breaker.cleared(), 0xff);
    assert_eq!(breaker.container(0x18), Some(at(6, &[])));
}

#[test]
fn what_is_overwritten_is_forgotten() {
    // mov %rbx,%rax; xor %ebx,%ebx; mov %rcx,0x8(%rsp); jmp
    let code = [
        0x48, 0x89, 0xd8, 0x31, 0xdb, 0x48, 0x89, 0x4c, 0x24, 0x08, 0xeb, 0x00,
    ];
    let block = Block::follow(&code, 0).expect("it ends in a branch");
    let last = block.steps.last().expect("the branch");
    // rbx has gone on to rax, and the place on the stack has something else.
    assert_eq!(block.locate(last, at(RBX, &[])), Some(register(10, 0)));
    assert_eq!(block.locate(last, at(RSP, &[8])), None);
    let first = block.steps.first().expect("the first");
    assert_eq!(block.locate(first, at(RBX, &[])), Some(register(5, 0)));
}

#[test]
fn what_leads_to_no_branch_is_no_block() {
    for code in [
        &[][..],
        &[0x90; 8],
        &[0x90; 600],
        &[0x06, 0xeb, 0x00],
        &[0x48],
        &[0x0f, 0x85, 0x02],
    ] {
        assert!(Block::follow(code, 0).is_none(), "{code:x?}");
    }
}

#[test]
fn any_bytes_can_be_followed() {
    let mut random = 1_u64;
    let mut blocks = 0;
    for _ in 0..20_000 {
        let mut code = [0; 64];
        for byte in &mut code {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *byte = random.to_le_bytes()[6];
        }
        blocks += usize::from(Block::follow(&code, u64::MAX - 32).is_some());
    }
    assert!(blocks > 1000);
}
