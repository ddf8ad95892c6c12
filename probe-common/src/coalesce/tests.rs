use zerocopy::FromZeros;

use super::{Coalesce, preferred_slot};
use crate::{
    ephash::{EpHash, EpHashV4, EpHashV6},
    headers::ip_protocol::{ICMP, ICMPV6, TCP, UDP},
    record::{
        EGRESS, FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT, FLAG_SHORT_TRANSPORT, INGRESS,
        IntoRecord, RecordHead, RecordV4, origin_flags,
    },
};

fn key<const N: usize>(ip_protocol: u8) -> EpHash<N> {
    EpHash {
        src_addr: [1; N],
        src_port: [2; 2],
        dst_addr: [3; N],
        dst_port: [4; 2],
        ip_protocol,
    }
}

fn head(flags: u8) -> RecordHead {
    RecordHead {
        octets: 100,
        packets: 1,
        ifindex: 7,
        first: 10,
        last_or_fragment_id: 10,
        tcp_flags: flags,
        aux: flags,
        flags: origin_flags(EGRESS, 1),
    }
}

/// Whether another record can be merged into a record, which otherwise stays as it is.
fn takes<R: Coalesce + PartialEq + core::fmt::Debug>(record: &R, other: &R) -> bool {
    let mut sum = *record;
    let is_merged = sum.merge(other);
    assert!(is_merged || sum == *record);
    is_merged
}

#[test]
fn a_record_that_began_with_a_handshake_is_merged_into_one_that_did_too() {
    let mut client = key::<4>(TCP).into_record(head(0x02));
    assert!(client.merge(&key::<4>(TCP).into_record(head(0x10))));
    assert!(takes(&key::<4>(TCP).into_record(head(0x02)), &client));
    assert!(!takes(&key::<4>(TCP).into_record(head(0x12)), &client));
    assert!(!takes(&key::<4>(TCP).into_record(head(0x10)), &client));
}

#[test]
fn a_vacant_slot_takes_nothing() {
    let mut vacant = RecordV4::new_zeroed();
    assert!(vacant.is_vacant());
    let zeros = EpHashV4::new_zeroed().into_record(RecordHead {
        packets: 1,
        ifindex: 7,
        ..RecordHead::default()
    });
    assert!(!vacant.merge(&zeros));
}

#[test]
fn equal_ports_leave_the_direction_to_the_order() {
    let told = |src_port, dst_port| {
        let ports = EpHash {
            src_port,
            dst_port,
            ..key::<4>(UDP)
        };
        ports.into_record(head(0)).is_order_sensitive()
    };
    assert!(told([0, 53], [0, 53]) && told([0; 2], [0; 2]));
    assert!(!told([0, 53], [0, 54]));
}

#[test]
fn the_first_packet_and_the_last_are_told_by_their_ticks() {
    for [[first, last], [other_first, other_last], expected] in [
        [[10, 20], [30, 40], [10, 40]],
        [[30, 40], [10, 20], [10, 40]],
        [[10, 40], [20, 30], [10, 40]],
        [[20, 30], [10, 40], [10, 40]],
        [[5, 5], [5, 5], [5, 5]],
        [[2, 3], [u32::MAX - 1, u32::MAX], [u32::MAX - 1, 3]],
    ] {
        let record = |first, last| {
            key::<4>(UDP).into_record(RecordHead {
                first,
                last_or_fragment_id: last,
                ..head(0)
            })
        };
        let mut sum = record(first, last);
        assert!(sum.merge_in_any_order(&record(other_first, other_last)));
        assert_eq!([sum.first, sum.last_or_fragment_id], expected);
        assert_eq!(sum.packets, 2);
    }
}

/// Every byte of the key and the interface and direction tell records apart.
fn differing<const N: usize>(mut differ: impl FnMut(EpHash<N>, RecordHead)) {
    let same = key::<N>(UDP);
    for byte in 0..N {
        let (mut src, mut dst) = (same, same);
        src.src_addr[byte] ^= 0x80;
        dst.dst_addr[byte] ^= 1;
        differ(src, head(0));
        differ(dst, head(0));
    }
    for byte in 0..2 {
        let (mut src, mut dst) = (same, same);
        src.src_port[byte] ^= 1;
        dst.dst_port[byte] ^= 0x80;
        differ(src, head(0));
        differ(dst, head(0));
    }
    differ(key(TCP), head(0));
    let elsewhere = RecordHead {
        ifindex: 8,
        ..head(0)
    };
    differ(same, elsewhere);
    let inwards = RecordHead {
        flags: origin_flags(INGRESS, 1),
        ..head(0)
    };
    differ(same, inwards);
}

#[test]
fn only_packets_of_one_flow_are_merged() {
    let v4 = key::<4>(UDP).into_record(head(0));
    let v6 = key::<16>(UDP).into_record(head(0));
    assert!(takes(&v4, &v4) && takes(&v6, &v6));
    differing(|key: EpHashV4, head| {
        let other = key.into_record(head);
        assert!(!takes(&v4, &other) && !takes(&other, &v4), "{other:?}");
        assert_ne!(v4.l2_hash(), other.l2_hash(), "{other:?}");
    });
    differing(|key: EpHashV6, head| {
        let other = key.into_record(head);
        assert!(!takes(&v6, &other) && !takes(&other, &v6), "{other:?}");
        assert_ne!(v6.l2_hash(), other.l2_hash(), "{other:?}");
    });
}

#[test]
fn sums_keep_the_first_auxiliary_byte_and_the_last_time() {
    let mut sum = key::<4>(TCP).into_record(head(0x02));
    let later = RecordHead {
        first: 12,
        last_or_fragment_id: 12,
        packets: 3,
        ..head(0x18)
    };
    let later = key::<4>(TCP).into_record(later);
    assert!(sum.merge(&later));
    let expected = RecordHead {
        octets: 200,
        packets: 4,
        last_or_fragment_id: 12,
        tcp_flags: 0x1a,
        ..head(0x02)
    };
    assert_eq!(sum.head(), expected);
}

#[test]
fn the_start_of_a_connection_is_never_merged_away() {
    let (syn, syn_ack, ack, reset) = (0x02, 0x12, 0x10, 0x14);
    let joins = |first, flags| {
        let record = |flags| key::<16>(TCP).into_record(head(flags));
        takes(&record(first), &record(flags))
    };
    for first in [syn, syn_ack, ack, reset, 0] {
        assert!(joins(first, ack) && joins(first, reset) && joins(first, 0));
        assert_eq!(joins(first, syn), first == syn, "SYN into {first:#x}");
        assert_eq!(joins(first, syn_ack), first == syn_ack, "into {first:#x}");
    }
    assert!(joins(syn, syn | 0xc0), "ECN setup, repeated without");
}

#[test]
fn icmp_messages_of_different_kinds_stay_apart() {
    for protocol in [ICMP, ICMPV6] {
        let record = |aux| {
            key::<4>(protocol).into_record(RecordHead {
                tcp_flags: 0,
                ..head(aux)
            })
        };
        assert!(takes(&record(8), &record(8)));
        assert!(!takes(&record(8), &record(0)));
    }
}

#[test]
fn a_count_that_is_full_takes_no_more() {
    let full = key::<4>(UDP).into_record(RecordHead {
        packets: u32::MAX - 1,
        ..head(0)
    });
    let one = key::<4>(UDP).into_record(head(0));
    let mut sum = full;
    assert!(sum.merge(&one));
    assert_eq!((sum.packets, sum.ifindex), (u32::MAX, 7));
    let before = sum;
    assert!(!sum.merge(&one));
    assert_eq!(sum, before, "what is refused changes nothing");
}

#[test]
fn fragments_and_cut_headers_are_not_coalesced() {
    for flag in [
        FLAG_FIRST_FRAGMENT,
        FLAG_LATER_FRAGMENT,
        FLAG_SHORT_TRANSPORT,
    ] {
        let flagged = RecordHead {
            flags: flag,
            ..head(0)
        };
        assert!(!key::<4>(UDP).into_record(flagged).is_coalescible());
        assert!(!key::<16>(UDP).into_record(flagged).is_coalescible());
    }
    assert!(key::<4>(UDP).into_record(head(0)).is_coalescible());
}

/// How many flows lie in each of 4,096 slots, of 16 hosts' 256 ports each.
fn neighbours<const N: usize>(hash: fn(&<EpHash<N> as IntoRecord>::Record) -> u32) -> [u16; 4096]
where
    EpHash<N>: IntoRecord,
{
    let mut used = [0; 4096];
    for host in 0..16 {
        for port in 0..256_u16 {
            let mut key = key::<N>(UDP);
            key.dst_addr[N - 1] = host;
            key.src_port = port.to_be_bytes();
            used[hash(&key.into_record(head(0))) as usize % 4096] += 1;
        }
    }
    used
}

#[test]
fn neighbouring_flows_spread_over_the_slots() {
    let all: [fn() -> [u16; 4096]; 4] = [
        || neighbours::<4>(Coalesce::l2_hash),
        || neighbours::<16>(Coalesce::l2_hash),
        || neighbours::<4>(|record| preferred_slot(record.l1_hash(), 4096)),
        || neighbours::<16>(|record| preferred_slot(record.l1_hash(), 4096)),
    ];
    for used in all {
        let used = used();
        let vacant = used.iter().filter(|it| **it == 0).count();
        // 1/e of them by chance.
        assert!(vacant < 4096 * 45 / 100, "{vacant} slots are vacant");
        assert!(used.iter().all(|it| *it < 12));
    }
}
