//! Which hooks are tried on an interface, in which order, and why.

use aya::util::KernelVersion;
use probe_common::control::programs;

use super::{
    tc::{self, TcDirection},
    xdp,
};
use crate::{
    link::{Link, LinkHeader},
    load::kernel_version,
};
use probe_capture::interface::{Hook, InterfaceConfig};

/// XDP got bpf_link in 5.9 (commit aa8d3a716b59). Before, an attachment would outlive the agent.
const XDP_LINK_KERNEL: KernelVersion = KernelVersion::new(5, 9, 0);

/// A hook that sees received packets.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum HookCandidate {
    /// XDP in the driver.
    XdpNative,
    /// XDP in the network stack.
    XdpGeneric,
    /// TCX: a TC program held by a bpf_link, since 6.6.
    Tcx,
    /// TC by a filter on the clsact qdisc.
    Clsact,
}

impl HookCandidate {
    /// Name in the log, the status and the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::XdpNative => "xdp-native",
            Self::XdpGeneric => "xdp-generic",
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
        }
    }

    pub(super) const fn is_xdp(self) -> bool {
        matches!(self, Self::XdpNative | Self::XdpGeneric)
    }
}

/// One step of the plan for an interface.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum HookAttempt {
    /// The hook is tried; the first that works is used.
    Try(HookCandidate),
    /// The hook is left out, for this reason.
    Skip(HookCandidate, &'static str),
}

/// What would be tried on a link, in order. Touches nothing.
pub fn plan(config: &InterfaceConfig, link: &Link) -> Vec<HookAttempt> {
    let xdp = |candidate| match xdp_obstacle(link, kernel_version()) {
        Some(obstacle) => HookAttempt::Skip(candidate, obstacle),
        None => HookAttempt::Try(candidate),
    };
    let tc = TC_CANDIDATES.map(HookAttempt::Try);
    match config.hook {
        Hook::XdpNative => vec![xdp(HookCandidate::XdpNative)],
        Hook::XdpGeneric => vec![xdp(HookCandidate::XdpGeneric)],
        Hook::Xdp => vec![
            xdp(HookCandidate::XdpNative),
            xdp(HookCandidate::XdpGeneric),
        ],
        Hook::Tc => tc.to_vec(),
        Hook::Auto => {
            let native = match xdp_cost(config, link) {
                Some(cost) => HookAttempt::Skip(HookCandidate::XdpNative, cost),
                None => xdp(HookCandidate::XdpNative),
            };
            [native].into_iter().chain(tc).collect()
        }
    }
}

/// The program that would see a link's received packets at a hook.
pub fn ingress_program(candidate: HookCandidate, link: &Link) -> &'static str {
    match candidate {
        HookCandidate::XdpNative | HookCandidate::XdpGeneric => xdp::program_name(),
        HookCandidate::Tcx | HookCandidate::Clsact => {
            tc::program_name(link.header, TcDirection::Ingress)
        }
    }
}

/// The program that would see a link's sent packets.
pub fn egress_program(link: &Link) -> &'static str {
    tc::program_name(link.header, TcDirection::Egress)
}

/// Why this kernel cannot have a program of the object at all.
pub fn program_obstacle(program: &str) -> Option<&'static str> {
    let is_too_new = program == programs::XDP_INGRESS && xdp::program_name() != program;
    is_too_new.then_some("XDP frames in several buffers came with Linux 5.18")
}

/// What makes XDP impossible on a link.
fn xdp_obstacle(link: &Link, kernel: KernelVersion) -> Option<&'static str> {
    if link.header != LinkHeader::Ethernet {
        Some("XDP needs Ethernet headers")
    } else if kernel < XDP_LINK_KERNEL {
        Some("before Linux 5.9 an XDP program would stay attached after a kill of the agent")
    } else if link.has_xdp {
        Some("another XDP program is attached")
    } else {
        None
    }
}

/// What native XDP would cost, where `auto` may choose.
fn xdp_cost(config: &InterfaceConfig, link: &Link) -> Option<&'static str> {
    if config.ignore_vlans {
        Some("ignore_vlans is set, and devices strip VLAN tags where XDP cannot see it")
    } else if link.kind.as_deref() == Some("veth") {
        Some("on veth it switches off segmentation offload for the peer")
    } else if link.is_virtio {
        Some("on virtio it switches off the offloads of the hypervisor")
    } else if !link.is_physical() {
        Some("not a physical device")
    } else {
        None
    }
}

/// TC hooks, best first.
pub(super) const TC_CANDIDATES: [HookCandidate; 2] = [HookCandidate::Tcx, HookCandidate::Clsact];

#[cfg(test)]
mod tests {
    use super::{HookAttempt, HookCandidate, plan, xdp_obstacle};
    use crate::link::{Link, LinkHeader};
    use probe_capture::interface::{Hook, InterfaceConfig};

    fn physical() -> Link {
        Link {
            ifindex: 2,
            name: "eth0".to_owned(),
            odd_name: None,
            header: LinkHeader::Ethernet,
            kind: None,
            is_loopback: false,
            is_virtio: false,
            has_xdp: false,
        }
    }

    fn first_step(link: &Link, hook: Hook) -> HookAttempt {
        let config = InterfaceConfig {
            hook,
            ..InterfaceConfig::default()
        };
        plan(&config, link).remove(0)
    }

    #[test]
    fn auto_takes_native_xdp_only_where_it_costs_nothing() {
        assert_eq!(
            first_step(&physical(), Hook::Auto),
            HookAttempt::Try(HookCandidate::XdpNative)
        );
        let veth = Link {
            kind: Some("veth".to_owned()),
            ..physical()
        };
        let virtio = Link {
            is_virtio: true,
            ..physical()
        };
        let taken = Link {
            has_xdp: true,
            ..physical()
        };
        let loopback = Link {
            is_loopback: true,
            ..physical()
        };
        let wireguard = Link {
            kind: Some("wireguard".to_owned()),
            header: LinkHeader::None,
            ..physical()
        };
        for link in [veth, virtio, taken, loopback, wireguard] {
            let step = first_step(&link, Hook::Auto);
            assert!(
                matches!(step, HookAttempt::Skip(HookCandidate::XdpNative, _)),
                "{step:?}"
            );
        }
    }

    #[test]
    fn vlans_are_ignored_in_tc() {
        let config = InterfaceConfig {
            ignore_vlans: true,
            ..InterfaceConfig::default()
        };
        let step = plan(&config, &physical()).remove(0);
        assert!(
            matches!(step, HookAttempt::Skip(HookCandidate::XdpNative, _)),
            "{step:?}"
        );
    }

    #[test]
    fn what_is_asked_for_is_tried_and_nothing_else() {
        let veth = Link {
            kind: Some("veth".to_owned()),
            ..physical()
        };
        for (hook, candidates) in [
            (
                Hook::Xdp,
                vec![HookCandidate::XdpNative, HookCandidate::XdpGeneric],
            ),
            (Hook::XdpNative, vec![HookCandidate::XdpNative]),
            (Hook::XdpGeneric, vec![HookCandidate::XdpGeneric]),
            (Hook::Tc, vec![HookCandidate::Tcx, HookCandidate::Clsact]),
        ] {
            let config = InterfaceConfig {
                hook,
                ..InterfaceConfig::default()
            };
            let steps: Vec<_> = candidates.into_iter().map(HookAttempt::Try).collect();
            assert_eq!(plan(&config, &veth), steps, "{hook:?}");
        }
    }

    #[test]
    fn xdp_without_bpf_link_is_refused() {
        let old = aya::util::KernelVersion::new(5, 8, 0);
        assert!(xdp_obstacle(&physical(), old).is_some());
    }
}
