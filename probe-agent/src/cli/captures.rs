//! What the captures of commands show: a host with 60 interfaces, and the longest addresses.

use std::{net::Ipv6Addr, time::Duration};

use rstest::rstest;
use serde_json::json;

use super::{flows::write_text, status};
use crate::term::{captures::assert_capture, page::TableStyle};
use probe_api::v1::{flows::Flows, status::StatusReport};

/// Of a prefix without zeros, so that no group gives way.
const HOST: Ipv6Addr = Ipv6Addr::new(
    0x2001, 0xdb8, 0x1234, 0x5678, 0x9abc, 0xdef0, 0x1234, 0x5678,
);

/// So many seconds after the first reading. `eth59` is the busiest interface.
pub(super) fn status(seconds: u32) -> StatusReport {
    let mut report = status::table::tests::report();
    report.at += Duration::from_secs(seconds.into());
    let eth0 = report.interfaces["eth0"].clone();
    for number in 0..60_u32 {
        let mut interface = eth0.clone();
        let octets = u64::from(number) * u64::from(number) * 25_000;
        interface.bytes_rcvd += octets * u64::from(seconds);
        interface.bytes_sent += octets / 9 * u64::from(seconds);
        report.interfaces.insert(format!("eth{number}"), interface);
    }
    report
}

/// So many seconds after the first reading.
pub(super) fn flows(seconds: u32) -> Flows {
    let report = status(seconds);
    let flow = |number: u16, protocol: u8, ports: [u16; 2], bytes: u64| {
        let times = u64::from(seconds + 1);
        let peer = Ipv6Addr::from_bits(HOST.to_bits() + u128::from(number));
        json!({
            "iface": format!("eth{}", 60 - number), "ip_version": 6, "ip_protocol": protocol,
            "src_addr": peer, "src_port": ports[0], "dst_addr": HOST, "dst_port": ports[1],
            "packets_rcvd": bytes / 1200 * times, "packets_sent": bytes / 8000 * times,
            "bytes_rcvd": bytes * times, "bytes_sent": bytes / 30 * times,
            "tcp_flags": if protocol == 6 { 0x1b } else { 0 },
            "direction_evidence": "handshake", "direction_confidence": "high",
            "overflow": false, "first_seen": report.started_at, "last_seen": report.at,
        })
    };
    let flows = [
        flow(1, 6, [65535, 65535], 103_741_849),
        flow(2, 6, [0, 443], 34_600_000),
        flow(3, 17, [54321, 53], 9_999_999),
        flow(4, 58, [0, 0], 18_000),
        flow(5, 47, [0, 0], 1400),
    ];
    let interface = |number: u32| {
        json!({ "iface": format!("eth{number}"), "since": report.started_at, "flows": 1,
                "matched": 1 })
    };
    let interfaces: Vec<_> = (0..60).map(interface).collect();
    serde_json::from_value(json!({
        "at": report.at, "interfaces": interfaces, "matched": 60, "truncated": true,
        "total": { "packets_rcvd": 90_000, "packets_sent": 9000, "bytes_rcvd": 148_000_000,
                   "bytes_sent": 5_000_000 },
        "flows": flows,
    }))
    .expect("they are flows")
}

#[rstest]
#[case::small(80, 24)]
#[case::large(200, 50)]
fn flows_are_as_captured(#[case] width: u16, #[case] height: u16) {
    let style = TableStyle {
        width: Some(width.into()),
        colour: false,
    };
    let mut out = Vec::new();
    write_text(&mut out, style, &flows(0), None, &[].into()).expect("written");
    let text = String::from_utf8(out).expect("text");
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_capture(&format!("flows-{width}x{height}"), width, &lines);
}

#[rstest]
#[case::small(80, 24)]
#[case::large(200, 50)]
fn interfaces_are_as_captured(#[case] width: u16, #[case] height: u16) {
    let (earlier, now) = (status(0), status(2));
    let (head, rows) = status::table::lines(Some(width.into()), &earlier, &now);
    let rows = rows.into_iter().map(|(_, row)| row);
    let lines: Vec<_> = [head].into_iter().chain(rows).collect();
    assert_capture(&format!("status-{width}x{height}"), width, &lines);
}
