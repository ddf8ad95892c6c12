//! `cargo xtask demo`: the newcomer's first command.

use anyhow::{Result, bail};

#[derive(clap::Args)]
pub(crate) struct Args {}

pub(crate) fn run(Args {}: &Args) -> Result<()> {
    bail!("there is no demo yet: `cargo xtask test` shows what works")
}
