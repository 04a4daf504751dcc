//! Makes the manual page and the shell completions.

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run};

/// Make the manual page and the shell completions in assets/ anew, from the command line's definition.
///
/// A test says when that is due.
#[derive(Args)]
pub(crate) struct Documents {}

impl Documents {
    #[expect(clippy::unused_self, reason = "as of every task")]
    pub(crate) fn run(self) -> Result<()> {
        run(cargo()
            .args([
                "test",
                "--quiet",
                "--package",
                "pytop",
                "--test",
                "documents",
            ])
            .env("UPDATE_DOCUMENTS", "1"))
    }
}
