//! Constants of packet headers: EtherTypes, protocol numbers, flags, masks and lengths.
//!
//! Each is declared here once, for the programs, the host and the tests. Values come from the
//! `network-types` crate where it has them; the others name the standard that gives them. How many
//! headers are followed is a rule of the parser, and stands there.

use core::mem::offset_of;

use network_types::{
    eth::EthHdr,
    geneve::GeneveHdr,
    ip::{Ipv4Hdr, Ipv6Hdr},
    mpls::Mpls,
    sctp::SctpHdr,
    tcp::TcpHdr,
    udp::UdpHdr,
    vlan::VlanHdr,
    vxlan::{VXLAN_I_FLAG_MASK, VxlanHdr},
};

/// EtherTypes in host order (IANA, IEEE 802 numbers).
pub mod ether_type {
    use network_types::eth::EtherType;

    /// The crate keeps EtherTypes in network order, since it lays structures over packets. We
    /// compare numbers that were read octet by octet.
    const fn in_host_order(ether_type: EtherType) -> u16 {
        u16::from_be(ether_type as u16)
    }

    /// An IPv4 packet follows (RFC 894).
    pub const IPV4: u16 = in_host_order(EtherType::Ipv4);
    /// A message of the Address Resolution Protocol follows (RFC 826).
    pub const ARP: u16 = in_host_order(EtherType::Arp);
    /// A customer VLAN tag (C-tag) follows (IEEE 802.1Q).
    pub const C_TAG: u16 = in_host_order(EtherType::Ieee8021q);
    /// An IPv6 packet follows (RFC 2464, section 3).
    pub const IPV6: u16 = in_host_order(EtherType::Ipv6);
    /// A service VLAN tag (S-tag) follows (IEEE 802.1Q, formerly 802.1ad).
    pub const S_TAG: u16 = in_host_order(EtherType::Ieee8021ad);
    /// An S-tag follows, as bridges marked it before IEEE 802.1ad, and some still do.
    pub const OLD_S_TAG: u16 = in_host_order(EtherType::Ieee8021QinQ1);
    /// An Ethernet frame follows, inside GRE or Geneve (RFC 8926, section 3.4).
    pub const BRIDGED_ETHERNET: u16 = 0x6558;
    /// An MPLS label stack follows (RFC 3032, section 5).
    pub const MPLS: u16 = 0x8847;
    /// An MPLS label stack with an upstream-assigned label on top follows (RFC 5332, section 4).
    pub const MPLS_UPSTREAM: u16 = 0x8848;
    /// A header of a PPPoE session follows (RFC 2516, section 4).
    pub const PPPOE_SESSION: u16 = 0x8864;
}

/// Protocol numbers of PPP, in host order (IANA).
pub mod ppp_protocol {
    /// An IPv4 packet follows (RFC 1332, section 2).
    pub const IPV4: u16 = 0x0021;
    /// An IPv6 packet follows (RFC 5072, section 3).
    pub const IPV6: u16 = 0x0057;
}

/// IP protocol numbers, which are also the next-header values of IPv6 (IANA).
pub mod ip_protocol {
    use network_types::ip::IpProto;

    /// IPv6 hop-by-hop options (RFC 8200, section 4.3).
    pub const HOP_BY_HOP: u8 = IpProto::HopOpt as u8;
    /// Internet Control Message Protocol of IPv4 (RFC 792).
    pub const ICMP: u8 = IpProto::Icmp as u8;
    /// Internet Group Management Protocol (RFC 3376).
    pub const IGMP: u8 = IpProto::Igmp as u8;
    /// An IPv4 packet in an IP packet (RFC 2003).
    pub const IPV4_IN_IP: u8 = IpProto::Ipv4 as u8;
    /// Transmission Control Protocol (RFC 9293).
    pub const TCP: u8 = IpProto::Tcp as u8;
    /// User Datagram Protocol (RFC 768).
    pub const UDP: u8 = IpProto::Udp as u8;
    /// Datagram Congestion Control Protocol (RFC 4340).
    pub const DCCP: u8 = IpProto::Dccp as u8;
    /// An IPv6 packet in an IP packet (RFC 2473, RFC 4213).
    pub const IPV6_IN_IP: u8 = IpProto::Ipv6 as u8;
    /// IPv6 routing header (RFC 8200, section 4.4).
    pub const ROUTING: u8 = IpProto::Ipv6Route as u8;
    /// IPv6 fragment header (RFC 8200, section 4.5).
    pub const FRAGMENT: u8 = IpProto::Ipv6Frag as u8;
    /// Resource Reservation Protocol (RFC 2205).
    pub const RSVP: u8 = IpProto::Rsvp as u8;
    /// Generic Routing Encapsulation (RFC 2784).
    pub const GRE: u8 = IpProto::Gre as u8;
    /// Encapsulating Security Payload (RFC 4303).
    pub const ESP: u8 = IpProto::Esp as u8;
    /// Authentication header of IPsec (RFC 4302).
    pub const AH: u8 = IpProto::Ah as u8;
    /// Internet Control Message Protocol of IPv6 (RFC 4443).
    pub const ICMPV6: u8 = IpProto::Ipv6Icmp as u8;
    /// Nothing follows the IPv6 header (RFC 8200, section 4.7).
    pub const NO_NEXT_HEADER: u8 = IpProto::Ipv6NoNxt as u8;
    /// IPv6 destination options (RFC 8200, section 4.6).
    pub const DESTINATION_OPTIONS: u8 = IpProto::Ipv6Opts as u8;
    /// Enhanced Interior Gateway Routing Protocol (RFC 7868).
    pub const EIGRP: u8 = IpProto::Eigrp as u8;
    /// Open Shortest Path First (RFC 2328, RFC 5340).
    pub const OSPF: u8 = IpProto::Ospfigp as u8;
    /// Protocol Independent Multicast (RFC 7761).
    pub const PIM: u8 = IpProto::Pim as u8;
    /// Virtual Router Redundancy Protocol (RFC 9568).
    pub const VRRP: u8 = IpProto::Vrrp as u8;
    /// Layer Two Tunneling Protocol, version 3 (RFC 3931).
    pub const L2TP: u8 = IpProto::L2tp as u8;
    /// Stream Control Transmission Protocol (RFC 9260).
    pub const SCTP: u8 = IpProto::Sctp as u8;
    /// Lightweight User Datagram Protocol (RFC 3828).
    pub const UDP_LITE: u8 = IpProto::UdpLite as u8;
    /// An MPLS label stack in an IP packet (RFC 4023).
    pub const MPLS_IN_IP: u8 = IpProto::Mpls as u8;
}

/// Bits of the TCP flags (RFC 9293, section 3.1). The crate has them as methods only.
pub mod tcp_flags {
    /// The segment opens a connection.
    pub const SYN: u8 = 0x02;
    /// The acknowledgment field is valid.
    pub const ACK: u8 = 0x10;
}

/// Octets of an Ethernet header without tags.
pub const ETHERNET_LEN: usize = EthHdr::LEN;
/// Offset of the EtherType in an Ethernet header, in octets.
pub const ETHER_TYPE_OFFSET: usize = offset_of!(EthHdr, ether_type);
/// Octets of a VLAN tag behind its EtherType: the tag and the next EtherType.
pub const VLAN_TAG_LEN: usize = VlanHdr::LEN;
/// Octets of an entry of the MPLS label stack (RFC 3032, section 2.1).
pub const MPLS_LABEL_LEN: usize = Mpls::LEN;
/// Octets of a PPPoE header with the PPP protocol field (RFC 2516, section 4).
pub const PPPOE_LEN: usize = 8;
/// Bit of the first octet of the PPP protocol field that says that it is the last one, too (RFC 1661,
/// sections 2 and 6.5).
pub const PPP_PROTOCOL_ENDS: u8 = 1;

/// Octets of an IPv4 header without options (RFC 791, section 3.1).
pub const IPV4_MIN_LEN: usize = Ipv4Hdr::LEN;
/// Bits of the IPv4 fragment field that are the offset, in units of 8 octets (RFC 791, section 3.1).
pub const IPV4_FRAGMENT_OFFSET_MASK: u16 = 0x1fff;
/// Bit of the IPv4 fragment field that says that more fragments follow (RFC 791, section 3.1).
pub const IPV4_MORE_FRAGMENTS: u16 = 0x2000;

/// Octets of an IPv6 header without extension headers (RFC 8200, section 3).
pub const IPV6_LEN: usize = Ipv6Hdr::LEN;
/// Longest IPv6 packet whose length field can say how long it is; the field of a longer one is 0 (RFC 2675,
/// section 3).
pub const IPV6_MAX_LEN: usize = IPV6_LEN + u16::MAX as usize;
/// Octets of an IPv6 fragment header (RFC 8200, section 4.5).
pub const IPV6_FRAGMENT_LEN: usize = 8;
/// Bits of the IPv6 fragment field that are the offset, in octets (RFC 8200, section 4.5).
pub const IPV6_FRAGMENT_OFFSET_MASK: u16 = 0xfff8;
/// Bit of the IPv6 fragment field that says that more fragments follow (RFC 8200, section 4.5).
pub const IPV6_MORE_FRAGMENTS: u16 = 1;
/// Octets of a hop-by-hop header whose only option is the jumbo payload (RFC 2675, section 2).
pub const IPV6_JUMBO_LEN: usize = 8;
/// Type and length of the jumbo payload option (RFC 2675, section 2).
pub const IPV6_JUMBO_OPTION: [u8; 2] = [0xc2, 4];

/// Octets of the two ports, with which TCP, UDP and SCTP begin.
pub const PORTS_LEN: usize = offset_of!(TcpHdr, seq);
/// Octets of a TCP header up to and with its flags (RFC 9293, section 3.1).
pub const TCP_THROUGH_FLAGS_LEN: usize = offset_of!(TcpHdr, window);
/// Octets of a UDP header (RFC 768).
pub const UDP_LEN: usize = UdpHdr::LEN;
/// Octets of the common header of SCTP (RFC 9260, section 3.1).
pub const SCTP_LEN: usize = SctpHdr::LEN;

/// Octets of a GRE header without optional words (RFC 2784, section 2.1).
pub const GRE_LEN: usize = 4;
/// Bits of the first octet of a GRE header, each of which stands for 4 octets more: checksum, key
/// and sequence number (RFC 2890, section 2).
pub const GRE_OPTIONAL_WORDS: [u8; 3] = [0x80, 0x20, 0x10];
/// Octets of a VXLAN header (RFC 7348, section 5).
pub const VXLAN_LEN: usize = VxlanHdr::LEN;
/// Bit of the first octet of every VXLAN header: the network identifier is valid (RFC 7348,
/// section 5).
pub const VXLAN_HAS_VNI: u8 = VXLAN_I_FLAG_MASK;
/// Octets of a Geneve header without options (RFC 8926, section 3.4).
pub const GENEVE_LEN: usize = GeneveHdr::LEN;
/// Bits of the first octet of a Geneve header that are the length of the options, in units of 4
/// octets (RFC 8926, section 3.4).
pub const GENEVE_OPTION_WORDS: u8 = 0x3f;

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers as the registries have them, in case the crate errs or changes its byte order.
    #[test]
    fn ether_types_are_those_of_the_registry() {
        let ether_types = [
            (ether_type::IPV4, 0x0800),
            (ether_type::ARP, 0x0806),
            (ether_type::C_TAG, 0x8100),
            (ether_type::IPV6, 0x86dd),
            (ether_type::S_TAG, 0x88a8),
            (ether_type::OLD_S_TAG, 0x9100),
        ];
        for (ours, registered) in ether_types {
            assert_eq!(ours, registered, "{ours:#06x} for {registered:#06x}");
        }
    }

    #[test]
    fn ip_protocols_are_those_of_the_registry() {
        let ip_protocols = [
            (ip_protocol::HOP_BY_HOP, 0),
            (ip_protocol::ICMP, 1),
            (ip_protocol::IGMP, 2),
            (ip_protocol::IPV4_IN_IP, 4),
            (ip_protocol::TCP, 6),
            (ip_protocol::UDP, 17),
            (ip_protocol::DCCP, 33),
            (ip_protocol::IPV6_IN_IP, 41),
            (ip_protocol::ROUTING, 43),
            (ip_protocol::FRAGMENT, 44),
            (ip_protocol::RSVP, 46),
            (ip_protocol::GRE, 47),
            (ip_protocol::ESP, 50),
            (ip_protocol::AH, 51),
            (ip_protocol::ICMPV6, 58),
            (ip_protocol::NO_NEXT_HEADER, 59),
            (ip_protocol::DESTINATION_OPTIONS, 60),
            (ip_protocol::EIGRP, 88),
            (ip_protocol::OSPF, 89),
            (ip_protocol::PIM, 103),
            (ip_protocol::VRRP, 112),
            (ip_protocol::L2TP, 115),
            (ip_protocol::SCTP, 132),
            (ip_protocol::UDP_LITE, 136),
            (ip_protocol::MPLS_IN_IP, 137),
        ];
        for (ours, registered) in ip_protocols {
            assert_eq!(ours, registered);
        }
    }

    #[test]
    fn lengths_and_offsets_are_those_of_the_standards() {
        let octets = [
            (ETHERNET_LEN, 14),
            (ETHER_TYPE_OFFSET, 12),
            (VLAN_TAG_LEN, 4),
            (MPLS_LABEL_LEN, 4),
            (IPV4_MIN_LEN, 20),
            (IPV6_LEN, 40),
            (PORTS_LEN, 4),
            (TCP_THROUGH_FLAGS_LEN, 14),
            (UDP_LEN, 8),
            (SCTP_LEN, 12),
            (VXLAN_LEN, 8),
            (GENEVE_LEN, 8),
        ];
        for (number, (ours, standard)) in octets.into_iter().enumerate() {
            assert_eq!(ours, standard, "line {number} of the table");
        }
        assert_eq!(VXLAN_HAS_VNI, 0x08);
    }
}
