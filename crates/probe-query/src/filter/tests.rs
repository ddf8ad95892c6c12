//! Every filter of the manual, and every word of the language, says the same to the engine as to the
//! agent.

use std::{net::IpAddr, sync::Arc};

use datafusion::{
    arrow::{
        array::{ArrayRef, BooleanArray, StringViewArray, UInt8Array, UInt16Array, UInt64Array},
        record_batch::RecordBatch,
    },
    prelude::SessionContext,
};
use probe_common::{classify::Evidence, headers::ip_protocol};
use probe_flow::{
    filter::{Filter, markdown},
    flow::{Flow, FlowCounters, FlowRow},
    schema::confidence,
};

use super::{expression, may_pass, names_interfaces};

const IFACES: [&str; 3] = ["eth0", "wg-1", "tun7"];

/// xorshift64*, the same on each run.
struct Random(u64);

impl Random {
    fn one_of<T: Clone>(&mut self, values: &[T]) -> T {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let random = self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32;
        values[usize::try_from(random).unwrap() % values.len()].clone()
    }
}

fn flows() -> Vec<(&'static str, FlowRow)> {
    let v4 = [
        "10.1.2.3",
        "10.0.0.1",
        "10.255.0.7",
        "100.1.2.3",
        "1.0.0.1",
        "192.0.2.10",
        "192.0.2.1",
        "192.168.0.9",
        "192.168.255.1",
        "198.18.0.1",
        "198.19.5.77",
        "0.0.0.0",
        "224.0.0.5",
        "172.16.31.1",
        "172.32.0.1",
    ];
    let v6 = [
        "fd00::1",
        "fd00:0:0:1::5",
        "fe80::1",
        "2001:db8::1",
        "::1",
        "::",
        "::ffff:10.1.2.3",
        "ff02::1",
    ];
    let ports = [
        0, 20, 22, 53, 80, 123, 443, 1023, 1024, 5353, 6000, 6063, 6064, 8080, 65535,
    ];
    let protocols = [
        ip_protocol::TCP,
        ip_protocol::UDP,
        ip_protocol::ICMP,
        ip_protocol::ICMPV6,
        ip_protocol::SCTP,
        ip_protocol::GRE,
        ip_protocol::ESP,
        253,
    ];
    let counts = [
        0,
        1,
        2,
        9,
        10,
        999,
        1000,
        1500,
        100_000_001,
        1 << 31,
        u64::from(u32::MAX) << 8,
    ];
    let evidence = [
        Evidence::None,
        Evidence::Ports,
        Evidence::Multicast,
        Evidence::IcmpType,
        Evidence::Handshake,
    ];
    let flags = [0, 0x02, 0x12, 0x1b, 0x04, 0x01, 0x3f];
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    let mut flow = || {
        let addrs: &[&str] = if random.one_of(&[true, true, false]) {
            &v4
        } else {
            &v6
        };
        let addr = |random: &mut Random| random.one_of(addrs).parse::<IpAddr>().unwrap();
        let protocol = random.one_of(&protocols);
        let counters = FlowCounters {
            bytes_rcvd: random.one_of(&counts),
            bytes_sent: random.one_of(&counts),
            packets_rcvd: random.one_of(&counts[..7]),
            packets_sent: random.one_of(&counts[..7]),
        };
        let row = FlowRow {
            src_addr: addr(&mut random),
            src_port: random.one_of(&ports),
            dst_addr: addr(&mut random),
            dst_port: random.one_of(&ports),
            ip_protocol: protocol,
            flow: Flow {
                counters,
                tcp_flags: if protocol == ip_protocol::TCP {
                    random.one_of(&flags)
                } else {
                    0
                },
                evidence: random.one_of(&evidence),
                is_overflow: random.one_of(&[false, false, true]),
                ..Flow::default()
            },
        };
        (random.one_of(&IFACES), row)
    };
    (0..3000).map(|_| flow()).collect()
}

fn batch(flows: &[(&str, FlowRow)]) -> RecordBatch {
    let text = |value: &dyn Fn(&(&str, FlowRow)) -> String| -> ArrayRef {
        Arc::new(
            flows
                .iter()
                .map(|flow| Some(value(flow)))
                .collect::<StringViewArray>(),
        )
    };
    let small = |value: &dyn Fn(&FlowRow) -> u8| -> ArrayRef {
        Arc::new(
            flows
                .iter()
                .map(|(_, row)| value(row))
                .collect::<UInt8Array>(),
        )
    };
    let port = |value: &dyn Fn(&FlowRow) -> u16| -> ArrayRef {
        Arc::new(
            flows
                .iter()
                .map(|(_, row)| value(row))
                .collect::<UInt16Array>(),
        )
    };
    let count = |value: &dyn Fn(&FlowCounters) -> u64| -> ArrayRef {
        Arc::new(
            flows
                .iter()
                .map(|(_, row)| value(&row.flow.counters))
                .collect::<UInt64Array>(),
        )
    };
    let overflow = flows
        .iter()
        .map(|(_, row)| Some(row.flow.is_overflow))
        .collect::<BooleanArray>();
    let columns: Vec<(&str, ArrayRef)> = vec![
        (
            "number",
            Arc::new((0..).take(flows.len()).collect::<UInt64Array>()),
        ),
        ("iface", text(&|flow| flow.0.to_owned())),
        (
            "ip_version",
            small(&|row| if row.src_addr.is_ipv4() { 4 } else { 6 }),
        ),
        ("ip_protocol", small(&|row| row.ip_protocol)),
        ("src_addr", text(&|flow| flow.1.src_addr.to_string())),
        ("src_port", port(&|row| row.src_port)),
        ("dst_addr", text(&|flow| flow.1.dst_addr.to_string())),
        ("dst_port", port(&|row| row.dst_port)),
        ("packets_rcvd", count(&|counters| counters.packets_rcvd)),
        ("packets_sent", count(&|counters| counters.packets_sent)),
        ("bytes_rcvd", count(&|counters| counters.bytes_rcvd)),
        ("bytes_sent", count(&|counters| counters.bytes_sent)),
        ("tcp_flags", small(&|row| row.flow.tcp_flags)),
        (
            "direction_evidence",
            text(&|flow| flow.1.flow.evidence.name().to_owned()),
        ),
        (
            "direction_confidence",
            text(&|flow| confidence(flow.1.flow.evidence).to_owned()),
        ),
        ("overflow", Arc::new(overflow)),
    ];
    RecordBatch::try_from_iter(columns).unwrap()
}

/// All filters of the manual, and what it has no example of.
fn filters() -> Vec<String> {
    let manual = include_str!("../../../../docs/FILTER.md");
    let examples = manual
        .split("```filter\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    let mut filters: Vec<String> = examples.lines().map(str::to_owned).collect();
    assert!(filters.len() > 20, "{filters:?}");
    let more = [
        "net 10.0.0.0/7",
        "net 10.1.2.0/23",
        "src net 172.16.0.0/12",
        "net 0.0.0.0/0",
        "not net ::/0",
        "net fd00::/63",
        "host ::ffff:10.1.2.3",
        "dst net 10.1.2.2/31",
        "net 192.0.2.0/28",
        "ip_version 6",
        "dir uni",
        "dir rcvd",
        "direction_confidence high",
        "direction_evidence multicast",
        "tcp_flags none",
        "flags 18",
        "packets_rcvd = 0",
        "bytes_rcvd > 1k",
        "dst_addr 198.18.0.1",
        "bytes = 1000",
        "packets_sent <= 9",
        "bytes != 1000",
        "port 0",
        "port < 1024",
        "port != 443",
        "sctp",
        "idle",
        "iface eth0 and tcp or iface /7$/ and udp",
        "not iface eth0",
        "not (host 10.0.0.1 or port 53)",
        "iface nowhere",
        "src port 80 or dst port 443",
        "not overflow",
        "src_port 1024-6000",
        "proto 47,50",
    ];
    filters.extend(more.map(str::to_owned));
    filters
}

#[tokio::test]
async fn the_engine_selects_the_flows_that_the_agent_selects() {
    let flows = flows();
    let batch = batch(&flows);
    let (mut some, mut none) = (0, 0);
    for text in filters() {
        let filter: Filter = text.parse().unwrap();
        let expected: Vec<u64> = (0..)
            .zip(&flows)
            .filter(|(_, (iface, row))| filter.matches(iface, row))
            .map(|(number, _)| number)
            .collect();
        let context = SessionContext::new();
        let mut rows = context.read_batch(batch.clone()).unwrap();
        if let Some(expression) = expression(&filter, &IFACES) {
            rows = rows.filter(expression).unwrap();
        }
        let batches = rows
            .select_columns(&["number"])
            .unwrap()
            .collect()
            .await
            .unwrap();
        let mut found: Vec<u64> = batches
            .iter()
            .flat_map(|batch| {
                let numbers = batch
                    .column(0)
                    .as_any()
                    .downcast_ref::<UInt64Array>()
                    .unwrap();
                numbers.values().to_vec()
            })
            .collect();
        found.sort_unstable();
        assert_eq!(found, expected, "{text}");
        if expected.is_empty() {
            none += 1;
        } else {
            some += 1;
        }
    }
    assert!(
        some > 50 && none < 12,
        "{some} filters select flows, {none} do not"
    );
}

/// The words of the language are those of its manual, so that a new one fails here until it is in a
/// filter above.
#[test]
fn every_word_of_the_language_is_in_a_filter() {
    let filters = filters().join("\n");
    for row in markdown().lines().skip(2) {
        let words: Vec<_> = row
            .split('|')
            .take(3)
            .flat_map(|cell| cell.split('`').skip(1).step_by(2))
            .collect();
        assert!(
            words.iter().any(|word| filters.contains(*word)),
            "none of {words:?}"
        );
    }
}

#[test]
fn interfaces_are_left_out_by_their_names() {
    for (text, passing) in [
        ("iface eth0", &["eth0"][..]),
        ("not iface eth0", &["wg-1", "tun7"]),
        ("iface /^(wg|tun)/ and bytes > 1GiB", &["wg-1", "tun7"]),
        ("iface eth0 and tcp or iface tun7", &["eth0", "tun7"]),
        ("iface eth0 or tcp", &IFACES),
        ("tcp", &IFACES),
        ("", &IFACES),
        ("iface eth0 and not iface eth0", &[]),
    ] {
        let filter: Filter = text.parse().unwrap();
        let found: Vec<_> = IFACES
            .into_iter()
            .filter(|iface| may_pass(&filter, iface))
            .collect();
        assert_eq!(found, passing, "{text}");
        assert_eq!(names_interfaces(&filter), text.contains("iface"), "{text}");
    }
}
