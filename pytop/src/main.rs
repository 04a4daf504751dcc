//! The `pytop` command.

use std::process::ExitCode;

use pytop::cli::{self, Task};
use pytop::run;

fn main() -> ExitCode {
    run::tell_panics_in_one_line();
    let task = match cli::task(std::env::args_os()) {
        Ok(task) => task,
        Err(stop) => return stop.report(),
    };
    let done = match &task {
        Task::Top(cli) => run::run(cli),
        Task::Trace(arguments) => run::trace(arguments),
    };
    done.unwrap_or_else(|failure| failure.report())
}
