//! `pytop probes`: the verdict, the values of semaphores, and whatever is wrong with a file.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use super::support::{
    Form, Marked, Marker, Outcome, Public, Python, Pytop, Snapshot, at_hand, install, interpreter,
};
use super::{answer, assert_harmless, list, parse, whole_machine};

/// The file with this path.
fn file<'v>(answer: &'v Value, path: &Path) -> &'v Value {
    let mut files = list(answer, "files").iter();
    let found = files.find(|file| file["path"] == *path.display().to_string());
    found.unwrap_or_else(|| panic!("{} is not in {answer}", path.display()))
}

/// The values of the semaphore of `python:function__entry` in a process.
fn values(file: &Value, pid: u32) -> Vec<u64> {
    let markers = list(file, "markers").iter();
    let entries = markers.filter(|marker| marker["name"] == "function__entry");
    let values = entries.flat_map(|marker| list(marker, "values"));
    let of_pid = values.filter(|value| value["pid"] == pid);
    of_pid
        .map(|value| value["value"].as_u64().expect("a number"))
        .collect()
}

#[test]
fn the_verdict_of_every_interpreter() {
    for interpreter in at_hand() {
        let path = fs::canonicalize(&interpreter.executable).expect("it is there");
        let probes = answer(["probes", "--format", "json", path.to_str().unwrap()]);
        let file = file(&probes, &path);
        let verdict = &file["interpreter"];
        assert_eq!(verdict["python"], *interpreter.version, "{verdict}");
        assert_eq!(verdict["method"], *interpreter.method(), "{verdict}");
        assert_eq!(verdict["reason"], Value::Null, "{verdict}");
        let (state, why) = match interpreter.marker {
            Marker::Live => ("live", None),
            Marker::Dead => (
                "dead",
                Some("fires only under sys.settrace and sys.setprofile"),
            ),
            Marker::None if matches!(interpreter.minor(), 11..=14) => (
                "none",
                Some("has no function__entry marker (none of 3.11 to 3.14"),
            ),
            Marker::None => ("none", Some("built without function__entry markers")),
        };
        assert_eq!(verdict["function_entry"], state, "{verdict}");
        let reason = verdict["function_entry_reason"].as_str();
        assert_eq!(reason.is_some(), why.is_some(), "{verdict}");
        assert!(
            reason.unwrap_or_default().contains(why.unwrap_or_default()),
            "{verdict}"
        );
        let has_entry = list(file, "markers")
            .iter()
            .any(|marker| marker["provider"] == "python" && marker["name"] == "function__entry");
        assert_eq!(has_entry, interpreter.marker != Marker::None);
        for method in list(verdict, "methods") {
            let name = method["method"].as_str().expect("a name");
            let possible = name == interpreter.method_without_marker()
                || (name == "marker" && interpreter.marker == Marker::Live);
            assert_eq!(method["probes"].as_u64() > Some(0), possible, "{method}");
            assert_eq!(method["reason"].is_string(), !possible, "{method}");
        }
        let table = Outcome::of_pytop([Path::new("probes"), &path]);
        let counted = format!("\n  counted by {}: ", interpreter.method());
        assert!(table.stdout().contains(&counted), "{}", table.stdout());
        assert_eq!((table.stderr(), table.status), ("", 0));
    }
}

/// What is told is what a run does.
#[test]
fn the_verdict_is_that_of_a_run() {
    for version in ["3.9", "3.11", "3.13", "3.14", "3.15"] {
        let interpreter = interpreter(version);
        let running = Python::new(interpreter, Form::Chroot, "spin.py").start();
        let pid = running.pid().to_string();
        let probes = answer(["probes", "--format", "json", "-p", &pid]);
        let [file] = list(&probes, "files") else {
            panic!("one interpreter expected: {probes}")
        };
        let arguments = [
            "--once", "-d", "0.1", "-t", "0", "--format", "json", "-p", &pid,
        ];
        let run = Outcome::of_pytop(arguments);
        let snapshot = Snapshot::parse(run.stdout());
        let counted = &snapshot.processes[0];
        assert_eq!(
            file["interpreter"]["method"].as_str(),
            counted.method.as_deref()
        );
        assert_eq!(
            file["interpreter"]["python"].as_str(),
            counted.python.as_deref()
        );
        assert_eq!(file["processes"][0]["pid"], running.pid());
    }
}

#[test]
fn semaphores_are_raised_while_they_are_used() {
    const USED: [&str; 4] = [
        "function__entry",
        "gc__start",
        "gc__done",
        "import__find__load__done",
    ];
    let _turn = whole_machine();
    for version in ["3.9", "3.15"] {
        let python = Python::new(interpreter(version), Form::Chroot, "loop.py").argument(&1);
        let running = python.start();
        let pid = running.pid();
        let arguments = ["probes", "--format", "json", "-p", &pid.to_string()];
        let now = |is_raised: bool| {
            let probes = answer(arguments);
            let [file] = list(&probes, "files") else {
                panic!("one interpreter expected: {probes}")
            };
            for marker in list(file, "markers") {
                let [value] = list(marker, "values") else {
                    panic!("one value expected: {marker}")
                };
                let used = USED.iter().any(|used| marker["name"] == *used);
                let raised = value["value"] != 0;
                assert_eq!(raised, used && is_raised, "{marker}");
            }
            values(file, pid)
        };
        let marked = Marked::find(pid, &python.interpreter.executable);
        let zeroes = vec![0; marked.semaphores().len()];
        assert_eq!(now(false), zeroes);

        let first = Pytop::start(["-p", &pid.to_string()]);
        let raised: Vec<u64> = marked.semaphores().into_iter().map(u64::from).collect();
        assert!(raised.iter().all(|value| *value > 0), "{raised:?}");
        assert_eq!(now(true), raised);
        let second = Pytop::start(["-p", &pid.to_string()]);
        // The kernel raises it once for each process, however many probes there are.
        assert_eq!(now(true), raised);

        second.interrupt();
        assert_eq!(now(true), raised);
        first.interrupt();
        assert_eq!(now(false), zeroes);
    }
}

#[test]
fn all_running_interpreters() {
    let python = |version| Python::new(interpreter(version), Form::Chroot, "loop.py").argument(&1);
    let (old, new) = (python("3.9"), python("3.13"));
    let running = [old.start(), old.start(), new.start()];
    let probes = answer(["probes", "--format", "json"]);
    let paths = [&old, &new].map(|python| python.interpreter.executable_inside(Form::Chroot));
    let pids: Vec<Vec<u64>> = list(&probes, "files")
        .iter()
        .filter(|file| {
            paths
                .iter()
                .any(|path| file["path"].as_str().is_some_and(|it| it.ends_with(path)))
        })
        .map(|file| {
            let processes = list(file, "processes").iter();
            processes
                .filter_map(|process| process["pid"].as_u64())
                .collect()
        })
        .collect();
    for (process, others) in [(0, vec![1]), (1, vec![0]), (2, vec![])] {
        let pid = u64::from(running[process].pid());
        let file = pids.iter().find(|pids| pids.contains(&pid));
        let file = file.unwrap_or_else(|| panic!("{pid} is in none of {pids:?}"));
        for other in others {
            assert!(file.contains(&u64::from(running[other].pid())), "{pids:?}");
        }
    }
    let table = Outcome::of_pytop(["probes"]);
    assert!(table.stdout().contains(&running[2].pid().to_string()));
    assert_harmless(table.stdout());
    assert_eq!(table.status, 0);
}

#[test]
fn a_file_without_an_interpreter_is_listed() {
    let maps = fs::read_to_string("/proc/self/maps").expect("a process has mappings");
    let libc = maps
        .lines()
        .filter_map(|line| line.split_ascii_whitespace().nth(5))
        .find(|path| path.contains("/libc.so") || path.contains("/libc-"))
        .expect("this test has a C library");
    let probes = answer(["probes", "--format", "json", libc]);
    assert_eq!(probes["files"][0]["interpreter"], Value::Null);
    let table = Outcome::of_pytop(["probes", libc]);
    assert!(table.stdout().contains("\n  no CPython interpreter, for "));
    assert_eq!((table.stderr(), table.status), ("", 0));
}

/// As a distribution's `python3` may be: all of the interpreter is in the library.
#[test]
fn a_program_that_runs_a_library_names_it() {
    const LIBRARY: &str = "libpython3.13.so.1.0";
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let compile = |name: &str, source: &str, arguments: &[&str]| {
        let path = folder.path().join(format!("{name}.c"));
        fs::write(&path, source).expect("the folder is ours");
        let mut command = Command::new("cc");
        command.arg(&path).args(arguments).current_dir(&folder);
        let outcome = Outcome::of(command);
        assert_eq!(outcome.status, 0, "{outcome:?}");
    };
    let shared = ["-shared", "-Wl,-soname", "-Wl,libpython3.13.so.1.0"];
    compile(
        "library",
        "int Py_BytesMain(void) { return 0; }",
        &[&shared[..], &["-o", LIBRARY]].concat(),
    );
    compile(
        "program",
        "int Py_BytesMain(void); int main(void) { return Py_BytesMain(); }",
        &[LIBRARY, "-o", "python3"],
    );
    let program = folder.path().join("python3");
    let path = program.to_str().expect("a plain path");
    let file = &answer(["probes", "--format", "json", path])["files"][0];
    assert_eq!(file["interpreter"], Value::Null);
    assert_eq!(file["python_library"], LIBRARY);
    let table = Outcome::of_pytop(["probes", path]);
    let named = format!("it runs that of {LIBRARY}, the path of which ldd tells\n");
    assert!(table.stdout().contains(&named), "{}", table.stdout());
    assert_eq!((table.stderr(), table.status), ("", 0));
}

#[test]
fn what_cannot_be_looked_at() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let place = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, content).expect("it is ours");
        path.to_str().expect("a plain path").to_owned()
    };
    let whole = fs::read(&interpreter("3.9").executable).expect("it can be read");
    let script = place("script.py", b"#!/usr/bin/python3\n");
    let cut = place("cut", &whole[..5000]);
    let missing = folder.path().join("missing").display().to_string();
    let hostile = place("\x1b[31m\u{202e}name", b"");
    let here = folder.path().to_str().expect("a plain path");
    for (path, message) in [
        (
            &*missing,
            format!("cannot open {missing}: No such file or directory"),
        ),
        (
            here,
            format!("{here} is not a file, but a folder or a device"),
        ),
        (
            "/dev/null",
            "/dev/null is not a file, but a folder or a device".to_owned(),
        ),
        (
            &script,
            format!(
                "{script} is neither a program nor a shared library in ELF format, and has no markers"
            ),
        ),
        (
            &cut,
            format!(
                "{cut} is a damaged ELF file: its section header table lies beyond the end of the \
                 file; no interpreter in it can be counted until the file is installed again"
            ),
        ),
        (
            &hostile,
            format!(
                "{here}/\\x1b[31m\\u{{202e}}name is neither a program nor a shared library in ELF format, and has no markers"
            ),
        ),
    ] {
        Outcome::of_pytop(["probes", path]).assert_failed(1, &message);
    }
    Outcome::of_pytop(["probes", "-p", "4194304"]).assert_failed(
        1,
        "there is no process with the pid 4194304; it may have ended",
    );

    // What is right with the others is told all the same.
    let good = fs::canonicalize(&interpreter("3.9").executable).expect("it is there");
    let arguments = [&*missing, good.to_str().expect("a plain path"), &*script];
    let outcome = Outcome::of_pytop(["probes"].into_iter().chain(arguments));
    assert!(
        outcome.stdout().contains("counted by marker"),
        "{}",
        outcome.stdout()
    );
    let said: Vec<&str> = outcome.stderr().lines().collect();
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(
        said[0].starts_with(&format!("pytop: cannot open {missing}: ")),
        "{said:?}"
    );
    assert!(
        said[1].starts_with(&format!("pytop: {script} is neither ")),
        "{said:?}"
    );
    assert_eq!(outcome.status, 1);
}

/// Providers, names and arguments are whatever somebody wrote into the file.
#[test]
fn names_of_markers_cannot_drive_the_terminal() {
    let mut content = fs::read(&interpreter("3.9").executable).expect("it can be read");
    let (old, new) = (
        b"\0function__return\0",
        b"\0\x1b[31m\xff\xe2\x80\xaetion\rurn\0",
    );
    let place = content.windows(old.len()).rposition(|window| window == old);
    let place = place.expect("the notes have the name");
    content[place..][..new.len()].copy_from_slice(new);
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let path = folder.path().join("python3.9");
    install(&path, &content, 0o755);
    let table = Outcome::of_pytop([Path::new("probes"), &path]);
    assert_harmless(table.stdout());
    assert!(table.stdout().contains("\\x1b[31m\\xff\\u{202e}tion\\rurn"));
    let json = Outcome::of_pytop([Path::new("probes"), Path::new("--format=json"), &path]);
    assert_harmless(json.stdout());
    let names = parse(&json);
    let mut names = list(&names["files"][0], "markers").iter();
    assert!(names.any(|marker| marker["name"] == "\u{1b}[31m\\xff\u{202e}tion\rurn"));
}

#[test]
fn an_ordinary_user_may_look_at_files_and_at_own_processes() {
    let public = Public::new();
    let executable = public.copy(&interpreter("3.9").executable, 0o755);
    let path = executable.to_str().expect("a plain path");
    let file = public.pytop(&[], &["probes", path]);
    assert!(file.stdout().contains("\n  counted by marker: "));
    assert_eq!((file.stderr(), file.status), ("", 0));

    let secret = public.copy(&interpreter("3.15").executable, 0o700);
    let secret = secret.to_str().expect("a plain path");
    public.pytop(&[], &["probes", secret]).assert_failed(
        1,
        &format!(
            "cannot open {secret}: Permission denied; run pytop as root (sudo pytop), or with the \
             capability CAP_DAC_READ_SEARCH too"
        ),
    );

    let running = Python::new(interpreter("3.9"), Form::Chroot, "spin.py").start();
    let pid = running.pid();
    let others = public.pytop(&[], &["probes", "-p", &pid.to_string()]);
    others.assert_failed(
        1,
        &format!(
            "not permitted to look at process {pid}: Permission denied; run pytop as root (sudo \
             pytop), or with the capability CAP_SYS_PTRACE too"
        ),
    );

    // What it may not look at may run CPython: that there is none is not the answer.
    let all = public.pytop(&[], &["probes"]);
    assert_eq!(all.status, 1);
    assert!(!all.stdout().contains("no CPython process is running"));
    assert!(all.stderr().starts_with("pytop: not permitted to look at "));
}
