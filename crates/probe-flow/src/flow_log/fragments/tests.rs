mod properties;

use probe_common::{
    classify::Evidence,
    ephash::EpHash,
    headers::ip_protocol::{AH, DESTINATION_OPTIONS, ICMP, ICMPV6, TCP, UDP},
    record::{
        EGRESS, FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT, FRAGMENT_BEHIND_AH, INGRESS, IntoRecord,
        Record, RecordHead, origin_flags,
    },
};

use super::MAX_PACKETS;
use crate::{
    flow::{FlowMap, FlowRow},
    flow_log::{FlowLog, FlowLogOptions},
};

/// A packet that is sent in fragments, from host 1 to host 2.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
struct Packet {
    is_v6: bool,
    ip_protocol: u8,
    ports: (u16, u16),
    /// Of the ICMP type, or TCP flags.
    aux: u8,
    id: u32,
    direction: u8,
}

const DATAGRAM: Packet = Packet {
    is_v6: false,
    ip_protocol: UDP,
    ports: (40000, 7000),
    aux: 0,
    id: 7,
    direction: INGRESS,
};

impl Packet {
    fn key<const N: usize>(self, ports: (u16, u16)) -> EpHash<N> {
        let addr = |host: u8| {
            let mut addr = [0xfd; N];
            addr[N - 1] = host;
            addr
        };
        EpHash {
            src_addr: addr(1),
            src_port: ports.0.to_be_bytes(),
            dst_addr: addr(2),
            dst_port: ports.1.to_be_bytes(),
            ip_protocol: self.ip_protocol,
        }
    }

    fn head(self, octets: u64, flag: u8) -> RecordHead {
        RecordHead {
            octets,
            packets: 1,
            last_or_fragment_id: self.id,
            flags: flag | origin_flags(self.direction, 0),
            ..RecordHead::default()
        }
    }

    fn send(self, log: &mut FlowLog, ports: (u16, u16), head: RecordHead) {
        if self.is_v6 {
            let record = self.key::<16>(ports).into_record(head);
            log.handle_record(Record::V6(&record));
        } else {
            let record = self.key::<4>(ports).into_record(head);
            log.handle_record(Record::V4(&record));
        }
    }

    fn first(self, log: &mut FlowLog, octets: u64) {
        let head = RecordHead {
            aux: self.aux,
            tcp_flags: if self.ip_protocol == TCP { self.aux } else { 0 },
            ..self.head(octets, FLAG_FIRST_FRAGMENT)
        };
        self.send(log, self.ports, head);
    }

    fn later(self, log: &mut FlowLog, octets: u64) {
        self.send(log, (0, 0), self.head(octets, FLAG_LATER_FRAGMENT));
    }
}

/// The ports, packets and octets of all flows.
fn flows(flows: &FlowMap) -> Vec<((u16, u16), u64, u64)> {
    let of = |row: FlowRow| {
        let counters = row.flow.counters;
        let ports = (row.src_port, row.dst_port);
        (ports, counters.packets(), counters.bytes())
    };
    flows.sorted_rows().into_iter().map(of).collect()
}

#[test]
fn fragments_are_counted_with_the_first_in_any_order() {
    for is_v6 in [false, true] {
        let packet = Packet { is_v6, ..DATAGRAM };
        for position in 0..5 {
            let mut log = FlowLog::new(FlowLogOptions::default());
            for number in 0..5 {
                if number == position {
                    packet.first(&mut log, 1500);
                } else {
                    packet.later(&mut log, 1000);
                }
            }
            let (map, totals) = log.rotate();
            assert_eq!(flows(&map), [((40000, 7000), 5, 5500)], "{position}");
            assert_eq!(totals, log.totals());
            assert_eq!(log.unattributed_fragments(), 0);
        }
    }
}

#[test]
fn packets_with_the_same_identification_are_kept_apart() {
    let others = [
        Packet {
            direction: EGRESS,
            ..DATAGRAM
        },
        Packet {
            ip_protocol: TCP,
            ..DATAGRAM
        },
        Packet { id: 8, ..DATAGRAM },
        Packet {
            is_v6: true,
            ..DATAGRAM
        },
    ];
    for other in others {
        let mut log = FlowLog::new(FlowLogOptions::default());
        DATAGRAM.first(&mut log, 1500);
        other.later(&mut log, 1000);
        assert_eq!(log.rotate().0.len(), 2, "{other:?}");
        assert_eq!(log.unattributed_fragments(), 1, "{other:?}");
    }
}

#[test]
fn ports_are_aggregated_once_they_are_known() {
    // The answer of a name server, its fragments in reverse.
    let answer = Packet {
        ports: (53, 40000),
        ..DATAGRAM
    };
    for (port_aggregation, bidirectional, ports) in [
        (true, true, (0, 53)),
        (false, true, (40000, 53)),
        (false, false, (53, 40000)),
    ] {
        let mut log = FlowLog::new(FlowLogOptions {
            port_aggregation,
            bidirectional,
            ..FlowLogOptions::default()
        });
        answer.later(&mut log, 1000);
        answer.first(&mut log, 1500);
        answer.later(&mut log, 1000);
        assert_eq!(flows(&log.rotate().0), [(ports, 3, 3500)]);
    }
}

#[test]
fn no_direction_comes_from_a_type_that_was_not_seen() {
    for (is_v6, ip_protocol, echo_reply) in [(false, ICMP, 0), (true, ICMPV6, 129)] {
        let reply = Packet {
            is_v6,
            ip_protocol,
            ports: (0, 0),
            aux: echo_reply,
            ..DATAGRAM
        };
        let mut log = FlowLog::new(FlowLogOptions::default());
        reply.later(&mut log, 1000);
        let row = log.rotate().0.sorted_rows()[0];
        assert_eq!(row.flow.evidence, Evidence::None);

        let mut log = FlowLog::new(FlowLogOptions::default());
        reply.later(&mut log, 1000);
        reply.first(&mut log, 1500);
        let (map, _) = log.rotate();
        let row = map.sorted_rows()[0];
        assert_eq!((map.len(), row.flow.counters.bytes()), (1, 2500));
        assert_eq!(row.flow.evidence, Evidence::IcmpType);
        assert!(row.src_addr > row.dst_addr, "host 2 has asked");
    }
}

#[test]
fn later_fragments_need_not_know_the_protocol_in_ipv6() {
    let whole = Packet {
        is_v6: true,
        ..DATAGRAM
    };
    let behind_options = Packet {
        ip_protocol: DESTINATION_OPTIONS,
        ..whole
    };
    let mut log = FlowLog::new(FlowLogOptions::default());
    behind_options.later(&mut log, 1000);
    whole.first(&mut log, 1500);
    behind_options.later(&mut log, 1000);
    let (map, _) = log.rotate();
    assert_eq!(flows(&map), [((40000, 7000), 3, 3500)]);
    assert_eq!(map.sorted_rows()[0].ip_protocol, UDP);
}

#[test]
fn a_first_fragment_without_readable_ports_leads_its_packet_all_the_same() {
    let tiny = Packet {
        ip_protocol: TCP,
        ports: (0, 0),
        ..DATAGRAM
    };
    let mut log = FlowLog::new(FlowLogOptions::default());
    tiny.later(&mut log, 1000);
    tiny.first(&mut log, 24);
    tiny.later(&mut log, 1000);
    assert_eq!(flows(&log.rotate().0), [((0, 0), 3, 2024)]);
    assert_eq!(log.unattributed_fragments(), 0);
}

#[test]
fn what_waits_is_counted_at_the_end_of_the_interval_and_shown_before() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    DATAGRAM.later(&mut log, 1000);
    DATAGRAM.later(&mut log, 1000);
    assert_eq!(flows(&log.aggregate().0), [((0, 0), 2, 2000)]);
    assert_eq!(log.unattributed_fragments(), 0, "the first may still come");
    assert_eq!(flows(&log.rotate().0), [((0, 0), 2, 2000)]);
    assert_eq!(log.unattributed_fragments(), 2);
    // Too late for those, but not for the rest.
    DATAGRAM.first(&mut log, 1500);
    DATAGRAM.later(&mut log, 1000);
    assert_eq!(flows(&log.rotate().0), [((40000, 7000), 2, 2500)]);
    assert_eq!(log.unattributed_fragments(), 2);
}

#[test]
fn a_first_fragment_is_remembered_until_an_interval_without_its_packet() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    DATAGRAM.first(&mut log, 1500);
    for _ in 0..3 {
        log.rotate();
        DATAGRAM.later(&mut log, 1000);
        assert_eq!(flows(&log.aggregate().0), [((40000, 7000), 1, 1000)]);
    }
    log.rotate();
    log.rotate();
    DATAGRAM.later(&mut log, 1000);
    assert_eq!(flows(&log.rotate().0), [((0, 0), 1, 1000)]);
}

#[test]
fn an_identification_that_is_used_again_belongs_to_the_newer_packet() {
    let newer = Packet {
        ports: (40001, 7000),
        ..DATAGRAM
    };
    let mut log = FlowLog::new(FlowLogOptions::default());
    DATAGRAM.first(&mut log, 1500);
    newer.first(&mut log, 100);
    newer.later(&mut log, 1000);
    let expected = [((40001, 7000), 2, 1100), ((40000, 7000), 1, 1500)];
    assert_eq!(flows(&log.rotate().0), expected);
}

#[test]
fn the_oldest_make_room_and_lose_nothing_but_their_ports() {
    let packets = u32::try_from(MAX_PACKETS).unwrap();
    let numbered = |id| Packet { id, ..DATAGRAM };
    let mut log = FlowLog::new(FlowLogOptions::default());
    for id in 0..packets + 10 {
        numbered(id).later(&mut log, 1000);
        assert_eq!(
            log.unattributed_fragments(),
            u64::from((id + 1).saturating_sub(packets))
        );
    }
    let all = u64::from(packets) + 10;
    assert_eq!(flows(&log.aggregate().0), [((0, 0), all, all * 1000)]);
    for id in 0..packets + 10 {
        numbered(id).first(&mut log, 1500);
    }
    // The first ten come as new packets and drive out the next ten, whose first ones do the same…
    assert_eq!(log.unattributed_fragments(), all);
    for id in 10..packets + 10 {
        numbered(id).later(&mut log, 1000);
    }
    let expected = [
        (
            (40000, 7000),
            all + u64::from(packets),
            all * 1500 + u64::from(packets) * 1000,
        ),
        ((0, 0), all, all * 1000),
    ];
    assert_eq!(flows(&log.rotate().0), expected);
    assert_eq!(log.unattributed_fragments(), all);
}

#[test]
fn a_sum_that_does_not_fit_is_counted_before() {
    let mut log = FlowLog::new(FlowLogOptions::default());
    let many = RecordHead {
        packets: u32::MAX,
        ..DATAGRAM.head(1 << 40, FLAG_LATER_FRAGMENT)
    };
    DATAGRAM.send(&mut log, (0, 0), many);
    DATAGRAM.later(&mut log, 1000);
    assert_eq!(log.unattributed_fragments(), u64::from(u32::MAX));
    assert_eq!(
        flows(&log.rotate().0),
        [((0, 0), 1 << 32, (1 << 40) + 1000)]
    );
}

#[test]
fn later_fragments_behind_an_authentication_header_have_the_ports_of_the_first() {
    let first = Packet {
        id: FRAGMENT_BEHIND_AH | 7,
        ..DATAGRAM
    };
    // Their IP header names the authentication header, which only the first fragment has.
    let later = Packet {
        ip_protocol: AH,
        ..first
    };
    let mut log = FlowLog::new(FlowLogOptions::default());
    later.later(&mut log, 500);
    first.first(&mut log, 1000);
    later.later(&mut log, 100);
    let (flows, _) = log.rotate();
    let [(key, flow)] = flows.v4[..] else {
        panic!("{:?}", flows.v4);
    };
    assert_eq!((key.ip_protocol, key.dst_port()), (UDP, 7000));
    assert_eq!((flow.counters.packets(), flow.counters.bytes()), (3, 1600));
    assert_eq!(log.unattributed_fragments(), 0);
}
