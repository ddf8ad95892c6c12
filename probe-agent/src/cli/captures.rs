//! What the captures of commands show: a host with 60 interfaces, and the longest addresses.

use std::{
    io::{self, Write},
    net::Ipv6Addr,
    time::Duration,
};

use clap::Parser;
use rstest::rstest;
use serde_json::json;

use super::{
    Cli, check,
    flows::{counters, write_text},
    group, reload, retention,
    select::{SelectArgs, split},
    status::{self, findings},
};
use crate::{
    config::Config,
    term::{
        captures::assert_capture,
        flow_format::Numbers,
        page::{TableStyle, fold},
    },
};
use probe_api::{
    client::ClientError,
    reload::{Action, ChangeOutcome, InterfaceChange, ReloadReport, SettingChange},
    v1::{
        flows::{Flows, LiveFlow},
        info::Info,
        retention::Confirmed,
        status::{RetentionHold, SinkStatus, StatusReport, StoreStatus, Trouble},
    },
};

use probe_flow::flow::{Flow, FlowRow};

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

/// What groups are made of.
fn row(flow: &LiveFlow) -> FlowRow {
    FlowRow {
        src_addr: flow.src_addr,
        src_port: flow.src_port,
        dst_addr: flow.dst_addr,
        dst_port: flow.dst_port,
        ip_protocol: flow.ip_protocol,
        flow: Flow {
            counters: counters(flow),
            ..Flow::default()
        },
    }
}

/// Compares what a command writes for a terminal of this size.
#[track_caller]
fn assert_command(
    name: &str,
    [width, height]: [u16; 2],
    write: impl FnOnce(&mut Vec<u8>, TableStyle) -> io::Result<()>,
) {
    let style = TableStyle {
        width: Some(width.into()),
        colour: false,
    };
    let mut out = Vec::new();
    write(&mut out, style).expect("a vector takes all");
    let text = String::from_utf8(out).expect("text");
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_capture(&format!("{name}-{width}x{height}"), width, &lines);
}

/// The sentences of errors and warnings, as a terminal shows them.
#[track_caller]
fn assert_told(name: &str, [width, height]: [u16; 2], messages: &[String]) {
    let told = messages.iter().flat_map(|it| fold(it, width.into()));
    let lines: Vec<_> = told.collect();
    assert_capture(&format!("{name}-{width}x{height}"), width, &lines);
}

#[rstest]
#[case::small([80, 24])]
#[case::large([200, 50])]
fn flows_are_as_captured(#[case] size: [u16; 2]) {
    assert_command("flows", size, |out, style| {
        write_text(out, style, &flows(0), None, &[].into())
    });
    let over = Some(Duration::from_mins(1));
    assert_command("flows-rate", size, |out, style| {
        write_text(out, style, &flows(0), over, &[].into())
    });
    let none = Flows {
        flows: Vec::new(),
        matched: 0,
        ..flows(0)
    };
    assert_command("flows-none", size, |out, style| {
        write_text(out, style, &none, None, &[].into())
    });
}

#[rstest]
#[case::small([80, 24])]
#[case::large([200, 50])]
fn groups_are_as_captured(#[case] size: [u16; 2]) {
    let flows = flows(0);
    let grouping = group::tests::grouping("iface,src,dst,dport,proto", None);
    let rows: Vec<_> = flows.flows.iter().map(row).collect();
    let groups = grouping.groups(flows.flows.iter().map(|it| it.iface.as_str()).zip(&rows));
    for (name, over) in [
        ("groups", None),
        ("groups-rate", Some(Duration::from_mins(1))),
    ] {
        let shown = groups.first(20, over);
        assert_command(name, size, |out, style| {
            shown.write_table(out, style, Numbers::Human, &[].into())
        });
    }
}

/// What has happened to a host whose store is full, with a clock that nobody believes.
fn troubled() -> StatusReport {
    let mut report = status(2);
    report.troubles = vec![Trouble {
        kind: "reload_refused".to_owned(),
        subject: Some("/etc/probe/probe.yaml".to_owned()),
        cause:
            "interfaces.eth7.hook: must be one of auto, xdp, xdp-native, xdp-generic, tc, found \
                `fast`"
                .to_owned(),
        remedy: "correct the file, and reload again".to_owned(),
    }];
    let eth7 = report.interfaces.get_mut("eth7").expect("it is there");
    eth7.state = "blind".to_owned();
    eth7.coverage.rcvd.state = "blind".to_owned();
    eth7.ledger.losses.insert("ring_full".to_owned(), 123_456);
    let store = StoreStatus {
        bytes: 3 << 30,
        free_bytes: Some(50 << 30),
        oldest: Some(report.started_at),
        bytes_per_day: Some(40 << 20),
        max_age_seconds: Some(90 * 86_400),
        age_deletes_at: Some(report.at + Duration::from_hours(24 * 10)),
        held: Some(hold(&report)),
        ..StoreStatus::default()
    };
    for name in ["parquet", "json-on-the-second-disk"] {
        let sink = SinkStatus {
            store: Some(store.clone()),
            ..SinkStatus::default()
        };
        report.sinks.insert(name.to_owned(), sink);
    }
    report
}

fn hold(report: &StatusReport) -> RetentionHold {
    RetentionHold {
        reference: report.started_at - Duration::from_hours(24 * 365),
        ahead_seconds: 365 * 86_400,
        held_bytes: 2 << 30,
    }
}

#[rstest]
#[case::small([80, 24])]
#[case::large([200, 50])]
fn the_status_is_as_captured(#[case] size: [u16; 2]) {
    let info = Info {
        version: "0.1.0".to_owned(),
        commit: "unknown".to_owned(),
        object: "0".repeat(64),
        kernel: "6.18.0".to_owned(),
        architecture: "x86_64".to_owned(),
        pid: 4_194_303,
        config_path: None,
        started_at: status(0).started_at,
        uptime_seconds: 3600,
    };
    let capture = |name, earlier: &StatusReport, now: &StatusReport| {
        let findings = findings::compare(now, Some(earlier));
        assert_command(name, size, |out, style| {
            status::text::write(out, style, &info, [earlier, now], &findings)
        });
    };
    capture("status", &status(0), &status(2));
    capture("status-trouble", &status(0), &troubled());
    let [earlier, now] = [0, 2].map(|seconds| {
        let mut report = status(seconds);
        report.interfaces.retain(|name, _| name == "eth59");
        report
    });
    capture("status-one", &earlier, &now);
}

#[rstest]
#[case::small([80, 24])]
#[case::large([200, 50])]
fn a_check_is_as_captured(#[case] size: [u16; 2]) {
    let names = (0..60).map(|number| format!("  eth{number}: {{}}\n"));
    let names: String = names.collect();
    let sinks = "writeout:\n- { type: parquet, path: /var/lib/probe/flows }\n\
                 - { type: json, path: /mnt/a-large-disk/of-the-second-controller/probe/json }\n";
    let config = Config::parse(&format!("interfaces:\n{names}{sinks}")).expect("it is good");
    assert_command("check", size, |out, style| {
        out.write_all(check::summary(&config, style).as_bytes())
    });
    let wrong = format!("interfaces:\n{names}capture: {{ hook: fast }}\n{sinks}logging: loud\n");
    let wrong = Config::parse(&wrong).expect_err("it is wrong");
    assert_told("check-wrong", size, &[wrong.to_string()]);
}

#[rstest]
#[case::small([80, 24])]
#[case::large([200, 50])]
fn a_reload_is_as_captured(#[case] size: [u16; 2]) {
    let interface = |number: u32| InterfaceChange {
        iface: format!("eth{number}"),
        action: Action::Updated,
        outcome: match number {
            7 => ChangeOutcome::Restored,
            _ => ChangeOutcome::Done,
        },
        reason: (number == 7)
            .then(|| "the driver mlx5_core does not take native XDP while LRO is on".to_owned()),
        gap_us: Some(u64::from(number) * 1000),
    };
    let change = |setting: &str, before: &str, after: &str| SettingChange {
        setting: setting.to_owned(),
        before: Some(before.to_owned()),
        after: Some(after.to_owned()),
        live: true,
    };
    let report = ReloadReport {
        settings: vec![
            change("capture.ring_buffer", "16777216", "33554432"),
            change(
                "autodetection.exclude",
                "lo, /^veth/",
                "lo, /^veth/, /^docker/, /^br-[0-9a-f]{12}$/, /^cali[0-9a-f]{11}$/",
            ),
        ],
        interfaces: (0..60).map(interface).collect(),
        untouched: 0,
        missing: vec!["eth60".to_owned()],
        ..ReloadReport::default()
    };
    assert_command("reload", size, |out, style| {
        reload::write(out, style, &report)
    });
}

#[rstest]
#[case::small([80, 24])]
#[case::large([200, 50])]
fn retention_is_as_captured(#[case] size: [u16; 2]) {
    let report = status(2);
    let held = ["json", "parquet"].map(|sink| (sink.to_owned(), hold(&report)));
    let mut confirmed = Confirmed {
        clock: report.at,
        held: held.into(),
    };
    assert_command("retention", size, |out, style| {
        out.write_all(retention::text(&confirmed, style).as_bytes())
    });
    confirmed.held.clear();
    assert_command("retention-none", size, |out, style| {
        out.write_all(retention::text(&confirmed, style).as_bytes())
    });
}

/// A wrong filter, a name that is none of 60, and an agent that is dead.
#[rstest]
#[case::small([80, 24])]
#[case::large([200, 50])]
fn errors_are_as_captured(#[case] size: [u16; 2]) {
    let captured: Vec<_> = (0..60).map(|number| format!("eth{number}")).collect();
    let split = |words: &str| {
        let words: Vec<_> = words.split(' ').map(str::to_owned).collect();
        let error = split(&words, &captured, &SelectArgs::default());
        format!("error: {}", error.expect_err("it is wrong"))
    };
    let filter = format!("eth59 src net {HOST}/128 and dst host {HOST} and port htps");
    let dead = ClientError::NotRunning {
        endpoint: "unix:/run/probe/probe.sock".to_owned(),
        reason: "Connection refused (os error 111)".to_owned(),
    };
    let by_option = format!("--filter=dst host {HOST} and port htps");
    let by_option = Cli::try_parse_from(["probe-agent", "flows", &by_option]);
    let messages = [
        by_option.expect_err("it is wrong").to_string(),
        split(&filter),
        split("eth60 tcp"),
        split("eth60"),
        format!("error: {dead}"),
    ];
    assert_told("errors", size, &messages);
}
