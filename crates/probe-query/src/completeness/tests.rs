//! Reports over ledgers that are made up.

use std::sync::Arc;

use datafusion::parquet::{
    file::metadata::{FileMetaData, ParquetMetaData},
    schema::types::{SchemaDescriptor, Type},
};
use jiff::{Timestamp, civil::date, tz::TimeZone};

use super::{Asked, Report, Why, report, text::TextStyle};
use crate::{footer::ReadFile, ledger::StoredLedger, live::State, store::StoredFile, time::Range};

fn time(text: &str) -> Timestamp {
    format!("2026-03-01T{text}Z").parse().unwrap()
}

fn ledger(start: &str, end: &str, more: &str) -> StoredLedger {
    let (start, end) = (time(start), time(end));
    let json = format!(r#"{{"start":"{start}","end":"{end}","seen":10,"flows":10{more}}}"#);
    StoredLedger::read(&json).unwrap()
}

fn file(iface: &str, ledgers: Vec<StoredLedger>) -> ReadFile {
    let schema = Type::group_type_builder("flows").build().unwrap();
    let schema = Arc::new(SchemaDescriptor::new(Arc::new(schema)));
    let metadata = FileMetaData::new(1, 0, None, None, schema, None);
    ReadFile {
        file: StoredFile {
            store: 0,
            iface: iface.into(),
            path: "x.parquet".into(),
            date: date(2026, 3, 1),
            start: ledgers[0].start,
            end: ledgers[0].end,
        },
        bytes: 0,
        host: "server".into(),
        has_one_host: true,
        schema_version: 3,
        ledgers: ledgers.into(),
        metadata: Arc::new(ParquetMetaData::new(metadata, Vec::new())),
    }
}

fn asked(since: &str, until: &str, ifaces: &[&str]) -> Asked {
    Asked {
        range: Range {
            since: time(since),
            until: time(until),
        },
        from_the_first: false,
        until_now: false,
        present: Timestamp::MAX,
        live: None,
        live_state: State::NotAsked,
        ifaces: ifaces.iter().map(|iface| (0, Arc::from(*iface))).collect(),
    }
}

fn lines(report: &Report) -> Vec<String> {
    report.lines(&TextStyle {
        zone: TimeZone::UTC,
        names_hosts: false,
    })
}

#[test]
fn all_is_well_in_one_line() {
    let ledgers = vec![
        ledger(
            "00:00:00",
            "01:00:00.02",
            r#","losses":{"non_ip":7,"filtered":1}"#,
        ),
        ledger(
            "01:00:00.02",
            "02:00:00.03",
            r#","coverage":{"rcvd":{"link":9,"ratio":1.0},"sent":{"link":0,"ratio":null}}"#,
        ),
    ];
    let report = report(
        &asked("00:00:00", "02:00:00", &["eth0"]),
        &[file("eth0", ledgers)],
        Vec::new(),
    );
    assert!(report.complete, "{report:?}");
    assert_eq!(
        lines(&report),
        ["complete: 2026-03-01 00:00:00 – 02:00:00, 1 interface, 2 intervals"]
    );
    assert!((report.interfaces[0].seconds - 7200.0).abs() < 0.1);
}

#[test]
fn holes_of_the_agent_are_told_from_those_of_an_interface() {
    let eth0 = vec![
        ledger("01:00:00", "02:00:00", ""),
        ledger("02:00:00", "03:00:00", ""),
        ledger("04:00:00", "05:00:00", ""),
    ];
    let eth1 = vec![
        ledger("01:00:00", "02:00:00", ""),
        ledger("04:00:00", "05:00:00", ""),
    ];
    let files = [file("eth0", eth0), file("eth1", eth1)];
    let report = report(
        &asked("00:00:00", "06:00:00", &["eth0", "eth1", "eth2"]),
        &files,
        Vec::new(),
    );
    let outages: Vec<_> = report
        .outages
        .iter()
        .map(|it| (it.span.since, it.span.until, it.why))
        .collect();
    assert_eq!(
        outages,
        [
            (time("00:00:00"), time("01:00:00"), Why::BeforeTheFirst),
            (time("03:00:00"), time("04:00:00"), Why::NotRunning),
            (time("05:00:00"), time("06:00:00"), Why::AfterTheLast),
        ]
    );
    let holes: Vec<_> = report
        .interfaces
        .iter()
        .map(|iface| iface.holes.len())
        .collect();
    assert_eq!(holes, [0, 1, 2], "of eth2 all that the others have");
    assert_eq!(report.interfaces[1].holes[0].since, time("02:00:00"));
    assert_eq!(
        lines(&report)[1..],
        [
            "  no data 2026-03-01 00:00:00 – 01:00:00: nothing is stored before",
            "  no data 2026-03-01 03:00:00 – 04:00:00: the agent was not running",
            "  no data 2026-03-01 05:00:00 – 06:00:00: nothing is stored since",
            "  eth1: no data 2026-03-01 02:00:00 – 03:00:00",
            "  eth2: no data in the asked time",
        ]
    );
}

#[test]
fn losses_blindness_overflow_and_overlaps_are_told() {
    let blind = r#","detached_ms":1500,"coverage":{"rcvd":{"link":100,"ratio":0.5},"sent":{"link":4,"ratio":1.0}}"#;
    let less = r#","coverage":{"rcvd":{"link":300,"ratio":0.9},"sent":{"link":0,"ratio":null}}"#;
    let ledgers = vec![
        ledger(
            "00:00:00",
            "01:00:00",
            r#","losses":{"ring_full":3,"non_ip":5}"#,
        ),
        ledger("01:00:00", "02:00:00", blind),
        ledger("02:00:00", "03:00:00", less),
        // The clock was set back by half an hour.
        ledger(
            "02:30:00",
            "03:30:00",
            r#","overflow_packets":4,"clock_steps":1"#,
        ),
    ];
    let report = report(
        &asked("00:00:00", "03:30:00", &["eth0"]),
        &[file("eth0", ledgers)],
        Vec::new(),
    );
    assert!(!report.complete);
    let iface = &report.interfaces[0];
    assert_eq!(
        (iface.missed, iface.overflow_packets, iface.clock_steps),
        (3, 4, 1)
    );
    assert_eq!(iface.losses.len(), 2);
    assert_eq!(iface.blind.len(), 1);
    assert_eq!(iface.blind[0].coverage_rcvd, Some(0.8));
    assert_eq!(
        lines(&report)[1..],
        [
            "  eth0: seen 80.0 % of the packets received, programs missing for 1.5 s, 2026-03-01 01:00:00 – 03:00:00",
            "  eth0: packets lost: ring_full 3",
            "  eth0: 4 packets are in overflow flows, without their hosts",
            "  eth0: intervals overlap 2026-03-01 02:30:00 – 03:00:00, whose flows count twice (clock set back, or two agents)",
        ]
    );
}

#[test]
fn what_is_not_yet_written_is_no_hole_until_it_is_late() {
    let ledgers = vec![ledger("00:00:00", "01:00:00", "")];
    let mut question = asked("00:00:00", "01:50:00", &["eth0"]);
    question.until_now = true;
    let files = [file("eth0", ledgers)];
    let in_time = report(&question, &files, Vec::new());
    assert!(in_time.complete);
    assert!(lines(&in_time)[0].ends_with("; stored until 2026-03-01 01:00:00"));
    question.range.until = time("03:10:00");
    let late = report(&question, &files, Vec::new());
    assert_eq!(late.outages[0].why, Why::AfterTheLast);
}

#[test]
fn nothing_at_all_is_not_complete() {
    let report = report(&asked("00:00:00", "01:00:00", &["eth0"]), &[], Vec::new());
    assert!(!report.complete);
    assert_eq!(lines(&report)[1..], ["  nothing is stored of this time"]);
}
