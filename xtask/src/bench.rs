//! Stub.
/// Stub.
#[derive(clap::Args)]
pub(crate) struct Bench {}
impl Bench {
    pub(crate) fn run(self) -> anyhow::Result<()> {
        Ok(())
    }
}
