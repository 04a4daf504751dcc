//! Interpreters that are not what they seem, while processes run them: they are refused with the
//! reason, and nothing is written into their memory.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::support::{Form, Interpreter, Outcome, Running, has_own_code, install, interpreter};
use super::whole_machine;

/// `_Py_DebugOffsets` and `Py_Version` of 3.13.5 have this.
const NUMBER: [u8; 8] = 0x030d_05f0_u64.to_le_bytes();

/// Replaces every occurrence; there must be some.
fn replace(content: &mut [u8], old: &[u8], new: &[u8]) {
    assert_eq!(old.len(), new.len());
    let places: Vec<usize> = content
        .windows(old.len())
        .enumerate()
        .filter(|(_, window)| *window == old)
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty(), "the interpreter has no {old:x?}");
    for place in places {
        content[place..][..new.len()].copy_from_slice(new);
    }
}

/// Where the file has the table of the handlers of all bytecodes: 256 addresses of instructions,
/// of which those for the numbers 119 to 148 are the same.
fn table(content: &[u8]) -> usize {
    let word = |place: usize| content.get(place..place + 8);
    let mut tables = (0..content.len() - 2048).step_by(8).filter(|start| {
        let first = word(start + 8 * 119);
        first.is_some_and(|word| word[2..] != [0; 6])
            && (120..=148).all(|number| word(start + 8 * number) == first)
            && word(start + 8 * 118) != first
            && word(start + 8 * 149) != first
            && (223..=235).all(|number| word(start + 8 * number) == first)
            && word(start + 8 * 255) == first
            && word(start + 8 * 222) != first
    });
    let found = tables.next().expect("there is a table");
    assert_eq!(tables.next(), None, "there is one table");
    found
}

/// Runs a changed interpreter in its root, and looks at it.
fn refused(original: &Interpreter, name: &str, content: &[u8], method: &str, why: &str) {
    let _whole = whole_machine();
    let folder = tempfile::tempdir_in(&original.root).expect("a temporary folder can be made");
    let executable = folder.path().join(name);
    install(&executable, content, 0o755);
    let inside = Path::new("/").join(
        executable
            .strip_prefix(&original.root)
            .expect("it is in the root"),
    );
    let mut words = original.words(Form::Chroot);
    *words.last_mut().expect("a command has words") = inside.display().to_string();
    let mut command = Command::new(&words[0]);
    command
        .args(&words[1..])
        .envs(original.environment(Form::Chroot))
        .env("PYTHONHOME", "/usr")
        .args([
            "-c",
            "f = lambda n: n and 1 + f(n - 1)\nprint('ready', flush=True)\ninput()\nprint(f(100))",
        ]);
    let mut running = Running::spawn(name.to_owned(), command);
    running.expect("ready");
    let pid = running.pid();

    let named = Outcome::of_pytop([
        "--once",
        "-d",
        "0.1",
        "--method",
        method,
        "-p",
        &pid.to_string(),
    ]);
    let [message] = named.messages()[..] else {
        panic!("one message expected: {named:?}");
    };
    assert!(message.starts_with(&format!("process {pid} ")), "{message}");
    assert!(message.contains(why), "{message}");
    assert_eq!((named.stdout(), named.status), ("", 1));
    assert!(has_own_code(pid, &executable));

    // Among others it is shown with its reason.
    let machine = Outcome::of_pytop([
        "--once", "-d", "0.1", "--method", method, "--format", "json",
    ]);
    let snapshot: Value = serde_json::from_str(machine.stdout()).expect("one object");
    let processes = snapshot["processes"].as_array().expect("an array");
    let process = processes.iter().find(|process| process["pid"] == pid);
    let process = process.expect("it is among the processes");
    assert_eq!(process["method"], Value::Null);
    let reason = process["reason"].as_str().expect("there is a reason");
    assert!(reason.contains(why), "{reason}");
    assert!(has_own_code(pid, &executable));

    running.say("go");
    running.expect("100");
    running.end_well();
}

#[test]
fn a_table_of_bytecodes_has_one_entry_changed() {
    let original = interpreter("3.13");
    let mut content = fs::read(&original.executable).expect("it can be read");
    let table = table(&content);
    // The number 120 is no bytecode: whatever its handler, the interpreter never gets there.
    content.copy_within(table + 8 * 3..table + 8 * 4, table + 8 * 120);
    let why = "its table of bytecode handlers was not found";
    refused(original, "changed", &content, "auto", why);
}

#[test]
fn a_version_is_not_known_yet() {
    let original = interpreter("3.13");
    let mut content = fs::read(&original.executable).expect("it can be read");
    replace(&mut content, &NUMBER, &0x0310_05f0_u64.to_le_bytes());
    let why = "CPython 3.16.5 has bytecodes that this pytop does not know";
    refused(original, "newer", &content, "resume", why);
}

#[test]
fn a_version_is_no_release() {
    let original = interpreter("3.13");
    let mut content = fs::read(&original.executable).expect("it can be read");
    replace(&mut content, &NUMBER, &0x030f_00a1_u64.to_le_bytes());
    let why = "CPython 3.15.0a1 has bytecodes that this pytop does not know";
    refused(original, "alpha", &content, "resume", why);
}

/// The name of a library proves nothing.
#[test]
fn a_library_claims_to_be_an_interpreter() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let library = folder.path().join("libpython3.13.so.1.0");
    let maps = fs::read_to_string("/proc/self/maps").expect("a process has mappings");
    let original = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5))
        .find(|path| path.contains("/libgcc_s.so"));
    let original = original.expect("Rust programs load libgcc_s");
    fs::copy(original, &library).expect("a library can be copied");
    let mut command = Command::new("sh");
    command
        .args(["-c", "echo ready; read line"])
        .env("LD_PRELOAD", &library);
    let mut running = Running::spawn("a shell".to_owned(), command);
    running.expect("ready");
    let pid = running.pid();
    let outcome = Outcome::of_pytop(["--once", "-d", "0.1", "-p", &pid.to_string()]);
    let [message] = outcome.messages()[..] else {
        panic!("one message expected: {outcome:?}");
    };
    assert!(message.contains("is not a CPython process"), "{message}");
    assert_eq!((outcome.stdout(), outcome.status), ("", 1));
    assert!(has_own_code(pid, &library));
    running.say("go");
    running.end_well();
}
