//! Records that are handed over together.

use std::net::Ipv4Addr;

use probe_common::{
    ephash::{EpHash, EpHashV4, EpHashV6},
    record::{FLAG_FIRST_FRAGMENT, FLAG_LATER_FRAGMENT, IntoRecord, Record, RecordHead},
};
use proptest::prelude::*;

use super::{ACK, SYN, SYN_ACK, head, key};
use crate::flow_log::{FlowLog, FlowLogOptions};

/// A record of either IP version, and of few flows.
fn any_record() -> impl Strategy<Value = (bool, EpHashV4, RecordHead)> {
    let record_flags = prop_oneof![
        8 => Just(0),
        1 => Just(FLAG_FIRST_FRAGMENT),
        1 => Just(FLAG_LATER_FRAGMENT),
    ];
    let flags = prop_oneof![Just(SYN), Just(SYN_ACK), Just(ACK)];
    (any::<bool>(), 0..8_u8, any::<bool>(), flags, record_flags).prop_map(
        |(is_v6, src, is_answer, flags, record_flags)| {
            let key = key(src, 40000, 9, if src < 4 { 443 } else { 5000 }, 6);
            let mut head = head(u8::from(is_answer), u64::from(flags), flags);
            head.flags |= record_flags;
            head.last_or_fragment_id = u32::from(src / 2);
            (is_v6, if is_answer { key.reverse() } else { key }, head)
        },
    )
}

fn with_v6_addrs(key: &EpHashV4) -> EpHashV6 {
    let addr = |addr: [u8; 4]| Ipv4Addr::from(addr).to_ipv6_mapped().octets();
    EpHash {
        src_addr: addr(key.src_addr),
        src_port: key.src_port,
        dst_addr: addr(key.dst_addr),
        dst_port: key.dst_port,
        ip_protocol: key.ip_protocol,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn many_records_at_once_are_counted_as_one_by_one(
        records in prop::collection::vec(any_record(), 0..150),
        max_flows in prop_oneof![1..10_usize, Just(1_000_000)],
        bidirectional: bool,
    ) {
        let options = FlowLogOptions { bidirectional, max_flows, ..FlowLogOptions::default() };
        let v4: Vec<_> = records.iter().map(|(_, key, head)| key.into_record(*head)).collect();
        let v6: Vec<_> =
            records.iter().map(|(_, key, head)| with_v6_addrs(key).into_record(*head)).collect();
        let borrowed = |(index, record): (usize, &(bool, EpHashV4, RecordHead))| {
            if record.0 { Record::V6(&v6[index]) } else { Record::V4(&v4[index]) }
        };
        let borrowed: Vec<_> = records.iter().enumerate().map(borrowed).collect();
        let (mut at_once, mut one_by_one) = (FlowLog::new(options), FlowLog::new(options));
        at_once.handle_records(&borrowed);
        for record in borrowed {
            one_by_one.handle_record(record);
        }
        prop_assert_eq!(at_once.totals(), one_by_one.totals());
        let (flows, expected) = (at_once.rotate().0, one_by_one.rotate().0);
        prop_assert_eq!(flows.sorted_rows(), expected.sorted_rows());
        let fragments = [&at_once, &one_by_one].map(FlowLog::unattributed_fragments);
        prop_assert_eq!(fragments[0], fragments[1]);
    }
}
