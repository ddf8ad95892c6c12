//! Which hooks would be tried on a link, in which order, and why others are not.

use serde::Serialize;

use probe_capture::interface::{Hook, InterfaceConfig};
use probe_datapath::{
    attach::{self, AttachError, HookAttempt, HookCandidate},
    inventory::{AttachedProgram, Host, InventoryLink},
    link::{Link, LinkHeader},
};

const NO_TCX: &str = "this kernel has no TCX, which came with Linux 6.6";
const INGRESS_QDISC: &str = "the link has a qdisc ingress in the place of clsact: replace it, \
                             `tc qdisc replace dev LINK clsact`";

/// A hook, in the order in which they are tried. The first that works is used.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct HookStep {
    /// `xdp-native`, `xdp-generic`, `tcx` or `clsact`.
    pub hook: &'static str,
    /// Why it is not tried; `None` if it is.
    pub skipped: Option<String>,
    /// The program of the object that would run there.
    pub program: &'static str,
}

/// What would be done on a link.
#[derive(Clone, Debug, Default)]
pub(super) struct Hooks {
    /// Attempts for received packets, in order.
    pub(super) ingress: Vec<HookStep>,
    /// Attempts for sent packets, in order.
    pub(super) egress: Vec<HookStep>,
    /// Why there is no use in any of them.
    pub(super) problem: Option<String>,
    /// Why `auto` would not take what the configuration forces.
    pub(super) cost: Option<String>,
}

pub(super) fn plan(config: &InterfaceConfig, listed: &InventoryLink, host: &Host) -> Hooks {
    let link = &without_ours(listed);
    if let LinkHeader::Unknown(arphrd) = link.header {
        return Hooks {
            problem: Some(AttachError::UnknownHeader { arphrd }.to_string()),
            ..Hooks::default()
        };
    }
    let step = |step: HookAttempt, program: fn(HookCandidate, &Link) -> &'static str| {
        let (candidate, skipped) = match step {
            HookAttempt::Try(candidate) => (candidate, tc_obstacle(candidate, listed, host)),
            HookAttempt::Skip(candidate, reason) => (candidate, Some(reason.to_owned())),
        };
        let program = program(candidate, link);
        HookStep {
            hook: candidate.name(),
            skipped: skipped.or_else(|| host.refused_programs.get(program).cloned()),
            program,
        }
    };
    let ingress: Vec<_> = attach::plan(config, link)
        .into_iter()
        .map(|it| step(it, attach::ingress_program))
        .collect();
    let egress: Vec<_> = [HookCandidate::Tcx, HookCandidate::Clsact]
        .into_iter()
        .map(|candidate| {
            step(HookAttempt::Try(candidate), |_, link| {
                attach::egress_program(link)
            })
        })
        .collect();
    let problem = if is_hopeless(&ingress) {
        let remedy = match config.hook {
            Hook::Auto => "detach what is in the way",
            _ => "use hook: auto",
        };
        Some(format!(
            "received packets cannot be captured ({}): {remedy}",
            reasons(&ingress)
        ))
    } else if is_hopeless(&egress) {
        Some(format!(
            "sent packets cannot be captured ({}): detach what is in the way",
            reasons(&egress)
        ))
    } else {
        None
    };
    Hooks {
        cost: cost(config, link, &ingress),
        ingress,
        egress,
        problem,
    }
}

fn cost(config: &InterfaceConfig, link: &Link, ingress: &[HookStep]) -> Option<String> {
    let native = HookCandidate::XdpNative;
    let is_tried = |step: &HookStep| step.hook == native.name() && step.skipped.is_none();
    if !ingress.iter().any(is_tried) {
        return None;
    }
    let left_to_auto = InterfaceConfig {
        hook: Hook::Auto,
        ..config.clone()
    };
    let steps = attach::plan(&left_to_auto, link);
    steps.into_iter().find_map(|step| match step {
        HookAttempt::Skip(candidate, reason) if candidate == native => Some(reason.to_owned()),
        _ => None,
    })
}

/// What an agent that is running has attached goes with it.
fn without_ours(listed: &InventoryLink) -> Link {
    let mut xdp = listed
        .programs
        .iter()
        .filter(|program| program.hook.is_xdp())
        .peekable();
    let is_ours = xdp.peek().is_some() && xdp.all(AttachedProgram::is_ours);
    Link {
        has_xdp: listed.link.has_xdp && !is_ours,
        ..listed.link.clone()
    }
}

fn tc_obstacle(candidate: HookCandidate, listed: &InventoryLink, host: &Host) -> Option<String> {
    match candidate {
        HookCandidate::Tcx if !host.has_tcx => Some(NO_TCX.to_owned()),
        HookCandidate::Clsact => {
            let qdisc = listed.clsact.as_deref();
            let is_ingress = qdisc.is_some_and(|qdisc| qdisc != "clsact");
            is_ingress.then(|| INGRESS_QDISC.replace("LINK", &listed.link.name))
        }
        _ => None,
    }
}

fn is_hopeless(steps: &[HookStep]) -> bool {
    steps.iter().all(|step| step.skipped.is_some())
}

fn reasons(steps: &[HookStep]) -> String {
    let reasons: Vec<_> = steps
        .iter()
        .filter_map(|step| Some(format!("{}: {}", step.hook, step.skipped.as_deref()?)))
        .collect();
    reasons.join("; ")
}
