use std::{io, net::IpAddr};

use probe_common::{classify::Evidence, control::Tally};
use rstest::rstest;
use serde_json::{Value, json};

use super::{FlowFormat, InterfaceFlows, is_closed_by_reader, write_flows};
use crate::term::{captures::assert_capture, page::TableStyle};
use probe_flow::{
    flow::{Flow, FlowCounters, FlowRow},
    ledger::{Ledger, Loss},
    schema::live_fields,
    ticks::TickClock,
};

fn row(src: &str, src_port: u16, dst: &str, dst_port: u16, ip_protocol: u8) -> FlowRow {
    let address = |text: &str| -> IpAddr { text.parse().unwrap() };
    FlowRow {
        src_addr: address(src),
        src_port,
        dst_addr: address(dst),
        dst_port,
        ip_protocol,
        flow: Flow {
            counters: FlowCounters {
                bytes_rcvd: 1500,
                bytes_sent: 12_345_678,
                packets_rcvd: 3,
                packets_sent: 9000,
            },
            first: 250,
            last: 4000,
            tcp_flags: 0x1b,
            evidence: Evidence::Handshake,
            is_overflow: false,
        },
    }
}

fn two_interfaces() -> Vec<InterfaceFlows> {
    let mut ledger = Ledger {
        seen: Tally {
            packets: 9010,
            bytes: 0,
        },
        flows: Tally {
            packets: 9003,
            bytes: 0,
        },
        later_fragments: 2,
        ..Ledger::default()
    };
    ledger.losses[Loss::NonIp as usize].add(7, 0);
    vec![
        InterfaceFlows {
            iface: "eth0".to_owned(),
            flows: vec![
                row("198.18.0.1", 0, "198.18.0.2", 443, 6),
                row("fd00::1", 5353, "ff02::fb", 5353, 17),
                row("198.18.0.1", 0, "198.18.0.2", 0, 89),
            ],
            matched: 3,
            all: 3,
            tick_clock: TickClock::default(),
            ledger,
        },
        InterfaceFlows {
            iface: "eth1, \"dmz\"".to_owned(),
            flows: vec![],
            matched: 0,
            all: 0,
            tick_clock: TickClock::default(),
            ledger: Ledger::default(),
        },
    ]
}

fn written(format: FlowFormat, style: TableStyle, interfaces: &[InterfaceFlows]) -> String {
    let mut out = Vec::new();
    write_flows(&mut out, format, style, None, interfaces).unwrap();
    String::from_utf8(out).unwrap()
}

#[test]
fn json_is_one_object_a_line_with_the_ledger_last() {
    let text = written(FlowFormat::Json, TableStyle::default(), &two_interfaces());
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 4);
    assert_eq!(
        lines[0],
        json!({
            "type": "flow", "iface": "eth0", "ip_version": 4, "ip_protocol": 6,
            "src_addr": "198.18.0.1", "src_port": 0, "dst_addr": "198.18.0.2", "dst_port": 443,
            "packets_rcvd": 3, "packets_sent": 9000, "bytes_rcvd": 1500, "bytes_sent": 12_345_678,
            "tcp_flags": 0x1b, "direction_evidence": "handshake", "direction_confidence": "high",
            "overflow": false, "first_seen": "1970-01-01T00:00:00.250Z",
            "last_seen": "1970-01-01T00:00:04.000Z",
        })
    );
    assert!(
        text.lines()
            .next()
            .unwrap()
            .starts_with(r#"{"type":"flow","iface":"eth0","ip_version":"#)
    );
    let ledger = &lines[3];
    assert_eq!(ledger["type"], "ledger");
    let losses = ledger["losses"].as_object().unwrap();
    assert_eq!(losses.len(), Loss::COUNT, "losses of 0 are there, too");
    let lost: u64 = losses
        .values()
        .map(|packets| packets.as_u64().unwrap())
        .sum();
    assert_eq!(
        ledger["seen"].as_u64().unwrap(),
        ledger["flows"].as_u64().unwrap() + lost
    );
    assert_eq!(ledger["residue"], 0);
    assert_eq!(ledger["interfaces"]["eth0"]["losses"]["non_ip"], 7);
    assert_eq!(ledger["interfaces"]["eth1, \"dmz\""]["seen"], 0);
}

/// The fields of the schema, in its order.
fn header() -> String {
    let names: Vec<_> = live_fields().map(|field| field.name).collect();
    names.join(",")
}

#[test]
fn csv_quotes_and_has_the_fields_of_json() {
    let mut interfaces = two_interfaces();
    interfaces.swap(0, 1);
    interfaces[0].flows = interfaces[1].flows.split_off(1);
    let text = written(FlowFormat::Csv, TableStyle::default(), &interfaces);
    let mut lines = text.lines();
    assert_eq!(lines.next().unwrap(), header());
    assert_eq!(
        lines.next().unwrap(),
        concat!(
            r#""eth1, ""dmz""",6,17,fd00::1,5353,ff02::fb,5353,3,9000,1500,12345678,27,handshake,"#,
            "high,false,1970-01-01T00:00:00.250Z,1970-01-01T00:00:04.000Z",
        )
    );
    let json = written(FlowFormat::Json, TableStyle::default(), &two_interfaces());
    let keys = live_fields().map(|field| format!(r#""{}":"#, field.name));
    let mut rest = json.lines().next().unwrap();
    for key in keys {
        rest = rest
            .split_once(&key)
            .unwrap_or_else(|| panic!("{key} is missing or moved"))
            .1;
    }
}

#[test]
fn csv_without_flows_still_has_its_header() {
    let text = written(FlowFormat::Csv, TableStyle::default(), &[]);
    assert_eq!(text, header() + "\n");
}

#[test]
fn the_table_is_aligned() {
    let mut interfaces = two_interfaces();
    interfaces.pop();
    let text = written(FlowFormat::Table, TableStyle::default(), &interfaces);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(
        lines,
        [
            "                                                      bytes   packets",
            "   source           destination     proto     rcvd     sent rcvd sent",
            " * 198.18.0.1:*   → 198.18.0.2:443  tcp/https 1500 12345678    3 9000",
            " * [fd00::1]:5353 → [ff02::fb]:5353 udp/mdns  1500 12345678    3 9000",
            " * 198.18.0.1     → 198.18.0.2      ospf      1500 12345678    3 9000",
            "3 of 3 flows",
            "seen 9010 = flows 9003 + non_ip 7 (residue 0)",
        ]
    );
}

#[rstest]
#[case::wide(Some(120), "tcp/https 1500 12345678")]
#[case::no_services(Some(65), "tcp   1500 12345678")]
#[case::scaled(Some(60), "tcp   1500 11Mi")]
#[case::file(None, "tcp/https 1500 12345678")]
fn narrow_terminals_get_less_detail(#[case] width: Option<usize>, #[case] expected: &str) {
    let style = TableStyle {
        width,
        colour: false,
    };
    let mut interfaces = two_interfaces();
    interfaces[0].flows.truncate(1);
    let text = written(FlowFormat::Table, style, &interfaces);
    assert!(text.contains(expected), "{text}");
}

#[test]
fn ordinary_ipv4_flows_fit_into_80_columns() {
    let mut flow = row("198.199.200.201", 65535, "198.199.200.202", 65535, 17);
    flow.flow.counters.bytes_rcvd = u64::MAX;
    let style = TableStyle {
        width: Some(80),
        colour: false,
    };
    let mut interfaces = two_interfaces();
    interfaces.truncate(1);
    interfaces[0].flows = vec![flow];
    let text = written(FlowFormat::Table, style, &interfaces);
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(text.contains(" 15Ei "), "{text}");
}

/// The longest addresses that there are, at every width that somebody may have.
#[test]
fn long_addresses_never_wrap() {
    let mut flow = row(
        "2001:db8:1234:5678:9abc:def0:1234:5678",
        0,
        "2001:db8:ffff:eeee:dddd:cccc:bbbb:aaaa",
        65535,
        17,
    );
    flow.flow.counters.bytes_rcvd = u64::MAX;
    let mut interfaces = two_interfaces();
    interfaces.truncate(1);
    interfaces[0].flows = vec![flow, row("198.18.0.1", 40000, "198.18.0.2", 443, 6)];
    for width in 1..140 {
        let style = TableStyle {
            width: Some(width),
            colour: false,
        };
        let text = written(FlowFormat::Table, style, &interfaces);
        // Up to the line that counts them.
        let table = text.lines().take_while(|line| !line.starts_with('2'));
        for line in table {
            assert!(line.chars().count() <= width, "{width}: {text}");
        }
    }
    let style = TableStyle {
        width: Some(80),
        colour: false,
    };
    let text = written(FlowFormat::Table, style, &interfaces);
    let lines: Vec<_> = text.lines().take(4).collect();
    assert_eq!(
        lines,
        [
            "                                                                 bytes   packets",
            "   source                     destination              proto rcvd sent rcvd sent",
            " * [2001:db8:…:1234:5678]:* → [2001:db…bbb:aaaa]:65535 udp   15Ei 11Mi    3 9000",
            " * 198.18.0.1:40000         → 198.18.0.2:443           tcp   1500 11Mi    3 9000",
        ]
    );
}

#[test]
fn marks_tell_idle_sure_and_overflow() {
    let mut interfaces = two_interfaces();
    interfaces.truncate(1);
    let flows = &mut interfaces[0].flows;
    flows[0].flow.counters = FlowCounters::default();
    flows[1].flow.evidence = Evidence::Ports;
    flows[2].flow.is_overflow = true;
    let text = written(FlowFormat::Table, TableStyle::default(), &interfaces);
    let marks: Vec<&str> = text.lines().skip(2).map(|line| &line[..2]).collect();
    assert_eq!(marks, ["!*", "  ", " +", "3 ", "se"]);
}

#[test]
fn colour_is_only_there_on_demand() {
    let mut interfaces = two_interfaces();
    interfaces[0].ledger.seen.packets += 1;
    let plain = written(FlowFormat::Table, TableStyle::default(), &interfaces);
    assert!(!plain.contains('\x1b'));
    let style = TableStyle {
        width: None,
        colour: true,
    };
    let colour = written(FlowFormat::Table, style, &interfaces);
    assert!(
        colour.contains("\x1b[31mseen 9011"),
        "a residue is red: {colour}"
    );
}

#[rstest]
#[case(FlowFormat::Table)]
#[case(FlowFormat::Json)]
#[case(FlowFormat::Csv)]
fn a_closed_pipe_is_told_apart(#[case] format: FlowFormat) {
    struct Closed;
    impl io::Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let error = write_flows(
        &mut Closed,
        format,
        TableStyle::default(),
        None,
        &two_interfaces(),
    )
    .unwrap_err();
    assert!(is_closed_by_reader(&error), "{error:?}");
}

/// The longest addresses there are, and counts of all lengths.
#[rstest]
#[case::small(80, 24)]
#[case::large(200, 50)]
fn the_table_of_a_replay_is_as_captured(#[case] width: u16, #[case] height: u16) {
    let [left, right] = ["2001:db8:1234:5678:9abc:def0:1234:5678"; 2];
    let mut interfaces = two_interfaces();
    interfaces[0].flows = vec![
        row(left, 65535, right, 65535, 6),
        row(left, 0, right, 443, 6),
        row(left, 0, right, 0, 58),
    ];
    interfaces[0].flows[0].flow.counters = FlowCounters {
        bytes_rcvd: 103_741_849,
        bytes_sent: u64::MAX / 4,
        packets_rcvd: 123_456,
        packets_sent: u64::MAX / 4,
    };
    let style = TableStyle {
        width: Some(width.into()),
        colour: false,
    };
    let text = written(FlowFormat::Table, style, &interfaces);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_capture(&format!("replay-{width}x{height}"), width, &lines);
}

#[test]
fn a_table_without_rows_says_why() {
    for (matched, all, text) in [
        (0, 0, "no flows"),
        (0, 7, "none of 7 flows passes the filter"),
        (7, 7, "0 of 7 flows"),
        (2, 7, "0 of 2 flows that pass, of 7"),
    ] {
        assert_eq!(super::no_rows(matched, all), text);
    }
}
