//! Which hooks would be tried on a link, in which order, and why others are not.

use serde::Serialize;

use probe_capture::interface::{Hook, InterfaceConfig};
use probe_datapath::{
    attach::{self, AttachError, Rung, Step},
    link::{Link, LinkHeader},
    survey::{AttachedProgram, Host, SurveyedLink},
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
    /// For received packets.
    pub(super) ingress: Vec<HookStep>,
    /// For sent packets.
    pub(super) egress: Vec<HookStep>,
    /// Why there is no use in any of them.
    pub(super) problem: Option<String>,
    /// Why `auto` would not take what the configuration forces.
    pub(super) cost: Option<String>,
}

pub(super) fn plan(config: &InterfaceConfig, surveyed: &SurveyedLink, host: &Host) -> Hooks {
    let link = &without_ours(surveyed);
    if let LinkHeader::Unknown(arphrd) = link.header {
        return Hooks {
            problem: Some(AttachError::UnknownHeader { arphrd }.to_string()),
            ..Hooks::default()
        };
    }
    let step = |step: Step, program: fn(Rung, &Link) -> &'static str| {
        let (rung, skipped) = match step {
            Step::Try(rung) => (rung, tc_obstacle(rung, surveyed, host)),
            Step::Skip(rung, reason) => (rung, Some(reason.to_owned())),
        };
        HookStep {
            hook: rung.name(),
            skipped,
            program: program(rung, link),
        }
    };
    let ingress: Vec<_> = attach::plan(config, link)
        .into_iter()
        .map(|it| step(it, attach::ingress_program))
        .collect();
    let egress: Vec<_> = [Rung::Tcx, Rung::Clsact]
        .into_iter()
        .map(|rung| step(Step::Try(rung), |_, link| attach::egress_program(link)))
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
    let native = Rung::XdpNative;
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
        Step::Skip(rung, reason) if rung == native => Some(reason.to_owned()),
        _ => None,
    })
}

/// What an agent that is running has attached goes with it.
fn without_ours(surveyed: &SurveyedLink) -> Link {
    let mut xdp = surveyed
        .programs
        .iter()
        .filter(|program| program.hook.is_xdp())
        .peekable();
    let is_ours = xdp.peek().is_some() && xdp.all(AttachedProgram::is_ours);
    Link {
        has_xdp: surveyed.link.has_xdp && !is_ours,
        ..surveyed.link.clone()
    }
}

fn tc_obstacle(rung: Rung, surveyed: &SurveyedLink, host: &Host) -> Option<String> {
    match rung {
        Rung::Tcx if !host.has_tcx => Some(NO_TCX.to_owned()),
        Rung::Clsact => {
            let qdisc = surveyed.clsact.as_deref();
            let is_ingress = qdisc.is_some_and(|qdisc| qdisc != "clsact");
            is_ingress.then(|| INGRESS_QDISC.replace("LINK", &surveyed.link.name))
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
