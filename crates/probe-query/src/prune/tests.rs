use std::{path::Path, sync::LazyLock};

use datafusion::datasource::physical_plan::parquet::RowGroupAccess;
use jiff::civil::date;
use probe_common::{classify::Evidence, ephash::EpHash};
use probe_flow::{
    filter::Filter,
    flow::{Flow, FlowCounters, FlowMap, FlowRow},
};
use probe_store::compact::{Compactor, Outcome};
use tempfile::TempDir;

use super::{Asked, parts};
use crate::{
    fixture::{ask_json, store_interval},
    footer::{ReadFile, WantedLedgers, read_all},
    progress::Progress,
    store,
    time::Range,
};

/// Row groups of ten thousands of rows, each with many pages.
const FLOWS: u32 = 24_000;
const HOURS: [u32; 3] = [0, 1, 2];

/// The flows of an hour: few clients, and servers of which most are rare.
fn flows(hour: u32) -> FlowMap {
    let flow = |number: u32| {
        let mixed = (number + hour).wrapping_mul(0x9e37_79b1) >> 7;
        let dst_port: u16 = [443, 443, 80, 53, 8443][mixed as usize % 5];
        let [.., third, fourth] = (mixed % 700).to_be_bytes();
        let [_, server @ ..] = (mixed / 3 % 9_000).to_be_bytes();
        let key = EpHash {
            src_addr: [10, 0, third, fourth],
            src_port: u16::try_from(number).unwrap().to_be_bytes(),
            dst_addr: [93, server[0], server[1], server[2]],
            dst_port: dst_port.to_be_bytes(),
            ip_protocol: if dst_port == 53 { 17 } else { 6 },
        };
        let flow = Flow {
            counters: FlowCounters {
                packets_rcvd: 1,
                bytes_rcvd: 100 + u64::from(mixed % 50),
                ..FlowCounters::default()
            },
            evidence: Evidence::Ports,
            ..Flow::default()
        };
        (key, flow)
    };
    FlowMap {
        v4: (0..FLOWS).map(flow).collect(),
        v6: Vec::new(),
    }
}

/// A compacted day.
static STORE: LazyLock<TempDir> = LazyLock::new(|| {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("flows");
    for hour in HOURS {
        let [start, end] = [hour, hour + 1].map(|hour| format!("2026-03-01T{hour:02}:00:00Z"));
        store_interval(&root, &start, &end, flows(hour));
    }
    let outcome = Compactor::new(root, 0).compact("iface=eth0", date(2026, 3, 1));
    assert!(matches!(outcome.unwrap(), Outcome::Compacted(_)));
    directory
});

fn root() -> std::path::PathBuf {
    STORE.path().join("flows")
}

fn files(root: &Path) -> Vec<ReadFile> {
    let files = store::discover(0, root, None, &|_: &str| true)
        .unwrap()
        .files;
    let footers = read_all(&files, WantedLedgers::Each, &Progress::hidden()).unwrap();
    footers.read
}

/// Rows that are left to be asked one by one.
fn rows_left(asked: Asked<'_>) -> usize {
    let parts = parts(&files(&root()), asked, &Progress::hidden());
    let rows = parts.iter().flat_map(|part| {
        let groups = part.file.metadata.row_groups().iter();
        groups
            .zip(part.plan.inner())
            .map(|(group, access)| match access {
                RowGroupAccess::Skip => 0,
                RowGroupAccess::Scan => usize::try_from(group.num_rows()).unwrap(),
                RowGroupAccess::Selection(selection) => selection.row_count(),
            })
    });
    rows.sum()
}

/// A filter, and the share of the rows that may be left, in percent.
const FILTERS: [(&str, usize); 22] = [
    ("host 10.0.1.77", 15),
    ("src host 10.0.1.77", 15),
    ("not host 10.0.1.77", 100),
    ("src host 10.0.1.77 and port 443", 15),
    ("src host 10.0.1.77 or src host 10.0.2.1", 25),
    ("host 192.0.2.1", 0),
    ("dst host 93.0.0.1", 100),
    ("src net 10.0.1.0/24", 60),
    ("src net 10.0.1.64/26", 60),
    ("net 93.0.0.0/8", 100),
    ("net 94.0.0.0/8", 0),
    ("src net 93.0.0.0/8", 0),
    ("net fd00::/8", 100),
    ("port 53", 100),
    ("port 54", 100),
    ("dst port 60000-65535", 0),
    ("not (dst port 53 or dst port 443)", 100),
    ("tcp and dst port 53", 100),
    ("ip6", 0),
    ("icmp", 100),
    ("bytes > 120", 100),
    ("not src host 10.0.1.77 and not dst net 93.0.0.0/8", 100),
];

#[test]
fn what_is_skipped_has_no_row_that_passes() {
    let hours = HOURS.map(flows);
    let all: Vec<FlowRow> = hours.iter().flat_map(FlowMap::rows).collect();
    for (text, percent) in FILTERS {
        let filter: Filter = text.parse().unwrap();
        let passing = all.iter().filter(|row| filter.matches("eth0", row));
        let bytes = passing.map(|row| row.flow.counters.bytes_rcvd);
        let expected = bytes.fold([0, 0], |[rows, bytes], it| [rows + 1, bytes + it]);
        let words = ["--since", "all", "--by", "iface", "--in", "-n", "0", text];
        let answer = ask_json(&root(), &words).unwrap();
        let found = ["flows", "bytes_rcvd"].map(|name| answer["totals"][name].as_u64().unwrap());
        assert_eq!(found, expected, "{text}");
        let asked = Asked {
            filter: &filter,
            range: None,
        };
        let left = rows_left(asked);
        assert!(
            left * 100 <= all.len() * percent,
            "{text}: {left} of {} rows",
            all.len()
        );
    }
}

#[test]
fn times_without_intervals_have_no_rows() {
    let filter = Filter::default();
    let range = |since: &str, until: &str| {
        let time = |time: &str| format!("2026-03-01T{time}:00Z").parse().unwrap();
        Some(Range {
            since: time(since),
            until: time(until),
        })
    };
    let left = |range| {
        rows_left(Asked {
            filter: &filter,
            range,
        })
    };
    let all = left(None);
    assert_eq!(left(range("00:10", "02:50")), all);
    assert_eq!(left(range("04:00", "05:00")), 0);
    let answer = |since: &str, until: &str| {
        let [since, until] = [since, until].map(|time| format!("2026-03-01 {time}"));
        let words = ["--since", &since, "--until", &until, "--by", "dport"];
        ask_json(&root(), &words).unwrap()["totals"]["flows"].as_u64()
    };
    assert_eq!(answer("01:00", "02:00"), Some(FLOWS.into()));
    assert_eq!(answer("00:00", "02:00"), Some((2 * FLOWS).into()));
}
