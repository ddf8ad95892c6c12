//! `/api/v1/rotation`: when flows were and will be written, how long that takes, and writing now.

use axum::{Json, response::Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{limits::Asked, problem::Problem};
use probe_capture::clock::next_multiple;

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/rotation";

/// When flows were and will be written, and how long rotations took.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RotationReport {
    /// Seconds between two rotations.
    pub interval_seconds: u64,
    /// When flows were last handed to the sinks; none before the first time.
    pub last: Option<Timestamp>,
    /// When they will be next.
    pub next: Timestamp,
    /// How long the rotations since the start took.
    pub duration: DurationHistogram,
}

/// A histogram of durations.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DurationHistogram {
    /// Number of durations in the histogram.
    pub count: u64,
    /// All of them together, in seconds.
    pub sum_seconds: f64,
    /// How many took at most so long, for growing bounds; `count` has those that took longer too.
    pub buckets: Vec<DurationBucket>,
}

/// One bucket of a histogram, with all below it.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct DurationBucket {
    /// Upper bound in seconds.
    pub le_seconds: f64,
    /// How many took at most so long.
    pub count: u64,
}

/// When flows are written
#[utoipa::path(get, path = PATH, tag = "capture", responses(
    (status = 200, description = "Last and next rotation, and how long they took", body = RotationReport),
))]
pub(crate) async fn rotation(asked: Asked) -> Result<Response, Problem> {
    let report = asked.blocking(|state| {
        let interval = state.agent.rotation_interval();
        let (started, last) = state.manager.timestamps();
        Ok(Json(RotationReport {
            interval_seconds: interval.as_secs(),
            last: (last != started).then_some(last),
            next: next_multiple(Timestamp::now(), interval),
            duration: state.agent.rotation_durations(),
        }))
    });
    report.await
}

/// What a rotation came to.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Rotated {
    /// Interfaces whose interval was ended.
    pub interfaces: usize,
    /// Flows that were handed to the sinks.
    pub flows: usize,
    /// How long it took.
    pub duration_seconds: f64,
}

/// Ends the running interval now
///
/// Its flows are handed to the sinks, and a new interval begins, which ends when it would have.
#[utoipa::path(post, path = PATH, tag = "capture", responses(
    (status = 200, description = "What was handed to the sinks", body = Rotated),
))]
pub(crate) async fn rotate(asked: Asked) -> Result<Response, Problem> {
    let rotated = asked.blocking(|state| {
        let rotated = state.manager.rotate();
        let rotated =
            rotated.map_err(|error| Problem::internal(format!("cannot rotate: {error}")))?;
        tracing::info!(
            flows = rotated.flows,
            "rotated, since a client asked for it"
        );
        Ok(Json(Rotated {
            interfaces: rotated.interfaces,
            flows: rotated.flows,
            duration_seconds: rotated.duration.as_secs_f64(),
        }))
    });
    rotated.await
}
