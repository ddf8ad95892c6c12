//! Times of flows: those of the file, whatever they are.

use std::path::Path;

use probe_agent::term::{
    flow_format::{FlowFormat, write_flows},
    page::TableStyle,
};
use rstest::rstest;
use serde_json::Value;

use crate::{
    command::{probe_agent, replayed},
    packets::frame,
    write::{ETHERNET, Folder, Order, Pcap, PcapNg},
};

/// 2023-11-14T22:13:20Z.
const START: u32 = 1_700_000_000;
const DAY: u32 = 86_400;

/// A UDP packet of the flow that this port stands for.
fn packet(src_port: u16) -> Vec<u8> {
    let mut udp = frame::udp(4);
    udp[..2].copy_from_slice(&src_port.to_be_bytes());
    frame::Ipv4::of(frame::UDP).frame(&udp)
}

/// Source port, `first_seen` and `last_seen` of the flows, by port.
fn times_of_flows(path: &Path) -> Vec<(u64, Value, Value)> {
    let mut out = Vec::new();
    let interfaces = replayed(path, true).interfaces;
    write_flows(
        &mut out,
        FlowFormat::Json,
        TableStyle::default(),
        None,
        &interfaces,
    )
    .expect("written");
    let text = String::from_utf8(out).expect("text");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let flows = lines.filter(|line| line["type"] == "flow");
    let mut flows: Vec<_> = flows
        .map(|flow| {
            let port = flow["src_port"].as_u64().expect("a port");
            (port, flow["first_seen"].clone(), flow["last_seen"].clone())
        })
        .collect();
    flows.sort_by_key(|(port, ..)| *port);
    flows
}

/// Each packet is of a flow of its own: the position of its time.
fn assert_each_flow_has_its_time(times: &[(u32, &str)]) {
    let ports = 40_000_u16..;
    let file =
        times
            .iter()
            .zip(ports.clone())
            .fold(Pcap::ethernet(), |file, ((second, _), port)| {
                let frame = packet(port);
                file.packet(*second, 0, &frame, frame.len())
            });
    let folder = Folder::new();
    let found = times_of_flows(&folder.file("x.pcap", &file.bytes));
    let expected: Vec<_> = times
        .iter()
        .zip(ports)
        .map(|((_, time), port)| (u64::from(port), Value::from(*time), Value::from(*time)))
        .collect();
    assert_eq!(found, expected);
}

#[rstest]
#[case::a_month(&[
    (START, "2023-11-14T22:13:20.000Z"),
    (START + 30 * DAY, "2023-12-14T22:13:20.000Z"),
])]
#[case::decades(&[
    (0, "1970-01-01T00:00:00.000Z"),
    (START, "2023-11-14T22:13:20.000Z"),
    (u32::MAX, "2106-02-07T06:28:15.000Z"),
])]
#[case::a_stray_late_one(&[
    (START, "2023-11-14T22:13:20.000Z"),
    (4_294_000_000, "2106-01-27T01:46:40.000Z"),
    (START + 1, "2023-11-14T22:13:21.000Z"),
    (START + 2, "2023-11-14T22:13:22.000Z"),
])]
#[case::a_stray_early_one(&[
    (START, "2023-11-14T22:13:20.000Z"),
    (0, "1970-01-01T00:00:00.000Z"),
    (START - 1, "2023-11-14T22:13:19.000Z"),
])]
#[case::backwards(&[
    (START + 100 * DAY, "2024-02-22T22:13:20.000Z"),
    (START + 50 * DAY, "2024-01-03T22:13:20.000Z"),
    (START, "2023-11-14T22:13:20.000Z"),
])]
fn flows_have_their_own_times_however_far_apart(#[case] times: &[(u32, &str)]) {
    assert_each_flow_has_its_time(times);
}

/// The first and the last packet of a flow are those by time, not by their place in the file.
#[test]
fn a_flow_may_last_for_years() {
    let frame = packet(40_000);
    let seconds = [START, START + 400 * DAY, START - 400 * DAY, START + DAY];
    let file = seconds.into_iter().fold(Pcap::ethernet(), |file, second| {
        file.packet(second, 7_000, &frame, frame.len())
    });
    let folder = Folder::new();
    let found = times_of_flows(&folder.file("x.pcap", &file.bytes));
    let expected = ["2022-10-10T22:13:20.007Z", "2024-12-18T22:13:20.007Z"].map(Value::from);
    assert_eq!(found, [(40_000, expected[0].clone(), expected[1].clone())]);
}

/// Simple packet blocks have no time.
#[rstest]
#[case("json", r#""first_seen":null,"last_seen":null}"#)]
#[case("csv", ",false,,\n")]
#[case("table", "no times: ")]
fn a_file_without_times_says_so(#[case] format: &str, #[case] text: &str) {
    let frame = packet(40_000);
    let len = u32::try_from(frame.len()).unwrap();
    let file = PcapNg::new(Order::Little)
        .unnamed(ETHERNET)
        .simple(&frame[..40], len)
        .simple(&frame[..40], len);
    let folder = Folder::new();
    let path = folder.file("x.pcapng", &file.bytes);
    let output = probe_agent(
        &["--format", format, path.to_str().unwrap()],
        std::process::Stdio::null(),
    );
    assert!(output.status.success(), "{output:?}");
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains(text), "{stdout}");
    assert!(!stdout.contains("1970"), "{stdout}");
}

#[test]
fn packets_without_times_leave_those_of_others_alone() {
    let [timed, untimed, both] = [40_000, 40_001, 40_002].map(packet);
    let simple = |file: PcapNg, frame: &[u8]| {
        let len = u32::try_from(frame.len()).unwrap();
        file.simple(&frame[..40], len)
    };
    let mut file = PcapNg::new(Order::Little).unnamed(ETHERNET);
    file = simple(file, &both).whole(0, &timed);
    file = simple(file, &untimed).whole(0, &both);
    file = simple(file, &both);
    let folder = Folder::new();
    let path = folder.file("x.pcapng", &file.bytes);
    let second = Value::from("1970-01-01T00:00:01.000Z");
    assert_eq!(
        times_of_flows(&path),
        [
            (40_000, second.clone(), second.clone()),
            (40_001, Value::Null, Value::Null),
            (40_002, second.clone(), second),
        ]
    );
    assert_eq!(replayed(&path, true).packets_without_time, 3);
}
