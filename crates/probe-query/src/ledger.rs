//! Ledgers as they are stored: where every packet of an interval went.
//!
//! docs/LEDGER.md has the meaning of each number. Keys that are not known are skipped: newer agents
//! may write some.

use std::{borrow::Cow, fmt};

use jiff::{SignedDuration, Timestamp};
use probe_flow::ledger::Loss;
use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};

/// The ledger of one interval of one interface, or the sum of those of a day on which nothing is missing.
#[derive(Clone, Debug, Deserialize)]
pub struct StoredLedger {
    /// Start of the interval.
    pub start: Timestamp,
    /// End of the interval.
    pub end: Timestamp,
    /// How many intervals it is of; they follow each other.
    #[serde(default = "one")]
    pub intervals: usize,
    #[serde(default)]
    longest_ms: Option<i64>,
    /// Packets that the programs were handed.
    #[serde(default)]
    pub seen: u64,
    /// Packets counted in flows.
    #[serde(default)]
    pub flows: u64,
    /// Packets lost, by name; only those that are not 0.
    #[serde(default)]
    pub losses: Losses,
    /// Packets without an address; anything but 0 is a defect of the agent.
    #[serde(default)]
    pub residue: i64,
    /// Of the packets in flows: those in overflow flows.
    #[serde(default)]
    pub overflow_packets: u64,
    /// How often a hook was attached again.
    #[serde(default)]
    pub reattached: u64,
    /// Milliseconds without one of the hooks.
    #[serde(default)]
    pub detached_ms: u64,
    /// What was seen of what the link moved, both directions; `None` in ledgers of capture files.
    #[serde(default)]
    pub coverage: Option<StoredCoverage>,
    /// How often the wall clock was set in the interval.
    #[serde(default)]
    pub clock_steps: u64,
    /// By how much altogether, in milliseconds.
    #[serde(default)]
    pub clock_stepped_ms: i64,
    #[serde(default)]
    rows: Option<u64>,
    #[serde(default)]
    packets_rcvd: u64,
    #[serde(default)]
    packets_sent: u64,
    #[serde(default)]
    bytes_rcvd: u64,
    #[serde(default)]
    bytes_sent: u64,
}

const fn one() -> usize {
    1
}

/// Sums over the flows that are stored with a ledger.
#[derive(Clone, Copy, Debug)]
pub struct StoredSums {
    /// Number of flows that are stored with the ledger.
    pub rows: u64,
    /// Their received packets, counted as on the wire.
    pub packets_rcvd: u64,
    /// Their sent packets, counted as on the wire.
    pub packets_sent: u64,
    /// Their received octets, from the IP header on.
    pub bytes_rcvd: u64,
    /// Their sent octets, from the IP header on.
    pub bytes_sent: u64,
}

/// Coverage of both directions. Files of version 0.1.0 say inbound and outbound.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct StoredCoverage {
    /// Coverage of received packets.
    #[serde(alias = "inbound", default)]
    pub rcvd: StoredRatio,
    /// Coverage of sent packets.
    #[serde(alias = "outbound", default)]
    pub sent: StoredRatio,
}

/// What was seen in one direction.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub struct StoredRatio {
    /// Packets by the link's counter.
    #[serde(default)]
    pub link: u64,
    /// Share of them that was seen; `None` if the link moved none.
    #[serde(default)]
    pub ratio: Option<f64>,
}

impl StoredLedger {
    /// Reads a ledger line.
    ///
    /// # Errors
    ///
    /// It is no ledger, as the parser tells.
    pub fn read(text: &str) -> Result<Self, String> {
        let ledger: Self = serde_json::from_str(text).map_err(|error| error.to_string())?;
        ledger.checked()
    }

    /// Reads a JSON array of ledger lines.
    ///
    /// # Errors
    ///
    /// It is none, as the parser tells.
    pub fn read_array(text: &str) -> Result<Vec<Self>, String> {
        let ledgers: Vec<Self> = serde_json::from_str(text).map_err(|error| error.to_string())?;
        ledgers.into_iter().map(Self::checked).collect()
    }

    fn checked(self) -> Result<Self, String> {
        if self.end < self.start {
            let end = self.end;
            return Err(format!("an interval that ends ({end}) before it starts"));
        }
        Ok(self)
    }

    /// Length of the longest of its intervals.
    pub fn longest(&self) -> SignedDuration {
        let whole = self.end.duration_since(self.start);
        self.longest_ms.map_or(whole, |longest| {
            SignedDuration::from_millis(longest).min(whole)
        })
    }

    /// Sums over the flows that are stored with it; `None` in older files.
    pub fn stored(&self) -> Option<StoredSums> {
        Some(StoredSums {
            rows: self.rows?,
            packets_rcvd: self.packets_rcvd,
            packets_sent: self.packets_sent,
            bytes_rcvd: self.bytes_rcvd,
            bytes_sent: self.bytes_sent,
        })
    }

    /// Packets that are in no flow and should be: all losses but those [by design](is_by_design).
    pub fn missed(&self) -> u64 {
        let losses = self.losses.0.iter();
        losses
            .filter(|(name, _)| !is_by_design(name))
            .map(|(_, packets)| packets)
            .sum()
    }
}

/// Whether packets of the loss of this name are in no flow [by design](probe_flow::ledger::is_by_design).
pub fn is_by_design(loss: &str) -> bool {
    let known = Loss::ALL.into_iter().find(|known| known.name() == loss);
    known.is_some_and(probe_flow::ledger::is_by_design)
}

/// Packets by the name of their loss, without those of 0.
#[derive(Clone, Debug, Default)]
pub struct Losses(pub Vec<(Cow<'static, str>, u64)>);

impl Losses {
    /// Adds losses of another interval.
    pub fn add(&mut self, other: &Self) {
        for (name, packets) in &other.0 {
            match self.0.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += packets,
                None => self.0.push((name.clone(), *packets)),
            }
        }
    }
}

impl<'de> Deserialize<'de> for Losses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;

        impl<'de> Visitor<'de> for Map {
            type Value = Losses;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("losses by name")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Losses, A::Error> {
                let mut losses = Vec::new();
                while let Some(name) = map.next_key::<Cow<'de, str>>()? {
                    let packets: u64 = map.next_value()?;
                    if packets == 0 {
                        continue;
                    }
                    let known = Loss::ALL.into_iter().find(|loss| loss.name() == name);
                    let name = match known {
                        Some(loss) => Cow::Borrowed(loss.name()),
                        None => Cow::Owned(name.into_owned()),
                    };
                    losses.push((name, packets));
                }
                Ok(Losses(losses))
            }
        }

        deserializer.deserialize_map(Map)
    }
}

#[cfg(test)]
mod tests {
    use super::StoredLedger;

    #[test]
    fn ledgers_of_all_versions_are_read() {
        let ledger = StoredLedger::read(
            r#"{"type":"ledger","iface":"eth0","start":"2026-03-01T00:00:00Z",
            "end":"2026-03-01T00:05:00.25Z","seen":10,"flows":7,
            "losses":{"non_ip":1,"ring_full":0,"a_new_one":2},"residue":0,"new_key":{"x":[1]},
            "coverage":{"inbound":{"link":4,"ratio":0.5},"outbound":{"link":0,"ratio":null}}}"#,
        )
        .unwrap();
        assert_eq!(
            ledger.losses.0,
            [("non_ip".into(), 1), ("a_new_one".into(), 2)]
        );
        assert_eq!(ledger.missed(), 2);
        let coverage = ledger.coverage.unwrap();
        assert_eq!(
            (coverage.rcvd.ratio, coverage.sent.ratio),
            (Some(0.5), None)
        );
    }

    #[test]
    fn what_is_no_ledger_is_refused() {
        assert!(StoredLedger::read("{}").is_err());
        let backwards = r#"{"start":"2026-03-01T00:05:00Z","end":"2026-03-01T00:00:00Z"}"#;
        assert!(
            StoredLedger::read(backwards)
                .unwrap_err()
                .contains("before it starts")
        );
    }
}
