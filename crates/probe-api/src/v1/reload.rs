//! `POST /api/v1/reload`: the configuration file anew, or what that would change.

use axum::{Json, extract::RawQuery, http::StatusCode};

use crate::{
    limits::Asked,
    problem::Problem,
    query::Query,
    reload::{ReloadError, ReloadReport},
};

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/reload";

/// Reads the configuration file again and applies it
///
/// All or nothing where the file is wrong or a setting needs a restart; else interface by
/// interface, as the report tells.
#[utoipa::path(post, path = PATH, tag = "agent",
    params(("dry_run" = Option<bool>, Query, description = "Only tell what would change")),
    responses(
        (status = 200, description = "What was changed, or would be", body = ReloadReport),
        (status = 409, description = "A setting needs a restart, there is no file, or another reload goes on",
            body = Problem, content_type = "application/problem+json"),
        (status = 422, description = "The configuration is wrong: `problems` has all that is",
            body = Problem, content_type = "application/problem+json"),
    ))]
pub(crate) async fn reload(
    asked: Asked,
    RawQuery(raw): RawQuery,
) -> Result<Json<ReloadReport>, Problem> {
    let dry_run = dry_run(raw.as_deref())?;
    let report = asked.changing(move |state| state.reloader.reload(dry_run));
    tell(report.await?)
}

/// Whether a request only asks what would change, by its query.
///
/// # Errors
///
/// A parameter is unknown, given twice or wrong: status 400, and `detail` names the parameter.
pub fn dry_run(raw: Option<&str>) -> Result<bool, Problem> {
    let query = Query::parse(raw, &["dry_run"])?;
    let given = query.read("dry_run", |text| {
        let parsed: Result<bool, _> = text.parse();
        parsed.map_err(|_| format!("must be true or false, found `{}`", text.escape_debug()))
    })?;
    Ok(given.unwrap_or_default())
}

/// The answer. What takes on the configuration has logged how it went.
pub(super) fn tell(
    report: Result<ReloadReport, ReloadError>,
) -> Result<Json<ReloadReport>, Problem> {
    report.map(Json).map_err(problem)
}

fn problem(error: ReloadError) -> Problem {
    let detail = error.to_string();
    match error {
        ReloadError::Invalid { problems, .. } => {
            Problem::unprocessable(detail).with_problems(problems)
        }
        ReloadError::Read(_) | ReloadError::Selector(_) => Problem::unprocessable(detail),
        ReloadError::NeedsRestart(settings) => Problem::conflict(detail).with_settings(settings),
        ReloadError::NoFile => Problem::conflict(detail),
        // Not `Problem::internal`, which logs.
        ReloadError::Reconcile(_) => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, detail),
    }
}
