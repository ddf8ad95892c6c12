//! What a client is told of sinks that do not store, and of a clock that is not believed.

use std::{
    io::{Error, ErrorKind},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use jiff::{SignedDuration, Timestamp};
use probe_api::{Api, client::Client, v1::status::SinkStatus};
use probe_flow::interval::Interval;
use probe_store::{
    QueuePolicy, Writeout, WriteoutError, WriteoutHandler,
    report::{Hold, StoreReport},
};
use probe_testkit::eventually::within;

use crate::server::{Running, config, request, tcp};

/// How soon a failure must be told.
const SOON: Duration = Duration::from_secs(10);

/// A disk that is full until it is not, and a clock that is ahead until it is confirmed.
#[derive(Clone, Default)]
struct Disk {
    has_room: Arc<AtomicBool>,
    is_confirmed: Arc<AtomicBool>,
}

impl WriteoutHandler for Disk {
    fn name(&self) -> &'static str {
        "parquet"
    }

    fn write(&mut self, _: &Interval) -> Result<(), WriteoutError> {
        if self.has_room.load(Relaxed) {
            return Ok(());
        }
        let full = Error::from(ErrorKind::StorageFull);
        Err(WriteoutError::file("write", "/flows/1".as_ref(), full))
    }

    fn confirm_clock(&mut self) {
        self.is_confirmed.store(true, Relaxed);
    }

    fn report(&self) -> Option<StoreReport> {
        let held = Hold {
            reference: Timestamp::UNIX_EPOCH,
            ahead: SignedDuration::from_hours(24),
            held_bytes: 4096,
        };
        Some(StoreReport {
            held: (!self.is_confirmed.load(Relaxed)).then_some(held),
            ..StoreReport::default()
        })
    }
}

/// A served API with one sink.
struct Served {
    _running: Running,
    writeout: Arc<Writeout>,
    /// On the socket: only there a client may confirm anything.
    client: Client,
    /// Of metrics and readiness.
    addr: SocketAddr,
    _directory: tempfile::TempDir,
}

fn served(disk: &Disk) -> Served {
    let handler: Box<dyn WriteoutHandler> = Box::new(disk.clone());
    let policy = QueuePolicy {
        first_backoff: Duration::from_millis(50),
        max_backoff: Duration::from_millis(50),
        max_attempts: u32::MAX,
        ..QueuePolicy::default()
    };
    let writeout = Arc::new(Writeout::start(vec![handler], policy).expect("started"));
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("probe.sock");
    let socket = format!("unix:{}", socket.display());
    let api = Api::bind(&config(Some(&socket), Some("127.0.0.1:0"))).expect("bound");
    let endpoint = api.addr().expect("an address");
    let addr = api.metrics_addr().expect("an address");
    Served {
        _running: Running::with_sinks(api, writeout.readers().into()),
        writeout,
        client: Client::new(endpoint, None).expect("a client"),
        addr,
        _directory: directory,
    }
}

fn sink(client: &Client) -> SinkStatus {
    let status = client.status(&[]).expect("a status");
    status.sinks.get("parquet").expect("the sink").clone()
}

fn interval() -> Arc<Interval> {
    let start = "2026-03-01T00:00:00Z".parse().expect("a time");
    Arc::new(Interval {
        iface: "eth0".into(),
        start,
        end: start + SignedDuration::from_mins(5),
        end_since_boot: None,
        flows: probe_flow::flow::FlowMap::default(),
        tick_clock: probe_flow::ticks::TickClock::default(),
        totals: probe_flow::flow::FlowCounters::default(),
        ledger: probe_flow::ledger::Ledger::default(),
        watched: probe_flow::interval::Watched::default(),
    })
}

#[test]
fn a_sink_that_does_not_store_is_told_at_once_and_until_it_does() {
    let disk = Disk::default();
    let served = served(&disk);
    let (client, addr) = (&served.client, served.addr);
    assert!(request(tcp(addr), "GET /readyz").starts_with("HTTP/1.1 200"));
    let begin = Instant::now();
    served.writeout.submit(interval());
    let trouble = within(SOON, "the failure is told", || sink(client).trouble);
    assert!(begin.elapsed() < SOON);
    assert_eq!(trouble.kind, "failing");
    assert!(
        trouble.error.starts_with("cannot write /flows/1"),
        "{}",
        trouble.error
    );
    assert!(trouble.remedy.contains("free space"), "{}", trouble.remedy);
    assert_eq!(sink(client).queue_length, 1);
    let ready = request(tcp(addr), "GET /readyz");
    assert!(ready.starts_with("HTTP/1.1 503"), "{ready}");
    assert!(ready.contains("sink parquet (failing)"), "{ready}");
    let metrics = request(tcp(addr), "GET /metrics");
    let series = "probe_writeout_trouble{kind=\"failing\",sink=\"parquet\"} 1";
    assert!(metrics.contains(series), "{metrics}");

    disk.has_room.store(true, Relaxed);
    within(SOON, "it stores again", || {
        sink(client).trouble.is_none().then_some(())
    });
    assert_eq!(sink(client).written, 1);
    assert!(request(tcp(addr), "GET /readyz").starts_with("HTTP/1.1 200"));
}

#[test]
fn a_confirmed_clock_reaches_the_sinks() {
    let disk = Disk::default();
    let served = served(&disk);
    let client = &served.client;
    within(SOON, "the sink reports", || sink(client).store?.held);
    let confirmed = client.confirm_clock().expect("confirmed");
    assert_eq!(confirmed.held["parquet"].ahead_seconds, 86_400);
    within(SOON, "the hold is over", || {
        sink(client).store?.held.is_none().then_some(())
    });
    assert!(client.confirm_clock().expect("confirmed").held.is_empty());
}
