//! Bounds on what the clients of all addresses may make the agent do.

use std::{convert::Infallible, io, ops::Deref, sync::Arc, time::Duration};

use axum::{
    extract::{FromRequestParts, Request},
    http::{HeaderValue, StatusCode, header, request::Parts},
    middleware::Next,
    response::{IntoResponse, Response},
};
use tokio::{
    sync::{AcquireError, watch},
    task::spawn_blocking,
    time::timeout,
};

use super::{
    ApiState,
    access::Client,
    lane::{Lane, Order},
    places::{Class, Holder, MAX_PLACES},
    problem::Problem,
    shares::{Budget, Memory, Share, Shares},
    v1::flows::MAX_LIMIT,
};

/// Threads for what waits for captures: status, ledgers, metrics.
const CONTROL_THREADS: usize = 2;

/// Threads for flows. Each has a copy of the flows of one interface at a time.
const FLOWS_THREADS: usize = 2;

/// How long anything but flows may wait and run.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a query of flows may wait and run.
const QUERY_TIMEOUT: Duration = Duration::from_secs(25);

/// How long a query of flows may run.
const RUN_TIMEOUT: Duration = Duration::from_secs(10);

/// Requests of one client that may wait and run at a time, in each lane. Members are bounded by their
/// connections.
const MAX_WAITING: usize = 48;

/// Rows that answers may hold at a time: those of one client, and of all of its class. One client has
/// a third, which is the largest answer.
const MAX_ROWS: [usize; 2] = [MAX_LIMIT, 3 * MAX_LIMIT];

/// Rows are given out in so many at a time. A smaller answer takes none and never waits for large ones:
/// connections bound how many there are, and all of them have fewer rows than one large answer.
const ROWS_PER_UNIT: usize = 1000;
const _: () = assert!(MAX_PLACES * ROWS_PER_UNIT < MAX_LIMIT);

/// Streams of flows at a time: those of one client, and of all of its class.
const MAX_STREAMS: [usize; 2] = [8, 16];

/// Largest body of a request, in octets: more than any configuration.
pub(super) const MAX_BODY_BYTES: usize = 1 << 20;

/// How long a body may take.
pub(super) const BODY_TIMEOUT: Duration = Duration::from_secs(30);

/// What the handlers share.
#[derive(Clone)]
pub(super) struct Server {
    state: Arc<ApiState>,
    control: Queue,
    flows: Queue,
    guests: Bounds,
    members: Bounds,
    changes: Arc<tokio::sync::Semaphore>,
    /// Where the API is, if it is anywhere.
    pub(super) api: Arc<Option<String>>,
    /// Ends when the agent does.
    pub(super) stopped: watch::Receiver<()>,
}

/// A lane, and how many requests of each guest may be on it.
#[derive(Clone)]
struct Queue {
    lane: Lane,
    guests: Shares,
}

/// What the clients of one class may take.
#[derive(Clone)]
struct Bounds {
    rows: Budget,
    streams: Shares,
}

impl Queue {
    fn start(name: &str, threads: usize) -> io::Result<Self> {
        Ok(Self {
            lane: Lane::start(name, threads)?,
            guests: Shares::new(MAX_WAITING, usize::MAX),
        })
    }
}

impl Bounds {
    fn new() -> Self {
        let [each, all] = MAX_ROWS.map(|rows| rows / ROWS_PER_UNIT);
        let [streams_each, streams_all] = MAX_STREAMS;
        Self {
            rows: Budget::new(each, all),
            streams: Shares::new(streams_each, streams_all),
        }
    }

    /// Waits for memory for so many rows; none is needed for a few.
    async fn memory(&self, holder: Holder, rows: usize) -> Result<Option<Memory>, AcquireError> {
        if rows <= ROWS_PER_UNIT {
            return Ok(None);
        }
        let units = u32::try_from(rows.div_ceil(ROWS_PER_UNIT)).unwrap_or(u32::MAX);
        self.rows.take(holder, units).await.map(Some)
    }
}

impl Deref for Server {
    type Target = ApiState;

    fn deref(&self) -> &ApiState {
        &self.state
    }
}

impl Server {
    /// `api` is where the API is, as clients are told.
    pub(super) fn new(
        state: ApiState,
        api: Option<String>,
        stopped: watch::Receiver<()>,
    ) -> io::Result<Self> {
        Ok(Self {
            api: Arc::new(api),
            state: Arc::new(state),
            control: Queue::start("probe-control", CONTROL_THREADS)?,
            flows: Queue::start("probe-query", FLOWS_THREADS)?,
            guests: Bounds::new(),
            members: Bounds::new(),
            changes: Arc::new(tokio::sync::Semaphore::new(1)),
            stopped,
        })
    }
}

/// The server, and who asks it.
#[derive(Clone)]
pub(super) struct Asked {
    server: Server,
    holder: Holder,
    class: Class,
}

impl FromRequestParts<Server> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, server: &Server) -> Result<Self, Infallible> {
        let client = parts.extensions.get::<Client>();
        let (holder, class) = Client::share(client);
        Ok(Self {
            server: server.clone(),
            holder,
            class,
        })
    }
}

impl Deref for Asked {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl Asked {
    fn bounds(&self) -> &Bounds {
        match self.class {
            Class::Guest => &self.guests,
            Class::Member => &self.members,
        }
    }

    /// A turn to wait for; none is needed by members.
    fn turn(&self, queue: &Queue) -> Result<Option<Share>, Problem> {
        if self.class == Class::Member {
            return Ok(None);
        }
        queue.guests.take(self.holder).map(Some).ok_or_else(|| {
            let detail = format!("{MAX_WAITING} requests of yours wait already; ask again later");
            Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail)
        })
    }

    /// Answers what may wait for a capture off the runtime, when it is the client's turn.
    pub(super) async fn blocking<T: IntoResponse>(
        &self,
        work: impl FnOnce(&ApiState) -> Result<T, Problem> + Send + 'static,
    ) -> Result<Response, Problem> {
        let _turn = self.turn(&self.control)?;
        let state = Arc::clone(&self.state);
        // The text is made there, too: that of a thousand interfaces takes milliseconds.
        let answer = move |_: &Order| work(&state).map(IntoResponse::into_response);
        let answered = self.control.lane.run(self.holder, CONTROL_TIMEOUT, answer);
        in_time(CONTROL_TIMEOUT, answered).await?
    }

    /// Runs a query of flows when it is the client's turn and there is memory for so many rows of an
    /// answer. What there is of it is to be kept as long as they are.
    pub(super) async fn query<T: Send + 'static>(
        &self,
        rows: usize,
        work: impl FnOnce(&ApiState, &Order) -> Result<T, Problem> + Send + 'static,
    ) -> Result<(T, Option<Memory>), Problem> {
        let _turn = self.turn(&self.flows)?;
        let state = Arc::clone(&self.state);
        let answered = async {
            let memory = self.bounds().memory(self.holder, rows).await.ok()?;
            let work = move |order: &Order| work(&state, order);
            let answer = self.flows.lane.run(self.holder, RUN_TIMEOUT, work).await?;
            Some(answer.map(|answer| (answer, memory)))
        };
        in_time(QUERY_TIMEOUT, answered).await?
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
    pub(super) fn stream(&self) -> Result<Share, Problem> {
        self.bounds().streams.take(self.holder).ok_or_else(|| {
            let [each, all] = MAX_STREAMS;
            let detail = format!(
                "{each} streams of yours, or {all} of all clients, are open already; close one"
            );
            Problem::new(StatusCode::TOO_MANY_REQUESTS, detail)
        })
    }
}

/// The answer, if it comes in time and nothing panics.
async fn in_time<T>(
    limit: Duration,
    answered: impl Future<Output = Option<T>>,
) -> Result<T, Problem> {
    match timeout(limit, answered).await {
        Ok(Some(answer)) => Ok(answer),
        Ok(None) => Err(Problem::internal(
            "the request failed: see the log of the agent",
        )),
        Err(_) => Err(late(limit)),
    }
}

fn late(limit: Duration) -> Problem {
    Problem::new(
        StatusCode::SERVICE_UNAVAILABLE,
        format!("no answer in {limit:?}: the agent is busy; ask again later"),
    )
}

/// A query that ran for as long as one may.
pub(super) fn too_long() -> Problem {
    late(RUN_TIMEOUT)
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::{Bounds, MAX_LIMIT, ROWS_PER_UNIT};
    use crate::places::Holder;

    #[tokio::test(start_paused = true)]
    async fn a_client_has_a_third_of_the_rows_and_small_answers_never_wait() {
        let bounds = Bounds::new();
        let wait = Duration::from_secs(1);
        let take = |user, rows| timeout(wait, bounds.memory(Holder::User(user), rows));
        let first = take(1, MAX_LIMIT).await.expect("free").expect("open");
        assert!(take(1, MAX_LIMIT).await.is_err(), "it has its third");
        let others = [take(2, MAX_LIMIT).await, take(3, MAX_LIMIT).await];
        assert!(others.iter().all(Result::is_ok), "each has its own");
        assert!(take(4, MAX_LIMIT).await.is_err(), "all are taken");
        let large = take(4, MAX_LIMIT);
        let small = [take(1, ROWS_PER_UNIT), take(4, ROWS_PER_UNIT)];
        let (large, small) =
            futures_util::future::join(large, futures_util::future::join_all(small)).await;
        assert!(large.is_err() && small.iter().all(Result::is_ok));
        drop(first);
        assert!(take(4, MAX_LIMIT).await.is_ok());
    }
}
