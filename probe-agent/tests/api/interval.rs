//! The running interval, and what sinks have not stored yet: together with what is stored, everything.

use std::{
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{Receiver, Sender, channel},
    },
    time::{Duration, Instant},
};

use probe_api::{
    Api,
    client::Client,
    v1::flows::{FlowsQuery, interval::RunningInterval},
};
use probe_flow::interval::Interval;
use probe_store::{QueuePolicy, Writeout, WriteoutError, WriteoutHandler};
use probe_testkit::eventually::eventually;

use crate::{
    server::{Running, config},
    source::Script,
};

/// A sink that waits in every write until the test lets it go on.
struct Gated {
    root: PathBuf,
    gate: Receiver<()>,
}

impl WriteoutHandler for Gated {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn write(&mut self, _: &Interval) -> Result<(), WriteoutError> {
        let _closed_gate_is_open = self.gate.recv();
        Ok(())
    }

    fn root(&self) -> Option<&Path> {
        Some(&self.root)
    }
}

/// An API over traffic on two interfaces, whose intervals go to one sink.
struct Served {
    running: Running,
    writeout: Arc<Writeout>,
    open: Option<Sender<()>>,
    client: Client,
    folder: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let (open, gate) = channel();
        let root = folder.path().to_owned();
        let handler: Box<dyn WriteoutHandler> = Box::new(Gated { root, gate });
        let writeout = Writeout::start(vec![handler], QueuePolicy::default()).expect("started");
        let writeout = Arc::new(writeout);
        let socket = format!("unix:{}/probe.sock", folder.path().display());
        let api = Api::bind(&config(Some(&socket), None)).expect("bound");
        let endpoint = api.addr().expect("an address");
        let sink = Arc::clone(&writeout);
        let running = Running::with_writeout(api, writeout.readers().into(), move |interval| {
            sink.submit(Arc::new(interval));
        });
        Script::capture(&running.manager, &["eth0", "eth1"]);
        for server in 1..=4 {
            running.script.packet(1, server, 100, false);
        }
        running.script.packet(2, 1, 9000, true);
        running.script.settle();
        Self {
            running,
            writeout,
            open: Some(open),
            client: Client::new(endpoint, None).expect("a client"),
            folder,
        }
    }

    fn ask(&self, query: &FlowsQuery) -> RunningInterval {
        self.client.running_interval(query).expect("an answer")
    }

    /// Interfaces of the unwritten intervals, with their ends.
    fn unwritten(&self) -> Vec<(String, jiff::Timestamp)> {
        let limit = Some(0);
        let stores = self
            .ask(&FlowsQuery {
                limit,
                ..FlowsQuery::default()
            })
            .stores;
        let unwritten = stores["parquet"].unwritten.iter();
        unwritten.map(|it| (it.iface.clone(), it.end)).collect()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Else the sink waits for ever.
        self.open.take();
        self.writeout
            .finish(Instant::now() + Duration::from_secs(20));
    }
}

#[test]
fn flows_and_ledgers_of_the_running_interval_agree() {
    let served = Served::new();
    let all = served.ask(&FlowsQuery::default());
    assert_eq!((all.matched, all.truncated, all.flows.len()), (5, false, 5));
    assert_eq!(all.flows[0].bytes_sent, 9000, "the largest first");
    let ledgers: Vec<_> = all
        .interfaces
        .iter()
        .map(|it| {
            (
                it.iface.as_str(),
                it.counts.seen,
                it.counts.flows,
                it.counts.residue,
            )
        })
        .collect();
    assert_eq!(ledgers, [("eth0", 4, 4, 0), ("eth1", 1, 1, 0)]);
    for ledger in &all.interfaces {
        assert!(
            ledger.start < ledger.end && ledger.end <= all.at,
            "{ledger:?}"
        );
    }
    assert!(!all.host.is_empty());

    let query = FlowsQuery {
        filter: "dst host 198.18.1.1".parse().expect("a filter"),
        limit: Some(1),
        ..FlowsQuery::default()
    };
    let some = served.ask(&query);
    assert_eq!(
        (some.matched, some.truncated, some.flows.len()),
        (2, true, 1)
    );
    assert_eq!(some.total.bytes_rcvd, 100, "of all that passed");
    assert_eq!(some.interfaces.len(), 2, "ledgers know no filter");
}

#[test]
fn an_interval_that_has_ended_is_unwritten_until_it_is_stored() {
    let served = Served::new();
    let before = served.ask(&FlowsQuery::default());
    let store = &before.stores["parquet"];
    assert_eq!(store.unwritten, []);
    let metadata = served.folder.path().metadata().expect("a directory");
    assert_eq!(store.path, served.folder.path().to_str().expect("text"));
    assert_eq!(store.device, Some(metadata.dev()));
    assert_eq!(store.inode, Some(metadata.ino()));

    served.running.manager.rotate().expect("rotated");
    let after = served.ask(&FlowsQuery::default());
    assert_eq!(after.matched, 0);
    let starts: Vec<_> = after
        .interfaces
        .iter()
        .map(|it| (it.iface.clone(), it.start))
        .collect();
    assert_eq!(served.unwritten(), starts, "they ended when these began");

    let open = served.open.as_ref().expect("a gate");
    open.send(()).expect("the sink lives");
    eventually("one is stored", || {
        (served.unwritten() == starts[1..]).then_some(())
    });
    open.send(()).expect("the sink lives");
    eventually("all are stored", || {
        served.unwritten().is_empty().then_some(())
    });
}

#[test]
fn what_it_does_not_know_is_refused() {
    let served = Served::new();
    for query in [
        "sort=bytes",
        "limit=100001",
        "filter=tcp+prot+1",
        "iface=eth7",
    ] {
        let path = "/api/v1/interval";
        let answer = served.client.get::<serde_json::Value>(path, query);
        assert!(answer.is_err(), "{query}");
    }
}
