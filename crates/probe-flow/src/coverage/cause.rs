//! Why a link may move more packets than we see.

use super::CoverageState;
use crate::coverage::LostHook;

/// What is known about an interface when its coverage falls.
#[derive(Clone, Copy, Debug, Default)]
pub struct Surroundings<'a> {
    /// Hooks that our programs were removed from.
    pub lost: &'a [LostHook],
    /// A program of somebody else that gets the packets of this direction before ours, by the
    /// kernel's number.
    pub ahead: Option<u32>,
    /// Programs of ours get frames of interfaces that they do not know.
    pub has_unknown_interface: bool,
}

/// The likeliest cause, as a sentence with what to check next. `direction` is an index of
/// [`super::DIRECTIONS`].
pub fn likely_cause(direction: usize, state: CoverageState, around: Surroundings<'_>) -> String {
    let is_lost = |hook: &&LostHook| usize::from(hook.direction) == direction;
    if let Some(hook) = around.lost.iter().find(is_lost) {
        return hook.to_string();
    }
    if around.has_unknown_interface {
        return "our programs get frames of an interface that they do not know: somebody has \
                changed their maps, or moved the link to another network namespace"
            .to_owned();
    }
    if let Some(program) = around.ahead {
        return format!(
            "eBPF program {program} runs before ours and may drop, redirect or keep packets \
             (`bpftool prog show id {program}`)"
        );
    }
    let rest = if state == CoverageState::Blind {
        "the hook is the wrong one for this traffic"
    } else {
        "part of the traffic takes another way"
    };
    let ways = if direction == 0 {
        "hardware offload of flows (tc, nftables), a switch chip or AF_XDP take packets from the \
         driver before the hook"
    } else {
        "AF_XDP, PACKET_QDISC_BYPASS, pktgen or a switch chip send packets behind the hook"
    };
    format!("{rest}: {ways}")
}
