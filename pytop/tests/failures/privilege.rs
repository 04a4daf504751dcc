//! Users that are not root, with and without capabilities.

use std::process::Command;

use super::support::{Form, Outcome, Public, Python, Running, interpreter, is_cost};
use super::whole_machine;

/// The capabilities that a message names.
fn named(message: &str) -> Vec<&str> {
    message
        .split(|character: char| !(character.is_ascii_uppercase() || character == '_'))
        .filter(|word| word.starts_with("CAP_"))
        .collect()
}

/// A process that calls functions all the time.
fn spinning(version: &str, form: Form) -> Running {
    Python::new(interpreter(version), form, "spin.py").start()
}

const SNAPSHOT: [&str; 7] = ["--once", "-d", "0.1", "--format", "csv", "-t", "0"];

/// The pids of the rows that `spin.py` has in a snapshot.
fn spinners(outcome: &Outcome) -> Vec<&str> {
    let rows = outcome.stdout().lines();
    let rows = rows.filter(|row| row.contains("/spin.py,") && row.contains(",called,"));
    rows.filter_map(|row| row.split(',').nth(1)).collect()
}

#[test]
fn the_message_names_capabilities_that_suffice() {
    let _whole = whole_machine();
    let public = Public::new();
    let (first, second) = (
        spinning("3.15", Form::Chroot),
        spinning("3.9", Form::Direct),
    );
    let pids = [&first, &second].map(|running| running.pid().to_string());
    let command = Python::new(interpreter("3.9"), Form::Direct, "spin.py").argument(&1);
    let environment = interpreter("3.9").environment(Form::Direct);
    let settings = environment
        .iter()
        .map(|(name, value)| format!("{name}={value}"));
    let mut words = vec!["--".to_owned(), "env".to_owned()];
    words.extend(settings.chain(command.words()));

    let machine = SNAPSHOT.to_vec();
    let one = |pid| [&SNAPSHOT[..], &["-p", pid]].concat();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let command = [&["--format", "csv", "-t", "0"], &words[..]].concat();
    let runs = [machine, one(&pids[0]), one(&pids[1]), command];

    let message = "not enough privilege to count calls: the kernel refused a uprobe (Permission \
         denied); run pytop as root (sudo pytop), or with the capabilities CAP_SYS_ADMIN, \
         CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH";
    for arguments in &runs {
        public.pytop(&[], arguments).assert_failed(1, message);
    }
    let [machine, first, second, command] = runs.map(|arguments| {
        let outcome = public.pytop(&named(message), &arguments);
        let told = outcome.stderr().lines();
        let told = told.filter(|line| *line != "ready" && !is_cost(line));
        let told: Vec<_> = told.collect();
        assert!(
            told.len() == 1 && told[0].starts_with("pytop: counting "),
            "{told:?}"
        );
        assert_eq!(outcome.status, 0, "{arguments:?}");
        outcome
    });
    for pid in &pids {
        assert!(spinners(&machine).contains(&pid.as_str()), "{machine:?}");
    }
    assert_eq!(spinners(&first), [&pids[0]]);
    assert_eq!(spinners(&second), [&pids[1]]);
    assert_eq!(spinners(&command).len(), 1, "{command:?}");
}

#[test]
fn without_the_right_to_look_at_the_processes_of_others() {
    let public = Public::new();
    let running = spinning("3.9", Form::Chroot);
    let pid = running.pid();
    let capabilities = ["CAP_SYS_ADMIN", "CAP_DAC_READ_SEARCH"];

    let one = ["-p", &pid.to_string(), "--once"];
    let remedy = "run pytop as root (sudo pytop), or with the capability CAP_SYS_PTRACE too";
    public.pytop(&capabilities, &one).assert_failed(
        1,
        &format!("not permitted to look at process {pid}: Permission denied; {remedy}"),
    );

    // Of all processes some can be looked at, so this is no failure, but it is no secret either.
    let machine = public.pytop(&capabilities, &SNAPSHOT);
    let [message] = machine.messages()[..] else {
        panic!("one message expected: {machine:?}");
    };
    let refused = message
        .strip_prefix("not permitted to look at ")
        .and_then(|rest| rest.strip_suffix(remedy))
        .and_then(|rest| rest.strip_suffix(" processes, which are not counted; "))
        .unwrap_or_else(|| panic!("{message}"));
    assert!(
        refused.parse::<u32>().is_ok_and(|refused| refused > 0),
        "{message}"
    );
    assert_eq!(spinners(&machine), Vec::<&str>::new());
    assert_eq!(machine.status, 0);
}

#[test]
fn without_the_right_to_open_the_files_of_others() {
    let _whole = whole_machine();
    let public = Public::new();
    let interpreter = interpreter("3.9");
    // Others may run it, but not read it.
    let executable = public.copy(&interpreter.executable, 0o711);
    let mut command = Command::new(&executable);
    command
        .envs(interpreter.environment(Form::Direct))
        .args(["-c", "print('ready', flush=True); input()"]);
    let running = Running::spawn("a program that cannot be read".to_owned(), command);
    running.expect("ready");
    let pid = running.pid();

    let capabilities = ["CAP_SYS_ADMIN", "CAP_SYS_PTRACE"];
    let why = format!(
        "cannot open {}: Permission denied; run pytop as root (sudo pytop), or with the capability \
         CAP_DAC_READ_SEARCH too",
        executable.display()
    );
    let one = public.pytop(&capabilities, &["-p", &pid.to_string(), "--once"]);
    one.assert_failed(
        1,
        &format!("cannot tell whether process {pid} runs CPython: {why}"),
    );

    let machine = public.pytop(&capabilities, &SNAPSHOT);
    let [message] = machine.messages()[..] else {
        panic!("one message expected: {machine:?}");
    };
    assert!(
        message.starts_with("processes may run CPython uncounted: cannot open "),
        "{message}"
    );
    assert!(message.contains("CAP_DAC_READ_SEARCH"), "{message}");
    assert_eq!(machine.status, 0);
}
