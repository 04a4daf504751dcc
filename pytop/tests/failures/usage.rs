//! Wrong usage: status 2, before anything else is done.

use super::support::Outcome;

#[test]
fn each_is_told_with_what_would_be_right() {
    let pid = "for '--pid <PID[,PID]...>': must be a process id, from 1 to 4194304";
    let interval = "for '--interval <SECONDS>': must be from 0.1 to 3600";
    let count = "for '--count <N>': must be a whole number from 1";
    for (line, message) in [
        ("-p 0", format!("invalid value '0' {pid}")),
        ("-p python3", format!("invalid value 'python3' {pid}")),
        ("--pid 1,x", format!("invalid value 'x' {pid}")),
        ("-d 0.05", format!("invalid value '0.05' {interval}")),
        ("--delay 3601", format!("invalid value '3601' {interval}")),
        ("-d -1", format!("invalid value '-1' {interval}")),
        ("-d nan", format!("invalid value 'nan' {interval}")),
        ("-n 0", format!("invalid value '0' {count}")),
        ("-n 1.5", format!("invalid value '1.5' {count}")),
        (
            "-t -1",
            "invalid value '-1' for '--top <N>': must be a whole number, or 0 for all".to_owned(),
        ),
        (
            "-f [",
            "invalid value '[' for '--filter <REGEX>': not a regular expression: unclosed \
             character class"
                .to_owned(),
        ),
        (
            "-s cals",
            "invalid value 'cals' for '--sort <KEY>' [possible values: calls, total, pid, \
             filename, line, function, time, own, mean, p50, p99, max]\n  did you mean 'calls'?"
                .to_owned(),
        ),
        (
            "--max-overhead 5%",
            "invalid value '5%' for '--max-overhead <PERCENT|auto>': must be a percentage from 0.1 to \
             90, or auto"
                .to_owned(),
        ),
        (
            "--durations --max-overhead 5",
            "the argument '--durations' cannot be used with '--max-overhead <PERCENT|auto>'".to_owned(),
        ),
        (
            "-g module",
            "invalid value 'module' for '--group-by <KEY>' [possible values: function, file, \
             process]"
                .to_owned(),
        ),
        (
            "--format xml",
            "invalid value 'xml' for '--format <FORMAT>' [possible values: table, json, csv]"
                .to_owned(),
        ),
        (
            "--method perf",
            "invalid value 'perf' for '--method <METHOD>' [possible values: auto, marker, eval, \
             resume]"
                .to_owned(),
        ),
        (
            "--once -n 2",
            "the argument '--once' cannot be used with '--count <N>'".to_owned(),
        ),
        (
            "--children",
            "'--children' needs '--pid' or a command; without them every process is counted anyway"
                .to_owned(),
        ),
        (
            "-p 1 -- true",
            "'--pid' cannot be used with a command: the command is what is counted".to_owned(),
        ),
        ("--", "there is no command after '--'".to_owned()),
        (
            "true",
            "unexpected argument 'true' found; a command to start comes after '--'".to_owned(),
        ),
        ("--zoom", "unexpected argument '--zoom' found".to_owned()),
        (
            "--pit 1",
            "unexpected argument '--pit' found\n  did you mean '--pid'?".to_owned(),
        ),
        (
            "-d",
            "a value is required for '--interval <SECONDS>' but none was supplied".to_owned(),
        ),
        (
            "-p \u{202e}1",
            format!("invalid value '\\u{{202e}}1' {pid}"),
        ),
    ] {
        let outcome = Outcome::of_pytop(line.split(' '));
        outcome.assert_failed(2, &format!("{message}\ntry 'pytop --help'"));
    }
}

#[test]
fn help_and_version_are_no_failures() {
    for (option, first_line) in [
        ("--help", "A live top for Python function calls."),
        ("-h", "A live top for Python function calls"),
        ("--version", concat!("pytop ", env!("CARGO_PKG_VERSION"))),
    ] {
        let outcome = Outcome::of_pytop([option]);
        assert_eq!(outcome.stderr(), "");
        assert_eq!(outcome.stdout().lines().next(), Some(first_line));
        assert_eq!(outcome.status, 0);
    }
}
