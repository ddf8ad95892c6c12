//! Whether the programs are still where they were put, which program is there if not, and putting them back.

use aya::programs::loaded_programs;
use probe_common::record::{EGRESS, INGRESS};
use rtnetlink::packet_route::tc::TcHandle;

use super::{
    AttachError, Attached, HookCandidate, IngressHook, TC_CANDIDATES, attach_egress,
    attach_ingress, plan,
};
use crate::{
    link::Link,
    load::Object,
    netlink::{self, NetlinkError},
    syscall,
};
use probe_capture::{
    interface::InterfaceConfig,
    source::{Attachment, HookState, LinkState},
};
use probe_flow::coverage::LostHook;

/// The ends of a clsact qdisc, by direction.
const CLSACT_ENDS: [u16; 2] = [TcHandle::MIN_INGRESS, TcHandle::MIN_EGRESS];

/// Where programs are attached cannot be found out.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// Filters cannot be listed.
    #[error(transparent)]
    Netlink(#[from] NetlinkError),
    /// TCX cannot be asked.
    #[error("cannot ask which TCX programs an interface has: {0}")]
    Tcx(#[source] std::io::Error),
}

impl Attached {
    /// Compares what was attached with what is there. Changes nothing.
    ///
    /// # Errors
    ///
    /// [`CheckError::Netlink`]: the kernel does not list the filters of the link.
    /// [`CheckError::Tcx`]: it does not tell which programs are at TCX.
    pub fn check(&self, ifindex: u32, link: &LinkState) -> Result<HookState, CheckError> {
        let mut state = HookState::default();
        let hooks = [
            (INGRESS, self.ingress.candidate, self.ingress.program),
            (EGRESS, self.egress.candidate, self.egress.program),
        ];
        for (direction, candidate, program) in hooks {
            let there = match candidate {
                HookCandidate::XdpNative | HookCandidate::XdpGeneric => link.xdp_programs.clone(),
                HookCandidate::Tcx => {
                    syscall::tcx_programs(ifindex, direction).map_err(CheckError::Tcx)?
                }
                HookCandidate::Clsact => {
                    netlink::filter_programs(ifindex, CLSACT_ENDS[usize::from(direction)])?
                }
            };
            match there.iter().position(|there| *there == program) {
                None => state.lost.push(LostHook {
                    direction,
                    hook: candidate.name(),
                    occupant: there.first().map(|program| describe(*program)),
                }),
                Some(position) => {
                    let is_behind_xdp = direction == INGRESS && !candidate.is_xdp();
                    let xdp = link.xdp_programs.first().filter(|_| is_behind_xdp);
                    let ahead = there[..position].first().or(xdp);
                    state.ahead[usize::from(direction)] = ahead.copied();
                }
            }
        }
        Ok(state)
    }
}

/// Attaches what was lost, by the same candidates: a slot that was taken meanwhile is left to its
/// program.
///
/// # Errors
///
/// As [`super::attach`]. What was attached before an error stays attached.
pub fn reattach(
    object: &mut Object,
    attached: &mut Attached,
    lost: &[LostHook],
    config: &InterfaceConfig,
    link: &Link,
) -> Result<Attachment, AttachError> {
    let mut reasons = Vec::new();
    for hook in lost {
        if hook.direction == INGRESS {
            if let Some(IngressHook::Tc(lost)) = attached.ingress.hook.take() {
                lost.forget();
            }
            let (ingress, reason) = attach_ingress(object, plan(config, link), link)?;
            attached.ingress = ingress;
            reasons.push(reason);
        } else {
            if let Some(lost) = attached.egress.hook.take() {
                lost.forget();
            }
            let (egress, reason) = attach_egress(object, &TC_CANDIDATES, link)?;
            attached.egress = egress;
            reasons.push(reason);
        }
    }
    Ok(attached.attachment(format!("attached again: {}", reasons.join("; "))))
}

/// Number and, where we may ask for it, name of a program.
fn describe(program: u32) -> String {
    let found = loaded_programs()
        .flatten()
        .find(|info| info.id() == program);
    let name = found.as_ref().and_then(|info| info.name_as_str());
    match name.filter(|name| !name.is_empty()) {
        Some(name) => format!("program {program} ({name})"),
        None => format!("program {program}"),
    }
}
