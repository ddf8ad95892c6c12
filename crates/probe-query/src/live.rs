//! The running interval, from the agent that writes the asked store: so that a time that ends now has all
//! that came until now.
//!
//! `GET /api/v1/interval` has the flows and ledgers of the running interval of each interface, and the
//! intervals that have ended but are not in the store yet. The store is listed after that answer has come.
//! What ended before is then stored; else it was still unwritten, which is waited for and then told; or the
//! agent has lost it, which shows as a hole. What a rotation has stored since is in the answer already and
//! is left out ([`Live::is_newer`]).
//!
//! An agent that does not run or may not be asked is no error: the answer is about what is stored, and the
//! report says until when that is.

mod answer;
mod batch;
mod client;

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use datafusion::arrow::record_batch::RecordBatch;
use jiff::Timestamp;
use probe_flow::filter::Filter;
use serde::Serialize;
use tokio::time::{Instant, sleep, timeout_at};

use self::{
    answer::{Answer, Store},
    client::Refusal,
};
use crate::{
    completeness::Span, error::QueryError, filter, ledger::StoredLedger, progress::Progress,
    time::Range,
};

/// Where the agent listens unless it is configured otherwise.
pub const DEFAULT_SOCKET: &str = "/run/probe/probe.sock";

/// How long an agent may take to answer. It needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// How long intervals that have ended are waited for. A sink takes some 50 ms for one.
const UNWRITTEN_PATIENCE: Duration = Duration::from_secs(3);
/// Between two looks whether they are written.
const PAUSE: Duration = Duration::from_millis(30);

/// What became of the question to the agent, for the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum State {
    /// Nobody wanted it, or the asked time has ended.
    #[default]
    NotAsked,
    /// No agent answers on the socket.
    NotRunning,
    /// An agent is there and does not give it; a sentence says why and what helps.
    Refused {
        /// A sentence for people: what failed, and the remedy.
        why: String,
    },
    /// The agent that answers writes none of the asked stores.
    OfAnotherStore,
    /// The running interval is part of the answer.
    Merged {
        /// Number of the store that the agent writes.
        store: usize,
        /// How many running intervals are in the answer.
        intervals: usize,
        /// When the agent has answered: until then the answer has everything.
        until: Timestamp,
        /// Flows that the agent left out, since it gives no more than 100,000.
        left_out: Option<LeftOut>,
        /// Intervals that had ended and were not stored in time; their flows are missing.
        unwritten: Vec<Unwritten>,
    },
}

impl State {
    /// Whether nothing is missing that the agent has. What it has not been asked for is not missing: the
    /// report says until when the answer is.
    pub fn is_whole(&self) -> bool {
        match self {
            Self::Merged {
                left_out,
                unwritten,
                ..
            } => left_out.is_none() && unwritten.is_empty(),
            _ => true,
        }
    }

    /// Intervals of this store that have ended and are not in it.
    pub(crate) fn unwritten_of(&self, number: usize) -> &[Unwritten] {
        match self {
            Self::Merged {
                store, unwritten, ..
            } if *store == number => unwritten,
            _ => &[],
        }
    }
}

/// Flows of the running interval that are not in the answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
pub struct LeftOut {
    /// Number of flows that were left out.
    pub flows: u64,
    /// Packets that these flows have.
    pub packets: u64,
    /// Octets that these flows have, from the IP header on.
    pub bytes: u64,
}

/// An interval that has ended and is not stored.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
pub struct Unwritten {
    /// Name of the interface.
    pub iface: Arc<str>,
    /// Bounds of the interval.
    #[serde(flatten)]
    pub span: Span,
}

/// The running interval of one interface.
#[derive(Clone, Debug)]
pub struct Running {
    /// Name of the interface.
    pub iface: Arc<str>,
    /// Its ledger, which ends when the agent answered.
    pub ledger: StoredLedger,
}

/// What the agent of one of the asked stores has given.
#[derive(Clone, Debug)]
pub struct Live {
    /// Number of the store.
    pub store: usize,
    /// Name of the host.
    pub host: Arc<str>,
    /// When the agent has answered.
    pub at: Timestamp,
    /// The running interval of each interface.
    pub running: Vec<Running>,
    /// The flows, with the columns of the store.
    pub flows: RecordBatch,
    /// What is told of it.
    pub state: State,
}

/// What is asked of the agent.
pub(crate) struct Wanted<'a> {
    /// Path of the agent's unix socket.
    pub(crate) socket: &'a Path,
    /// The stores that are asked.
    pub(crate) stores: &'a [PathBuf],
    /// Only flows that pass it.
    pub(crate) filter: &'a Filter,
    /// The time that is asked for.
    pub(crate) range: Range,
}

impl Live {
    /// Whether an interval of the store began with the running one or later: a rotation has ended that since,
    /// and its flows are in the answer already.
    pub(crate) fn is_newer(&self, iface: &str, start: Timestamp) -> bool {
        let running = self.running.iter().find(|it| &*it.iface == iface);
        start >= running.map_or(self.at, |it| it.ledger.start)
    }
}

/// Asks the agent for the running interval, and waits for what it has not stored yet.
///
/// # Errors
///
/// [`QueryError::Cancelled`] alone.
pub(crate) async fn ask(
    wanted: &Wanted<'_>,
    progress: &Progress,
) -> Result<Result<Live, State>, QueryError> {
    progress.begin("asking the agent", 1);
    tokio::select! {
        biased;
        () = progress.cancelled() => Err(QueryError::Cancelled),
        outcome = try_ask(wanted) => Ok(outcome.map_err(Refusal::into_state)),
    }
}

async fn try_ask(wanted: &Wanted<'_>) -> Result<Live, Refusal> {
    let deadline = Instant::now() + PATIENCE;
    let target = answer::target(wanted.filter, answer::MOST_FLOWS);
    let body = client::get(wanted.socket, &target, deadline).await?;
    let answer = Answer::read(&body)?;
    let (number, store) = the_store(wanted.stores, &answer.stores).ok_or(Refusal::OtherStore)?;
    let flows = batch::of(&answer)?;
    let left_out = answer.left_out();
    let is_wanted = |iface: &str| filter::may_pass(wanted.filter, iface);
    let range = Range {
        since: wanted.range.since,
        until: wanted.range.until.max(answer.at),
    };
    let mut unwritten = store.unwritten(range);
    unwritten.retain(|it| is_wanted(&it.iface));
    if !unwritten.is_empty() {
        wait_for(&mut unwritten, wanted, range, number).await;
    }
    let running = answer.interfaces.into_iter();
    let running: Vec<_> = running
        .filter(|it| is_wanted(&it.iface))
        .map(|it| Running {
            iface: it.iface.into(),
            ledger: it.ledger,
        })
        .collect();
    Ok(Live {
        store: number,
        host: answer.host.into(),
        at: answer.at,
        state: State::Merged {
            store: number,
            intervals: running.len(),
            until: answer.at,
            left_out,
            unwritten,
        },
        running,
        flows,
    })
}

/// The number of the first asked store that is one of the agent's: the same directory, by whatever path.
fn the_store<'a>(
    asked: &[PathBuf],
    stores: &'a BTreeMap<String, Store>,
) -> Option<(usize, &'a Store)> {
    asked.iter().enumerate().find_map(|(number, path)| {
        let metadata = fs::metadata(path).ok()?;
        let identity = (Some(metadata.dev()), Some(metadata.ino()));
        let store = stores
            .values()
            .find(|store| (store.device, store.inode) == identity)?;
        Some((number, store))
    })
}

/// Waits until these intervals are stored, or the agent has given them up; keeps those that are not in time.
async fn wait_for(
    unwritten: &mut Vec<Unwritten>,
    wanted: &Wanted<'_>,
    range: Range,
    number: usize,
) {
    let deadline = Instant::now() + UNWRITTEN_PATIENCE;
    let target = answer::target(&Filter::default(), 0);
    while !unwritten.is_empty() && Instant::now() < deadline {
        sleep(PAUSE).await;
        // Whatever is not known is as it was.
        let Ok(body) = client::get(wanted.socket, &target, deadline).await else {
            continue;
        };
        let Ok(answer) = Answer::read(&body) else {
            continue;
        };
        let store = the_store(&wanted.stores[number..=number], &answer.stores);
        let left = store.map_or_else(Vec::new, |(_, store)| store.unwritten(range));
        unwritten.retain(|it| left.contains(it));
    }
}

/// Reads until the deadline.
async fn in_time<T>(
    deadline: Instant,
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    match timeout_at(deadline, work).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Refusal::Other(format!(
            "the agent has not answered within {} s; see whether it is stopped or short of CPU time \
             (`systemctl status probe-agent`)",
            PATIENCE.as_secs()
        ))),
    }
}

#[cfg(test)]
mod tests;
