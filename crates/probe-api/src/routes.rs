//! What each address serves, and the endpoints outside of `/api`.

use axum::{
    Router,
    extract::State,
    handler::Handler,
    http::{Method, StatusCode, Uri, header},
    middleware::from_fn,
    response::{IntoResponse, Response},
    routing::{MethodRouter, get, post},
};

use super::{
    access,
    limits::{self, Asked, Server},
    openapi,
    problem::Problem,
    v1,
};

/// Answered without any work, as long as the agent runs.
pub(super) const HEALTH_PATH: &str = "/healthz";

/// The text format of Prometheus.
const METRICS_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// What every address has.
fn basics() -> [(&'static str, MethodRouter<Server>); 3] {
    [
        ("/metrics", get(metrics)),
        (HEALTH_PATH, get(healthz)),
        ("/readyz", get(readyz)),
    ]
}

/// Paths and handlers of everything below `/api`.
fn resources() -> [(&'static str, MethodRouter<Server>); 13] {
    [
        (openapi::PATH, get(openapi::openapi)),
        (v1::info::PATH, get(v1::info::info)),
        (
            v1::config::PATH,
            get(v1::config::config).put(v1::config::replace),
        ),
        (v1::reload::PATH, post(v1::reload::reload)),
        (v1::status::PATH, get(v1::status::status)),
        (v1::interfaces::PATH, get(v1::interfaces::interfaces)),
        (v1::flows::PATH, get(v1::flows::flows)),
        (v1::flows::groups::PATH, get(v1::flows::groups::groups)),
        (v1::flows::stream::PATH, get(v1::flows::stream::stream)),
        (
            v1::flows::interval::PATH,
            get(v1::flows::interval::interval),
        ),
        (v1::ledger::PATH, get(v1::ledger::ledger)),
        (v1::retention::PATH, post(v1::retention::confirm)),
        (
            v1::rotation::PATH,
            get(v1::rotation::rotation).post(v1::rotation::rotate),
        ),
    ]
}

/// What `api.metrics_addr` serves: it asks nobody for a key.
pub(super) fn metrics_router(server: Server) -> Router {
    router(basics(), not_of_metrics, server)
}

/// Routes of the listener at `api.addr`.
pub(super) fn api_router(server: Server) -> Router {
    let routes = basics().into_iter().chain(resources());
    router(routes, not_found, server)
}

fn router<T: 'static>(
    routes: impl IntoIterator<Item = (&'static str, MethodRouter<Server>)>,
    not_found: impl Handler<T, Server>,
    server: Server,
) -> Router {
    let mut router = Router::new();
    for (path, methods) in routes {
        router = router.route(path, methods);
    }
    router
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .layer(from_fn(access::check))
        .layer(from_fn(limits::check))
        .with_state(server)
}

/// All metrics, as Prometheus reads them
#[utoipa::path(get, path = "/metrics", tag = "agent", responses(
    (status = 200, description = "Metrics in Prometheus' text format", body = String, content_type = "text/plain"),
))]
pub(super) async fn metrics(asked: Asked) -> Result<Response, Problem> {
    let scrape = asked.blocking(|state| {
        let text = state.agent.metrics();
        text.map(|text| ([(header::CONTENT_TYPE, METRICS_FORMAT)], text))
            .map_err(|cause| Problem::internal(format!("cannot give the metrics: {cause}")))
    });
    scrape.await
}

/// Whether the agent is alive
#[utoipa::path(get, path = HEALTH_PATH, tag = "agent", responses(
    (status = 200, description = "It answers", body = String, content_type = "text/plain"),
))]
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// Whether the agent captures, follows the links, and every sink stores
#[utoipa::path(get, path = "/readyz", tag = "agent", responses(
    (status = 200, description = "So it is", body = String, content_type = "text/plain"),
    (status = 503, description = "Not yet, or not any more: what it waits for",
        body = String, content_type = "text/plain"),
))]
pub(super) async fn readyz(State(server): State<Server>) -> Response {
    let waiting = server.agent.waiting_for().into_iter();
    let mut pending: Vec<_> = waiting.map(str::to_owned).collect();
    for (name, sink) in server.agent.sinks() {
        pending.extend(sink.trouble.map(|it| format!("sink {name} ({})", it.kind)));
    }
    let troubles = server.manager.troubles().all().into_iter();
    let troubles = troubles.filter(|it| it.kind.stops_service());
    pending.extend(troubles.map(|it| it.kind.name().to_owned()));
    if pending.is_empty() {
        return "ready\n".into_response();
    }
    let text = format!("not ready, waiting for:\n{}\n", pending.join("\n"));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn not_found(uri: Uri) -> Problem {
    let path = uri.path().escape_debug();
    Problem::not_found(format!(
        "no such path here: {path}; {} lists those that there are",
        openapi::PATH
    ))
}

async fn not_of_metrics(State(server): State<Server>, uri: Uri) -> Problem {
    let path = uri.path().escape_debug();
    let api = match &*server.api {
        Some(addr) => format!("the API is at {addr} (api.addr)"),
        None => "the API is switched off (api.addr: none)".to_owned(),
    };
    Problem::not_found(format!(
        "no such path here: {path}; this is api.metrics_addr, which has /metrics, /healthz and \
         /readyz, and {api}"
    ))
}

async fn method_not_allowed(method: Method) -> Problem {
    let detail = format!("{method} is not answered here; see the header `Allow`");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{basics, resources};

    #[test]
    fn every_route_is_documented() {
        let routes = basics().into_iter().chain(resources());
        let served: BTreeSet<_> = routes.map(|(path, _)| path.to_owned()).collect();
        let document = crate::openapi::document();
        let documented: BTreeSet<_> = document.paths.paths.into_keys().collect();
        assert_eq!(served, documented);
    }
}
