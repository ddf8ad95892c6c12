//! What decides how a link is captured: its header, its kind, what is attached to it already.

use std::collections::HashMap;

use rtnetlink::packet_route::link::LinkLayerType;

use super::netlink::{self, LinkRecord, NetlinkError};
use probe_capture::{
    interface::{LOOPBACK, PHYSICAL},
    source::LinkState,
};
use probe_common::record::INGRESS;
use probe_flow::coverage::LinkCounts;

/// A link at the time it was read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Link {
    /// Index of the link in its namespace.
    pub ifindex: u32,
    /// Name of the link. Octets that are no UTF-8, and characters that a terminal obeys or that turn
    /// the reading direction, are shown as `\xfc`.
    pub name: String,
    /// The name in the kernel, where it is not the text of [`Self::name`].
    pub odd_name: Option<Vec<u8>>,
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

    /// Its kind in rules, plans and manuals.
    pub fn kind_name(&self) -> &str {
        kind_name(self.kind.as_deref(), self.is_loopback)
    }

    /// What a check reads of a link.
    fn state_from_record(record: &LinkRecord) -> LinkState {
        let mut programs: Vec<_> = record.xdp_program.into_iter().collect();
        programs.extend(record.xdp_programs.iter().map(|(_, program)| *program));
        let mut counts = record.counts;
        // What is redirected to an ifb counts as received and then as sent, and is only ever sent:
        // drivers/net/ifb.c.
        if let (Some("ifb"), Some(counts)) = (record.kind.as_deref(), &mut counts) {
            counts[usize::from(INGRESS)] = LinkCounts::default();
        }
        LinkState {
            name: record.shown_name().unwrap_or_default().0,
            counts,
            xdp_programs: programs,
            is_down: record.is_down(),
        }
    }

    pub(super) fn from_record(record: &LinkRecord) -> Self {
        let (name, is_exact) = record.shown_name().unwrap_or_default();
        Self {
            ifindex: record.ifindex,
            name,
            odd_name: record.name.clone().filter(|_| !is_exact),
            header: LinkHeader::from_layer(record.arphrd.into()),
            kind: record.kind.clone(),
            is_loopback: record.is_loopback(),
            is_virtio: record.bus.as_deref() == Some("virtio"),
            has_xdp: record.has_xdp,
        }
    }
}

/// The kernel's name of a kind, and ours where it has none.
pub(crate) fn kind_name(kind: Option<&str>, is_loopback: bool) -> &str {
    kind.unwrap_or(if is_loopback { LOOPBACK } else { PHYSICAL })
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
        let record = self.connection()?.link(ifindex)?;
        Ok(Link::from_record(&record))
    }

    /// The state of the link with this index, or none if it is gone.
    ///
    /// # Errors
    ///
    /// [`NetlinkError`]: no netlink socket can be opened, or the kernel does not describe the link.
    /// One that is gone is no error.
    pub fn state(&mut self, ifindex: u32) -> Result<Option<LinkState>, NetlinkError> {
        let record = self.connection()?.link_with_counters(ifindex)?;
        Ok(record.as_ref().map(Link::state_from_record))
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
        match netlink::links_with_counters() {
            Ok(links) => {
                let links = links.iter();
                return Ok(links
                    .map(|link| (link.ifindex, Link::state_from_record(link)))
                    .collect());
            }
            // Links come and go all the time. That interrupts lists, and no question for one link.
            Err(error) if error.is_interrupted() => {}
            Err(error) => return Err(error),
        }
    }
    let mut questions = LinkQuestions::default();
    let mut states = HashMap::new();
    for ifindex in of {
        states.extend(questions.state(*ifindex)?.map(|state| (*ifindex, state)));
    }
    Ok(states)
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
