//! A month that is made up: interfaces that come late, losses, outages, a blind hook, overflow. Every
//! answer is compared with sums that the script keeps by itself, and the report names each hole.

pub(crate) mod script;

use std::collections::BTreeMap;

use jiff::Timestamp;
use script::{Fed, Script};
use serde_json::Value;

use crate::fixture;

/// Sums of a row: packets and bytes, received and sent, and flows.
type Sums = [u64; 5];

fn ask_json(script: &Script, words: &[&str]) -> Value {
    fixture::ask_json(&script.root(), words).unwrap()
}

fn rows(answer: &Value, keys: &[&str]) -> BTreeMap<Vec<String>, Sums> {
    let rows = answer["rows"].as_array().unwrap().iter().map(|row| {
        let text = |key: &&str| match &row[*key] {
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        let names = [
            "packets_rcvd",
            "packets_sent",
            "bytes_rcvd",
            "bytes_sent",
            "flows",
        ];
        (
            keys.iter().map(text).collect(),
            names.map(|name| row[name].as_u64().unwrap()),
        )
    });
    let found: BTreeMap<_, _> = rows.collect();
    assert_eq!(
        found.len(),
        answer["rows"].as_array().unwrap().len(),
        "a row is there twice"
    );
    found
}

fn summed(
    script: &Script,
    selects: impl Fn(&Fed) -> bool,
    keys: impl Fn(&Fed) -> Vec<String>,
) -> BTreeMap<Vec<String>, Sums> {
    let mut sums = BTreeMap::<Vec<String>, Sums>::new();
    for fed in script.fed.iter().filter(|fed| selects(fed)) {
        let sum = sums.entry(keys(fed)).or_default();
        let counters = fed.counters;
        let counts = [
            counters.packets_rcvd,
            counters.packets_sent,
            counters.bytes_rcvd,
            counters.bytes_sent,
            1,
        ];
        for (sum, count) in sum.iter_mut().zip(counts) {
            *sum += count;
        }
    }
    sums
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn every_answer_is_the_sum(script: &Script) {
    let all = ["--since", "2026-11-01", "--until", "2026-12-01", "-n", "0"];
    let with = |words: &[&'static str]| ask_json(script, &[&all[..], words].concat());

    let found = rows(&with(&["--by", "talk_conv"]), &["src_addr", "dst_addr"]);
    assert_eq!(
        found,
        summed(
            script,
            |_| true,
            |fed| vec![fed.src.clone(), fed.dst.clone()]
        )
    );

    let keys = ["src_addr", "dst_addr", "dst_port", "ip_protocol"];
    let found = rows(
        &with(&["--by", "agg_talk_port", "tcp", "port", "443"]),
        &keys,
    );
    let expected = summed(
        script,
        |fed| fed.protocol == 6 && (fed.dst_port == 443 || fed.src_port == 443),
        |fed| {
            vec![
                fed.src.clone(),
                fed.dst.clone(),
                fed.dst_port.to_string(),
                fed.protocol.to_string(),
            ]
        },
    );
    assert_eq!(found, expected);
    assert!(found.len() > 10);

    let host = script.fed[7].src.clone();
    let answer = with(&[
        "--by",
        "iface,proto",
        "--filter",
        Box::leak(format!("host {host}").into_boxed_str()),
    ]);
    let expected = summed(
        script,
        |fed| fed.src == host || fed.dst == host,
        |fed| vec![fed.iface.to_string(), fed.protocol.to_string()],
    );
    assert_eq!(
        rows(&answer, &["iface", "ip_protocol"]),
        expected,
        "one host"
    );

    let answer = with(&["--by", "time=1d"]);
    let days = summed(
        script,
        |_| true,
        |fed| vec![format!("{}T00:00:00Z", &fed.start.to_string()[..10])],
    );
    assert_eq!(rows(&answer, &["time"]), days, "a series of days");
    let times: Vec<_> = answer["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["time"].to_string())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
}

fn networks_and_interfaces_are_chosen(script: &Script) {
    let with = |words: &[&'static str]| {
        let all = ["--since", "2026-11-01", "--until", "2026-12-01", "-n", "0"];
        ask_json(script, &[&all[..], words].concat())
    };
    let answer = with(&["--by", "dst", "src", "net", "10.0.0.0/24"]);
    let expected = summed(
        script,
        |fed| fed.src.starts_with("10.0.0."),
        |fed| vec![fed.dst.clone()],
    );
    assert_eq!(rows(&answer, &["dst_addr"]), expected, "peers of a network");

    let answer = with(&["--by", "src", "--filter", "iface eth1 and net fd00::/16"]);
    let expected = summed(
        script,
        |fed| &*fed.iface == "eth1" && (fed.src.starts_with("fd00") || fed.dst.starts_with("fd00")),
        |fed| vec![fed.src.clone()],
    );
    assert_eq!(
        rows(&answer, &["src_addr"]),
        expected,
        "one interface, IPv6"
    );
    assert_eq!(
        answer["completeness"]["interfaces"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

fn a_part_of_the_month_has_its_intervals(script: &Script) {
    let part = [
        "--since",
        "2026-11-05 06:00",
        "--until",
        "2026-11-12 18:00",
        "-n",
        "0",
        "--by",
        "raw",
    ];
    let answer = ask_json(script, &part);
    let (since, until) = (time("2026-11-05T06:00:00Z"), time("2026-11-12T18:00:00Z"));
    let expected = summed(
        script,
        |fed| fed.start >= since && fed.start < until,
        |fed| {
            let micros = Timestamp::from_microsecond(fed.start.as_microsecond()).unwrap();
            vec![
                micros.to_string(),
                fed.iface.to_string(),
                fed.src.clone(),
                fed.src_port.to_string(),
                fed.dst.clone(),
                fed.dst_port.to_string(),
                fed.protocol.to_string(),
            ]
        },
    );
    let keys = [
        "time",
        "iface",
        "src_addr",
        "src_port",
        "dst_addr",
        "dst_port",
        "ip_protocol",
    ];
    assert_eq!(rows(&answer, &keys), expected, "a part of the month, raw");
}

/// The totals are over all rows.
fn the_first_rows_are_those_with_most_bytes(script: &Script) {
    let answer = ask_json(
        script,
        &[
            "--since",
            "2026-11-01",
            "--until",
            "2026-12-01",
            "-n",
            "5",
            "--by",
            "src",
            "--sum",
        ],
    );
    let mut sums: Vec<_> = summed(script, |_| true, |fed| vec![fed.src.clone()])
        .into_values()
        .map(|sum| sum[2] + sum[3])
        .collect();
    sums.sort_unstable_by_key(|sum| std::cmp::Reverse(*sum));
    let found: Vec<_> = answer["rows"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["bytes"].as_u64().unwrap())
        .collect();
    assert_eq!(found, sums[..5]);
    assert_eq!(answer["totals"]["rows"], sums.len());
    assert_eq!(answer["totals"]["bytes"], sums.iter().sum::<u64>());
    assert_eq!(answer["totals"]["flows"], script.fed.len());
}

fn the_report_names_each_hole(script: &Script) {
    let answer = ask_json(
        script,
        &[
            "--since",
            "2026-11-01",
            "--until",
            "2026-12-01",
            "--by",
            "iface",
        ],
    );
    let report = &answer["completeness"];
    assert_eq!(report["complete"], false);
    let spans = |spans: &Value| -> Vec<(Timestamp, Timestamp)> {
        let bound = |span: &Value, key: &str| span[key].as_str().unwrap().parse().unwrap();
        spans
            .as_array()
            .unwrap()
            .iter()
            .map(|span| (bound(span, "since"), bound(span, "until")))
            .collect()
    };
    assert_eq!(spans(&report["outages"]), script.outages);
    let whys: Vec<_> = report["outages"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["why"].clone())
        .collect();
    assert!(whys.iter().all(|why| why == "not_running"), "{whys:?}");
    for iface in report["interfaces"].as_array().unwrap() {
        let name = iface["iface"].as_str().unwrap();
        let told = &script.told[name];
        assert_eq!(iface["intervals"], told.intervals, "{name}");
        assert_eq!(spans(&iface["holes"]), told.holes, "{name}");
        assert_eq!(spans(&iface["blind"]), told.blind, "{name}");
        assert_eq!(iface["seen"], told.seen, "{name}");
        assert_eq!(iface["missed"], told.missed, "{name}");
        let losses: BTreeMap<String, u64> =
            serde_json::from_value(iface["losses"].clone()).unwrap();
        assert_eq!(losses, told.losses, "{name}");
        assert_eq!(iface["overflow_packets"], told.overflow_packets, "{name}");
        assert!(spans(&iface["overlaps"]).is_empty(), "{name}");
        if !told.blind.is_empty() {
            assert_eq!(iface["blind"][0]["coverage_rcvd"], 0.25);
        }
    }
    assert_eq!(
        report["interfaces"].as_array().unwrap().len(),
        script.told.len()
    );
    // Where nothing is wrong, nothing is told.
    let answer = ask_json(
        script,
        &[
            "--since",
            "2026-11-26",
            "--until",
            "2026-11-27",
            "--by",
            "iface",
        ],
    );
    assert_eq!(
        answer["completeness"]["complete"], true,
        "{}",
        answer["completeness"]
    );
}

#[test]
fn a_month_is_answered_as_it_was_fed() {
    let script = Script::large();
    every_answer_is_the_sum(&script);
    networks_and_interfaces_are_chosen(&script);
    a_part_of_the_month_has_its_intervals(&script);
    the_first_rows_are_those_with_most_bytes(&script);
    the_report_names_each_hole(&script);
    sql_reads_both_views(&script);
}

fn sql_reads_both_views(script: &Script) {
    let one = |statement: &str| {
        ask_json(script, &["--since", "all", "--sql", statement])["rows"][0].clone()
    };
    let row = one(
        "SELECT count(*) AS n, sum(bytes_rcvd) AS bytes, count(DISTINCT iface) AS ifaces FROM flows",
    );
    assert_eq!(row["n"], script.fed.len());
    assert_eq!(
        row["bytes"],
        script
            .fed
            .iter()
            .map(|fed| fed.counters.bytes_rcvd)
            .sum::<u64>()
    );
    assert_eq!(row["ifaces"], script.told.len());
    let row = one("SELECT count(*) AS n, sum(seen) AS seen, sum(missed) AS missed FROM ledgers");
    assert_eq!(
        row["n"],
        script
            .told
            .values()
            .map(|told| told.intervals)
            .sum::<usize>()
    );
    assert_eq!(
        row["missed"],
        script.told.values().map(|told| told.missed).sum::<u64>()
    );
}
