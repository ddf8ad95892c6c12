//! The stored ledgers, checked against each other and added up.

use std::{collections::BTreeMap, fs::File, path::Path};

use parquet::file::reader::{FileReader, SerializedFileReader};
use serde_json::Value;

use super::{
    agent::Installation,
    flows::{StoredInterval, files, stored_intervals},
    traffic_mix::{Expected, Tally},
};

/// What the agent itself lost, of packets that belong to flows; bytes are IP octets.
const LOST_FROM_FLOWS: [&str; 2] = ["ring_full", "local_buffer_full"];

/// Sums of all ledgers that an agent stored.
#[derive(Debug, Default)]
pub(crate) struct Accounts {
    pub(crate) intervals: usize,
    pub(crate) seen: Tally,
    pub(crate) flows: Tally,
    pub(crate) losses: BTreeMap<String, Tally>,
}

impl Accounts {
    /// Reads what both sinks stored. Fails unless each interval adds up, its ledger equals its flows,
    /// and the sinks agree.
    #[track_caller]
    pub(crate) fn read(installation: &Installation) -> Self {
        let intervals = stored_intervals(&installation.json());
        let mut in_json: Vec<_> = intervals.iter().map(|it| it.ledger.to_string()).collect();
        let mut in_parquet = parquet_ledgers(&installation.parquet());
        in_json.sort();
        in_parquet.sort();
        assert_eq!(in_json, in_parquet, "the sinks disagree");
        let mut accounts = Self::default();
        for interval in &intervals {
            accounts.add(interval);
        }
        accounts
    }

    #[track_caller]
    fn add(&mut self, interval: &StoredInterval) {
        let ledger = &interval.ledger;
        let flows = tally(&ledger["flows"], &ledger["flow_bytes"]);
        assert_eq!(ledger["residue"], 0, "{ledger}");
        assert_eq!(sum_of_flows(interval), flows, "{ledger}");
        self.intervals += 1;
        self.seen += tally(&ledger["seen"], &ledger["seen_bytes"]);
        self.flows += flows;
        for (name, packets) in ledger["losses"].as_object().expect("losses by name") {
            let lost = tally(packets, &ledger["loss_bytes"][name]);
            *self.losses.entry(name.clone()).or_default() += lost;
        }
    }

    /// Packets of flows that the agent did not keep up with.
    pub(crate) fn lost_from_flows(&self) -> Tally {
        let mut lost = Tally::default();
        for name in LOST_FROM_FLOWS {
            lost += self.losses[name];
        }
        lost
    }

    /// Fails unless every frame that was sent is where it belongs, to the packet and the octet.
    /// What the agent lost counts as if it were in flows, if it has said so.
    #[track_caller]
    pub(crate) fn assert_equal(&self, expected: &Expected) {
        assert_eq!(self.seen, expected.seen, "seen, of what was sent");
        let mut flows = self.flows;
        flows += self.lost_from_flows();
        assert_eq!(
            flows, expected.flows,
            "in flows, or lost from them: {self:?}"
        );
        for (name, lost) in &self.losses {
            if LOST_FROM_FLOWS.contains(&name.as_str()) {
                continue;
            }
            let known = expected.losses.get(name.as_str());
            assert_eq!(*lost, known.copied().unwrap_or_default(), "{name}");
        }
    }
}

fn sum_of_flows(interval: &StoredInterval) -> Tally {
    let mut sum = Tally::default();
    for flow in &interval.flows {
        sum += tally(&flow["packets_rcvd"], &flow["bytes_rcvd"]);
        sum += tally(&flow["packets_sent"], &flow["bytes_sent"]);
    }
    sum
}

fn tally(packets: &Value, bytes: &Value) -> Tally {
    Tally {
        packets: packets.as_u64().expect("a number"),
        bytes: bytes.as_u64().expect("a number"),
    }
}

/// The ledgers in the metadata of all Parquet files.
#[track_caller]
fn parquet_ledgers(tree: &Path) -> Vec<String> {
    let ledger = |path: &Path| {
        let reader = SerializedFileReader::new(File::open(path).expect("a file"));
        let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let metadata = reader.metadata().file_metadata().key_value_metadata();
        let mut metadata = metadata.expect("metadata").iter();
        let entry = metadata.find(|entry| entry.key == "probe.ledger");
        let text = entry.and_then(|entry| entry.value.as_deref());
        let ledger: Value = serde_json::from_str(text.expect("a ledger")).expect("JSON");
        ledger.to_string()
    };
    files(tree, "parquet").iter().map(|it| ledger(it)).collect()
}
