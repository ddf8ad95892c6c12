//! `probe-agent detach`: removes what an agent that was killed has left attached.

use std::process::ExitCode;

use anyhow::bail;

use super::print;
use crate::datapath::{
    detach_leftovers,
    survey::{ProgramHook, Survey},
};

/// Detaches. Where the kernel has links for all hooks there is never anything to do: they went with
/// the process that held them.
pub(super) fn run() -> anyhow::Result<ExitCode> {
    if let Some(holder) = living_agent()? {
        bail!("{holder} is capturing with these programs: stop it first");
    }
    let text = match detach_leftovers()? {
        0 => "nothing of an earlier run is attached\n".to_owned(),
        1 => "removed 1 filter of an earlier run\n".to_owned(),
        filters => format!("removed {filters} filters of an earlier run\n"),
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
}

/// The process that holds one of our filters' programs, as far as this process may know.
fn living_agent() -> anyhow::Result<Option<String>> {
    let survey = Survey::take()?;
    let holder = survey
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
