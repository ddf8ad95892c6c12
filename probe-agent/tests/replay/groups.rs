//! Flows put together by some of their fields, compared with sums over the flows one by one.

use std::{collections::BTreeMap, path::Path, process::Stdio};

use serde_json::Value;

use crate::{
    command::probe_agent,
    packets::frame,
    write::{ETHERNET, Folder, Order, PcapNg},
};

fn file() -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/demo.pcap");
    file.to_str().expect("a path").to_owned()
}

/// The lines of JSON of one type.
fn lines(arguments: &[&str], wanted: &str) -> Vec<Value> {
    let file = file();
    let arguments: Vec<_> = ["--json"]
        .iter()
        .chain(arguments)
        .chain([&file.as_str()])
        .copied()
        .collect();
    let output = probe_agent(&arguments, Stdio::null());
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("text");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"));
    lines
        .filter(|line: &Value| line["type"] == wanted)
        .collect()
}

const COUNTS: [&str; 4] = ["packets_rcvd", "packets_sent", "bytes_rcvd", "bytes_sent"];

#[test]
fn groups_have_the_sums_of_their_flows() {
    for (by, fields) in [
        ("src", &["src_addr"][..]),
        ("proto,iface", &["ip_protocol", "iface"]),
        (
            "dst,dport,ip_version",
            &["dst_addr", "dst_port", "ip_version"],
        ),
    ] {
        for filter in ["", "tcp or icmp6"] {
            let select = ["--raw", "--filter", filter];
            let mut expected: BTreeMap<String, [u64; 5]> = BTreeMap::new();
            for flow in lines(&select, "flow") {
                let key: Vec<_> = fields.iter().map(|name| flow[*name].to_string()).collect();
                let sum = expected.entry(key.join(" ")).or_default();
                sum[0] += 1;
                for (sum, name) in sum[1..].iter_mut().zip(COUNTS) {
                    *sum += flow[name].as_u64().expect("a count");
                }
            }
            assert!(expected.len() > 1 || by.starts_with("proto"), "{by}");
            let grouped = [&select[..], &["--by", by]].concat();
            let mut found = BTreeMap::new();
            let mut last = u64::MAX;
            for group in lines(&grouped, "group") {
                let key: Vec<_> = fields.iter().map(|name| group[*name].to_string()).collect();
                let counts = ["flows"].into_iter().chain(COUNTS);
                let counts: Vec<_> = counts
                    .map(|name| group[name].as_u64().expect("a count"))
                    .collect();
                assert!(counts[3] + counts[4] <= last, "most bytes first");
                last = counts[3] + counts[4];
                let counts: [u64; 5] = counts.try_into().expect("five counts");
                assert_eq!(found.insert(key.join(" "), counts), None, "{by}: twice");
            }
            assert_eq!(found, expected, "{by}");
            assert_eq!(lines(&grouped, "ledger").len(), 1);
            let two = [&grouped[..], &["-n", "2"]].concat();
            assert_eq!(lines(&two, "group").len(), found.len().min(2), "{by}");
        }
    }
}

#[test]
fn people_learn_how_many_groups_there_are() {
    let output = probe_agent(
        &["--by", "src", "-n", "2", &file(), "udp", "or", "tcp"],
        Stdio::null(),
    );
    let text = String::from_utf8(output.stdout).expect("text");
    for line in [
        "source     flows  rcvd   sent rcvd sent",
        "fd00::1        2 93988 289624  243  249",
        "2 of 2 groups, of 4 flows that pass, of 8",
        "(residue 0)",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    let output = probe_agent(&["--by", "src", "--sort", "dport", &file()], Stdio::null());
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(
        told.starts_with("error: --sort dst_port: the flows of a group differ in it; sort by"),
        "{told}"
    );
}

/// 1.347 s lie between the first packet of the file and the last.
#[test]
fn rates_are_over_the_time_of_the_file() {
    let flows = lines(&[], "flow");
    for (rated, flow) in lines(&["--rate"], "flow").iter().zip(&flows) {
        for (rate, count, times) in [
            ("packets_rcvd_per_second", "packets_rcvd", 1),
            ("bits_sent_per_second", "bytes_sent", 8),
        ] {
            let expected = flow[count].as_u64().expect("a count") * 1000 / 1347;
            let found = rated[rate].as_u64().expect("a rate") / times;
            assert!(
                found.abs_diff(expected) <= expected / 1000 + 1,
                "{rated} {flow}"
            );
            assert_eq!(rated[count], Value::Null, "no count");
        }
        assert_eq!(rated["first_seen"], flow["first_seen"]);
    }
    let output = probe_agent(&["--rate", "--csv", "-n", "1", &file()], Stdio::null());
    let text = String::from_utf8(output.stdout).expect("text");
    let [head, line] = [0, 1].map(|number| text.lines().nth(number).expect("two lines"));
    assert!(head.contains(",packets_rcvd_per_second,"), "{head}");
    assert_eq!(head.split(',').count(), line.split(',').count(), "{text}");
    for (words, told) in [
        (&["--rate"][..], "bit/s"),
        (&["--rate", "--by", "proto"], "packets/s"),
    ] {
        let output = probe_agent(&[words, &[&file()]].concat(), Stdio::null());
        let text = String::from_utf8(output.stdout).expect("text");
        assert!(text.contains(told), "{text}");
    }
}

#[test]
fn without_times_there_are_no_rates() {
    let folder = Folder::new();
    let packet = frame::Ipv4::of(frame::TCP).packet(&frame::tcp(2));
    let file = PcapNg::new(Order::Little)
        .named(ETHERNET, "eth0")
        .whole(0, &packet);
    let path = folder.file("one.pcapng", &file.bytes);
    let path = path.to_str().expect("a path");
    let output = probe_agent(&["--rate", path], Stdio::null());
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let told = String::from_utf8(output.stderr).expect("text");
    assert!(told.contains("no rates: "), "{told}");

    // That it is cut is told, too.
    let mut bytes = file.bytes.clone();
    bytes.extend(&file.bytes[..10]);
    let path = folder.file("cut.pcapng", &bytes);
    let path = path.to_str().expect("a path");
    let output = probe_agent(&["--rate", path], Stdio::null());
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let told = String::from_utf8(output.stderr).expect("text");
    let [first, second] = [0, 1].map(|number| told.lines().nth(number).expect("two lines"));
    assert!(first.starts_with("incomplete: "), "{told}");
    assert!(second.starts_with("error: no rates: "), "{told}");
}
