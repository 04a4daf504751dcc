//! The layouts of the releases: `Include/cpython/code.h`, `Include/cpython/unicodeobject.h`,
//! `Include/cpython/pystate.h` and `Include/internal/pycore_frame.h` of each minor version
//! (`Include/code.h` and `Include/frameobject.h` before 3.8).
//!
//! They hold for builds with the global lock and without `--with-pydebug`, in which objects begin
//! with 16 bytes: `ob_refcnt` and `ob_type`.

use super::{BytecodeLayout, CodeLayout, CurrentFrame, Layout, Repeats, TextLayout, ThreadLayout};

/// The layout of a minor version; `None` for one that is not known.
pub(in crate::cpython) fn layout(minor: (u8, u8)) -> Option<Layout> {
    let code = |filename, name, first_line| CodeLayout {
        filename,
        name,
        qualified_name: None,
        first_line,
        bytecode: None,
        instrumentation_version: None,
    };
    let old = |code| Layout {
        frame_to_code: 0x20,
        tagged_code_pointer: false,
        frame_to_previous: 0x18,
        frame_to_owner: None,
        object_to_type: 8,
        code_type: None,
        code,
        text: OLD_TEXT,
        thread: None,
    };
    let bytecode = |start| {
        Some(BytecodeLayout {
            start,
            code_units: 0x10,
        })
    };
    let new = |start, instrumentation_version, thread| Layout {
        frame_to_code: 0,
        tagged_code_pointer: false,
        frame_to_previous: 8,
        frame_to_owner: Some(0x46),
        object_to_type: 8,
        code_type: None,
        code: CodeLayout {
            qualified_name: Some(0x80),
            bytecode: bytecode(start),
            instrumentation_version: Some(instrumentation_version),
            ..code(0x70, 0x78, 0x44)
        },
        text: TEXT,
        thread: Some(thread),
    };
    let thread = |tracing| ThreadLayout {
        current_frame: CurrentFrame::Field(0x48),
        repeats: Some(Repeats::Thread {
            eval_breaker: 0x18,
            event_bits: 0xff,
            tracing,
        }),
    };
    Some(match minor {
        (3, 6 | 7) => old(code(0x60, 0x68, 0x24)),
        (3, 8..=10) => old(code(0x68, 0x70, 0x28)),
        (3, 11) => Layout {
            frame_to_previous: 0x30,
            thread: Some(ThreadLayout {
                current_frame: CurrentFrame::Through {
                    pointer: 0x38,
                    field: 8,
                },
                repeats: None,
            }),
            ..old(CodeLayout {
                qualified_name: Some(0x80),
                bytecode: bytecode(0xb8),
                ..code(0x70, 0x78, 0x48)
            })
        },
        (3, 12) => {
            let thread = ThreadLayout {
                current_frame: CurrentFrame::Through {
                    pointer: 0x38,
                    field: 0,
                },
                repeats: Some(Repeats::Interpreter {
                    interpreter: 0x10,
                    version: 0x30,
                }),
            };
            new(0xc0, 0xa0, thread)
        }
        (3, 13) => new(0xc8, 0xa8, thread(0x3c)),
        (3, 14) => Layout {
            tagged_code_pointer: true,
            frame_to_owner: Some(0x4a),
            ..new(0xd0, 0xa8, thread(0x3c))
        },
        (3, 15) => Layout {
            tagged_code_pointer: true,
            frame_to_owner: Some(0x4a),
            ..new(0xd0, 0xa8, thread(0x40))
        },
        _ => return None,
    })
}

/// Until 3.11 a text has its form for `wchar_t` in itself.
const OLD_TEXT: TextLayout = TextLayout {
    length: 0x10,
    state: 0x20,
    ascii_data: 0x30,
    other_data: 0x48,
};

const TEXT: TextLayout = TextLayout {
    length: 0x10,
    state: 0x20,
    ascii_data: 0x28,
    other_data: 0x38,
};
