//! Flows as the agent stored them and as the witness saw them, in one form, so that they can be
//! compared for equality.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs,
    net::{IpAddr, SocketAddr},
    ops::AddAssign,
    path::{Path, PathBuf},
    time::Duration,
};

use jiff::Timestamp;
use serde_json::Value;

use super::testbed::{HOST_V4, HOST_V6, PEER_V4, PEER_V6};

/// Client, server and protocol of a flow.
#[derive(Clone, Copy, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct FlowKey {
    pub(crate) client: SocketAddr,
    pub(crate) server: SocketAddr,
    pub(crate) ip_protocol: u8,
}

impl fmt::Debug for FlowKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, server, protocol) = (self.client, self.server, self.ip_protocol);
        write!(f, "{client} -> {server} protocol {protocol}")
    }
}

impl FlowKey {
    pub(crate) fn reversed(self) -> Self {
        Self {
            client: self.server,
            server: self.client,
            ..self
        }
    }

    /// Between the two ends of the testbed, so caused by the test.
    fn is_of_the_testbed(&self) -> bool {
        let ends = [HOST_V4, PEER_V4, HOST_V6, PEER_V6];
        ends.contains(&self.client.ip()) && ends.contains(&self.server.ip())
    }
}

/// What was counted of a flow, seen from the host's link.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Counts {
    pub(crate) packets_rcvd: u64,
    pub(crate) packets_sent: u64,
    /// IP octets.
    pub(crate) bytes_rcvd: u64,
    /// IP octets.
    pub(crate) bytes_sent: u64,
    pub(crate) tcp_flags: u8,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.packets_rcvd += other.packets_rcvd;
        self.packets_sent += other.packets_sent;
        self.bytes_rcvd += other.bytes_rcvd;
        self.bytes_sent += other.bytes_sent;
        self.tcp_flags |= other.tcp_flags;
    }
}

/// All flows between the ends of the testbed.
pub(crate) type Flows = BTreeMap<FlowKey, Counts>;

/// Sum over flows.
pub(crate) fn total<'a>(counts: impl IntoIterator<Item = &'a Counts>) -> Counts {
    let mut total = Counts::default();
    for counts in counts {
        total += *counts;
    }
    total
}

/// One interval of one interface, as the JSON sink stored it.
#[derive(Debug)]
pub(crate) struct StoredInterval {
    /// Lines of type `flow`.
    pub(crate) flows: Vec<Value>,
    /// The line of type `ledger`.
    pub(crate) ledger: Value,
}

impl StoredInterval {
    /// A number of the ledger.
    #[track_caller]
    pub(crate) fn ledger(&self, key: &str) -> i64 {
        self.ledger[key].as_i64().expect("a number")
    }

    /// How long it was.
    #[track_caller]
    pub(crate) fn seconds(&self) -> f64 {
        let (start, end) = (time(&self.ledger, "start"), time(&self.ledger, "end"));
        end.duration_since(start).as_secs_f64()
    }

    /// Fails unless all packets were seen within the interval.
    #[track_caller]
    fn assert_in_time(&self) {
        // A tick, and the time that a busy machine takes from the end of an interval to the switch.
        const TOLERANCE: Duration = Duration::from_millis(100);
        let earliest = time(&self.ledger, "start") - TOLERANCE;
        let latest = time(&self.ledger, "end") + TOLERANCE;
        for flow in &self.flows {
            let (first, last) = (time(flow, "first_seen"), time(flow, "last_seen"));
            let in_order = [earliest, first, last, latest].is_sorted();
            assert!(in_order, "{flow} {}", self.ledger);
        }
    }

    /// Packets of all losses but those that are no loss of ours.
    pub(crate) fn unwanted_losses(&self) -> BTreeMap<String, u64> {
        let losses = self.ledger["losses"].as_object().expect("losses by name");
        let packets = |(name, packets): (&String, &Value)| {
            let packets = packets.as_u64().expect("a number");
            (name != "non_ip" && packets > 0).then(|| (name.clone(), packets))
        };
        losses.iter().filter_map(packets).collect()
    }
}

#[track_caller]
fn time(line: &Value, key: &str) -> Timestamp {
    let text = line[key].as_str().expect("a text");
    text.parse().expect("a time")
}

/// Everything that the JSON sink stored, in the order of the intervals.
#[track_caller]
pub(crate) fn stored_intervals(tree: &Path) -> Vec<StoredInterval> {
    let mut files = files(tree, "jsonl");
    files.sort();
    files.iter().map(|file| read_interval(file)).collect()
}

#[track_caller]
fn read_interval(file: &Path) -> StoredInterval {
    let text = fs::read_to_string(file).expect("a readable file");
    let lines = text.lines().map(serde_json::from_str::<Value>);
    let mut flows: Vec<_> = lines.map(|line| line.expect("a JSON object")).collect();
    let ledger = flows.pop().expect("a ledger");
    assert_eq!(ledger["type"], "ledger", "{}", file.display());
    StoredInterval { flows, ledger }
}

/// The stored flows between the ends of the testbed, summed over all intervals.
#[track_caller]
pub(crate) fn stored_flows(tree: &Path) -> Flows {
    let mut flows = Flows::new();
    for line in stored_intervals(tree).iter().flat_map(|it| &it.flows) {
        let key = key(line);
        if key.is_of_the_testbed() {
            *flows.entry(key).or_default() += counts(line);
        }
    }
    flows
}

/// Everything that is stored, also what the test did not cause, over all intervals.
#[track_caller]
pub(crate) fn stored_total(tree: &Path) -> Counts {
    let intervals = stored_intervals(tree);
    let lines = intervals.iter().flat_map(|interval| &interval.flows);
    total(&lines.map(counts).collect::<Vec<_>>())
}

/// Fails with the flows that differ, and only those.
#[track_caller]
pub(crate) fn assert_same_flows(stored: &Flows, expected: &Flows) {
    let keys: BTreeSet<_> = stored.keys().chain(expected.keys()).collect();
    let differs = |key: &&FlowKey| stored.get(key) != expected.get(key);
    let difference: Vec<_> = keys
        .into_iter()
        .filter(differs)
        .map(|key| {
            let (stored, expected) = (stored.get(key), expected.get(key));
            format!("{key:?}\n  stored   {stored:?}\n  expected {expected:?}")
        })
        .collect();
    let difference = difference.join("\n");
    assert!(difference.is_empty(), "{difference}");
    assert!(!stored.is_empty(), "there are no flows");
}

/// Fails unless every packet of every stored interval has an address, none was lost, and all are
/// of their interval.
#[track_caller]
pub(crate) fn assert_nothing_lost(tree: &Path) {
    for interval in stored_intervals(tree) {
        assert_eq!(interval.ledger("residue"), 0, "{}", interval.ledger);
        let losses = interval.unwanted_losses();
        assert!(losses.is_empty(), "{losses:?}");
        interval.assert_in_time();
        for direction in ["rcvd", "sent"] {
            assert_covered(&interval.ledger["coverage"][direction]);
        }
    }
}

/// What the kernel counted on the link is what the programs saw, but for the few packets that were
/// between the two when they were checked.
#[track_caller]
fn assert_covered(coverage: &Value) {
    const BETWEEN: f64 = 4.0;
    let Some(ratio) = coverage["ratio"].as_f64() else {
        assert_eq!(coverage["link"], 0, "{coverage}");
        return;
    };
    let missed = (1.0 - ratio).abs() * coverage["link"].as_f64().expect("a number");
    assert!(
        missed <= BETWEEN || (1.0 - ratio).abs() <= 0.01,
        "{coverage}"
    );
}

/// How the agent told client and server of each stored flow apart: evidence and confidence.
#[track_caller]
pub(crate) fn stored_directions(tree: &Path) -> BTreeMap<FlowKey, String> {
    let intervals = stored_intervals(tree);
    let lines = intervals.iter().flat_map(|interval| &interval.flows);
    let direction = |line: &Value| {
        let text = |field: &str| line[field].as_str().expect("a text").to_owned();
        format!(
            "{}, {}",
            text("direction_evidence"),
            text("direction_confidence")
        )
    };
    lines
        .map(|line| (key(line), direction(line)))
        .filter(|(key, _)| key.is_of_the_testbed())
        .collect()
}

/// What a line says of the two ends.
fn key(line: &Value) -> FlowKey {
    let end = |address: &str, port: &str| {
        let address: IpAddr = text(&line[address]).parse().expect("an address");
        SocketAddr::new(address, narrow(&line[port]))
    };
    FlowKey {
        client: end("src_addr", "src_port"),
        server: end("dst_addr", "dst_port"),
        ip_protocol: narrow(&line["ip_protocol"]),
    }
}

fn counts(line: &Value) -> Counts {
    Counts {
        packets_rcvd: narrow(&line["packets_rcvd"]),
        packets_sent: narrow(&line["packets_sent"]),
        bytes_rcvd: narrow(&line["bytes_rcvd"]),
        bytes_sent: narrow(&line["bytes_sent"]),
        tcp_flags: narrow(&line["tcp_flags"]),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

fn narrow<T: TryFrom<u64>>(value: &Value) -> T {
    let number = value.as_u64().and_then(|number| T::try_from(number).ok());
    number.expect("a number in its range")
}

/// All files of an extension below a directory that readers would see.
pub(crate) fn files(tree: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let Ok(entries) = fs::read_dir(tree) else {
        return found;
    };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|it| it == extension) {
            found.push(path);
        }
    }
    found
}

/// Keeps the flows of a test's own making, whichever end the tool saw first.
pub(crate) fn record_packet(flows: &mut Flows, key: FlowKey, counts: Counts) {
    if !key.is_of_the_testbed() {
        return;
    }
    let key = if flows.contains_key(&key.reversed()) {
        key.reversed()
    } else {
        key
    };
    *flows.entry(key).or_default() += counts;
}
