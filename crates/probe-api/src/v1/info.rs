//! `GET /api/v1/info`: which agent this is.

use axum::{Json, extract::State};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::limits::Server;

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/info";

/// Which agent this is, and since when it runs.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Info {
    /// Version of the agent.
    pub version: String,
    /// Commit that it was built from; `unknown` if the build did not know it.
    pub commit: String,
    /// SHA-256 of its eBPF object.
    pub object: String,
    /// Release of the running kernel.
    pub kernel: String,
    /// Architecture of the machine.
    pub architecture: String,
    /// Process of the agent.
    pub pid: u32,
    /// Configuration file, if the agent was given one.
    pub config_path: Option<String>,
    /// Time at which capturing began.
    pub started_at: Timestamp,
    /// Whole seconds since `started_at`.
    pub uptime_seconds: u64,
}

/// Which agent this is
#[utoipa::path(get, path = PATH, tag = "agent", responses(
    (status = 200, description = "Version, object, kernel and uptime", body = Info),
))]
pub(crate) async fn info(State(state): State<Server>) -> Json<Info> {
    let host = rustix::system::uname();
    let text = |name: &std::ffi::CStr| name.to_string_lossy().into_owned();
    let started_at = state.manager.started_at();
    let uptime = Timestamp::now().duration_since(started_at).as_secs();
    Json(Info {
        version: state.build.version.to_owned(),
        commit: state.build.commit.to_owned(),
        object: state.build.object.to_owned(),
        kernel: text(host.release()),
        architecture: text(host.machine()),
        pid: std::process::id(),
        config_path: state
            .config_path
            .as_ref()
            .map(|path| path.display().to_string()),
        started_at,
        uptime_seconds: uptime.try_into().unwrap_or(0),
    })
}
