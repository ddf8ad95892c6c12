//! `GET /api/v1/flows`: the flows of the running interval, filtered and sorted.

mod answer;
pub mod groups;
pub mod interval;
mod live;
mod query;
pub mod stream;
mod top;

use axum::{
    extract::RawQuery,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use self::answer::Pieces;
pub use self::{
    live::LiveFlow,
    query::{DEFAULT_LIMIT, FlowsQuery, MAX_LIMIT, Order, Sort},
};
use super::check_interfaces;
use crate::{limits::Asked, problem::Problem};
use probe_flow::flow::FlowCounters;

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/flows";

/// Flows that had traffic since the last rotation.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Flows {
    /// When they were copied. Counts lag behind the wire by as long as a record takes to get here.
    pub at: Timestamp,
    /// The interfaces whose flows were searched.
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

/// One interface whose flows were searched.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FlowsOf {
    /// Name of the interface, as its link has it.
    pub iface: String,
    /// Since when its flows are counted: the start of the running interval.
    pub since: Timestamp,
    /// How many active flows it has.
    pub flows: u64,
    /// How many of them passed the filter.
    pub matched: u64,
}

/// Packets and bytes, as seen from the interfaces.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Totals {
    /// Packets received, in the running interval.
    pub packets_rcvd: u64,
    /// Packets sent, in the running interval.
    pub packets_sent: u64,
    /// Bytes received: IP octets on the wire.
    pub bytes_rcvd: u64,
    /// Bytes sent: IP octets on the wire.
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

/// The flows of the running interval
#[utoipa::path(get, path = PATH, tag = "capture", params(FlowsQuery), responses(
    (status = 200, description = "Flows, in the order that was asked for", body = Flows),
    (status = 404, description = "An interface is not captured", body = Problem,
        content_type = "application/problem+json"),
))]
pub(crate) async fn flows(asked: Asked, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let rows = FlowsQuery::rows(query.as_deref())?;
    // A filter is read there, too: its regexes take milliseconds to compile.
    let selected = asked.query(rows, move |state, waiting| {
        let query = FlowsQuery::parse(query.as_deref())?;
        check_interfaces(state, &query.iface)?;
        top::select(&state.manager, &query, waiting)
    });
    let (selected, memory) = selected.await?;
    let pieces = Pieces::new(selected, memory).map_err(|error| no_text(&error))?;
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], pieces.into_body()).into_response())
}

fn no_text(error: &serde_json::Error) -> Problem {
    Problem::internal(format!("cannot write the answer: {error}"))
}
