//! `pytop doctor`: what it finds where something is missing, and that a run agrees.

use std::process::Command;

use serde_json::Value;

use super::support::{Form, Outcome, Public, Python, Pytop, interpreter, seccomp};
use super::{answer, assert_harmless, list, parse, whole_machine};

/// The finding of this name.
fn finding<'v>(answer: &'v Value, name: &str) -> &'v Value {
    let mut findings = list(answer, "findings").iter();
    let found = findings.find(|finding| finding["name"] == name);
    found.unwrap_or_else(|| panic!("{name} is not in {answer}"))
}

/// The names of the findings with this status.
fn with<'v>(answer: &'v Value, status: &str) -> Vec<&'v str> {
    let findings = list(answer, "findings").iter();
    findings
        .filter(|finding| finding["status"] == status)
        .filter_map(|finding| finding["name"].as_str())
        .collect()
}

fn doctor() -> Command {
    let mut command = Pytop::command();
    command.args(["doctor", "--format", "json"]);
    command
}

fn once() -> Command {
    let mut command = Pytop::command();
    command.args(["--once", "-d", "0.1"]);
    command
}

#[test]
fn root_can_count() {
    let answer = answer(["doctor", "--format", "json"]);
    assert_eq!(answer["works"], true);
    assert_eq!(with(&answer, "no"), Vec::<&str>::new());
    assert_eq!(with(&answer, "unknown"), Vec::<&str>::new());
    for name in ["uprobes", "eBPF", "programs", "lossless uprobes"] {
        assert_eq!(finding(&answer, name)["status"], "yes");
        assert_eq!(finding(&answer, name)["remedy"], Value::Null);
    }
    let table = Outcome::of_pytop(["doctor"]);
    assert!(table.stdout().starts_with("pytop can count here"));
    assert_harmless(table.stdout());
    assert_eq!((table.stderr(), table.status), ("", 0));
}

#[test]
fn an_ordinary_user_is_told_what_root_is_for() {
    let public = Public::new();
    let outcome = public.pytop(&[], &["doctor", "--format", "json"]);
    assert_eq!((outcome.stderr(), outcome.status), ("", 1));
    let answer = parse(&outcome);
    assert_eq!(answer["works"], false);
    let missing = with(&answer, "no");
    assert!(
        missing.starts_with(&["CAP_SYS_ADMIN", "uprobes"]),
        "{missing:?}"
    );
    // What keeps a run from starting is told in the same words.
    let run = public.pytop(&[], &["--once"]);
    let uprobes = finding(&answer, "uprobes");
    for part in ["detail", "remedy"] {
        let part = uprobes[part].as_str().expect("a text");
        assert!(run.stderr().contains(part), "{part} in {run:?}");
    }
    for name in ["CAP_SYS_PTRACE", "CAP_DAC_READ_SEARCH", "processes"] {
        assert_eq!(finding(&answer, name)["status"], "limited", "{answer}");
    }

    let table = public.pytop(&[], &["doctor"]);
    assert!(
        table
            .stdout()
            .starts_with("pytop cannot count here, for want of CAP_SYS_ADMIN, ")
    );
    assert!(
        table
            .stdout()
            .contains("-> run pytop as root (sudo pytop), or with ")
    );
    assert_harmless(table.stdout());
    assert_eq!((table.stderr(), table.status), ("", 1));
}

#[test]
fn with_some_capabilities_counting_works_with_limits() {
    let public = Public::new();
    let capabilities = ["CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH"];
    let outcome = public.pytop(&capabilities, &["doctor", "--format", "json"]);
    assert_eq!((outcome.stderr(), outcome.status), ("", 0));
    let answer = parse(&outcome);
    assert_eq!(answer["works"], true);
    let limits = with(&answer, "limited");
    assert!(limits.starts_with(&["CAP_SYS_PTRACE"]), "{limits:?}");
    assert!(limits.contains(&"processes"), "{limits:?}");
}

/// Counting works, says the doctor, wherever a run counts, and nowhere else.
#[test]
fn a_run_agrees_wherever_something_is_missing() {
    type Answer = fn(Command) -> Outcome;
    /// Has other words start the command.
    fn by(words: &[&str], command: &Command) -> Outcome {
        let mut started = Command::new(words[0]);
        started
            .args(&words[1..])
            .arg(command.get_program())
            .args(command.get_args());
        Outcome::of(started)
    }
    fn after(preparation: &str, command: &Command) -> Outcome {
        let script = format!("{preparation} && exec \"$0\" \"$@\"");
        by(&["unshare", "--mount", "sh", "-c", &script], command)
    }
    let _turn = whole_machine();
    let without_bpf: Answer = |command| seccomp::without(libc::SYS_bpf, libc::ENOSYS, command);
    let refused_bpf: Answer = |command| seccomp::without(libc::SYS_bpf, libc::EPERM, command);
    let without_perf: Answer =
        |command| seccomp::without(libc::SYS_perf_event_open, libc::ENOSYS, command);
    let refused_perf: Answer =
        |command| seccomp::without(libc::SYS_perf_event_open, libc::EPERM, command);
    let cases: [(&str, Answer, &[&str]); 11] = [
        ("nothing", Outcome::of, &[]),
        ("bpf", without_bpf, &["eBPF"]),
        ("the right to bpf", refused_bpf, &["eBPF"]),
        ("perf events", without_perf, &["uprobes"]),
        ("the right to perf events", refused_perf, &["uprobes"]),
        (
            "sleepable programs",
            seccomp::without_sleepable_uprobes,
            &["lossless uprobes"],
        ),
        (
            "the pid namespace",
            |command| by(&["unshare", "--pid", "--fork", "--mount-proc"], &command),
            &["pid namespace"],
        ),
        (
            "the user namespace",
            |command| by(&["unshare", "--user", "--map-root-user"], &command),
            &["user namespace", "uprobes", "eBPF"],
        ),
        (
            "uprobe events",
            |command| after("mount -t tmpfs none /sys/bus/event_source", &command),
            &["uprobe events"],
        ),
        (
            "proc",
            |command| after("mount -t tmpfs none /proc", &command),
            &["pid namespace"],
        ),
        (
            "open files",
            |command| after("ulimit -n 80", &command),
            &["open files"],
        ),
    ];
    for (what, run, missing) in cases {
        let found = run(doctor());
        let answer = parse(&found);
        assert_eq!(with(&answer, "no"), missing, "without {what}: {answer}");
        assert_eq!(answer["works"], missing.is_empty(), "without {what}");
        assert_eq!(
            found.status,
            i32::from(!missing.is_empty()),
            "without {what}"
        );
        assert_eq!(run(once()).status, found.status, "without {what}");
        let suspected = ["bpf", "perf events"]
            .iter()
            .any(|call| what.contains(call));
        let seccomp = finding(&answer, "seccomp")["status"].as_str();
        assert_eq!(
            seccomp == Some("limited"),
            suspected,
            "without {what}: {answer}"
        );
    }
}

#[test]
fn interpreters_are_listed_with_their_processes() {
    let python = |version| Python::new(interpreter(version), Form::Chroot, "spin.py");
    let (marker, resume) = (python("3.9"), python("3.14"));
    let _running = [marker.start(), marker.start(), resume.start()];
    let answer = answer(["doctor", "--format", "json"]);
    for (python, least) in [(&marker, 2), (&resume, 1)] {
        let version = &*python.interpreter.version;
        let mut known = list(&answer, "interpreters").iter();
        let known = known
            .find(|known| known["python"] == version && known["processes"].as_u64() >= Some(least));
        let known = known.unwrap_or_else(|| panic!("{version} is not in {answer}"));
        assert_eq!(known["method"], *python.interpreter.method());
        assert_eq!(known["reason"], Value::Null);
    }
    let table = Outcome::of_pytop(["doctor"]);
    assert!(table.stdout().contains("\n  INTERPRETER"));
}
