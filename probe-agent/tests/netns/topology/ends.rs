//! The two ends of a link, and lines of `ip` commands that are the same for both.

use super::{
    super::netns::Namespace,
    super::testbed::{HOST_MAC, LINK, LinkLayer, PEER_LINK, PEER_MAC, Testbed, wait_until_up},
    Below, Kind, LOWER, PEER_LOWER,
};

/// Octets of the largest IP packet on the lower link.
const LOWER_MTU: u64 = 1500;

/// One end of a link and of the one below.
pub(super) struct End<'a> {
    pub(super) namespace: &'a Namespace,
    pub(super) link: &'static str,
    pub(super) lower: &'static str,
    mac: &'static str,
    far_mac: &'static str,
    /// 1 for the host, 2 for the peer: the last part of the lower link's addresses.
    near: u8,
    far: u8,
}

/// The host's end and the peer's.
pub(super) fn ends(testbed: &Testbed) -> [End<'_>; 2] {
    let host = End {
        namespace: &testbed.host,
        link: LINK,
        lower: LOWER,
        mac: HOST_MAC,
        far_mac: PEER_MAC,
        near: 1,
        far: 2,
    };
    let peer = End {
        namespace: &testbed.peer,
        link: PEER_LINK,
        lower: PEER_LOWER,
        mac: PEER_MAC,
        far_mac: HOST_MAC,
        near: 2,
        far: 1,
    };
    [host, peer]
}

impl End<'_> {
    /// Runs lines of `ip` commands with the names and addresses of this end.
    #[track_caller]
    pub(super) fn ip(&self, lines: &str) {
        self.namespace.ip(&format!("{}\n", self.fill_in(lines)));
    }

    /// Text with the names and addresses of this end.
    pub(super) fn fill_in(&self, text: &str) -> String {
        let (near, far) = (self.near, self.far);
        text.replace("{v4_ends}", "local {near_v4} remote {far_v4}")
            .replace("{v6_ends}", "local {near_v6} remote {far_v6}")
            .replace("{link}", self.link)
            .replace("{lower}", self.lower)
            .replace("{mac}", self.mac)
            .replace("{far_mac}", self.far_mac)
            .replace("{lower_mac}", &format!("02:00:00:00:01:0{near}"))
            .replace("{far_lower_mac}", &format!("02:00:00:00:01:0{far}"))
            .replace("{near_v4}", &format!("198.19.0.{near}"))
            .replace("{far_v4}", &format!("198.19.0.{far}"))
            .replace("{near_v6}", &format!("fd00:198:19::{near}"))
            .replace("{far_v6}", &format!("fd00:198:19::{far}"))
    }
}

/// The words for an Ethernet address, where the kind has one, and for the size of packets that the
/// lower link need not cut into fragments.
pub(super) fn link_words(kind: Kind) -> String {
    let address = match kind.layer {
        LinkLayer::Ethernet => "address {mac}",
        LinkLayer::None => "",
    };
    match kind.below {
        Below::Tunnel(header_octets) => format!("{address} mtu {}", LOWER_MTU - header_octets),
        _ => address.to_owned(),
    }
}

/// A veth pair with addresses, for links that are made of it and tunnels that go through it.
#[track_caller]
pub(super) fn make_lower(testbed: &Testbed) {
    let ends = ends(testbed);
    ends[0].ip(&format!(
        "link add {LOWER} address {{lower_mac}} type veth \
         peer name {PEER_LOWER} address {{far_lower_mac}} netns {}",
        testbed.peer.name()
    ));
    for end in &ends {
        end.ip("link set {lower} addrgenmode none\n\
             address add {near_v4}/24 dev {lower}\n\
             address add {near_v6}/64 dev {lower} nodad\n\
             link set {lower} up\n\
             neighbour replace {far_v4} lladdr {far_lower_mac} dev {lower} nud permanent\n\
             neighbour replace {far_v6} lladdr {far_lower_mac} dev {lower} nud permanent");
    }
    for end in &ends {
        wait_until_up(end.namespace, end.lower);
    }
}
