//! What the endpoints answer.

use axum::{
    Router,
    extract::State,
    http::{StatusCode, Uri, header},
    response::{IntoResponse, Response},
    routing::get,
};
use tracing::error;

use super::ApiState;

/// The text format of Prometheus.
const METRICS_FORMAT: &str = "text/plain; version=0.0.4; charset=utf-8";

/// The routes that every address has.
pub(super) fn router(state: ApiState) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .fallback(not_found)
        .method_not_allowed_fallback(method_not_allowed)
        .with_state(state)
}

/// Off the runtime: reading the state waits for whoever changes it.
async fn metrics(State(state): State<ApiState>) -> Response {
    let scrape = move || state.metrics.scrape(&*state.status, &state.sinks);
    match tokio::task::spawn_blocking(scrape).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, METRICS_FORMAT)], text).into_response(),
        Ok(Err(cause)) => scrape_failed(&cause),
        Err(cause) => scrape_failed(&cause),
    }
}

fn scrape_failed(cause: &dyn std::error::Error) -> Response {
    error!(%cause, "cannot give the metrics");
    let text = format!("cannot give the metrics: {cause}\n");
    (StatusCode::INTERNAL_SERVER_ERROR, text).into_response()
}

/// Alive: the runtime answers.
async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(state): State<ApiState>) -> Response {
    let pending = state.readiness.pending();
    if pending.is_empty() {
        return "ready\n".into_response();
    }
    let text = format!("not ready, waiting for:\n{}\n", pending.join("\n"));
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}

async fn not_found(uri: Uri) -> (StatusCode, String) {
    let text = format!(
        "no such path: {}\nhere are: /metrics /healthz /readyz\n",
        uri.path()
    );
    (StatusCode::NOT_FOUND, text)
}

async fn method_not_allowed() -> (StatusCode, &'static str) {
    (
        StatusCode::METHOD_NOT_ALLOWED,
        "only GET is answered here\n",
    )
}
