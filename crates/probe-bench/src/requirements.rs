//! What a benchmark needs of the machine.

use anyhow::{Result, bail};
use probe_testkit::command::find_program;

/// Fails unless this is root, and these programs are on `PATH`.
pub(crate) fn require(programs: &[&str]) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("this loads eBPF programs and makes network namespaces: run it as root");
    }
    for name in programs {
        if find_program(name).is_none() {
            bail!("`{name}` is missing: `.ci/run` names the packages that have all tools");
        }
    }
    Ok(())
}
