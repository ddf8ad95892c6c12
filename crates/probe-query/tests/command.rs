//! The program itself: signals, terminals, files, and what does not fit into memory.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    sync::LazyLock,
    time::Duration,
};

use jiff::{SignedDuration, Timestamp};
use probe_common::{control::Tally, ephash::EpHash};
use probe_flow::{
    flow::{Flow, FlowCounters, FlowMap},
    interval::{Interval, Watched},
    ledger::Ledger,
    moment::Moment,
    ticks::{TickClock, millis},
};
use probe_store::{WriteoutHandler, file_sink::FileSink, options::Retention, parquet::Parquet};
use probe_testkit::{eventually::eventually, skip};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// Flows of an interval, each of another client.
const FLOWS: u32 = 40_000;
const INTERVALS: u32 = 4;

/// A store whose groups do not fit into 16 MiB.
struct Store {
    _folder: tempfile::TempDir,
    root: PathBuf,
}

static STORE: LazyLock<Store> = LazyLock::new(|| {
    let folder = tempfile::tempdir().expect("a directory");
    let root = folder.path().join("flows");
    let clock = || Moment {
        wall: "2026-11-02T00:00:00Z".parse().expect("a time"),
        since_boot: Duration::from_hours(1),
    };
    let sink = FileSink::open(Parquet::new(), root.clone(), Retention::default(), clock);
    let mut sink = sink.expect("a sink");
    for number in 0..INTERVALS {
        sink.write(&interval(number)).expect("written");
    }
    Store {
        _folder: folder,
        root,
    }
});

fn interval(number: u32) -> Interval {
    let first: Timestamp = "2026-11-01T00:00:00Z".parse().expect("a time");
    let start = first + SignedDuration::from_mins(5 * i64::from(number));
    let flow = |place: u32| {
        let client = Ipv4Addr::from_bits(0x0a00_0000 + number * FLOWS + place);
        let key = EpHash {
            src_addr: client.octets(),
            src_port: 40_000_u16.to_be_bytes(),
            dst_addr: [198, 18, 1, 1],
            dst_port: 443_u16.to_be_bytes(),
            ip_protocol: 6,
        };
        let counters = FlowCounters {
            bytes_rcvd: 100,
            packets_rcvd: 1,
            ..FlowCounters::default()
        };
        let (first, last) = (millis(start), millis(start));
        let flow = Flow {
            counters,
            first,
            last,
            ..Flow::default()
        };
        (key, flow)
    };
    let packets = u64::from(FLOWS);
    let tally = Tally {
        packets,
        bytes: 100 * packets,
    };
    Interval {
        iface: "eth0".into(),
        start,
        end: start + SignedDuration::from_mins(5),
        end_since_boot: None,
        flows: FlowMap {
            v4: (0..FLOWS).map(flow).collect(),
            v6: Vec::new(),
        },
        tick_clock: TickClock::millis(start),
        totals: FlowCounters {
            bytes_rcvd: 100 * packets,
            packets_rcvd: packets,
            ..FlowCounters::default()
        },
        ledger: Ledger {
            seen: tally,
            recorded: tally,
            flows: tally,
            ..Ledger::default()
        },
        watched: Watched::default(),
    }
}

/// The program over the store, with so many columns that groups are large.
fn query(temporary: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe-query"));
    command.arg("--store").arg(&STORE.root);
    command.args([
        "--no-live",
        "--utc",
        "--since",
        "2026-11-01",
        "--until",
        "2026-11-02",
    ]);
    command
        .args(["--by", "raw,evidence,confidence"])
        .env("TMPDIR", temporary);
    command
}

fn is_empty(directory: &Path) -> bool {
    fs::read_dir(directory).is_ok_and(|mut entries| entries.next().is_none())
}

#[track_caller]
fn text(output: &Output) -> (String, String) {
    let of = |octets: &[u8]| String::from_utf8_lossy(octets).into_owned();
    (of(&output.stdout), of(&output.stderr))
}

#[test]
fn what_does_not_fit_into_memory_goes_to_disk_and_is_removed() {
    let temporary = tempfile::tempdir().expect("a directory");
    // Of a sort of all groups more than that has to stay in memory.
    let words = [
        "--memory", "16MiB", "-n", "5", "--sort", "bytes", "--format", "json",
    ];
    let output = query(temporary.path())
        .args(words)
        .output()
        .expect("it runs");
    let (answer, error) = text(&output);
    assert!(output.status.success(), "{error}");
    let answer: Value = serde_json::from_str(&answer).expect("JSON");
    let flows = u64::from(FLOWS * INTERVALS);
    assert_eq!(answer["totals"]["rows"], flows);
    assert_eq!(answer["totals"]["bytes_rcvd"], 100 * flows);
    assert!(is_empty(temporary.path()), "files are left");
    // Without such a place there is no answer: it was needed.
    let nowhere = temporary.path().join("none");
    let output = query(&nowhere).args(words).output().expect("it runs");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output).0);
}

/// Waits until the program has put something into its temporary directory.
#[track_caller]
fn wait_for_spill(child: &mut Child, temporary: &Path) {
    eventually("something is spilled", || {
        let has_ended = child.try_wait().expect("a child").is_some();
        assert!(!has_ended, "it ended before it spilled");
        (!is_empty(temporary)).then_some(())
    });
}

#[test]
fn ctrl_c_ends_it_with_130_and_leaves_nothing() {
    let temporary = tempfile::tempdir().expect("a directory");
    let mut command = query(temporary.path());
    command.args(["--memory", "16MiB", "-n", "0", "--format", "ndjson"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it starts");
    wait_for_spill(&mut child, temporary.path());
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).expect("signalled");
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(output.status.code(), Some(130));
    assert_eq!(text(&output).1, "error: cancelled\n");
    assert!(is_empty(temporary.path()), "files are left");
}

#[test]
fn a_terminal_shows_how_far_it_is() {
    if !skip::kernel_or_skip(&["script"]) {
        return;
    }
    let temporary = tempfile::tempdir().expect("a directory");
    let answer = temporary.path().join("answer");
    // `script` gives it a terminal, and what that shows.
    let query = format!(
        "{} --store {} --no-live --since all --format json > {}",
        env!("CARGO_BIN_EXE_probe-query"),
        STORE.root.display(),
        answer.display()
    );
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &query, "/dev/null"]);
    let output = script.stdin(Stdio::null()).output().expect("it runs");
    let (shown, error) = text(&output);
    assert!(output.status.success(), "{shown}{error}");
    assert!(shown.contains("reading flows"), "{shown:?}");
    let answer = fs::read_to_string(answer).expect("an answer");
    assert!(answer.starts_with("{\"rows\":["), "{answer:.99}");
}

#[test]
fn a_file_is_there_when_it_is_whole() {
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("answer.csv");
    let words = ["--format", "csv", "-n", "7", "--output"];
    let output = query(temporary.path())
        .args(words)
        .arg(&path)
        .output()
        .expect("it runs");
    let (answer, error) = text(&output);
    assert!(output.status.success() && answer.is_empty(), "{error}");
    assert_eq!(fs::read_to_string(&path).expect("text").lines().count(), 8);
    fs::write(&path, "before").expect("written");
    let mut wrong = Command::new(env!("CARGO_BIN_EXE_probe-query"));
    wrong
        .args(["--no-live", "--store", "/nowhere", "--output"])
        .arg(&path);
    assert_eq!(wrong.status().expect("it runs").code(), Some(1));
    assert_eq!(fs::read_to_string(&path).expect("text"), "before");
    assert_eq!(fs::read_dir(temporary.path()).expect("listed").count(), 1);
}

#[test]
fn duckdb_reads_a_file_of_an_answer() {
    if !skip::python_or_skip(&["duckdb"]) {
        return;
    }
    let temporary = tempfile::tempdir().expect("a directory");
    let path = temporary.path().join("answer.parquet");
    let words = [
        "--format",
        "parquet",
        "--by",
        "src,dport,time",
        "-n",
        "0",
        "--output",
    ];
    let mut command = Command::new(env!("CARGO_BIN_EXE_probe-query"));
    command
        .arg("--store")
        .arg(&STORE.root)
        .args(["--no-live", "--since", "all"]);
    let output = command.args(words).arg(&path).output().expect("it runs");
    assert!(output.status.success(), "{}", text(&output).1);
    let script = "import duckdb, json, sys
answer = duckdb.sql(f\"SELECT count(*), sum(bytes_rcvd)::BIGINT, min(dst_port), typeof(any_value(time)) FROM '{sys.argv[1]}'\")
print(*answer.fetchall()[0], sep='|')
pairs = duckdb.sql(f\"SELECT decode(value) FROM parquet_kv_metadata('{sys.argv[1]}') WHERE key = 'probe.completeness'\")
print(len(json.loads(pairs.fetchall()[0][0])['interfaces']))";
    let mut python = Command::new("python3");
    let output = python
        .args(["-c", script])
        .arg(&path)
        .output()
        .expect("it runs");
    let (answer, error) = text(&output);
    let flows = FLOWS * INTERVALS;
    let expected = format!("{flows}|{}|443|TIMESTAMP WITH TIME ZONE\n1\n", flows * 100);
    assert_eq!(answer, expected, "{error}");
}
