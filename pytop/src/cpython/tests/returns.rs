//! Where a function returns.

use pytop_common::trace::Condition;

use super::*;
use crate::cpython::exits::{Entries, Says, probes};

/// A function with an end that has three ways in.
const FUNCTION: [u8; 28] = [
    0x41, 0x57, //                   0 push %r15
    0x53, //                         2 push %rbx
    0x48, 0x83, 0xec, 0x10, //       3 sub  $0x10,%rsp
    0x85, 0xc0, //                   7 test %eax,%eax
    0x74, 0x05, //                   9 je   10
    0xe8, 0x30, 0x00, 0x00, 0x00, // b call 40
    0x48, 0x83, 0xc4, 0x10, //      10 add  $0x10,%rsp
    0x5b, //                        14 pop  %rbx
    0x41, 0x5f, //                  15 pop  %r15
    0xc3, //                        17 ret
    0x31, 0xc0, //                  18 xor  %eax,%eax
    0xeb, 0xf4, //                  1a jmp  10
];

/// Where in the function probes tell that it returns, what they add to the stack pointer, and when.
fn returns(change: impl Fn(&mut [u8])) -> Vec<(u64, i16, u8)> {
    let mut program = without_markers("3.8.18");
    let function = &mut program.text[..FUNCTION.len()];
    function.copy_from_slice(&FUNCTION);
    change(function);
    let image = program.build();
    let examined = crate::cpython::examine_image(&image, Path::new("python"));
    let interpreter = examined.unwrap().unwrap().interpreter;
    let image: &[u8] = &image;
    let Ok(probes) = probes(&image, image.len() as u64, &interpreter, Entries::Code) else {
        return Vec::new();
    };
    assert!(matches!(probes[0].says, Says::Evaluation(_)));
    let mut returns: Vec<_> = probes[1..]
        .iter()
        .map(|probe| {
            let Says::Evaluated(spec) = probe.says else {
                panic!("{probe:?}");
            };
            assert_eq!((spec.stack.register, spec.stack.memory), (19, 0));
            let at = probe.file_offset - program::TEXT.0;
            (at, spec.stack.plus, spec.condition)
        })
        .collect();
    returns.sort_unstable();
    returns
}

#[test]
fn the_ways_to_a_return_are_probed() {
    let (always, set) = (Condition::Always as u8, Condition::Set as u8);
    let ways = [
        (0x09, 0x20, set),
        (0x0b, 0x20, always),
        (0x1a, 0x20, always),
    ];
    assert_eq!(returns(|_| {}), ways);
    // A way to the middle of the end: to `pop %rbx`.
    let to_pop = returns(|code| code[0x1b] = 0xf8);
    assert_eq!(to_pop[2], (0x1a, 0x10, always));
}

#[test]
fn a_return_is_probed_itself_where_a_way_to_it_is_not_understood() {
    let itself = [(0x17, 0, Condition::Always as u8)];
    // A branch that another flag decides, and a stack pointer from somewhere else.
    assert_eq!(returns(|code| code[0x09] = 0x78), itself);
    let leave = |code: &mut [u8]| {
        code[0x10..0x14].copy_from_slice(&[0x48, 0x8d, 0x65, 0xf0]);
    };
    assert_eq!(returns(leave), itself);
}

#[test]
fn what_gives_no_register_back_is_no_return() {
    let none = |code: &mut [u8]| code[0x15..0x17].copy_from_slice(&[0x90, 0x90]);
    assert_eq!(returns(none), []);
}
