//! Outputs that take nothing.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

use super::support::{Form, Outcome, Python, Pytop, Running, interpreter};

fn spinning() -> Running {
    Python::new(interpreter("3.9"), Form::Chroot, "spin.py").start()
}

fn full() -> File {
    File::options()
        .write(true)
        .open("/dev/full")
        .expect("every Linux has it")
}

/// As in `pytop -b | head -1`.
#[test]
fn nobody_reads_any_more() {
    let running = spinning();
    let pid = running.pid().to_string();
    for arguments in [vec!["-p", &pid], vec![]] {
        let mut pytop = Pytop::command()
            .args(["-b", "-d", "0.1", "-t", "0"])
            .args(&arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("pytop can be started");
        let mut output = BufReader::new(pytop.stdout.take().expect("standard output is a pipe"));
        let mut line = String::new();
        output.read_line(&mut line).expect("pytop prints UTF-8");
        assert!(line.starts_with("pytop 20"), "{line}");
        drop(output);
        let ended = pytop.wait_with_output().expect("it can be waited for");
        let errors = String::from_utf8(ended.stderr).expect("messages are UTF-8");
        assert!(
            errors.starts_with("pytop: counting ") && errors.lines().count() == 1,
            "{errors}"
        );
        assert_eq!(ended.status.code(), Some(0));
    }
}

/// The command gets no more time than pytop has.
#[test]
fn nobody_reads_what_a_command_does() {
    let python = Python::new(interpreter("3.9"), Form::Chroot, "spin.py");
    let mut pytop = Pytop::command()
        .args(["--format", "csv", "-d", "0.1", "--"])
        .args(python.words())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("pytop can be started");
    let mut output = BufReader::new(pytop.stdout.take().expect("standard output is a pipe"));
    let mut line = String::new();
    output.read_line(&mut line).expect("pytop prints UTF-8");
    assert_eq!(line, "time,pid,filename,line,function,calls\n");
    drop(output);
    // Standard error is the command's too, and this waits until all have closed it.
    let ended = pytop.wait_with_output().expect("it can be waited for");
    assert_eq!(ended.status.code(), Some(0));
}

#[test]
fn the_disk_is_full() {
    let running = spinning();
    let pid = running.pid().to_string();
    for format in ["table", "json", "csv"] {
        let mut command = Pytop::command();
        command
            .args(["-b", "-d", "0.1", "-p", &pid, "--format", format])
            .stdin(Stdio::null())
            .stdout(full());
        let outcome = Outcome::of_prepared(command);
        assert_eq!(
            outcome.messages(),
            ["cannot write to standard output: No space left on device"]
        );
        assert_eq!(outcome.status, 1);
    }
}

/// What cannot be told is no reason to stop.
#[test]
fn standard_error_takes_nothing() {
    let running = spinning();
    let pid = running.pid().to_string();
    let script = "exec \"$0\" --once -d 0.1 -p \"$1\"";
    for redirection in ["2>&-", "2>/dev/full"] {
        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("{script} {redirection}")])
            .arg(env!("CARGO_BIN_EXE_pytop"))
            .arg(&pid);
        let outcome = Outcome::of(command);
        assert!(outcome.stdout().contains(" called "), "{outcome:?}");
        assert_eq!(outcome.status, 0);

        let mut command = Command::new("sh");
        command
            .args(["-c", &format!("exec \"$0\" -p 0 {redirection}")])
            .arg(env!("CARGO_BIN_EXE_pytop"));
        assert_eq!(Outcome::of(command).status, 2);
    }
}
