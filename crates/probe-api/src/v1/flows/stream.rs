//! `GET /api/v1/flows/stream`: the same as `/api/v1/flows`, again and again.

use std::{convert::Infallible, time::Duration};

use axum::{
    extract::{RawQuery, State},
    response::sse::{Event, Sse},
};
use futures_util::{Stream, stream::unfold};
use tokio::{
    sync::OwnedSemaphorePermit,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{FlowsQuery, query_flows};
use crate::{limits::Server, problem::Problem, query::Query};

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/flows/stream";

/// Seconds between two checks, unless the client asks for others.
pub const DEFAULT_EVERY: u64 = 2;

/// Most seconds between two checks.
const MAX_EVERY: u64 = 60;

/// Which flows, and how often.
#[derive(Clone, Debug, PartialEq)]
pub struct StreamQuery {
    /// What each event answers.
    pub flows: FlowsQuery,
    /// Time between two events: 1 to 60 seconds.
    pub every: Duration,
}

impl StreamQuery {
    /// Reads the query of a request, which is what stands behind the question mark.
    ///
    /// # Errors
    ///
    /// A parameter is unknown, given twice or wrong: status 400, and `detail` names the parameter.
    pub fn parse(raw: Option<&str>) -> Result<Self, Problem> {
        let known: Vec<_> = FlowsQuery::PARAMETERS
            .into_iter()
            .chain(["every"])
            .collect();
        let parsed = Query::parse(raw, &known)?;
        let every = parsed.read("every", |text| {
            let every = text
                .parse()
                .ok()
                .filter(|every| (1..=MAX_EVERY).contains(every));
            let found = text.escape_debug();
            every.ok_or_else(|| {
                format!("must be whole seconds from 1 to {MAX_EVERY}, found `{found}`")
            })
        })?;
        Ok(Self {
            flows: FlowsQuery::from_query(&parsed)?,
            every: Duration::from_secs(every.unwrap_or(DEFAULT_EVERY)),
        })
    }
}

/// One client that watches the flows.
struct Watching {
    server: Server,
    query: FlowsQuery,
    ticks: Interval,
    over: bool,
    _place: OwnedSemaphorePermit,
}

/// Flows of the running interval, again and again
///
/// Server-sent events: `flows` with the answer of `/api/v1/flows` as data, or `problem` with a
/// problem document, after which the stream ends.
#[utoipa::path(get, path = PATH, tag = "capture",
    params(
        FlowsQuery,
        ("every" = Option<u64>, Query, description = "Seconds between two checks, 1 to 60; 2 by default",
            minimum = 1, maximum = 60),
    ),
    responses(
        (status = 200, description = "Events", body = String, content_type = "text/event-stream"),
        (status = 404, description = "An interface is not captured", body = Problem,
            content_type = "application/problem+json"),
        (status = 429, description = "Too many streams are open", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn stream(
    State(server): State<Server>,
    RawQuery(query): RawQuery,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let StreamQuery { flows, every } = StreamQuery::parse(query.as_deref())?;
    super::check_interfaces(&server, &flows.iface)?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = Watching {
        query: flows,
        ticks,
        over: false,
        _place: server.stream()?,
        server,
    };
    Ok(Sse::new(unfold(watching, next)))
}

/// The next event; none when the agent stops.
async fn next(mut watching: Watching) -> Option<(Result<Event, Infallible>, Watching)> {
    if watching.over {
        return None;
    }
    let mut stopped = watching.server.stopped.clone();
    tokio::select! {
        _ = watching.ticks.tick() => {}
        _ = stopped.changed() => return None,
    }
    let answer = query_flows(&watching.server, watching.query.clone()).await;
    let event = match answer {
        Ok(flows) => Event::default().event("flows").json_data(&flows),
        Err(problem) => {
            watching.over = true;
            Event::default().event("problem").json_data(&problem)
        }
    };
    event.ok().map(|event| (Ok(event), watching))
}
