//! The kernel's events about links: which come, go, change their name, and join bridges and bonds.

use std::{collections::HashMap, future::poll_fn, io};

use rtnetlink::sys::{AsyncSocket as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE};

use crate::netlink::{LinkRecord, message::messages};

/// Multicast group `RTNLGRP_LINK` of linux/rtnetlink.h.
const LINK_GROUP: u32 = 1;

/// Room for the events of a few hundred links at once; an event with its link is about 1.5 KB.
/// The kernel may grant less (`net.core.rmem_max`).
const QUEUE_BYTES: usize = 4 << 20;

/// Events about the links of the network namespace in which they were subscribed to.
pub struct LinkEvents {
    socket: TokioSocket,
    links: KnownLinks,
}

/// The links by index, as far as events told them.
#[derive(Debug, Default)]
struct KnownLinks(HashMap<u32, Known>);

/// What the rules ask of a link and may change.
#[derive(Debug, Default, Eq, PartialEq)]
struct Known {
    name: Vec<u8>,
    /// Index of what it is a member of.
    master: Option<u32>,
}

/// What a batch of events came to.
#[derive(Debug, Default, Eq, PartialEq)]
struct Changed {
    /// A link came, went, has another name, or is a member of something else.
    any: bool,
    /// Indices of links that have gone.
    gone: Vec<u32>,
}

impl LinkEvents {
    /// Subscribes in the calling thread's namespace. Needs a tokio runtime.
    ///
    /// # Errors
    ///
    /// The system opens no netlink socket, or refuses the size of its queue or the group of link
    /// events.
    pub fn subscribe() -> io::Result<Self> {
        let mut socket = TokioSocket::new(NETLINK_ROUTE)?;
        let inner = socket.socket_mut();
        inner.set_rx_buf_sz(QUEUE_BYTES)?;
        inner.bind(&SocketAddr::new(0, 0))?;
        inner.add_membership(LINK_GROUP)?;
        Ok(Self {
            socket,
            links: KnownLinks::default(),
        })
    }

    /// Waits until a link has come, gone, changed its name, or joined or left a bridge or bond, or
    /// until events were lost and anything may have happened. Returns the indices of links that have
    /// gone. May be dropped and called again.
    ///
    /// # Errors
    ///
    /// The socket cannot be read. That the kernel dropped events (`ENOBUFS`) is no error.
    pub async fn changed(&mut self) -> io::Result<Vec<u32>> {
        loop {
            let mut changed = Changed::default();
            match poll_fn(|context| self.socket.poll_recv_from_full(context)).await {
                Ok((datagram, _)) => self.links.on_datagram(&datagram, &mut changed),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    tracing::info!("events about links were lost, checking all of them");
                    self.links.0.clear();
                    changed.any = true;
                }
                Err(error) => return Err(error),
            }
            if changed.any {
                return Ok(changed.gone);
            }
        }
    }
}

impl KnownLinks {
    fn on_datagram(&mut self, datagram: &[u8], changed: &mut Changed) {
        for message in messages(datagram) {
            let link = message.ok().map(|message| (message.kind, message.payload));
            let link = link.map(|(kind, payload)| (kind, LinkRecord::parse(payload)));
            match link {
                // A bridge tells with the same messages, of a family of its own, which ports it has.
                Some((_, Ok(link))) if !link.is_about_the_link => {}
                Some((libc::RTM_NEWLINK, Ok(link))) => self.on_link(link, changed),
                Some((libc::RTM_DELLINK, Ok(link))) => {
                    self.0.remove(&link.ifindex);
                    changed.any = true;
                    changed.gone.push(link.ifindex);
                }
                Some((kind, _)) if kind != libc::RTM_NEWLINK && kind != libc::RTM_DELLINK => {}
                // Not understood is not "nothing": the list of links will tell.
                _ => changed.any = true,
            }
        }
    }

    /// Most events are about something else, such as a link that goes up or down.
    fn on_link(&mut self, link: LinkRecord, changed: &mut Changed) {
        let Some(name) = link.name else {
            return;
        };
        let before = self.0.get(&link.ifindex);
        // Events of wireless devices (IFLA_WIRELESS) tell the name and nothing else.
        let is_whole = link.mtu.is_some();
        let master = if is_whole {
            link.master
        } else {
            before.and_then(|before| before.master)
        };
        let now = Known { name, master };
        if before != Some(&now) {
            self.0.insert(link.ifindex, now);
            changed.any = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use rtnetlink::{
        packet_core::{NetlinkHeader, NetlinkMessage, NetlinkPayload},
        packet_route::{
            AddressFamily, RouteNetlinkMessage,
            link::{LinkAttribute, LinkMessage},
        },
    };

    use super::*;
    use crate::netlink::message::{attribute, message};

    fn event(
        make: fn(LinkMessage) -> RouteNetlinkMessage,
        family: AddressFamily,
        index: u32,
        name: &str,
    ) -> Vec<u8> {
        let mut link = LinkMessage::default();
        link.header.interface_family = family;
        link.header.index = index;
        link.attributes.push(LinkAttribute::IfName(name.to_owned()));
        let payload = NetlinkPayload::from(make(link));
        let mut message = NetlinkMessage::new(NetlinkHeader::default(), payload);
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        bytes
    }

    #[test]
    fn only_what_changes_the_list_of_links_counts() {
        let mut links = KnownLinks::default();
        let mut told = |bytes: &[u8]| {
            let mut changed = Changed::default();
            links.on_datagram(bytes, &mut changed);
            (changed.any, changed.gone)
        };
        let unspec = AddressFamily::Unspec;
        let came = event(RouteNetlinkMessage::NewLink, unspec, 7, "eth0");
        let renamed = event(RouteNetlinkMessage::NewLink, unspec, 7, "lan0");
        let went = event(RouteNetlinkMessage::DelLink, unspec, 7, "lan0");
        let left = event(
            RouteNetlinkMessage::DelLink,
            AddressFamily::Bridge,
            7,
            "lan0",
        );
        assert_eq!(told(&came), (true, vec![]));
        assert_eq!(told(&came), (false, vec![]), "it went up, or down");
        assert_eq!(told(&renamed), (true, vec![]));
        assert_eq!(told(&left), (false, vec![]), "it left a bridge");
        assert_eq!(told(&went), (true, vec![7]));
        assert_eq!(told(&[came, went].concat()), (true, vec![7]));
        assert_eq!(told(b"no message"), (true, vec![]));
    }

    #[test]
    fn odd_texts_hide_no_event() {
        let mut header = vec![0; 16];
        header[4] = 7;
        let texts = [
            attribute(libc::IFLA_IFNAME, b"B\xfcro\0"),
            attribute(libc::IFLA_IFALIAS, b"\xff\0"),
        ];
        let payload = [header.clone(), texts.concat()].concat();
        let came = message(libc::RTM_NEWLINK, 0, 0, &payload);
        let went = message(libc::RTM_DELLINK, 0, 0, &payload);
        let mut links = KnownLinks::default();
        let mut told = |bytes: &[u8]| {
            let mut changed = Changed::default();
            links.on_datagram(bytes, &mut changed);
            (changed.any, changed.gone)
        };
        assert_eq!(told(&came), (true, vec![]));
        assert_eq!(told(&came), (false, vec![]), "its alias has changed");
        assert_eq!(told(&[came, went].concat()), (true, vec![7]));
    }

    #[test]
    fn who_joins_and_leaves_a_bridge_counts() {
        let mut links = KnownLinks::default();
        let mut told = |attributes: &[Vec<u8>]| {
            let mut header = vec![0; 16];
            header[4] = 7;
            let name = attribute(libc::IFLA_IFNAME, b"wlan0\0");
            let payload = [header, name, attributes.concat()].concat();
            let mut changed = Changed::default();
            links.on_datagram(&message(libc::RTM_NEWLINK, 0, 0, &payload), &mut changed);
            changed.any
        };
        let mtu = attribute(libc::IFLA_MTU, &1500_u32.to_ne_bytes());
        let master = attribute(libc::IFLA_MASTER, &3_u32.to_ne_bytes());
        assert!(told(std::slice::from_ref(&mtu)));
        assert!(told(&[mtu.clone(), master.clone()]), "it joins");
        assert!(!told(&[attribute(libc::IFLA_WIRELESS, &[0; 8])]));
        assert!(!told(&[mtu.clone(), master]));
        assert!(told(&[mtu]), "it leaves");
    }
}
