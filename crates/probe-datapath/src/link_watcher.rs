//! The kernel's events about links: which come, go and change their name.

use std::{collections::HashMap, future::poll_fn, io};

use rtnetlink::{
    packet_core::{NetlinkMessage, NetlinkPayload},
    packet_route::{
        AddressFamily, RouteNetlinkMessage,
        link::{LinkAttribute, LinkMessage},
    },
    sys::{AsyncSocket as _, SocketAddr, TokioSocket, protocols::NETLINK_ROUTE},
};

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

/// Names of the links by index, as far as events told them.
#[derive(Debug, Default)]
struct KnownLinks(HashMap<u32, String>);

/// What a batch of events came to.
#[derive(Debug, Default, Eq, PartialEq)]
struct Changed {
    /// A link came, went, or has another name.
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

    /// Waits until a link has come, gone or changed its name, or until events were lost and anything
    /// may have happened. Returns the indices of links that have gone. May be dropped and called
    /// again.
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
        let mut rest = datagram;
        while !rest.is_empty() {
            let Ok(message) = NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest) else {
                // Not understood is not "nothing": the list of links will tell.
                changed.any = true;
                return;
            };
            let len = usize::try_from(message.header.length).unwrap_or(usize::MAX);
            match &message.payload {
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    self.on_link(link, changed);
                }
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::DelLink(link)) => {
                    self.on_gone(link, changed);
                }
                _ => {}
            }
            // Messages are aligned to 4 bytes (NLMSG_ALIGNTO); a length of 0 would not advance.
            rest = rest.get(len.next_multiple_of(4).max(4)..).unwrap_or(&[]);
        }
    }

    /// Most events are about something else, such as a link that goes up or down.
    fn on_link(&mut self, link: &LinkMessage, changed: &mut Changed) {
        let mut attributes = link.attributes.iter();
        let name = attributes.find_map(|attribute| match attribute {
            LinkAttribute::IfName(name) => Some(name),
            _ => None,
        });
        let Some(name) = name.filter(|_| is_about_the_link(link)) else {
            return;
        };
        let index = link.header.index;
        if self.0.get(&index) != Some(name) {
            self.0.insert(index, name.clone());
            changed.any = true;
        }
    }

    fn on_gone(&mut self, link: &LinkMessage, changed: &mut Changed) {
        if is_about_the_link(link) {
            self.0.remove(&link.header.index);
            changed.any = true;
            changed.gone.push(link.header.index);
        }
    }
}

/// A bridge tells with the same messages, of a family of its own, which ports it has.
fn is_about_the_link(link: &LinkMessage) -> bool {
    link.header.interface_family == AddressFamily::Unspec
}

#[cfg(test)]
mod tests {
    use rtnetlink::packet_core::NetlinkHeader;

    use super::*;

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
}
