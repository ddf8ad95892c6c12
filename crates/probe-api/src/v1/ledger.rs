//! `GET /api/v1/ledger`: where every packet went.

use std::collections::BTreeMap;

use axum::{Json, extract::RawQuery, response::Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{is_wanted, only_interfaces};
use crate::{limits::Asked, problem::Problem};
use probe_capture::status::StatusReader;
use probe_flow::ledger::{Identity, Ledger, Loss};

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/ledger";

/// Where every packet went, since capturing began. Counts never go back.
///
/// Between two rotations packets are on their way from the kernel to the flows and show as a small
/// positive residue; the ledgers of written intervals are exact.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct LedgerReport {
    /// When this was read.
    pub at: Timestamp,
    /// By name of the interface.
    pub interfaces: BTreeMap<String, InterfaceLedger>,
    /// The sum over these interfaces.
    pub total: LedgerCounts,
}

/// The ledger of one interface.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct InterfaceLedger {
    /// Since when it is captured.
    pub started_at: Timestamp,
    /// Packets and bytes of the interface, by identity.
    #[serde(flatten)]
    pub counts: LedgerCounts,
}

/// `seen = flows + Σ losses + residue`, in packets; the bytes of the same tallies beside them.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct LedgerCounts {
    /// Packets that the programs were handed.
    pub seen: u64,
    /// Packets that left the kernel as records.
    pub recorded: u64,
    /// Packets counted in flows.
    pub flows: u64,
    /// Packets lost, by name of the loss; all names are there.
    pub losses: BTreeMap<String, u64>,
    /// Packets without an address: 0, but for those on their way.
    pub residue: i64,
    /// By how much each identity does not hold, by its name.
    pub violations: BTreeMap<String, i64>,
    /// Of the packets in flows: fragments other than the first.
    pub later_fragments: u64,
    /// Of those: counted in flows without ports.
    pub unattributed_fragments: u64,
    /// Of the packets in flows: those with a cut transport header.
    pub short_transports: u64,
    /// Of the packets in flows: those in overflow flows, since the flow log was full.
    #[serde(default)]
    pub overflow_packets: u64,
    /// Of the packets in flows: those whose length field states more octets than the frame has.
    #[serde(default)]
    pub lengths_beyond_frame: u64,
    /// Octets of `seen`, whole frames.
    pub seen_bytes: u64,
    /// IP octets of `recorded`.
    pub recorded_bytes: u64,
    /// IP octets of `flows`.
    pub flow_bytes: u64,
    /// Octets that these length fields state beyond the frame; they are in no flow.
    #[serde(default)]
    pub beyond_frame_bytes: u64,
    /// Octets by loss: whole frames for what could not be parsed, else IP octets.
    pub loss_bytes: BTreeMap<String, u64>,
}

impl From<&Ledger> for LedgerCounts {
    fn from(ledger: &Ledger) -> Self {
        let losses = Loss::ALL.map(|loss| (loss.name().to_owned(), ledger.loss(loss)));
        Self {
            seen: ledger.seen.packets,
            recorded: ledger.recorded.packets,
            flows: ledger.flows.packets,
            residue: ledger.residue(),
            violations: Identity::ALL
                .map(|identity| (identity.name().to_owned(), ledger.violation(identity)))
                .into(),
            later_fragments: ledger.later_fragments,
            unattributed_fragments: ledger.unattributed_fragments,
            short_transports: ledger.short_transports,
            overflow_packets: ledger.overflow_packets,
            lengths_beyond_frame: ledger.beyond_frame.packets,
            seen_bytes: ledger.seen.bytes,
            recorded_bytes: ledger.recorded.bytes,
            flow_bytes: ledger.flows.bytes,
            beyond_frame_bytes: ledger.beyond_frame.bytes,
            loss_bytes: losses
                .iter()
                .map(|(name, tally)| (name.clone(), tally.bytes))
                .collect(),
            losses: losses
                .into_iter()
                .map(|(name, tally)| (name, tally.packets))
                .collect(),
        }
    }
}

/// Where every packet went
#[utoipa::path(get, path = PATH, tag = "capture",
    params(("iface" = Option<Vec<String>>, Query, description = "Only these interfaces; may be repeated")),
    responses(
        (status = 200, description = "Ledgers by interface, and their sum", body = LedgerReport),
        (status = 404, description = "An interface is not captured", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn ledger(asked: Asked, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    asked
        .blocking(move |state| {
            let wanted = only_interfaces(state, query.as_deref())?;
            let status = state.manager.flush_and_read();
            let mut sum = Ledger::default();
            let mut interfaces = BTreeMap::new();
            for (name, it) in &status.interfaces {
                if is_wanted(&wanted, name) {
                    sum += it.ledger;
                    let ledger = InterfaceLedger {
                        started_at: it.started_at,
                        counts: LedgerCounts::from(&it.ledger),
                    };
                    interfaces.insert(name.to_string(), ledger);
                }
            }
            Ok(Json(LedgerReport {
                at: Timestamp::now(),
                interfaces,
                total: LedgerCounts::from(&sum),
            }))
        })
        .await
}
