//! Answers of agents that are made up, over a real socket. tests/live.rs asks a real agent.

use std::{
    io::{Read, Write},
    os::unix::{fs::MetadataExt, net::UnixListener},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

use serde_json::{Value, json};

use crate::fixture;

/// An agent that gives its answers one after the other, the last again and again.
struct Scripted {
    folder: tempfile::TempDir,
    asked: Arc<AtomicUsize>,
}

impl Scripted {
    fn new(answers: Vec<(u16, Value)>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join("probe.sock")).unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let number = Arc::clone(&asked);
        // Ends with the process: nobody waits for it.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(mut stream) = stream else { return };
                let mut head = [0; 8192];
                let _client_may_be_gone = stream.read(&mut head);
                let place = number.fetch_add(1, Relaxed).min(answers.len() - 1);
                let (status, body) = &answers[place];
                let body = body.to_string();
                let length = body.len();
                let _client_may_be_gone = write!(
                    stream,
                    "HTTP/1.1 {status} X\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
                );
            }
        });
        Self { folder, asked }
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("probe.sock")
    }

    /// The report and the sums of an answer over the store.
    fn ask(&self, store: &Path, words: &[&str]) -> Value {
        let socket = self.socket();
        let all = [
            "--socket",
            socket.to_str().unwrap(),
            "--since",
            "-1h",
            "--sum",
        ];
        fixture::ask_live(store, &[&all[..], words].concat()).unwrap()
    }
}

/// A store with nothing in it.
fn empty_store() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

/// The fixture asks at half past midnight; the agent has answered a moment later.
const AT: &str = "2026-12-01T00:30:00.02Z";

/// The answer of the agent of this store: the interval of eth0 that began then, with flows of one packet.
fn answer(store: &Path, start: &str, flows: usize) -> Value {
    let metadata = store.metadata().unwrap();
    let flow = |number: usize| {
        json!({"iface": "eth0", "ip_version": 4, "ip_protocol": 17,
            "src_addr": format!("198.18.0.{number}"), "src_port": 40_000, "dst_addr": "198.18.1.1",
            "dst_port": 53, "packets_rcvd": 1, "packets_sent": 0, "bytes_rcvd": 100, "bytes_sent": 0,
            "tcp_flags": 0, "direction_evidence": "ports", "direction_confidence": "low", "overflow": false,
            "first_seen": start, "last_seen": start})
    };
    // The sink stores the name of this host.
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap();
    json!({"at": AT, "host": host.trim(), "matched": flows, "truncated": false,
        "interfaces": [{"iface": "eth0", "start": start, "end": AT, "seen": flows, "flows": flows,
            "losses": {}, "residue": 0}],
        "stores": {"parquet": {"path": "/elsewhere", "device": metadata.dev(), "inode": metadata.ino(),
            "unwritten": []}},
        "total": {"packets_rcvd": flows, "packets_sent": 0, "bytes_rcvd": 100 * flows, "bytes_sent": 0},
        "flows": (1..=flows).map(flow).collect::<Vec<_>>()})
}

/// Stores an interval of eth0 with this many flows of one packet.
fn store(root: &Path, start: &str, end: &str, flows: u8) {
    fixture::store_flows(root, start, end, flows);
}

#[test]
fn live_flows_pass_filter_and_columns_as_stored_ones_do() {
    let root = empty_store();
    store(
        root.path(),
        "2026-12-01T00:20:00Z",
        "2026-12-01T00:25:00Z",
        3,
    );
    let agent = Scripted::new(vec![(200, answer(root.path(), "2026-12-01T00:25:00Z", 5))]);
    let all = agent.ask(root.path(), &["--by", "src,dport"]);
    assert_eq!(all["totals"]["packets"], 8);
    assert_eq!(all["totals"]["rows"], 5, "the same flows go on");
    let some = agent.ask(
        root.path(),
        &["--by", "iface,host,time", "src", "host", "198.18.0.2"],
    );
    let rows = some["rows"].as_array().unwrap();
    assert_eq!((rows.len(), &some["totals"]["packets"]), (2, &2.into()));
    assert_eq!(rows[1]["time"], "2026-12-01T00:25:00Z");
    let none = agent.ask(root.path(), &["iface", "eth7"]);
    assert_eq!(none["totals"]["packets"], 0);
    let report = &all["completeness"];
    assert_eq!(report["data_until"], AT);
    assert_eq!(report["stored_until"], "2026-12-01T00:25:00Z");
    assert_eq!(report["interfaces"][0]["intervals"], 2);
    assert_eq!(report["live"]["intervals"], 1);
    let sql = agent.ask(
        root.path(),
        &[
            "--sql",
            "SELECT count(*) AS n FROM flows WHERE dst_port = 53",
        ],
    );
    assert_eq!(sql["rows"][0]["n"], 8);
}

#[test]
fn what_a_rotation_stores_after_the_answer_counts_once() {
    let root = empty_store();
    // The first answer is of before the rotation, whose interval is on the disk when it is listed.
    store(
        root.path(),
        "2026-12-01T00:25:00Z",
        "2026-12-01T00:29:59Z",
        5,
    );
    let before = answer(root.path(), "2026-12-01T00:25:00Z", 4);
    let after = answer(root.path(), "2026-12-01T00:29:59Z", 1);
    let agent = Scripted::new(vec![(200, before.clone()), (200, after)]);
    let found = agent.ask(root.path(), &[]);
    assert_eq!(found["totals"]["packets"], 6);
    assert_eq!(agent.asked.load(Relaxed), 2);
    // If it still says so, the clock was set back: the interval ended before the agent was asked.
    let agent = Scripted::new(vec![(200, before)]);
    let found = agent.ask(root.path(), &[]);
    assert_eq!(found["totals"]["packets"], 9);
    assert_ne!(
        found["completeness"]["interfaces"][0]["overlaps"],
        json!([])
    );
}

#[test]
fn flows_that_the_agent_leaves_out_are_told() {
    let root = empty_store();
    let mut few = answer(root.path(), "2026-12-01T00:25:00Z", 2);
    few["matched"] = 7.into();
    few["total"]["packets_rcvd"] = 12.into();
    few["total"]["bytes_rcvd"] = 1200.into();
    let found = Scripted::new(vec![(200, few)]).ask(root.path(), &[]);
    let report = &found["completeness"];
    assert_eq!(report["complete"], false);
    let left = json!({"flows": 5, "packets": 10, "bytes": 1000});
    assert_eq!(report["live"]["left_out"], left);
}

#[test]
fn losses_of_the_running_interval_are_told() {
    let root = empty_store();
    let mut lossy = answer(root.path(), "2026-12-01T00:25:00Z", 1);
    let ledger = &mut lossy["interfaces"][0];
    ledger["seen"] = 4.into();
    ledger["losses"] = json!({"ring_full": 3, "non_ip": 0});
    ledger["coverage"] =
        json!({"rcvd": {"link": 8, "ratio": 0.5}, "sent": {"link": 0, "ratio": null}});
    let found = Scripted::new(vec![(200, lossy)]).ask(root.path(), &[]);
    let iface = &found["completeness"]["interfaces"][0];
    assert_eq!(iface["missed"], 3);
    assert_eq!(iface["blind"][0]["coverage_rcvd"], 0.5);
}

#[test]
fn an_agent_that_gives_nothing_is_told_with_the_reason() {
    let root = empty_store();
    store(
        root.path(),
        "2026-12-01T00:20:00Z",
        "2026-12-01T00:25:00Z",
        3,
    );
    let mut foreign = answer(root.path(), "2026-12-01T00:25:00Z", 2);
    foreign["stores"]["parquet"]["inode"] = 1.into();
    let live = |status, body| {
        let found = Scripted::new(vec![(status, body)]).ask(root.path(), &[]);
        assert_eq!(found["totals"]["packets"], 3, "what is stored");
        found["completeness"]["live"].clone()
    };
    assert_eq!(live(200, foreign)["state"], "of_another_store");
    let why = |status, body| live(status, body)["why"].as_str().unwrap().to_owned();
    let old = why(404, json!({"detail": "no such path here"}));
    assert!(old.contains("older version"), "{old}");
    let busy = why(503, json!({"detail": "the agent is busy; ask again later"}));
    assert_eq!(
        busy,
        "the agent refuses: the agent is busy; ask again later"
    );
    let strange = why(200, json!({"at": 5}));
    assert!(strange.contains("is not understood"), "{strange}");
    let mut orphan = answer(root.path(), "2026-12-01T00:25:00Z", 2);
    orphan["interfaces"] = json!([]);
    assert!(why(200, orphan).contains("without a ledger"));
}

#[test]
fn no_agent_is_asked_for_what_is_over() {
    let root = empty_store();
    store(
        root.path(),
        "2026-12-01T00:20:00Z",
        "2026-12-01T00:25:00Z",
        3,
    );
    let agent = Scripted::new(vec![(200, answer(root.path(), "2026-12-01T00:25:00Z", 2))]);
    for words in [&["--until", "-1s"][..], &["--no-live"]] {
        let found = agent.ask(root.path(), words);
        assert_eq!(found["completeness"]["live"]["state"], "not_asked");
        assert_eq!(found["totals"]["packets"], 3);
    }
    assert_eq!(agent.asked.load(Relaxed), 0);
    let whole = agent.ask(root.path(), &["--until", "tomorrow"]);
    assert_eq!(whole["totals"]["packets"], 5, "it includes now");
    assert_eq!(
        whole["completeness"]["outages"].as_array().unwrap().len(),
        1,
        "before the first"
    );
}
