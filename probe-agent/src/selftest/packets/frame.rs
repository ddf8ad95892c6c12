//! Frames, built header by header. Every builder takes what comes behind its header.

pub(crate) use probe_common::headers::{
    IPV4_MORE_FRAGMENTS,
    ether_type::{ARP, C_TAG, IPV4, IPV6, MPLS, MPLS_UPSTREAM, OLD_S_TAG, PPPOE_SESSION, S_TAG},
    ip_protocol::{
        AH, DESTINATION_OPTIONS, ESP, FRAGMENT, HOP_BY_HOP, ICMP, ICMPV6, NO_NEXT_HEADER, ROUTING,
        SCTP, TCP, UDP,
    },
};

pub(crate) const SRC_V4: [u8; 4] = [198, 18, 0, 1];
pub(crate) const DST_V4: [u8; 4] = [198, 18, 0, 2];
pub(crate) const SRC_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
pub(crate) const DST_V6: [u8; 16] = [0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2];

/// Identification of all IPv4 packets.
pub(crate) const ID_V4: u16 = 0x1234;
/// Identification in all IPv6 fragment headers.
pub(crate) const ID_V6: u32 = 0x8000_0005;

pub(crate) const SRC_PORT: u16 = 1111;
pub(crate) const DST_PORT: u16 = 2222;

/// Puts bytes one behind the other.
pub(crate) fn join(parts: &[&[u8]]) -> Vec<u8> {
    parts.concat()
}

pub(crate) fn ethernet(ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let addresses = [0x02, 0, 0, 0, 0, 2, 0x02, 0, 0, 0, 0, 1];
    join(&[&addresses, &ether_type.to_be_bytes(), payload])
}

/// What follows a VLAN TPID: the tag, the next EtherType and the rest.
pub(crate) fn vlan(id: u16, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    join(&[&id.to_be_bytes(), &ether_type.to_be_bytes(), payload])
}

/// `depth` C-tags in a row, then the payload.
pub(crate) fn vlans(depth: u16, ether_type: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.to_vec(), ether_type);
    for id in 0..depth {
        frame = (vlan(id, frame.1, &frame.0), C_TAG);
    }
    ethernet(frame.1, &frame.0)
}

/// An MPLS label stack entry (RFC 3032, section 2.1).
pub(crate) fn label(is_bottom_of_stack: bool) -> [u8; 4] {
    [0x00, 0x01, 0x10 | u8::from(is_bottom_of_stack), 64]
}

/// The same with a PPP protocol of one octet (RFC 1661, section 6.5).
pub(crate) fn pppoe_compressed(ppp_protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 1).expect("fits the length field");
    join(&[
        &[0x11, 0x00, 0x00, 0x01],
        &length.to_be_bytes(),
        &[ppp_protocol],
        payload,
    ])
}

/// PPPoE session header with the PPP protocol (RFC 2516, section 4).
pub(crate) fn pppoe(ppp_protocol: u16, payload: &[u8]) -> Vec<u8> {
    let length = u16::try_from(payload.len() + 2).expect("fits the length field");
    join(&[
        &[0x11, 0x00, 0x00, 0x01],
        &length.to_be_bytes(),
        &ppp_protocol.to_be_bytes(),
        payload,
    ])
}

/// An IPv4 header; what is not said is as it should be.
#[derive(Clone, Copy)]
pub(crate) struct Ipv4 {
    pub(crate) version: u8,
    /// In units of 4 bytes.
    pub(crate) header_len: Option<u8>,
    pub(crate) total_len: Option<u16>,
    /// Flags and fragment offset.
    pub(crate) fragment: u16,
    pub(crate) ip_protocol: u8,
    pub(crate) options: &'static [u8],
}

impl Ipv4 {
    pub(crate) const fn of(ip_protocol: u8) -> Self {
        Self {
            version: 4,
            header_len: None,
            total_len: None,
            fragment: 0,
            ip_protocol,
            options: &[],
        }
    }

    pub(crate) fn packet(self, payload: &[u8]) -> Vec<u8> {
        let len = 20 + self.options.len();
        let header_len = self
            .header_len
            .unwrap_or(u8::try_from(len / 4).expect("fits the length field"));
        let real_len = u16::try_from(len + payload.len()).expect("fits the length field");
        join(&[
            &[self.version << 4 | header_len, 0],
            &self.total_len.unwrap_or(real_len).to_be_bytes(),
            &ID_V4.to_be_bytes(),
            &self.fragment.to_be_bytes(),
            &[64, self.ip_protocol, 0, 0],
            &SRC_V4,
            &DST_V4,
            self.options,
            payload,
        ])
    }

    pub(crate) fn frame(self, payload: &[u8]) -> Vec<u8> {
        ethernet(IPV4, &self.packet(payload))
    }
}

/// An IPv6 header; what is not said is as it should be.
#[derive(Clone, Copy)]
pub(crate) struct Ipv6 {
    pub(crate) version: u8,
    pub(crate) payload_len: Option<u16>,
    pub(crate) next_header: u8,
}

impl Ipv6 {
    pub(crate) const fn of(next_header: u8) -> Self {
        Self {
            version: 6,
            payload_len: None,
            next_header,
        }
    }

    pub(crate) fn packet(self, payload: &[u8]) -> Vec<u8> {
        let real_len = || u16::try_from(payload.len()).expect("fits the length field");
        join(&[
            &[self.version << 4, 0, 0, 0],
            &self.payload_len.unwrap_or_else(real_len).to_be_bytes(),
            &[self.next_header, 64],
            &SRC_V6,
            &DST_V6,
            payload,
        ])
    }

    pub(crate) fn frame(self, payload: &[u8]) -> Vec<u8> {
        ethernet(IPV6, &self.packet(payload))
    }
}

/// An extension header of `8 * (units + 1)` bytes: hop-by-hop, destination options or routing.
pub(crate) fn extension(next_header: u8, units: u8) -> Vec<u8> {
    let mut header = vec![0; 8 * (usize::from(units) + 1)];
    // The first option (or routing type) is a PadN as long as the rest allows.
    header[..4].copy_from_slice(&[next_header, units, 1, 4]);
    header
}

/// `count` destination options headers of 8 bytes, the last of which names `next_header`.
pub(crate) fn extensions(count: usize, next_header: u8) -> Vec<u8> {
    let mut chain = Vec::new();
    for left in (0..count).rev() {
        let next = if left == 0 {
            next_header
        } else {
            DESTINATION_OPTIONS
        };
        chain.extend(extension(next, 0));
    }
    chain
}

/// Fragment header (RFC 8200, section 4.5); the offset in units of 8 bytes.
pub(crate) fn fragment(next_header: u8, offset: u16, more: bool) -> Vec<u8> {
    let field = offset << 3 | u16::from(more);
    join(&[
        &[next_header, 0],
        &field.to_be_bytes(),
        &ID_V6.to_be_bytes(),
    ])
}

/// Authentication header with an ICV of 12 bytes: 24 bytes (RFC 4302, section 2.2).
pub(crate) fn authentication(next_header: u8) -> Vec<u8> {
    join(&[&[next_header, 4, 0, 0], &[0xaa; 20]])
}

/// TCP header of 20 bytes with the given flags.
pub(crate) fn tcp(flags: u8) -> Vec<u8> {
    join(&[
        &SRC_PORT.to_be_bytes(),
        &DST_PORT.to_be_bytes(),
        &[0, 0, 0, 1, 0, 0, 0, 0, 0x50, flags, 0xff, 0xff, 0, 0, 0, 0],
    ])
}

/// UDP datagram with `payload_len` bytes of payload.
pub(crate) fn udp(payload_len: u16) -> Vec<u8> {
    join(&[
        &SRC_PORT.to_be_bytes(),
        &DST_PORT.to_be_bytes(),
        &(payload_len + 8).to_be_bytes(),
        &[0, 0],
        &vec![0x55; payload_len.into()],
    ])
}
