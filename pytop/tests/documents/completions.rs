//! Completions for bash, zsh and fish.

use std::process::Command;

use clap_complete::{Shell, generate};

use super::{assets, definition, options, subcommands};

/// Options that nobody is to be told of.
const HIDDEN: [&str; 1] = ["--count-nothing"];

/// The names of the files in the assets, and what is in them.
pub(super) fn all() -> [(&'static str, String); 3] {
    [
        ("pytop.bash", Shell::Bash),
        ("_pytop", Shell::Zsh),
        ("pytop.fish", Shell::Fish),
    ]
    .map(|(name, shell)| {
        let mut script = Vec::new();
        generate(shell, &mut visible(), "pytop", &mut script);
        (name, String::from_utf8(script).expect("scripts are text"))
    })
}

/// The definition without its hidden options, which not every generator leaves out.
fn visible() -> clap::Command {
    let all = pytop_command();
    let kept: Vec<_> = all
        .get_arguments()
        .filter(|option| !option.is_hide_set())
        .cloned()
        .collect();
    let subcommands: Vec<_> = all.get_subcommands().cloned().collect();
    clap::Command::new("pytop")
        .version(env!("CARGO_PKG_VERSION"))
        .about(all.get_about().cloned().unwrap_or_default())
        .args(kept)
        .subcommands(subcommands)
}

fn pytop_command() -> clap::Command {
    use clap::CommandFactory as _;
    pytop::cli::Cli::command()
}

#[test]
fn all_options_and_subcommands_are_there() {
    let command = definition();
    for (name, script) in all() {
        for option in options(&command) {
            let written = match name {
                // `-l format`.
                "pytop.fish" => option.replace("--", "-l "),
                _ => option,
            };
            assert!(script.contains(&written), "{written} is not in {name}");
        }
        for subcommand in subcommands(&command) {
            assert!(script.contains(subcommand), "{subcommand} is not in {name}");
        }
        for hidden in HIDDEN {
            let long = hidden.trim_start_matches('-');
            assert!(!script.contains(long), "{hidden} is in {name}");
        }
    }
}

/// What bash offers after these words, the last of which is unfinished.
fn offered(words: &[&str]) -> Vec<String> {
    const ASK: &str = r#"
        set -eu
        source "$1"
        shift
        COMP_WORDS=("$@")
        COMP_CWORD=$(($# - 1))
        complete -p pytop >&2
        _pytop pytop "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    let script = assets().join("completions/pytop.bash");
    let output = Command::new("bash")
        .args(["--norc", "-c", ASK, "bash"])
        .arg(script)
        .args(words)
        .output()
        .expect("bash can be started");
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words:?}: {errors}");
    assert!(errors.contains(" -F _pytop pytop"), "{errors}");
    let offered = String::from_utf8(output.stdout).expect("options are text");
    offered.lines().map(str::to_owned).collect()
}

#[test]
fn bash_completes() {
    for (words, expected) in [
        (&["pytop", "--int"][..], &["--interval"][..]),
        (&["pytop", "--method", "e"], &["eval"]),
        (
            &["pytop", "--sort", ""],
            &[
                "calls", "total", "pid", "filename", "line", "function", "time", "own", "mean",
                "p50", "p99", "max",
            ],
        ),
        (&["pytop", "pro"], &["probes"]),
        (&["pytop", "doct"], &["doctor"]),
        (&["pytop", "probes", "--fo"], &["--format"]),
        (&["pytop", "doctor", "--format", ""], &["table", "json"]),
    ] {
        assert_eq!(offered(words), expected, "{words:?}");
    }
    let all = offered(&["pytop", "-"]);
    for option in ["--pid", "--children", "--once", "-b", "--help"] {
        assert!(all.iter().any(|it| it == option), "{option} in {all:?}");
    }
}
