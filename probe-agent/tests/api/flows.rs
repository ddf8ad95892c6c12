//! The resources below `/api/v1`, asked for by the client of the command line.

use std::{fs, os::unix::fs::PermissionsExt};

use probe_api::{
    Api,
    client::{Client, ClientError},
    endpoint::Endpoint,
    v1::flows::{FlowsQuery, Order, Sort},
};

use probe_testkit::eventually;

use crate::{
    server::{Running, config},
    source::Script,
};

/// An API on a unix socket with traffic on two interfaces, and a client of it.
pub(crate) struct Testbed {
    pub(crate) running: Running,
    pub(crate) addr: String,
    client: Client,
    _folder: tempfile::TempDir,
}

impl Testbed {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let addr = format!("unix:{}/probe.sock", folder.path().display());
        let api = Api::bind(&config(Some(&addr), None)).expect("bound");
        let endpoint = api.addr().expect("an address");
        let running = Running::new(api);
        Script::capture(&running.manager, &["eth0", "eth1"]);
        // Server n of eth0 gets n packets of 100 octets; eth1 sends one large packet to server 1.
        for server in 1..=4 {
            for _ in 0..server {
                running.script.packet(1, server, 100, false);
            }
        }
        running.script.packet(2, 1, 9000, true);
        running.script.settle();
        // As the schedule does every second: status and ledger show what has been booked.
        running.manager.flush().expect("flushed");
        Self {
            running,
            addr,
            client: Client::new(endpoint, None).expect("a client"),
            _folder: folder,
        }
    }

    fn top(&self, query: &FlowsQuery) -> Vec<String> {
        let flows = self.client.flows(query).expect("flows");
        let rows = flows.flows.iter();
        rows.map(|it| {
            format!(
                "{} {} {}",
                it.iface,
                it.dst_addr,
                it.packets_rcvd + it.packets_sent
            )
        })
        .collect()
    }
}

#[test]
fn a_socket_file_that_is_removed_is_made_again() {
    let testbed = Testbed::new();
    let path = testbed.addr.strip_prefix("unix:").expect("a socket");
    fs::remove_file(path).expect("it is there");
    assert!(testbed.client.status(&[]).is_err());
    eventually("the agent is there again", || {
        testbed.client.status(&[]).ok()
    });
    let mode = fs::metadata(path).expect("a socket").permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
}

#[test]
fn flows_are_sorted_limited_and_summed() {
    let testbed = Testbed::new();
    let all = testbed.client.flows(&FlowsQuery::default()).expect("flows");
    assert_eq!((all.matched, all.truncated, all.flows.len()), (5, false, 5));
    assert_eq!((all.total.packets_rcvd, all.total.bytes_rcvd), (10, 1000));
    assert_eq!((all.total.packets_sent, all.total.bytes_sent), (1, 9000));
    let first = &all.flows[0];
    assert_eq!((first.iface.as_str(), first.bytes_sent), ("eth1", 9000));
    assert_eq!((first.dst_port, first.ip_protocol), (5000, 6));

    let mut query = FlowsQuery {
        sort: Some(Sort::Packets),
        limit: Some(2),
        ..FlowsQuery::default()
    };
    assert_eq!(
        testbed.top(&query),
        ["eth0 198.18.1.4 4", "eth0 198.18.1.3 3"]
    );
    let two = testbed.client.flows(&query).expect("flows");
    assert_eq!((two.matched, two.truncated), (5, true));
    assert_eq!(two.total, all.total, "of all, not of those shown");

    query.order = Some(Order::Asc);
    assert_eq!(
        testbed.top(&query),
        ["eth0 198.18.1.1 1", "eth1 198.18.1.1 1"]
    );
    query.iface = vec!["eth1".to_owned()];
    assert_eq!(testbed.top(&query), ["eth1 198.18.1.1 1"]);
    query.iface.clear();
    query.filter = "dst host 198.18.1.1 and iface eth0"
        .parse()
        .expect("a filter");
    assert_eq!(testbed.top(&query), ["eth0 198.18.1.1 1"]);
    query.limit = Some(0);
    assert_eq!(testbed.top(&query), [""; 0]);
}

#[test]
fn flows_are_those_since_the_last_rotation() {
    let testbed = Testbed::new();
    let before = testbed.client.flows(&FlowsQuery::default()).expect("flows");
    testbed.running.manager.rotate().expect("rotated");
    let after = testbed.client.flows(&FlowsQuery::default()).expect("flows");
    assert_eq!(after.matched, 0);
    assert!(before.interfaces[0].since < after.interfaces[0].since);
    assert!(after.interfaces[0].since <= after.at);
}

#[test]
fn status_ledger_and_interfaces_agree() {
    let testbed = Testbed::new();
    let status = testbed.client.status(&[]).expect("the status");
    let eth0 = &status.interfaces["eth0"];
    assert_eq!((eth0.received_total, eth0.processed_total), (10, 10));
    assert_eq!((eth0.dropped_total, eth0.flows), (0, 4));
    assert_eq!(eth0.attachment.reason, "script: attached");
    assert_eq!(eth0.parsing_errors["truncated"], 0, "all names are there");
    assert!(status.memory.resident_bytes.is_some_and(|bytes| bytes > 0));

    let ledger = testbed
        .client
        .ledger(&["eth0".to_owned()])
        .expect("the ledger");
    assert_eq!(ledger.interfaces.len(), 1);
    assert_eq!(ledger.interfaces["eth0"].counts, eth0.ledger);
    assert_eq!(ledger.total, eth0.ledger);
    assert_eq!((eth0.ledger.seen, eth0.ledger.residue), (10, 0));
    assert_eq!(eth0.ledger.seen_bytes, 10 * 114);
    assert!(eth0.ledger.violations.values().all(|it| *it == 0));

    let interfaces = testbed
        .client
        .interfaces(&[])
        .expect("the interfaces")
        .interfaces;
    let names: Vec<_> = interfaces.iter().map(|it| it.iface.as_str()).collect();
    assert_eq!(names, ["eth0", "eth1"]);
    assert_eq!(interfaces[0].started_at, eth0.started_at);
}

#[test]
fn info_and_rotation_tell_of_the_agent() {
    let testbed = Testbed::new();
    let info = testbed.client.info().expect("the info");
    assert_eq!(info.version, probe_agent::VERSION);
    assert_eq!(info.pid, std::process::id());
    assert_eq!(info.config_path.as_deref(), Some("/etc/probe/probe.yaml"));
    assert_eq!(info.object.len(), 64, "{}", info.object);

    let before = testbed.client.rotation().expect("the rotation");
    assert_eq!((before.interval_seconds, before.last), (300, None));
    assert_eq!(before.duration.count, 0);
    testbed.running.manager.rotate().expect("rotated");
    let after = testbed.client.rotation().expect("the rotation");
    assert_eq!(after.duration.count, 1);
    assert_eq!(after.duration.buckets.len(), 10);
    assert!(after.last.is_some_and(|last| last < after.next));
}

/// Any number of readers, and the next one sees the same.
#[test]
fn reading_changes_nothing() {
    let testbed = Testbed::new();
    let read = || {
        let status = testbed.client.status(&[]).expect("the status");
        let flows = testbed.client.flows(&FlowsQuery::default()).expect("flows");
        (status.interfaces, flows.flows, flows.total)
    };
    let first = read();
    for _ in 0..10 {
        assert_eq!(read(), first);
    }
}

#[test]
fn what_is_not_there_is_a_problem() {
    let testbed = Testbed::new();
    let told = |path: &str, query: &str| {
        let answer = testbed.client.get::<serde_json::Value>(path, query);
        match answer.expect_err("refused") {
            ClientError::Problem(problem) => (problem.status, problem.detail),
            other => panic!("{other}"),
        }
    };
    for path in [
        "/api/v1/status",
        "/api/v1/flows",
        "/api/v1/ledger",
        "/api/v1/interfaces",
    ] {
        let (status, detail) = told(path, "iface=eth0&iface=..%2F..%2Fetc%2Fpasswd");
        assert_eq!(status, 404, "{detail}");
        assert!(detail.starts_with("no interface `../../etc/passwd` is captured"));
    }
    for path in [
        "/api/v1/../../etc/passwd",
        "/api/v1/%2e%2e/info",
        "/api/v1",
        "/api/v2/info",
    ] {
        assert_eq!(told(path, "").0, 404, "{path}");
    }
    assert_eq!(told("/api/v1/flows", "limit=-1").0, 400);
    assert_eq!(told("/api/v1/flows", "filter=tcp+prot+1").0, 400);
    assert_eq!(told("/api/v1/status", "ifcae=eth0").0, 400);
}

#[test]
fn an_agent_that_does_not_answer_is_told_with_a_remedy() {
    let folder = tempfile::tempdir().expect("a directory");
    let path = folder.path().join("probe.sock");
    let client = Client::new(Endpoint::Unix(path.clone()), None).expect("a client");
    let told = client.info().expect_err("no agent is there").to_string();
    assert!(told.starts_with(&format!("no agent answers on unix:{}", path.display())));
    assert!(told.contains("is it running"), "{told}");

    fs::write(&path, "").expect("a file");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).expect("closed");
    let told = client.info().expect_err("no socket").to_string();
    assert!(told.contains("is it running"), "{told}");
}
