use super::{Direction, Evidence, classify_v4, classify_v6};
use crate::{
    ephash::EpHash,
    headers::{
        ip_protocol::{ICMP, ICMPV6, SCTP, TCP, UDP},
        tcp_flags::{ACK, SYN},
    },
};

fn v4(ip_protocol: u8, src_port: u16, dst_port: u16) -> EpHash<4> {
    EpHash {
        src_addr: [198, 18, 0, 1],
        src_port: src_port.to_be_bytes(),
        dst_addr: [198, 18, 0, 2],
        dst_port: dst_port.to_be_bytes(),
        ip_protocol,
    }
}

fn v6(ip_protocol: u8) -> EpHash<16> {
    EpHash {
        src_addr: [0xfd; 16],
        src_port: [0; 2],
        dst_addr: [0xfd; 16],
        dst_port: [0; 2],
        ip_protocol,
    }
}

fn keep(evidence: Evidence) -> Direction {
    Direction {
        reverse: false,
        evidence,
    }
}

fn reverse(evidence: Evidence) -> Direction {
    Direction {
        reverse: true,
        evidence,
    }
}

#[test]
fn tcp_handshakes_beat_ports() {
    for (flags, verdict) in [
        (0x02, keep(Evidence::Handshake)),
        (0xc2, keep(Evidence::Handshake)), // SYN with ECE and CWR, RFC 3168
        (0x12, reverse(Evidence::Handshake)),
        (0x10, reverse(Evidence::Ports)),
    ] {
        assert_eq!(
            classify_v4(&v4(6, 22, 40000), flags),
            verdict,
            "flags {flags:#x}"
        );
    }
}

#[test]
fn ports_of_two_ranges_find_the_server() {
    for (src, dst, verdict) in [
        (40000, 22, keep(Evidence::Ports)),
        (22, 40000, reverse(Evidence::Ports)),
        (40000, 5432, keep(Evidence::Ports)),
        (5432, 40000, reverse(Evidence::Ports)),
        (20394, 443, keep(Evidence::Ports)),
        (443, 20394, reverse(Evidence::Ports)),
        (0, 443, keep(Evidence::Ports)),
        (443, 0, reverse(Evidence::Ports)),
    ] {
        assert_eq!(
            classify_v4(&v4(UDP, src, dst), 0),
            verdict,
            "{src} -> {dst}"
        );
    }
}

#[test]
fn with_ports_of_one_range_the_first_sender_is_the_source() {
    for (one, other) in [
        (40001, 50001), // by chance two clients' ports
        (7078, 15020),  // RTP
        (2055, 9995),   // an exporter and a collector
        (53, 443),
        (123, 123),
        (40001, 0),
        (0, 0),
    ] {
        for (src, dst) in [(one, other), (other, one)] {
            for ip_protocol in [UDP, SCTP] {
                let key = v4(ip_protocol, src, dst);
                assert_eq!(classify_v4(&key, 0), keep(Evidence::None), "{src} -> {dst}");
            }
            assert_eq!(classify_v4(&v4(TCP, src, dst), ACK), keep(Evidence::None));
            assert_eq!(
                classify_v4(&v4(TCP, src, dst), SYN | ACK),
                reverse(Evidence::Handshake)
            );
        }
    }
}

/// IGMP, TCP, UDP, OSPF, and what the ports or a type would say otherwise.
const PROTOCOLS: [u8; 7] = [ICMP, 2, TCP, UDP, ICMPV6, 89, SCTP];

#[test]
fn a_group_or_broadcast_address_of_ipv4_is_never_a_source() {
    for group in [
        [224, 0, 0, 251],
        [224, 0, 1, 1],
        [224, 2, 127, 254],
        [232, 1, 1, 1],
        [239, 255, 255, 250],
        [255, 255, 255, 255],
    ] {
        for ip_protocol in PROTOCOLS {
            for (src_port, dst_port, aux) in [(1900, 1024, 0), (53, 40000, SYN | ACK)] {
                let key = EpHash {
                    dst_addr: group,
                    ..v4(ip_protocol, src_port, dst_port)
                };
                let said = |key| classify_v4(key, aux);
                assert_eq!(said(&key), keep(Evidence::Multicast), "{key:?}");
                let back = key.reverse();
                assert_eq!(said(&back), reverse(Evidence::Multicast), "{back:?}");
            }
        }
    }
}

#[test]
fn other_addresses_of_ipv4_are_hosts() {
    // The neighbours of 224.0.0.0/4 and of 255.255.255.255, and what may be a broadcast address.
    for dst_addr in [
        [223, 255, 255, 255],
        [240, 0, 0, 1],
        [255, 255, 255, 254],
        [198, 18, 0, 255],
    ] {
        let key = EpHash {
            dst_addr,
            ..v4(UDP, 53, 40000)
        };
        assert_eq!(classify_v4(&key, 0), reverse(Evidence::Ports), "{key:?}");
    }
}

#[test]
fn a_group_of_ipv6_is_never_a_source() {
    for ip_protocol in PROTOCOLS {
        for aux in [0, 1, 128, 129, SYN | ACK] {
            let unicast = v6(ip_protocol);
            let key = EpHash {
                dst_addr: [0xff; 16],
                ..unicast
            };
            assert_eq!(classify_v6(&key, aux), keep(Evidence::Multicast));
            let back = key.reverse();
            assert_eq!(classify_v6(&back, aux), reverse(Evidence::Multicast));
            let first = classify_v6(&unicast, aux).evidence;
            assert_ne!(first, Evidence::Multicast);
        }
    }
}

#[test]
fn groups_at_both_ends_tell_nothing() {
    let key = EpHash {
        src_addr: [224, 0, 0, 1],
        dst_addr: [224, 0, 0, 2],
        ..v4(UDP, 22, 40000)
    };
    assert_eq!(classify_v4(&key, 0), reverse(Evidence::Ports));
}

#[test]
fn icmp_types_decide() {
    let said = |icmp_type| classify_v4(&v4(ICMP, 0, 0), icmp_type);
    for error in [3, 4, 5, 11, 12] {
        assert_eq!(said(error), reverse(Evidence::IcmpType), "type {error}");
    }
    for (request, reply) in [(8, 0), (13, 14), (15, 16), (17, 18), (42, 43)] {
        assert_eq!(said(request), keep(Evidence::IcmpType), "type {request}");
        assert_eq!(said(reply), reverse(Evidence::IcmpType), "type {reply}");
    }
    for other in [1, 6, 9, 10, 255] {
        assert_eq!(said(other), keep(Evidence::None), "type {other}");
    }
}

#[test]
fn icmpv6_types_decide() {
    let said = |icmp_type| classify_v6(&v6(ICMPV6), icmp_type);
    for error in [1, 2, 3, 4, 100, 127] {
        assert_eq!(said(error), reverse(Evidence::IcmpType), "type {error}");
    }
    for (request, reply) in [(128, 129), (139, 140), (160, 161)] {
        assert_eq!(said(request), keep(Evidence::IcmpType), "type {request}");
        assert_eq!(said(reply), reverse(Evidence::IcmpType), "type {reply}");
    }
    for other in [0, 133, 134, 135, 136, 137, 255] {
        assert_eq!(said(other), keep(Evidence::None), "type {other}");
    }
}
