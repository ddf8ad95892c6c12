//! The ledger as a JSON object, the last line behind those of the flows
//! ([`crate::schema::FlowLine`]): in the files of the JSON sink and in `replay --format json`.
//!
//! Keys are never renamed or removed, new ones may come: readers ignore what they do not know.

use serde::{Serialize, Serializer};

use crate::{
    coverage::Compared,
    flow::FlowCounters,
    interval::{Bounds, Watched},
    ledger::{Ledger, Loss},
};

/// The ledger that closes a list of flows: `{"type":"ledger", …}`.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerLine<'a> {
    r#type: &'static str,
    iface: &'a str,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    bounds: Option<Bounds>,
    #[serde(flatten)]
    counts: LedgerCounts,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    stored: Option<StoredSums>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    watched: Option<WatchedLine>,
}

/// Sums over the flows that are stored with a ledger, so that who asks for nothing but time and interface
/// need not read them.
#[derive(Clone, Copy, Debug, Serialize)]
struct StoredSums {
    rows: usize,
    packets_rcvd: u64,
    packets_sent: u64,
    bytes_rcvd: u64,
    bytes_sent: u64,
}

impl<'a> LedgerLine<'a> {
    /// The line of one ledger. `bounds` are given where the line is stored, and left out where the
    /// reader knows them.
    pub fn new(iface: &'a str, bounds: Option<Bounds>, ledger: &Ledger) -> Self {
        Self {
            r#type: "ledger",
            iface,
            bounds,
            counts: LedgerCounts::new(ledger),
            stored: None,
            watched: None,
        }
    }

    /// With the number of the flows that are stored with it, and their sums.
    #[must_use]
    pub const fn stored(mut self, rows: usize, sums: &FlowCounters) -> Self {
        self.stored = Some(StoredSums {
            rows,
            packets_rcvd: sums.packets_rcvd,
            packets_sent: sums.packets_sent,
            bytes_rcvd: sums.bytes_rcvd,
            bytes_sent: sums.bytes_sent,
        });
        self
    }

    /// With what supervision knows of the interval, if it was supervised.
    #[must_use]
    pub fn watched(mut self, watched: &Watched) -> Self {
        self.watched = (!watched.ingress.is_empty()).then(|| WatchedLine::new(watched));
        self
    }
}

/// The numbers of a ledger: packets, with the bytes of the same tallies beside them.
/// `seen = flows + Σ losses + residue`.
#[derive(Clone, Debug, Serialize)]
pub struct LedgerCounts {
    seen: u64,
    flows: u64,
    #[serde(serialize_with = "by_name")]
    losses: [u64; Loss::COUNT],
    residue: i64,
    later_fragments: u64,
    unattributed_fragments: u64,
    short_transports: u64,
    overflow_packets: u64,
    lengths_beyond_frame: u64,
    seen_bytes: u64,
    flow_bytes: u64,
    beyond_frame_bytes: u64,
    #[serde(serialize_with = "by_name")]
    loss_bytes: [u64; Loss::COUNT],
}

impl LedgerCounts {
    /// The numbers of one ledger, or of several added up.
    pub fn new(ledger: &Ledger) -> Self {
        Self {
            seen: ledger.seen.packets,
            flows: ledger.flows.packets,
            losses: ledger.losses.map(|tally| tally.packets),
            residue: ledger.residue(),
            later_fragments: ledger.later_fragments,
            unattributed_fragments: ledger.unattributed_fragments,
            short_transports: ledger.short_transports,
            overflow_packets: ledger.overflow_packets,
            lengths_beyond_frame: ledger.beyond_frame.packets,
            seen_bytes: ledger.seen.bytes,
            flow_bytes: ledger.flows.bytes,
            beyond_frame_bytes: ledger.beyond_frame.bytes,
            loss_bytes: ledger.losses.map(|tally| tally.bytes),
        }
    }
}

/// Hooks, coverage and clock of an interval.
#[derive(Clone, Debug, Serialize)]
struct WatchedLine {
    hooks: Hooks,
    reattached: u64,
    detached_ms: u128,
    coverage: CoverageByDirection,
    clock_steps: u64,
    clock_stepped_ms: i128,
}

#[derive(Clone, Debug, Serialize)]
struct Hooks {
    ingress: &'static str,
    egress: &'static str,
}

#[derive(Clone, Debug, Serialize)]
struct CoverageByDirection {
    rcvd: CoverageCounts,
    sent: CoverageCounts,
}

/// Packets by the link's own counter, and ours of the same time.
#[derive(Clone, Debug, Serialize)]
struct CoverageCounts {
    link: u64,
    frames: u64,
    packets: u64,
    ratio: Option<f64>,
}

impl WatchedLine {
    fn new(watched: &Watched) -> Self {
        let [rcvd, sent] = watched.coverage.map(|compared: Compared| CoverageCounts {
            link: compared.link,
            frames: compared.frames,
            packets: compared.packets,
            ratio: compared.ratio(),
        });
        Self {
            hooks: Hooks {
                ingress: watched.ingress,
                egress: watched.egress,
            },
            reattached: watched.reattached,
            detached_ms: watched.detached.as_millis(),
            coverage: CoverageByDirection { rcvd, sent },
            clock_steps: watched.clock_steps,
            clock_stepped_ms: watched.clock_stepped.as_millis(),
        }
    }
}

/// All losses by name, zeros included: a name that is missing would read as "cannot happen".
fn by_name<S: Serializer>(losses: &[u64; Loss::COUNT], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(Loss::ALL.map(|loss| (loss.name(), losses[loss as usize])))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use probe_common::control::Tally;

    use super::LedgerLine;
    use crate::{
        coverage::Compared,
        interval::{Bounds, Watched},
        ledger::{Ledger, Loss},
    };

    #[test]
    fn ledger_line_tells_what_was_watched() {
        let mut watched = Watched {
            ingress: "tcx",
            egress: "tcx",
            reattached: 1,
            detached: Duration::from_millis(1500),
            clock_steps: 1,
            clock_stepped: jiff::SignedDuration::from_secs(-3600),
            ..Watched::default()
        };
        watched.coverage[0] = Compared {
            link: 100,
            frames: 80,
            packets: 90,
            ..Compared::default()
        };
        let ledger = Ledger::default();
        let line = LedgerLine::new("eth0", None, &ledger).watched(&watched);
        let line = serde_json::to_value(line).unwrap();
        assert_eq!(line["hooks"]["egress"], "tcx");
        assert_eq!(
            (&line["reattached"], &line["detached_ms"]),
            (&1.into(), &1500.into())
        );
        assert_eq!(
            (&line["clock_steps"], &line["clock_stepped_ms"]),
            (&1.into(), &(-3_600_000).into())
        );
        let rcvd = &line["coverage"]["rcvd"];
        assert_eq!((&rcvd["link"], &rcvd["ratio"]), (&100.into(), &0.9.into()));
        assert_eq!(line["coverage"]["sent"]["ratio"], serde_json::Value::Null);

        // Capture files have no link.
        let line = LedgerLine::new("eth0", None, &ledger).watched(&Watched::default());
        let line = serde_json::to_value(line).unwrap();
        assert!(line.get("hooks").is_none(), "{line}");
    }

    #[test]
    fn bounds_are_rfc_3339_in_utc() {
        let bounds = Bounds {
            start: "2026-03-01T00:00:00Z".parse().unwrap(),
            end: "2026-03-01T01:05:00.25+01:00".parse().unwrap(),
        };
        let line = LedgerLine::new("eth0", Some(bounds), &Ledger::default());
        let line = serde_json::to_value(line).unwrap();
        assert_eq!(line["start"], "2026-03-01T00:00:00Z");
        assert_eq!(line["end"], "2026-03-01T00:05:00.25Z");
    }

    #[test]
    fn ledger_line_names_every_loss() {
        let mut ledger = Ledger {
            seen: Tally {
                packets: 10,
                bytes: 900,
            },
            flows: Tally {
                packets: 7,
                bytes: 500,
            },
            ..Ledger::default()
        };
        ledger.losses[Loss::RingFull as usize].add(2, 80);
        let line = serde_json::to_value(LedgerLine::new("eth0", None, &ledger)).unwrap();
        assert_eq!(line["type"], "ledger");
        assert_eq!(
            (&line["seen"], &line["flows"], &line["residue"]),
            (&10.into(), &7.into(), &1.into())
        );
        let losses = line["losses"].as_object().unwrap();
        assert_eq!(losses.len(), Loss::COUNT);
        for loss in Loss::ALL {
            let expected = if loss == Loss::RingFull { 2 } else { 0 };
            assert_eq!(losses[loss.name()], expected, "{}", loss.name());
        }
        assert_eq!(line["loss_bytes"]["ring_full"], 80);
        assert!(line.get("start").is_none());
    }
}
