//! `POST /api/v1/retention/confirm`: a person says that the clock is right.

use std::collections::BTreeMap;

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::status::RetentionHold;
use crate::limits::Server;

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/retention/confirm";

/// The clock that was confirmed, with what had been held.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Confirmed {
    /// The clock that retention goes by from now on.
    pub clock: Timestamp,
    /// What was held until now, by name of the sink. A sink that has not checked yet has reported nothing.
    pub held: BTreeMap<String, RetentionHold>,
}

/// Confirms the clock, where retention does not believe it
///
/// Each sink deletes what is too old by the clock as soon as it has written what it writes.
#[utoipa::path(post, path = PATH, tag = "agent", responses(
    (status = 200, description = "What was held until now", body = Confirmed),
))]
pub(crate) async fn confirm(State(server): State<Server>) -> Json<Confirmed> {
    let sinks = server.agent.sinks().into_iter();
    let held = sinks.filter_map(|(name, sink)| Some((name, sink.store?.held?)));
    let held: BTreeMap<_, _> = held.collect();
    server.agent.confirm_clock();
    let clock = Timestamp::now();
    tracing::info!(%clock, held = held.len(), "a client confirmed the clock for retention");
    Json(Confirmed { clock, held })
}
