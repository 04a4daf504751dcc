//! Where the entries of frames can be counted in real interpreters without a marker.

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use pytop::cpython::{
    CodeMethod, EvalSite, Family, Handler, Interpreter, Resume, Stepping, Value, Version, examine,
    examine_code, examine_image,
};

use support::{at_hand, interpreter};

/// The files of all interpreters at hand.
fn files() -> Vec<PathBuf> {
    at_hand().map(|one| one.executable.clone()).collect()
}

fn examined(path: &Path) -> (Version, Interpreter) {
    let file = File::open(path).expect("it is there");
    let interpreter = examine(&file, path).expect("it is whole");
    let interpreter = interpreter.expect("it is a CPython");
    (
        interpreter.version.expect("it tells its version"),
        interpreter,
    )
}

fn method(path: &Path) -> CodeMethod {
    let (_, interpreter) = examined(path);
    let file = File::open(path).expect("it is there");
    examine_code(&file, path, &interpreter)
        .expect("it is whole")
        .unwrap_or_else(|reason| panic!("{} is not counted: {reason}", path.display()))
}

fn bytes_at(path: &Path, offset: u64) -> [u8; 2] {
    let mut bytes = [0; 2];
    let file = File::open(path).expect("it is there");
    file.read_exact_at(&mut bytes, offset)
        .expect("it is in the file");
    bytes
}

#[test]
fn every_interpreter_has_its_method() {
    let files = files();
    assert!(files.len() >= 5);
    for path in files {
        let (version, _) = examined(&path);
        println!("{} {version}", path.display());
        match method(&path) {
            CodeMethod::Eval(site) => {
                assert!(version.minor() < (3, 11));
                check_eval(&path, version, &site);
            }
            CodeMethod::Resume(resume) => {
                assert!(version.minor() >= (3, 11));
                check_resume(&path, version, &resume);
            }
        }
    }
}

fn check_eval(path: &Path, version: Version, site: &EvalSite) {
    // The first argument is in rdi, the second in rsi.
    let word = if version.minor() < (3, 9) { 14 } else { 13 };
    assert_eq!(site.frame, Value::Register { word, plus: 0 });
    assert_eq!(site.stepping, Stepping::Emulated);
    // A jump, which the kernel does without writing to the program's stack.
    assert!(site.instruction.starts_with('j'), "{}", site.instruction);
    let bytes = bytes_at(path, site.file_offset);
    assert!(
        matches!(bytes, [0x70..=0x7f | 0xeb, _] | [0x0f, 0x80..=0x8f]),
        "{bytes:x?}"
    );
    assert!(site.layout.code_type.is_some());
    assert_eq!(site.layout.thread, None);
}

fn check_resume(path: &Path, version: Version, resume: &Resume) {
    let found: Vec<_> = resume
        .handlers
        .iter()
        .map(|h| (h.opcode, h.family))
        .collect();
    let expected: &[_] = match version.minor() {
        (3, 11) => &[(151, Family::Resume), (150, Family::ResumeQuick)],
        (3, 12) => &[(151, Family::Resume), (240, Family::Instrumented)],
        (3, 13) => &[
            (149, Family::Resume),
            (207, Family::ResumeCheck),
            (236, Family::Instrumented),
        ],
        (3, 14) => &[
            (128, Family::Resume),
            (196, Family::ResumeCheck),
            (245, Family::Instrumented),
        ],
        _ => &[
            (128, Family::Resume),
            (200, Family::ResumeCheck),
            (201, Family::ResumeCheckJit),
            (244, Family::Instrumented),
        ],
    };
    assert_eq!(found, expected);
    assert_eq!(
        resume.executor_file_offset.is_some(),
        version.minor() >= (3, 13)
    );
    assert_eq!(
        resume.layout.tagged_code_pointer,
        version.minor() >= (3, 14)
    );
    assert!(resume.layout.code_type.is_some());
    // The bytecode that most entries run.
    let usual = match version.minor() {
        (3, 11) => Family::ResumeQuick,
        (3, 12) => Family::Resume,
        _ => Family::ResumeCheck,
    };
    for handler in &resume.handlers {
        check_handler(path, version, handler);
        if handler.family == usual {
            assert_eq!(handler.stepping, Stepping::Emulated);
            let decides = (version.minor() >= (3, 12)).then_some(true);
            assert_eq!(handler.current_when_zero_flag, decides);
        }
    }
}

fn check_handler(path: &Path, version: Version, handler: &Handler) {
    let name = handler.family.name();
    let Value::Register {
        word: frame,
        plus: 0,
    } = handler.frame
    else {
        panic!("{name}: {:?}", handler.frame);
    };
    let Value::Register { word: next, plus } = handler.next_instruction else {
        panic!("{name}: {:?}", handler.next_instruction);
    };
    assert_ne!(frame, next);
    assert!(matches!(plus, 0 | -2 | -4), "{name}: {plus}");
    assert_eq!(handler.thread_state.is_some(), version.minor() >= (3, 12));
    assert!(!handler.deopt_enters);
    let bytes = bytes_at(path, handler.file_offset);
    let emulated = matches!(
        bytes,
        [0x70..=0x7f | 0xe8 | 0xe9 | 0xeb, _] | [0x0f, 0x80..=0x8f]
    );
    assert_eq!(
        emulated,
        handler.stepping == Stepping::Emulated,
        "{name}: {bytes:x?}"
    );
}

/// A copy of an interpreter of 3.13.
fn copy() -> (tempfile::NamedTempFile, Interpreter) {
    let original = &interpreter("3.13").executable;
    let (_, interpreter) = examined(original);
    let mut copy = tempfile::NamedTempFile::new().expect("a file");
    copy.write_all(&fs::read(original).expect("it is there"))
        .expect("space for a copy");
    (copy, interpreter)
}

#[test]
fn a_file_that_was_cut_is_refused() {
    let (copy, interpreter) = copy();
    let length = copy.as_file().metadata().expect("a file").len();
    for part in (1..8).rev() {
        copy.as_file()
            .set_len(length / 8 * part)
            .expect("it becomes shorter");
        let found = examine_code(copy.as_file(), copy.path(), &interpreter);
        assert!(!matches!(found, Ok(Ok(_))), "{part} of 8: {found:?}");
    }
}

#[test]
fn one_other_byte_in_a_handler_is_seen() {
    let (copy, interpreter) = copy();
    let CodeMethod::Resume(right) = method(copy.path()) else {
        panic!("3.13 has RESUME");
    };
    for handler in &right.handlers {
        // The site becomes an instruction that does not exist, and the handler leads nowhere.
        let bytes = bytes_at(copy.path(), handler.file_offset);
        let write = |bytes: &[u8]| {
            let file = copy.as_file();
            file.write_all_at(bytes, handler.file_offset)
                .expect("it is writable");
        };
        write(&[0x06]);
        let found = examine_code(copy.as_file(), copy.path(), &interpreter).expect("it is whole");
        assert!(found.is_err(), "{}", handler.family.name());
        write(&bytes);
    }
    assert_eq!(method(copy.path()), CodeMethod::Resume(right));
}

#[test]
fn an_interpreter_of_another_version_is_refused() {
    let (copy, interpreter) = copy();
    let version = interpreter.version.expect("it tells its version");
    for minor in [11, 12, 14, 15, 16] {
        let interpreter = Interpreter {
            version: Some(Version { minor, ..version }),
            ..interpreter.clone()
        };
        let found = examine_code(copy.as_file(), copy.path(), &interpreter).expect("it is whole");
        assert!(found.is_err(), "3.{minor}");
    }
}

#[test]
fn changed_bytes_of_a_real_interpreter_make_no_panic() {
    let path = &interpreter("3.13").executable;
    let right = method(path);
    let CodeMethod::Resume(resume) = &right else {
        panic!("3.13 has RESUME");
    };
    let mut image = fs::read(path).expect("it is there");
    let examined = |image: &[u8]| examine_image(image, path);
    assert!(matches!(examined(&image), Ok(Some(found)) if found.code == Ok(right.clone())));
    // Headers, and the instructions around each site; the same ones every time.
    let near = resume.handlers.iter().map(|handler| handler.file_offset);
    let mut random = 1_u64;
    let mut changed = 0;
    for start in near.chain([0, 0x40, 0x80]) {
        for _ in 0..4 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = usize::try_from(start.saturating_sub(16) + (random >> 59)).expect("64 bits");
            let byte = image[at];
            image[at] = random.to_le_bytes()[4];
            let found = examined(&image);
            changed +=
                usize::from(!matches!(found, Ok(Some(found)) if found.code == Ok(right.clone())));
            image[at] = byte;
        }
    }
    assert!(changed > 0);
}
