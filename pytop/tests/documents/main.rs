//! The manual page and the shell completions, made from the command line's definition and from the
//! table of keys.
//!
//! They are committed under `assets/`, so that an installation needs nothing but copies. The test
//! compares them with what they should be; where `UPDATE_DOCUMENTS` is set, as by
//! `cargo xtask documents`, it writes them anew.

mod completions;
mod manual;

use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory as _};

/// The command line, complete.
fn definition() -> Command {
    let mut command = pytop::cli::Cli::command();
    command.build();
    command
}

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../assets")
}

/// Compares a file of the assets with what it should be, or writes it.
fn check(name: &str, content: &str) {
    let path = assets().join(name);
    if std::env::var_os("UPDATE_DOCUMENTS").is_some() {
        fs::write(&path, content).expect("the document can be written");
    }
    let found = fs::read_to_string(&path).expect("the document is there");
    assert!(
        found == content,
        "assets/{name} is not what the command line's definition gives: run cargo xtask documents"
    );
}

#[test]
fn documents_are_those_of_the_command_line() {
    check("man/pytop.1", &manual::page());
    for (name, script) in completions::all() {
        check(&format!("completions/{name}"), &script);
    }
}

/// Every option that is not hidden, of pytop and of its subcommands.
fn options(command: &Command) -> Vec<String> {
    let own = command
        .get_arguments()
        .filter(|option| !option.is_hide_set());
    let own = own.filter_map(|option| Some(format!("--{}", option.get_long()?)));
    let others = command.get_subcommands().flat_map(options);
    own.chain(others).collect()
}

/// The names of the subcommands, but that of the help.
fn subcommands(command: &Command) -> impl Iterator<Item = &str> {
    let names = command.get_subcommands().map(Command::get_name);
    names.filter(|name| *name != "help")
}
