//! What decides how a link is captured: its header, its kind, what is attached to it already.

use rtnetlink::packet_route::link::{
    LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};

use std::collections::HashMap;

use super::netlink::{self, NetlinkError};
use probe_capture::source::LinkState;
use probe_common::record::INGRESS;

/// A link at the time it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// Index of the link in its namespace.
    pub ifindex: u32,
    /// Name of the link, 15 octets at most.
    pub name: String,
    /// What its frames start with.
    pub header: LinkHeader,
    /// `veth`, `bridge`, `wireguard` …; none for physical devices and loopback.
    pub kind: Option<String>,
    /// Whether it is the loopback device (`IFF_LOOPBACK`).
    pub is_loopback: bool,
    /// A virtio device: its "hardware" is the hypervisor (known from 5.14 on).
    pub is_virtio: bool,
    /// An XDP program is attached.
    pub has_xdp: bool,
}

/// What the frames of a link start with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LinkHeader {
    /// Frames start with an Ethernet header.
    Ethernet,
    /// Frames start with the IP header.
    None,
    /// Something else, of this ARPHRD number: cannot be captured.
    Unknown(u16),
}

impl Link {
    /// Asks the kernel for the link with this index.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`]: no netlink socket can be opened, or there is no link with this index
    /// (`ENODEV`).
    pub fn by_index(ifindex: u32) -> Result<Self, NetlinkError> {
        LinkQuestions::default().by_index(ifindex)
    }

    /// A device of its own: not made of others or of software.
    pub const fn is_physical(&self) -> bool {
        self.kind.is_none() && !self.is_loopback && matches!(self.header, LinkHeader::Ethernet)
    }

    /// What a check reads of a link.
    fn state_from_message(message: &LinkMessage) -> LinkState {
        let mut state = LinkState {
            name: netlink::link_name(message).unwrap_or_default(),
            ..LinkState::default()
        };
        let mut is_ifb = false;
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::Stats64(stats) => {
                    state.packets = Some([stats.rx_packets, stats.tx_packets]);
                }
                LinkAttribute::Xdp(xdp) => {
                    state.xdp_programs = xdp.iter().filter_map(xdp_program).collect();
                }
                LinkAttribute::LinkInfo(infos) => is_ifb |= infos.iter().any(is_ifb_kind),
                _ => {}
            }
        }
        // What is redirected to an ifb counts as received and then as sent, and is only ever sent:
        // drivers/net/ifb.c.
        if let (true, Some(packets)) = (is_ifb, &mut state.packets) {
            packets[usize::from(INGRESS)] = 0;
        }
        state
    }

    pub(super) fn from_message(message: &LinkMessage) -> Self {
        let mut link = Self {
            ifindex: message.header.index,
            name: netlink::link_name(message).unwrap_or_default(),
            header: LinkHeader::from_layer(message.header.link_layer_type),
            kind: None,
            is_loopback: message.header.flags.contains(LinkFlags::Loopback),
            is_virtio: false,
            has_xdp: false,
        };
        for attribute in &message.attributes {
            match attribute {
                LinkAttribute::LinkInfo(infos) => {
                    link.kind = infos.iter().find_map(|info| match info {
                        LinkInfo::Kind(kind) => Some(kind.to_string()),
                        _ => None,
                    });
                }
                LinkAttribute::ParentDevBusName(bus) => link.is_virtio = bus == "virtio",
                LinkAttribute::Xdp(xdp) => {
                    link.has_xdp = xdp.iter().any(
                        |xdp| matches!(xdp, LinkXdp::Attached(mode) if *mode != XdpAttached::None),
                    );
                }
                _ => {}
            }
        }
        link
    }
}

/// Asks for one link after the other, all in the network namespace of the first question, and keeps
/// the socket open in between ([`netlink::Connection`] tells why).
#[derive(Default)]
pub struct LinkQuestions(Option<netlink::Connection>);

impl LinkQuestions {
    /// Asks the kernel for the link with this index.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`]: no netlink socket can be opened, or there is no link with this index
    /// (`ENODEV`).
    pub fn by_index(&mut self, ifindex: u32) -> Result<Link, NetlinkError> {
        let message = self.connection()?.link(ifindex)?;
        Ok(Link::from_message(&message))
    }

    /// The state of the link with this index, or none if it is gone.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`]: no netlink socket can be opened, or the kernel does not describe the link.
    /// One that is gone is no error.
    pub fn state(&mut self, ifindex: u32) -> Result<Option<LinkState>, NetlinkError> {
        let message = self.connection()?.link_with_counters(ifindex)?;
        Ok(message.as_ref().map(Link::state_from_message))
    }

    fn connection(&mut self) -> Result<&netlink::Connection, NetlinkError> {
        match &mut self.0 {
            Some(connection) => Ok(connection),
            closed => Ok(closed.insert(netlink::Connection::open()?)),
        }
    }
}

/// Up to so many links are asked for one by one: a host may have thousands that are not captured, and the
/// kernel takes as long for each that it lists. More than that are likely to be most of what there is.
const ONE_BY_ONE: usize = 64;

/// The state of these links of the caller's network namespace, by index, and perhaps of others. Those that are
/// gone have none.
///
/// # Errors
///
/// [`NetlinkError`]: no netlink socket can be opened, or the kernel does not describe the links.
/// One that is gone is no error.
pub fn states(of: &[u32]) -> Result<HashMap<u32, LinkState>, NetlinkError> {
    if of.len() > ONE_BY_ONE {
        let state = |link: &LinkMessage| (link.header.index, Link::state_from_message(link));
        return Ok(netlink::links_with_counters(state)?.into_iter().collect());
    }
    let mut questions = LinkQuestions::default();
    let mut states = HashMap::new();
    for ifindex in of {
        states.extend(questions.state(*ifindex)?.map(|state| (*ifindex, state)));
    }
    Ok(states)
}

fn is_ifb_kind(info: &LinkInfo) -> bool {
    matches!(info, LinkInfo::Kind(kind) if kind.to_string() == "ifb")
}

/// A link can have programs in several modes; then there is no plain `ProgId`.
const fn xdp_program(attribute: &LinkXdp) -> Option<u32> {
    match attribute {
        LinkXdp::ProgId(id)
        | LinkXdp::DrvProgId(id)
        | LinkXdp::SkbProgId(id)
        | LinkXdp::HwProgId(id) => Some(*id),
        _ => None,
    }
}

impl LinkHeader {
    fn from_layer(layer: LinkLayerType) -> Self {
        match layer {
            LinkLayerType::Ether | LinkLayerType::Loopback => Self::Ethernet,
            LinkLayerType::None
            | LinkLayerType::Ppp
            | LinkLayerType::Rawip
            | LinkLayerType::Tunnel
            | LinkLayerType::Tunnel6
            | LinkLayerType::Sit
            | LinkLayerType::Ipgre
            | LinkLayerType::Ip6gre => Self::None,
            other => Self::Unknown(other.into()),
        }
    }
}
