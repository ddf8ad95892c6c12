//! `GET /api/v1/flows`: the flows of the running interval, filtered and sorted.

mod query;
pub mod stream;
mod top;

use axum::{
    Json,
    extract::{RawQuery, State},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::query::{DEFAULT_LIMIT, FlowsQuery, MAX_LIMIT, Order, Sort};
use super::check_interfaces;
use crate::{limits::Server, problem::Problem};
use probe_flow::{
    flow::{FlowCounters, FlowRow},
    flow_json::{confidence, rfc3339_millis},
    ticks::TickClock,
};

/// Where it is.
pub const PATH: &str = "/api/v1/flows";

/// Flows that had traffic since the last rotation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Flows {
    /// When they were copied. Counts lag behind the wire by as long as a record takes to get here.
    pub at: Timestamp,
    /// The interfaces that were looked at.
    pub interfaces: Vec<FlowsOf>,
    /// Flows that passed the filter.
    pub matched: u64,
    /// Whether there are more than `flows` has.
    pub truncated: bool,
    /// Sums over all that passed.
    pub total: Totals,
    /// The first `limit` of them, in the order that was asked for.
    pub flows: Vec<LiveFlow>,
}

/// One interface that was looked at.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FlowsOf {
    /// Its name.
    pub iface: String,
    /// Since when its flows are counted: the start of the running interval.
    pub since: Timestamp,
    /// How many active flows it has.
    pub flows: u64,
    /// How many of them passed the filter.
    pub matched: u64,
}

/// Packets and IP octets, as seen from the interfaces.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Totals {
    /// Packets received.
    pub packets_rcvd: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// IP octets received.
    pub bytes_rcvd: u64,
    /// IP octets sent.
    pub bytes_sent: u64,
}

impl From<FlowCounters> for Totals {
    fn from(counters: FlowCounters) -> Self {
        let FlowCounters {
            bytes_rcvd,
            bytes_sent,
            packets_rcvd,
            packets_sent,
        } = counters;
        Self {
            packets_rcvd,
            packets_sent,
            bytes_rcvd,
            bytes_sent,
        }
    }
}

/// A flow, with the names of the stored ones.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct LiveFlow {
    /// Interface.
    pub iface: String,
    /// Address of the client, as far as the evidence goes.
    #[schema(value_type = String, example = "198.18.0.1")]
    pub sip: std::net::IpAddr,
    /// Its port; 0 where there is none, or where it was aggregated away.
    pub sport: u16,
    /// Address of the server, as far as the evidence goes.
    #[schema(value_type = String, example = "198.18.0.2")]
    pub dip: std::net::IpAddr,
    /// Its port; 0 like `sport`.
    pub dport: u16,
    /// IANA protocol number.
    pub proto: u8,
    /// Packets received.
    pub packets_rcvd: u64,
    /// Packets sent.
    pub packets_sent: u64,
    /// IP octets received.
    pub bytes_rcvd: u64,
    /// IP octets sent.
    pub bytes_sent: u64,
    /// How the direction was decided.
    pub direction: String,
    /// `high` or `low`.
    pub direction_confidence: String,
    /// TCP flags of both directions, or-ed.
    pub tcp_flags: u8,
    /// It stands for many: what did not fit under `max_flows` or `max_flows_total`.
    pub overflow: bool,
    /// When its first packet since the last rotation was, to a tick of the kernel (1 to 10 ms).
    #[serde(serialize_with = "rfc3339_millis")]
    pub first_seen: Timestamp,
    /// When its last packet was, like `first_seen`.
    #[serde(serialize_with = "rfc3339_millis")]
    pub last_seen: Timestamp,
}

impl LiveFlow {
    fn new(iface: &str, row: &FlowRow, tick_clock: &TickClock) -> Self {
        let flow = row.flow;
        Self {
            iface: iface.to_owned(),
            sip: row.src_addr,
            sport: row.src_port,
            dip: row.dst_addr,
            dport: row.dst_port,
            proto: row.ip_protocol,
            packets_rcvd: flow.counters.packets_rcvd,
            packets_sent: flow.counters.packets_sent,
            bytes_rcvd: flow.counters.bytes_rcvd,
            bytes_sent: flow.counters.bytes_sent,
            direction: flow.evidence.name().to_owned(),
            direction_confidence: confidence(flow.evidence).to_owned(),
            tcp_flags: flow.tcp_flags,
            overflow: flow.is_overflow,
            first_seen: tick_clock.time_of(flow.first),
            last_seen: tick_clock.time_of(flow.last),
        }
    }
}

/// The flows of the running interval
#[utoipa::path(get, path = PATH, tag = "capture", params(FlowsQuery), responses(
    (status = 200, description = "Flows, in the order that was asked for", body = Flows),
    (status = 404, description = "An interface is not captured", body = Problem,
        content_type = "application/problem+json"),
))]
pub(crate) async fn flows(
    State(server): State<Server>,
    RawQuery(query): RawQuery,
) -> Result<Json<Flows>, Problem> {
    let query = FlowsQuery::parse(query.as_deref())?;
    look(&server, query).await.map(Json)
}

async fn look(server: &Server, query: FlowsQuery) -> Result<Flows, Problem> {
    let look = server.blocking(move |state| {
        check_interfaces(state, &query.iface)?;
        Ok(top::select(&state.manager, &query))
    });
    look.await
}
