//! Bounds on what the clients of all addresses may make the agent do.

use std::{ops::Deref, sync::Arc, time::Duration};

use axum::{
    extract::Request,
    http::{HeaderValue, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, watch},
    task::spawn_blocking,
    time::timeout,
};

use super::{ApiState, problem::Problem};

/// Queries that run at a time; more wait, for as long as a query may take.
const MAX_QUERIES: usize = 4;

/// How long a query may wait and run.
const QUERY_TIMEOUT: Duration = Duration::from_secs(10);

/// Streams of flows at a time.
const MAX_STREAMS: usize = 8;

/// Largest body of a request, in octets: more than any configuration.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Server {
    state: Arc<ApiState>,
    queries: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    changes: Arc<Semaphore>,
    /// Ends when the agent does.
    pub(super) stopped: watch::Receiver<()>,
}

impl Deref for Server {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.state
    }
}

impl Server {
    pub(super) fn new(state: ApiState, stopped: watch::Receiver<()>) -> Self {
        Self {
            state: Arc::new(state),
            queries: Arc::new(Semaphore::new(MAX_QUERIES)),
            streams: Arc::new(Semaphore::new(MAX_STREAMS)),
            changes: Arc::new(Semaphore::new(1)),
            stopped,
        }
    }

    /// Runs what may wait for a capture off the runtime, when it is its turn.
    pub(super) async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ApiState) -> Result<T, Problem> + Send + 'static,
    ) -> Result<T, Problem> {
        let (queries, state) = (self.queries.clone(), self.state.clone());
        let queued = async move {
            let permit = queries.acquire_owned().await;
            // It keeps its turn until it is over, also when nobody waits for it any more.
            spawn_blocking(move || {
                let _turn = permit;
                work(&state)
            })
            .await
        };
        match timeout(QUERY_TIMEOUT, queued).await {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(Problem::internal(format!("the request failed: {error}"))),
            Err(_) => Err(Problem::new(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("no answer in {QUERY_TIMEOUT:?}: the agent is busy; ask again later"),
            )),
        }
    }

    /// Runs a change of the agent, one at a time and for as long as it takes: attaching hundreds of
    /// interfaces takes seconds. It goes on when nobody waits for it any more.
    pub(super) async fn changing<T: Send + 'static>(
        &self,
        work: impl FnOnce(&ApiState) -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let turn = self.changes.clone().try_acquire_owned();
        let turn =
            turn.map_err(|_| Problem::conflict("another reload goes on; wait for its end"))?;
        let state = self.state.clone();
        let done = spawn_blocking(move || {
            let _turn = turn;
            work(&state)
        });
        let failed = |error| Problem::internal(format!("the request failed: {error}"));
        done.await.map_err(failed)
    }

    /// A place for one more stream.
    pub(super) fn stream(&self) -> Result<OwnedSemaphorePermit, Problem> {
        self.streams.clone().try_acquire_owned().map_err(|_| {
            let detail = format!("{MAX_STREAMS} streams are open already; close one");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
        })
    }
}

pub(super) fn too_large() -> Problem {
    let detail = format!("a body may have {MAX_BODY_BYTES} octets");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, detail)
}

/// Refuses requests that announce too much, and marks all answers as not to be kept.
pub(super) async fn check(request: Request, next: Next) -> Response {
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    let mut response = if announced.is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        too_large().into_response()
    } else {
        next.run(request).await
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if matches!(
        response.status(),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        let headers = response.headers_mut();
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
    }
    response
}
