//! pytop's development tasks: `cargo xtask --help` lists them.

mod bench;
mod build_ebpf;
mod command;
mod demo;
mod documents;
mod fuzz;
mod install;
mod interpreters;
mod privilege;
mod pythons;
mod screenshot;
mod terminal;
mod test;
mod workload;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

/// pytop's development tasks.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 100
)]
enum Task {
    Demo(demo::Demo),
    Install(install::Install),
    Test(test::Test),
    Pythons(pythons::Pythons),
    BuildEbpf(build_ebpf::BuildEbpf),
    Documents(documents::Documents),
    Bench(bench::Bench),
    Screenshot(screenshot::Screenshot),
    Fuzz(fuzz::Fuzz),
}

fn main() -> ExitCode {
    if let Some(status) = build_ebpf::rustc_wrapper::run_if_asked() {
        return status;
    }
    let outcome = match Task::parse() {
        Task::Demo(task) => task.run(),
        Task::Install(task) => task.run(),
        Task::Test(task) => task.run(),
        Task::Pythons(task) => task.run(),
        Task::BuildEbpf(task) => task.run(),
        Task::Documents(task) => task.run(),
        Task::Bench(task) => task.run(),
        Task::Screenshot(task) => task.run(),
        Task::Fuzz(task) => task.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
