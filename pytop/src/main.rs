//! The `pytop` command.

use std::process::ExitCode;

use pytop::{cli, probe, run};

fn main() -> ExitCode {
    run::tell_panics_in_one_line();
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(stop) => return stop.report(),
    };
    let status = run::run(&cli).unwrap_or_else(|failure| failure.report());
    probe::await_all();
    status
}
