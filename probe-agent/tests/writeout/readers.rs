//! DuckDB, Polars and ClickHouse read what the Parquet sink wrote, with the examples of docs/STORAGE.md.

use std::{fs, path::Path, process::Command};

use probe_flow::flow::FlowCounters;
use probe_store::{WriteoutHandler, parquet::Parquet};
use serde_json::{Value, json};

use super::{Ends, compact::compact, interval, open, skip};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/writeout/readers.py");
const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/STORAGE.md");

const READERS: [&str; 3] = ["duckdb", "polars", "clickhouse"];

#[test]
fn duckdb_polars_and_clickhouse_read_the_tree_and_agree_with_us() {
    let python = Command::new("python3")
        .args(["-c", "import duckdb, polars, chdb"])
        .output();
    if !python.is_ok_and(|output| output.status.success()) {
        return skip(
            "python3 with duckdb, polars and chdb is missing (pip install duckdb polars chdb)",
        );
    }
    let root = tempfile::tempdir().unwrap();
    let root = root.path().join("flows");
    let (expected, a_file) = write_tree(&root);
    let as_written = read(&root, &a_file, &[]);
    for reader in READERS {
        assert_eq!(as_written[reader], expected, "{reader}");
    }

    // One closed day, which has files of older versions, and then both: the files of one that is not
    // compacted are beside those that are.
    for day in ["2026-02-28", "2026-03-01"] {
        let ifaces = fs::read_dir(&root).unwrap().map(|it| it.unwrap().path());
        let days = ifaces.map(|iface| iface.join(format!("date={day}")));
        let days: Vec<_> = days.filter(|day| day.is_dir()).collect();
        assert_eq!(days.len(), 4);
        compact(&root, &days);
        assert_eq!(read(&root, &a_file, &["--as-it-is"]), as_written, "{day}");
    }
}

/// What the readers see.
fn read(root: &Path, a_file: &Path, options: &[&str]) -> Value {
    let output = Command::new("python3")
        .args([SCRIPT, DOCUMENT])
        .args([root, a_file])
        .args(options)
        .output()
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{stderr}");
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Writes three interfaces, one with a name that needs escapes, over midnight, a quiet interval and
/// a file in the making. Returns the expected sums by interface, and one of the files.
fn write_tree(root: &Path) -> (Value, std::path::PathBuf) {
    let mut sink = open(Parquet::new(), root);
    let mut expected = serde_json::Map::new();
    for (iface, flows) in [("eth0", 5000), ("eth0.100", 40), ("br%é=x", 7), ("wg0", 0)] {
        let mut sums = FlowCounters::default();
        let (mut seen, mut lost) = (0, 0);
        for start in [
            "2026-02-28T23:50:00Z",
            "2026-02-28T23:55:00Z",
            "2026-03-01T00:00:00Z",
        ] {
            let interval = interval(iface, start, flows, Ends::Few);
            sink.write(&interval).unwrap();
            sums += interval.totals;
            seen += interval.ledger.seen.packets;
            lost += interval.ledger.lost_packets();
        }
        let sums = json!({
            "flows": 3 * flows,
            "packets": [sums.packets_rcvd, sums.packets_sent],
            "bytes": [sums.bytes_rcvd, sums.bytes_sent],
            "ledger": {"intervals": 3, "seen": seen, "lost": lost, "residue": 0},
        });
        expected.insert(iface.to_owned(), sums);
    }
    let day = root.join("iface=eth0/date=2026-03-01");
    let name = "20260301T000000.000Z-20260301T000500.000Z.parquet";
    fs::write(day.join(format!(".{name}.1.tmp")), "PAR1").unwrap();
    (Value::Object(expected), day.join(name))
}
