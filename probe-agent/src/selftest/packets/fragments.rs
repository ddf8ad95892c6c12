//! Fragments: the first one has ports, later ones do not (RFC 791, section 3.2; RFC 8200, section
//! 4.5).

use probe_common::{
    headers::IPV4_FRAGMENT_OFFSET_MASK,
    parse::{Observation, ParseError},
    record::{FLAG_SHORT_TRANSPORT, FRAGMENT_BEHIND_AH},
};

use super::{
    Case, With, case,
    frame::{
        AH, DESTINATION_OPTIONS, DST_PORT, ESP, FRAGMENT, HOP_BY_HOP, ICMP, ID_V4,
        IPV4_MORE_FRAGMENTS, Ipv4, Ipv6, SRC_PORT, TCP, UDP, authentication, extension, fragment,
        join, tcp, udp,
    },
    v4, v6,
};

pub(super) fn cases() -> Vec<Case> {
    [ipv4_cases(), ipv6_cases()].concat()
}

fn ipv4_cases() -> Vec<Case> {
    let of = |fragment, ip_protocol| Ipv4 {
        fragment,
        ..Ipv4::of(ip_protocol)
    };
    vec![
        case(
            "do not fragment",
            of(0x4000, UDP).frame(&udp(4)),
            v4(UDP, 32, 28).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "reserved fragment bit",
            of(0x8000, UDP).frame(&udp(4)),
            v4(UDP, 32, 28).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "first fragment",
            of(IPV4_MORE_FRAGMENTS, UDP).frame(&udp(24)),
            v4(UDP, 52, 28).ports(SRC_PORT, DST_PORT).first_fragment(),
        ),
        case(
            "middle fragment",
            of(IPV4_MORE_FRAGMENTS | 4, UDP).frame(&[0x55; 24]),
            v4(UDP, 44, 20).later_fragment(),
        ),
        case(
            "last fragment",
            of(9, TCP).frame(&tcp(2)),
            v4(TCP, 40, 20).later_fragment(),
        ),
        case(
            "fragment at the largest offset",
            of(IPV4_FRAGMENT_OFFSET_MASK, UDP).frame(&[0; 8]),
            v4(UDP, 28, 20).later_fragment(),
        ),
        case(
            "later fragment without payload",
            of(1, UDP).frame(&[]),
            v4(UDP, 20, 20).later_fragment(),
        ),
        case(
            "later fragment of icmp",
            of(1, ICMP).frame(&[8; 8]),
            v4(ICMP, 28, 20).later_fragment(),
        ),
        case(
            "later fragment of esp",
            of(1, ESP).frame(&[8; 8]),
            v4(ESP, 28, 20).later_fragment(),
        ),
        case(
            "later fragment with options",
            Ipv4 {
                options: &[1, 1, 1, 0],
                ..of(1, UDP)
            }
            .frame(&[0; 8]),
            v4(UDP, 32, 24).later_fragment(),
        ),
        case(
            "first fragment behind an authentication header",
            of(IPV4_MORE_FRAGMENTS, AH).frame(&join(&[&authentication(UDP), &udp(16)])),
            Observation {
                fragment_id: FRAGMENT_BEHIND_AH | u32::from(ID_V4),
                ..v4(UDP, 68, 52).ports(SRC_PORT, DST_PORT).first_fragment()
            },
        ),
        case(
            "later fragment behind an authentication header",
            of(3, AH).frame(&[0x55; 24]),
            Observation {
                fragment_id: FRAGMENT_BEHIND_AH | u32::from(ID_V4),
                ..v4(AH, 44, 20).later_fragment()
            },
        ),
        case(
            "tiny first fragment of tcp",
            of(IPV4_MORE_FRAGMENTS, TCP).frame(&tcp(2)[..8]),
            v4(TCP, 28, 20)
                .ports(SRC_PORT, DST_PORT)
                .flags(FLAG_SHORT_TRANSPORT)
                .first_fragment(),
        ),
    ]
}

fn ipv6_cases() -> Vec<Case> {
    let of = |parts: &[&[u8]]| Ipv6::of(FRAGMENT).frame(&join(parts));
    vec![
        case(
            "ipv6 first fragment",
            of(&[&fragment(UDP, 0, true), &udp(16)]),
            v6(UDP, 72, 56).ports(SRC_PORT, DST_PORT).first_fragment(),
        ),
        case(
            "atomic fragment",
            of(&[&fragment(UDP, 0, false), &udp(4)]),
            v6(UDP, 60, 56).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "ipv6 later fragment",
            of(&[&fragment(UDP, 3, true), &udp(8)]),
            v6(UDP, 64, 48).later_fragment(),
        ),
        case(
            "ipv6 fragment at the largest offset",
            of(&[&fragment(TCP, 0x1fff, false), &[0; 8]]),
            v6(TCP, 56, 48).later_fragment(),
        ),
        case(
            "later fragment keeps the fragment header's next header",
            of(&[
                &fragment(DESTINATION_OPTIONS, 3, false),
                &extension(UDP, 0),
                &udp(4),
            ]),
            v6(DESTINATION_OPTIONS, 68, 48).later_fragment(),
        ),
        case(
            "hop-by-hop, later fragment",
            Ipv6::of(HOP_BY_HOP).frame(&join(&[
                &extension(FRAGMENT, 0),
                &fragment(TCP, 5, false),
                &[0; 8],
            ])),
            v6(TCP, 64, 56).later_fragment(),
        ),
        case(
            "two fragment headers",
            of(&[
                &fragment(FRAGMENT, 0, false),
                &fragment(UDP, 0, false),
                &udp(4),
            ]),
            v6(UDP, 68, 64).ports(SRC_PORT, DST_PORT),
        ),
        case(
            "first fragment behind an atomic one",
            of(&[
                &fragment(FRAGMENT, 0, false),
                &fragment(UDP, 0, true),
                &udp(16),
            ]),
            v6(UDP, 80, 64).ports(SRC_PORT, DST_PORT).first_fragment(),
        ),
        case(
            "first fragment, then destination options",
            of(&[
                &fragment(DESTINATION_OPTIONS, 0, true),
                &extension(UDP, 0),
                &udp(8),
            ]),
            v6(UDP, 72, 64).ports(SRC_PORT, DST_PORT).first_fragment(),
        ),
        case(
            "fragment header cut",
            of(&[&fragment(UDP, 0, false)[..7]]),
            ParseError::Truncated,
        ),
    ]
}
