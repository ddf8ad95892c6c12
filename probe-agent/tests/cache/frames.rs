//! Frames of a few flows.

use probe_common::headers::ip_protocol::{ICMP, ICMPV6, TCP, UDP};

/// Frames of some flows of each protocol in both directions. With `riddles`, also of clients that
/// answer and servers that ask: then the direction of a flow depends on which side is heard first.
pub(crate) fn frames(riddles: bool) -> Vec<Vec<u8>> {
    let mut frames = Vec::new();
    for host in 0..3 {
        for (flags, is_riddle) in [(0x02, false), (0x12, true)] {
            for is_reply in [false, true] {
                if riddles || is_riddle == is_reply {
                    frames.push(tcp4(host, flags, is_reply));
                }
            }
        }
        for flags in [0x10, 0x18, 0x11, 0x04, 0] {
            frames.push(tcp4(host, flags, false));
            frames.push(tcp4(host, flags, true));
        }
        for (icmp_type, is_reply) in [(8, false), (0, true), (3, true)] {
            let is_reply = is_reply && !riddles;
            frames.push(ip4(host, is_reply, ICMP, &[icmp_type, 0, 0, 0, 0, 1, 0, 1]));
        }
        let query = [0x9c, 0x40, 0, 53, 0, 8, 0, 0];
        frames.push(ip4(host, false, UDP, &query));
        frames.push(ip4(host, true, UDP, &[0, 53, 0x9c, 0x40, 0, 8, 0, 0]));
        frames.push(ip4(host, false, TCP, &query));
        frames.push(ip6(host, UDP, &query));
        frames.push(ip6(host, ICMPV6, &[128, 0, 0, 0, 0, 1, 0, 1]));
        frames.extend(riddles.then(|| ip6(host, ICMPV6, &[129, 0, 0, 0, 0, 1, 0, 1])));
        for fragment in [[0x20, 0], [0x20, 1], [0, 2]] {
            let mut frame = ip4(host, false, UDP, &query);
            frame[20..22].copy_from_slice(&fragment);
            frames.push(frame);
        }
    }
    // More flows than a small L1 has slots for.
    frames.extend((3..123).map(|host| tcp4(host, 0x10, false)));
    frames
}

pub(crate) fn tcp4(host: u8, flags: u8, is_reply: bool) -> Vec<u8> {
    let (client, server) = ([0x9c, 0x40], [0x01, 0xbb]);
    let (src, dst) = if is_reply {
        (server, client)
    } else {
        (client, server)
    };
    let rest = [0, 0, 0, 1, 0, 0, 0, 1, 0x50, flags, 0, 0, 0, 0, 0, 0];
    ip4(host, is_reply, TCP, &[&src, &dst, &rest[..]].concat())
}

fn ip4(host: u8, is_reply: bool, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(20 + payload.len())
        .expect("a short packet")
        .to_be_bytes();
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x08, 0x00];
    frame.extend([0x45, 0, high, low, 0, 1, 0x40, 0, 64, protocol, 0, 0]);
    let ends = [[198, 18, 0, host], [198, 18, 1, 1]];
    frame.extend(ends[usize::from(is_reply)]);
    frame.extend(ends[usize::from(!is_reply)]);
    frame.extend(payload);
    frame
}

fn ip6(host: u8, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let [high, low] = u16::try_from(payload.len())
        .expect("a short packet")
        .to_be_bytes();
    let mut frame = vec![2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 0x86, 0xdd];
    frame.extend([0x60, 0, 0, 0, high, low, protocol, 64]);
    frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    frame.extend([0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
    frame.extend(payload);
    frame
}
