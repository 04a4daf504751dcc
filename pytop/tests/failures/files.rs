//! Files that are not what they should be, while processes have them mapped.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use super::support::{Form, Outcome, Running, install, interpreter};
use super::whole_machine;

fn folder() -> TempDir {
    tempfile::tempdir().expect("a temporary folder can be made")
}

fn once(pid: u32) -> Outcome {
    Outcome::of_pytop(["--once", "-d", "0.1", "-p", &pid.to_string()])
}

/// A shared library that every Rust program has loaded, this one too.
fn some_library() -> PathBuf {
    let mappings = fs::read_to_string("/proc/self/maps").expect("a process has mappings");
    let library = mappings
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5))
        .find(|path| path.contains("/libgcc_s.so"));
    library.expect("Rust programs load libgcc_s").into()
}

/// A process that has loaded `library` and waits.
fn with(library: &Path) -> Running {
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo ready; read line"])
        .env("LD_PRELOAD", library);
    let running = Running::spawn("a shell".to_owned(), command);
    running.expect("ready");
    running
}

/// An installation in place of a library that is in use, which was broken off.
#[test]
fn a_library_is_cut_off_while_it_is_mapped() {
    let _whole = whole_machine();
    let folder = folder();
    let library = folder.path().join("libcut.so");
    fs::copy(some_library(), &library).expect("a library can be copied");
    let running = with(&library);
    let file = File::options()
        .write(true)
        .open(&library)
        .expect("it is ours");
    file.set_len(200).expect("it is not being executed");
    let pid = running.pid();
    let why = format!(
        "{} is a damaged ELF file: its program header table lies beyond the end of the file; no \
         interpreter in it can be counted until the file is installed again",
        library.display()
    );
    once(pid).assert_failed(
        1,
        &format!("cannot tell whether process {pid} runs CPython: {why}"),
    );

    let machine = Outcome::of_pytop(["--once", "-d", "0.1"]);
    let messages = machine.messages();
    let told = messages.iter().any(|message| {
        message.starts_with("processes may run CPython uncounted: ")
            && message.contains(" is a damaged ELF file: ")
    });
    assert!(told, "{messages:?}");
    assert_eq!(machine.status, 0);
}

/// The kernel and the dynamic loader read no sections, so that the interpreter runs all the same.
/// A name, what is written over the file where, and the message.
type Case<'a> = (&'a str, &'a [(usize, &'a [u8])], &'a str);

#[test]
fn an_interpreter_has_lost_its_sections() {
    let interpreter = interpreter("3.9");
    // e_shoff, e_shnum and e_shstrndx of Elf64_Ehdr: where the section headers are, how many there
    // are, and which of them has the names.
    let cases: [Case<'_>; 2] = [
        (
            "stripped",
            &[(0x28, &[0; 8]), (0x3c, &[0; 2]), (0x3e, &[0; 2])],
            "its section headers were stripped, and with them the way to its markers",
        ),
        (
            "beyond",
            &[(0x28, &[0, 0, 0, 0, 0, 1, 0, 0])],
            "its section header table lies beyond the end of the file",
        ),
    ];
    for (name, changes, why) in cases {
        let folder = folder();
        let executable = folder.path().join(name);
        let mut content = fs::read(&interpreter.executable).expect("it can be read");
        for (offset, bytes) in changes {
            content[*offset..][..bytes.len()].copy_from_slice(bytes);
        }
        install(&executable, &content, 0o755);
        let mut command = Command::new(&executable);
        command
            .envs(interpreter.environment(Form::Direct))
            .args(["-c", "print('ready', flush=True); input()"]);
        let running = Running::spawn(name.to_owned(), command);
        running.expect("ready");
        let pid = running.pid().to_string();
        let outcome = Outcome::of_pytop(["--once", "--method", "marker", "-p", &pid]);
        let [message] = outcome.messages()[..] else {
            panic!("one message expected: {outcome:?}");
        };
        assert!(message.contains(why), "{message}");
        assert!(
            message.contains(&executable.display().to_string()),
            "{message}"
        );
        assert!(
            message.contains(&format!("process {} ", running.pid())),
            "{message}"
        );
        assert_eq!((outcome.stdout(), outcome.status), ("", 1));
    }
}
