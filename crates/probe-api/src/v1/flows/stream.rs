//! `GET /api/v1/flows/stream`: the same as `/api/v1/flows`, again and again.

use std::time::Duration;

use axum::{
    body::{Body, Bytes},
    extract::RawQuery,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream::unfold;
use tokio::{
    task::yield_now,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{FlowsQuery, answer::Pieces, no_text, top};
use crate::{limits::Asked, problem::Problem, query::Query, shares::Share};

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
    asked: Asked,
    query: FlowsQuery,
    ticks: Interval,
    /// What is left of the event that is being sent.
    event: Option<Pieces>,
    over: bool,
    _place: Share,
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
pub(crate) async fn stream(asked: Asked, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let parsed = asked.query(0, move |state, _| {
        let query = StreamQuery::parse(query.as_deref())?;
        super::check_interfaces(state, &query.flows.iface)?;
        Ok(query)
    });
    let (StreamQuery { flows, every }, _) = parsed.await?;
    let place = asked.stream()?;
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let watching = Watching {
        asked,
        query: flows,
        ticks,
        event: None,
        over: false,
        _place: place,
    };
    let events = HeaderValue::from_static("text/event-stream");
    let body = Body::from_stream(unfold(watching, next));
    Ok(([(header::CONTENT_TYPE, events)], body).into_response())
}

type Piece = serde_json::Result<Bytes>;

/// The next piece of an event, of the one that is being sent or after the next tick; none when the
/// agent stops.
async fn next(mut watching: Watching) -> Option<(Piece, Watching)> {
    if let Some(piece) = watching.event.as_mut().and_then(Iterator::next) {
        yield_now().await;
        return Some((piece, watching));
    }
    // Its rows are let go before the next tick.
    watching.event = None;
    if watching.over {
        return None;
    }
    let mut stopped = watching.asked.stopped.clone();
    tokio::select! {
        _ = watching.ticks.tick() => {}
        _ = stopped.changed() => return None,
    }
    let piece = match watching.begin().await {
        Ok(mut event) => {
            let piece = event.next().unwrap_or_else(|| Ok(Bytes::new()));
            watching.event = Some(event);
            piece
        }
        Err(problem) => {
            watching.over = true;
            let text = serde_json::to_string(&problem);
            text.map(|text| format!("event: problem\ndata: {text}\n\n").into())
        }
    };
    Some((piece, watching))
}

impl Watching {
    async fn begin(&self) -> Result<Pieces, Problem> {
        let query = self.query.clone();
        let rows = query.limit.unwrap_or(super::DEFAULT_LIMIT);
        let selected = self.asked.query(rows, move |state, waiting| {
            super::check_interfaces(state, &query.iface)?;
            top::select(&state.manager, &query, waiting)
        });
        let (selected, memory) = selected.await?;
        let event = Pieces::between("event: flows\ndata: ", selected, memory, "\n\n");
        event.map_err(|error| no_text(&error))
    }
}
