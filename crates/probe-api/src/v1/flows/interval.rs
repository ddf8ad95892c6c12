//! `GET /api/v1/interval`: the running interval as sinks would store it now, and what they have not stored
//! yet.
//!
//! A reader of a store adds this to what it finds there. Nothing is in both, and nothing in neither: what
//! ended before the running interval is stored when it is asked, or among the `unwritten` of its sink, or
//! lost by it. For that the store is to be listed after the answer has come.

use std::{collections::BTreeMap, fs::metadata, ops::ControlFlow, os::unix::fs::MetadataExt};

use axum::{
    extract::RawQuery,
    http::header,
    response::{IntoResponse, Response},
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    FlowsQuery, LiveFlow, MAX_LIMIT, Order, Sort, Totals,
    answer::Pieces,
    no_text,
    top::{FLOWS_AT_A_TIME, First, Selected},
};
use crate::{
    ApiState, SinkStore, lane,
    limits::{Asked, too_long},
    problem::Problem,
    query::Query,
    v1::{check_interfaces, ledger::LedgerCounts},
};
use probe_flow::{
    coverage::Compared,
    flow::FlowCounters,
    interval::{Interval, Watched},
};

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/interval";

/// Parameters that the endpoint knows.
const PARAMETERS: [&str; 3] = ["iface", "filter", "limit"];

/// The running interval of all interfaces, as it would be stored if it ended now.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RunningInterval {
    /// When this was read.
    pub at: Timestamp,
    /// Name of the host, as its flows are stored with.
    pub host: String,
    /// The running interval of each interface.
    pub interfaces: Vec<RunningLedger>,
    /// What each sink that stores in a directory has not stored yet, by name of the sink.
    pub stores: BTreeMap<String, UnwrittenStore>,
    /// Flows that passed the filter.
    pub matched: u64,
    /// Whether there are more than `flows` has.
    pub truncated: bool,
    /// Sums over all that passed.
    pub total: Totals,
    /// The `limit` flows of them with most bytes.
    pub flows: Vec<LiveFlow>,
}

/// The ledger of one interface in the running interval, with the keys of a stored ledger.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RunningLedger {
    /// Name of the interface.
    pub iface: String,
    /// Start of the running interval.
    pub start: Timestamp,
    /// When the flows were copied, which is the end of what they are of.
    pub end: Timestamp,
    /// Packets and bytes of the interval, by identity. Packets that came between the reading of the counters
    /// and the copy of the flows are in both; of lost ones, those until the reading.
    #[serde(flatten)]
    pub counts: LedgerCounts,
    /// How often removed programs were attached again.
    pub reattached: u64,
    /// How long programs were missing.
    pub detached_ms: u64,
    /// How well the link was covered.
    pub coverage: RunningCoverage,
    /// How often the wall clock was set in the interval.
    pub clock_steps: u64,
    /// By how much altogether; negative if it was set back.
    pub clock_stepped_ms: i64,
}

/// Coverage of the running interval, up to the last check of the link.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RunningCoverage {
    /// Coverage of the received packets.
    pub rcvd: RunningRatio,
    /// Coverage of the sent packets.
    pub sent: RunningRatio,
}

/// Coverage of one direction.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct RunningRatio {
    /// Packets by the link's own counter.
    pub link: u64,
    /// Frames that we saw of those, super-packets once.
    pub frames: u64,
    /// Packets that we saw of those, as on the wire.
    pub packets: u64,
    /// Share that we saw; null if the link moved none.
    pub ratio: Option<f64>,
}

/// A directory that a sink stores in, and what is still to come there.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct UnwrittenStore {
    /// Path of the directory, as the agent sees it.
    pub path: String,
    /// Device of the directory (stat(2)); null if the agent cannot tell.
    pub device: Option<u64>,
    /// Inode of the directory, which tells it apart from all others of the device.
    pub inode: Option<u64>,
    /// Intervals that ended and wait to be written, or are being written, oldest first.
    pub unwritten: Vec<UnwrittenInterval>,
}

/// An interval that has ended and is not stored yet.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct UnwrittenInterval {
    /// Name of the interface.
    pub iface: String,
    /// Start of the interval.
    pub start: Timestamp,
    /// End of the interval.
    pub end: Timestamp,
}

impl From<&Compared> for RunningRatio {
    fn from(compared: &Compared) -> Self {
        Self {
            link: compared.link,
            frames: compared.frames,
            packets: compared.packets,
            ratio: compared.ratio(),
        }
    }
}

impl From<&Interval> for RunningLedger {
    fn from(interval: &Interval) -> Self {
        let Watched {
            reattached,
            detached,
            coverage: [rcvd, sent],
            clock_steps,
            clock_stepped,
            ..
        } = &interval.watched;
        Self {
            iface: interval.iface.to_string(),
            start: interval.start,
            end: interval.end,
            counts: LedgerCounts::from(&interval.ledger),
            reattached: *reattached,
            detached_ms: detached.as_millis().try_into().unwrap_or(u64::MAX),
            coverage: RunningCoverage {
                rcvd: rcvd.into(),
                sent: sent.into(),
            },
            clock_steps: *clock_steps,
            clock_stepped_ms: clock_stepped.as_millis().try_into().unwrap_or(i64::MAX),
        }
    }
}

impl From<SinkStore> for UnwrittenStore {
    fn from(store: SinkStore) -> Self {
        let metadata = metadata(&store.root).ok();
        let unwritten = store.unwritten.into_iter();
        Self {
            path: store.root.display().to_string(),
            device: metadata.as_ref().map(MetadataExt::dev),
            inode: metadata.as_ref().map(MetadataExt::ino),
            unwritten: unwritten.collect(),
        }
    }
}

/// The running interval as it would be stored now, and what is not stored yet
#[utoipa::path(get, path = PATH, tag = "capture",
    params(
        ("iface" = Option<Vec<String>>, Query, description = "Only these interfaces; may be repeated"),
        ("filter" = Option<String>, Query, description = "Only flows that pass this filter (docs/FILTER.md)",
            max_length = 4096, example = "tcp port 443"),
        ("limit" = Option<usize>, Query, description = "Most flows, those with most bytes; 100,000 by default",
            minimum = 0, maximum = 100_000),
    ),
    responses(
        (status = 200, description = "Ledgers and flows, and what sinks have not stored", body = RunningInterval),
        (status = 404, description = "An interface is not captured", body = Problem,
            content_type = "application/problem+json"),
    ),
)]
pub(crate) async fn interval(asked: Asked, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let limit = read(query.as_deref())?.limit.unwrap_or(MAX_LIMIT);
    let found = asked.query(limit, move |state, waiting| {
        let query = read(query.as_deref())?;
        check_interfaces(state, &query.iface)?;
        find(state, &query, limit, waiting)
    });
    let (selected, memory) = found.await?;
    let pieces = Pieces::new(selected, memory).map_err(|error| no_text(&error))?;
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((json, pieces.into_body()).into_response())
}

/// Reads the query of a request, which is what stands behind the question mark.
fn read(raw: Option<&str>) -> Result<FlowsQuery, Problem> {
    FlowsQuery::from_query(&Query::parse(raw, &PARAMETERS)?)
}

fn find(
    state: &ApiState,
    query: &FlowsQuery,
    limit: usize,
    waiting: &lane::Order,
) -> Result<Selected<RunningInterval>, Problem> {
    let wanted: Vec<_> = query.iface.iter().map(String::as_str).collect();
    let mut interfaces = Vec::new();
    let (mut matched, mut total) = (0, FlowCounters::default());
    let mut largest = First::new(Sort::Bytes, Order::Desc, limit);
    let mut is_over = false;
    let visit = |interval: Interval| {
        interfaces.push(RunningLedger::from(&interval));
        let filter = query.filter.of_iface(&interval.iface);
        for (number, row) in interval.flows.rows().enumerate() {
            if number % FLOWS_AT_A_TIME == 0 && waiting.is_over() {
                is_over = true;
                return ControlFlow::Break(());
            }
            if filter.matches(&interval.iface, &row) {
                matched += 1;
                total += row.flow.counters;
                largest.push(&interval.iface, row);
            }
        }
        ControlFlow::Continue(())
    };
    let tick_clock = state.manager.flush_and_visit_intervals(&wanted, visit);
    if is_over {
        return Err(too_long());
    }
    let rows = largest.into_rows();
    // Asked behind the flows: what has ended before is with the sinks by now.
    let stores = state.agent.stores().into_iter();
    let host = rustix::system::uname();
    let head = RunningInterval {
        at: Timestamp::now(),
        host: host.nodename().to_string_lossy().into_owned(),
        interfaces,
        stores: stores.map(|it| (it.sink.clone(), it.into())).collect(),
        matched,
        truncated: matched > rows.len() as u64,
        total: total.into(),
        flows: Vec::new(),
    };
    Ok(Selected {
        head,
        rows,
        tick_clock,
    })
}
