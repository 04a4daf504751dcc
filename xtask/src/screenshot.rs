//! Stub.
/// Stub.
#[derive(clap::Args)]
pub(crate) struct Screenshot {}
impl Screenshot {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        Ok(())
    }
}
