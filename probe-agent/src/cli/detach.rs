//! `probe-agent detach`: removes what an agent that was killed has left behind.

use std::process::ExitCode;

use anyhow::{Context, bail};

use super::print;
use probe_datapath::{
    detach_stale_filters, expedite,
    inventory::{HostInventory, ProgramHook},
};

/// Puts grace periods of RCU back, and detaches. Where the kernel has links for all hooks none are
/// left: they went with the process that held them.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    let left = expedite::put_back_stale_setting()
        .context("an agent that was killed has left grace periods of RCU expedited")?;
    if let Some(stale) = left {
        print(&format!("{stale}\n"))?;
    }
    if let Some(holder) = living_agent()? {
        bail!("{holder} is capturing with these programs: stop it first");
    }
    let text = match detach_stale_filters()? {
        0 => "nothing of an earlier run is attached\n".to_owned(),
        1 => "removed 1 filter of an earlier run\n".to_owned(),
        filters => format!("removed {filters} filters of an earlier run\n"),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The process that holds one of our filters' programs, as far as this process may know.
fn living_agent() -> anyhow::Result<Option<String>> {
    let inventory = HostInventory::take()?;
    let holder = inventory
        .links
        .iter()
        .flat_map(|link| &link.programs)
        .filter(|program| program.is_ours())
        .filter(|it| {
            matches!(
                it.hook,
                ProgramHook::ClsactIngress | ProgramHook::ClsactEgress
            )
        })
        .find_map(|program| program.holders.first());
    Ok(holder.map(|holder| format!("process {} ({})", holder.pid, holder.command)))
}
