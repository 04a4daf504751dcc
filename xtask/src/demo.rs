//! Shows pytop at work on a machine where nothing is prepared.

use std::os::unix::process::ExitStatusExt as _;

use anyhow::{Result, bail};
use clap::Args;

use crate::command::{build_pytop, not_started};
use crate::privilege::{as_root, ask_early};
use crate::workload::{self, Workload};

/// Build pytop, start a sample workload, and open the screen on the machine.
///
/// The workload runs on the machine's own `python3`. Only where there is none, one is fetched, as
/// `cargo xtask pythons` does. The workload ends with the demo.
#[derive(Args)]
pub(crate) struct Demo {
    /// Print one snapshot instead of opening the screen.
    #[arg(long)]
    once: bool,
    /// Options for pytop.
    #[arg(last = true, value_name = "OPTION")]
    options: Vec<String>,
}

impl Demo {
    pub(crate) fn run(self) -> Result<()> {
        let pytop = build_pytop()?;
        let python = workload::python()?;
        ask_early()?;
        let _workload = Workload::start(python)?;

        let mut command = as_root(&pytop)?;
        command
            .args(self.once.then_some("--once"))
            .args(&self.options);
        let status = command
            .status()
            .map_err(|error| not_started(&command, &error))?;
        // Ctrl-C is how one leaves a run without a screen.
        let interrupted = status.signal() == Some(nix::libc::SIGINT);
        if !status.success() && !interrupted {
            bail!("pytop ended with {status}");
        }
        Ok(())
    }
}
