//! `GET /api/v1/interfaces`: which interfaces are captured, and how.

use axum::{Json, extract::RawQuery, response::Response};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{is_wanted, only_interfaces, status::Attachment};
use crate::{limits::Asked, problem::Problem};
use probe_capture::status::StatusReader;

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/interfaces";

/// All captured interfaces, by name.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Interfaces {
    /// By name, in order.
    pub interfaces: Vec<Interface>,
}

/// One captured interface and its hooks.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Interface {
    /// Name of the interface, as its link has it.
    pub iface: String,
    /// The kernel's index of it.
    pub ifindex: u32,
    /// In a word: `ok`, `idle`, `partial`, `blind`, `detached` or `down`.
    pub state: String,
    /// Since when it is captured.
    pub started_at: Timestamp,
    /// The hooks in use, one per direction.
    pub attachment: Attachment,
    /// Whether it is in promiscuous mode while it is captured.
    pub promisc: bool,
    /// Whether packets with a VLAN tag are left out of the flows.
    pub ignore_vlans: bool,
}

/// Which interfaces are captured, and how
#[utoipa::path(get, path = PATH, tag = "capture",
    params(("iface" = Option<Vec<String>>, Query, description = "Only these interfaces; may be repeated")),
    responses(
        (status = 200, description = "The captured interfaces", body = Interfaces),
        (status = 404, description = "An interface is not captured", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn interfaces(
    asked: Asked,
    RawQuery(query): RawQuery,
) -> Result<Response, Problem> {
    asked
        .blocking(move |state| {
            let wanted = only_interfaces(state, query.as_deref())?;
            let settings = state.manager.config(&[]);
            let status = state.manager.flush_and_read();
            let captured = status.interfaces.values();
            let interfaces = captured
                .filter(|it| is_wanted(&wanted, &it.iface))
                .map(|it| {
                    let settings = settings.get(&it.iface).cloned().unwrap_or_default();
                    Interface {
                        iface: it.iface.to_string(),
                        ifindex: it.ifindex,
                        state: it.watch.state().to_owned(),
                        started_at: it.started_at,
                        attachment: Attachment::from(&it.attachment),
                        promisc: settings.promisc,
                        ignore_vlans: settings.ignore_vlans,
                    }
                });
            Ok(Json(Interfaces {
                interfaces: interfaces.collect(),
            }))
        })
        .await
}
