//! What several targets check.

use std::path::Path;

use pytop::cpython::fuzzing::{self, listing};
use pytop::cpython::{CodeMethod, Examined, Value, examine_image};
use pytop_common::marker::{Argument, ArgumentKind, MarkerSpec, NO_REGISTER, REGISTERS};

/// Words of `struct pt_regs` on x86-64 that hold a general register.
const GENERAL_REGISTERS: u8 = 21;

/// Examines bytes as a file. Whatever is found must be safe to attach to: a probe in the middle of
/// nowhere would change a byte that is no instruction.
pub fn examine(image: &[u8]) {
    let listing = listing(image);
    let Ok(Some(Examined { interpreter, code })) = examine_image(image, Path::new("libpython"))
    else {
        return;
    };
    if let Some(version) = interpreter.version {
        assert!(!version.to_string().is_empty());
    }
    for offset in fuzzing::exits(image, &interpreter) {
        in_file(image, offset, 1);
    }
    for offset in fuzzing::milestones(image) {
        in_file(image, offset, 1);
    }
    match interpreter.entry {
        Ok(sites) => {
            assert!(!sites.is_empty());
            let listing = listing.expect("an interpreter is an ELF file");
            for site in sites {
                let mut listed = listing.markers.iter();
                assert!(listed.any(|marker| marker.address == site.address));
                in_file(image, site.file_offset, 1);
                if let Some(semaphore) = site.semaphore_file_offset {
                    in_file(image, semaphore, 2);
                    assert!(semaphore <= u64::from(u32::MAX) && semaphore % 2 == 0);
                }
                servable(&site.spec);
            }
        }
        Err(reason) => assert!(!reason.to_string().is_empty()),
    }
    match code {
        Ok(CodeMethod::Eval(eval)) => {
            in_file(image, eval.file_offset, 1);
            readable(eval.frame);
        }
        Ok(CodeMethod::Resume(resume)) => {
            assert!(!resume.handlers.is_empty());
            let mut offsets: Vec<u64> = resume.handlers.iter().map(|h| h.file_offset).collect();
            offsets.extend(resume.executor_file_offset);
            for offset in &offsets {
                in_file(image, *offset, 1);
            }
            // Two probes at one instruction would count it twice.
            offsets.sort_unstable();
            assert!(offsets.windows(2).all(|pair| pair[0] != pair[1]));
            for handler in resume.handlers {
                readable(handler.frame);
                readable(handler.next_instruction);
                if let Some(thread) = handler.thread_state {
                    readable(thread);
                }
            }
        }
        Err(reason) => assert!(!reason.to_string().is_empty()),
    }
}

fn in_file(image: &[u8], offset: u64, size: u64) {
    let end = offset
        .checked_add(size)
        .expect("an offset near the end of all numbers");
    assert!(end <= image.len() as u64, "{offset:#x} is not in the file");
}

fn readable(value: Value) {
    let (Value::Register { word, .. } | Value::Memory { base: word, .. }) = value;
    assert!(word < GENERAL_REGISTERS);
}

/// Asserts what the kernel side takes for granted.
pub fn servable(spec: &MarkerSpec) {
    for argument in [&spec.filename, &spec.function, &spec.line] {
        servable_argument(argument);
    }
}

/// [`servable`] for one argument.
pub fn servable_argument(argument: &Argument) {
    let is_register = |word: u8| usize::from(word) < REGISTERS;
    let memory = argument.kind == ArgumentKind::Memory as u8;
    let register = argument.kind == ArgumentKind::Register as u8;
    assert!(memory || register || argument.kind == ArgumentKind::Constant as u8);
    assert!(is_register(argument.base) || (!register && argument.base == NO_REGISTER));
    assert!(argument.index == NO_REGISTER || (memory && is_register(argument.index)));
    assert!(argument.scale <= 3 && argument.left_shift <= 63 && argument.right_shift <= 63);
    assert!(argument.signed <= 1 && argument.reserved == 0);
}

/// Asserts that text can be shown in one line of a terminal and does nothing else to it.
pub fn harmless(text: &str) {
    for character in text.chars() {
        let hidden = matches!(character,
            '\u{0}'..='\u{1f}' | '\u{7f}'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}');
        assert!(!hidden, "{character:?} in {text:?}");
    }
}
