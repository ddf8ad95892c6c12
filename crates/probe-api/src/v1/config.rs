//! `/api/v1/config`: the configuration in force, and another one in its place.

use std::collections::BTreeMap;

use axum::{
    Json,
    extract::{RawQuery, Request},
    http::{HeaderMap, StatusCode, header},
    response::Response,
};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use utoipa::ToSchema;

use super::reload::{dry_run, tell};
use crate::{
    limits::{Asked, BODY_TIMEOUT, MAX_BODY_BYTES, too_large},
    problem::Problem,
    reload::ReloadReport,
};

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/config";

/// Media types of a document in YAML. None at all is taken for it, too.
const YAML: [&str; 4] = [
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/plain",
];

/// The configuration in force.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct ConfigReport {
    /// File that it came from, if it came from one; what was applied by `PUT` is in no file.
    pub path: Option<String>,
    /// Every setting by its path, with its value as a file has it. Keys are not shown.
    #[schema(example = json!({ "rotation.interval": "5m", "interfaces.eth0.hook": "auto" }))]
    pub settings: BTreeMap<String, String>,
}

/// The configuration in force
#[utoipa::path(get, path = PATH, tag = "agent", responses(
    (status = 200, description = "All settings", body = ConfigReport),
))]
pub(crate) async fn config(asked: Asked) -> Result<Response, Problem> {
    let report = asked.blocking(|state| {
        let path = state.config_path.as_ref();
        Ok(Json(ConfigReport {
            path: path.map(|path| path.display().to_string()),
            settings: state.reloader.settings(),
        }))
    });
    report.await
}

/// Applies a configuration instead of the file's
///
/// The file stays as it is, and counts again at the next reload or restart. All or nothing where the
/// document is wrong or a setting needs a restart; else interface by interface, as the report tells.
#[utoipa::path(put, path = PATH, tag = "agent",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would change")),
    request_body(content = String, content_type = "application/yaml",
        description = "A whole configuration, as docs/CONFIGURATION.md has it"),
    responses(
        (status = 200, description = "What was changed, or would be", body = ReloadReport),
        (status = 408, description = "The body came too slowly",
            body = Problem, content_type = "application/problem+json"),
        (status = 409, description = "A setting needs a restart, or another reload goes on",
            body = Problem, content_type = "application/problem+json"),
        (status = 415, description = "The document is not said to be YAML",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The configuration is wrong: `problems` has all that is",
            body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn replace(
    asked: Asked,
    RawQuery(raw): RawQuery,
    request: Request,
) -> Result<Json<ReloadReport>, Problem> {
    let dry_run = dry_run(raw.as_deref())?;
    require_yaml(request.headers())?;
    let text = text_of(request).await?;
    let report = asked.changing(move |state| state.reloader.reload_text(&text, dry_run));
    tell(report.await?)
}

fn require_yaml(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = headers.get(header::CONTENT_TYPE) else {
        return Ok(());
    };
    let given = String::from_utf8_lossy(given.as_bytes());
    let essence = given.split(';').next().unwrap_or_default().trim();
    if YAML.iter().any(|yaml| essence.eq_ignore_ascii_case(yaml)) {
        return Ok(());
    }
    Err(Problem::new(
        StatusCode::UNSUPPORTED_MEDIA_TYPE,
        format!(
            "a configuration is YAML (`Content-Type: {}`), found `{}`",
            YAML[0],
            essence.escape_debug()
        ),
    ))
}

/// The body, as far as one may be long.
async fn text_of(request: Request) -> Result<String, Problem> {
    let body = Limited::new(request.into_body(), MAX_BODY_BYTES);
    let collected = timeout(BODY_TIMEOUT, body.collect()).await;
    let collected = collected.map_err(|_| {
        let detail = format!("the body took more than {BODY_TIMEOUT:?}; send it at once");
        Problem::new(StatusCode::REQUEST_TIMEOUT, detail)
    })?;
    let bytes = match collected {
        Ok(body) => body.to_bytes(),
        Err(error) if error.is::<LengthLimitError>() => return Err(too_large()),
        Err(error) => {
            return Err(Problem::bad_request(format!(
                "the body ended before its time: {error}"
            )));
        }
    };
    String::from_utf8(bytes.into())
        .map_err(|_| Problem::unprocessable("the configuration is not UTF-8 text"))
}
