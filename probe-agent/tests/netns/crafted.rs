//! Fragments of our own making, which no kernel would send in such an order.

use std::net::{IpAddr, SocketAddr};

use probe_common::headers::ip_protocol::{FRAGMENT, ICMPV6};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use super::netns::Namespace;

/// What the fragments carry: a multiple of 8 that fits the link with either IP header.
const ROOM: usize = 1400;

/// A packet of UDP, or of any other protocol if the ports are 0.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Crafted {
    pub(crate) src: (IpAddr, u16),
    pub(crate) dst: (IpAddr, u16),
    pub(crate) ip_protocol: u8,
    /// Identification.
    pub(crate) id: u16,
    /// Octets behind the transport header.
    pub(crate) payload: usize,
}

/// In which order the fragments of a packet are sent.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Order {
    /// The last one first.
    Reversed,
    /// Every second one, the others, and then all once more.
    DisorderedTwice,
}

impl Crafted {
    /// The fragments as IP packets.
    pub(crate) fn fragments(&self, order: Order) -> Vec<Vec<u8>> {
        let packet = self.transport();
        let count = packet.len().div_ceil(ROOM);
        let parts = packet.chunks(ROOM).zip(0..);
        let mut fragments: Vec<_> = parts
            .map(|(part, number)| self.fragment(part, number, usize::from(number) + 1 < count))
            .collect();
        match order {
            Order::Reversed => fragments.reverse(),
            Order::DisorderedTwice => {
                let in_order = fragments.clone();
                let (odd, even): (Vec<_>, Vec<_>) = (0..count).partition(|number| number % 2 == 1);
                let disordered = odd.into_iter().chain(even).chain(0..count);
                fragments = disordered.map(|number| in_order[number].clone()).collect();
            }
        }
        fragments
    }

    /// A transport header of 8 octets and the payload. Its checksum is wrong, so that no host
    /// answers.
    fn transport(&self) -> Vec<u8> {
        const ECHO_REQUEST: u8 = 8;
        const ECHO_REQUEST_V6: u8 = 128;
        const BAD_CHECKSUM: [u8; 2] = [0x0b, 0xad];
        let length = u16::try_from(8 + self.payload).expect("fits the length field");
        let mut packet = match self.ip_protocol {
            1 => vec![ECHO_REQUEST, 0],
            ICMPV6 => vec![ECHO_REQUEST_V6, 0],
            _ => [self.src.1.to_be_bytes(), self.dst.1.to_be_bytes()].concat(),
        };
        if packet.len() == 4 {
            packet.extend(length.to_be_bytes());
        }
        packet.extend(BAD_CHECKSUM);
        packet.resize(8, 0);
        packet.resize(8 + self.payload, 0x5a);
        packet
    }

    fn fragment(&self, part: &[u8], number: u16, has_more: bool) -> Vec<u8> {
        let offset = number * u16::try_from(ROOM / 8).expect("small");
        let part_len = u16::try_from(part.len()).expect("small");
        match (self.src.0, self.dst.0) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => [
                &[0x45, 0][..],
                &(20 + part_len).to_be_bytes(),
                &self.id.to_be_bytes(),
                &(u16::from(has_more) << 13 | offset).to_be_bytes(),
                &[64, self.ip_protocol, 0, 0], // the kernel fills the checksum in
                &src.octets(),
                &dst.octets(),
                part,
            ]
            .concat(),
            (IpAddr::V6(src), IpAddr::V6(dst)) => [
                &[0x60, 0, 0, 0][..],
                &(8 + part_len).to_be_bytes(),
                &[FRAGMENT, 64],
                &src.octets(),
                &dst.octets(),
                &[self.ip_protocol, 0],
                &(offset << 3 | u16::from(has_more)).to_be_bytes(),
                &u32::from(self.id).to_be_bytes(),
                part,
            ]
            .concat(),
            _ => panic!("two families"),
        }
    }

    /// Sends IP packets as they are, from within a namespace.
    #[track_caller]
    pub(crate) fn send(&self, from: &Namespace, packets: &[Vec<u8>]) {
        let family = if self.dst.0.is_ipv4() {
            AddressFamily::INET
        } else {
            AddressFamily::INET6
        };
        let to = SocketAddr::new(self.dst.0, 0);
        from.enter(|| {
            // `IPPROTO_RAW`: packets come with their IP header (raw(7), ipv6(7)).
            let socket = socket(family, SocketType::RAW, Some(ipproto::RAW)).expect("a socket");
            for packet in packets {
                sendto(&socket, packet, SendFlags::empty(), &to).expect("sent");
            }
        });
    }
}
