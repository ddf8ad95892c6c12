//! The answer of `GET /api/v1/interval` (docs/openapi.json).

use std::{borrow::Cow, collections::BTreeMap};

use jiff::Timestamp;
use probe_flow::filter::Filter;
use serde::Deserialize;

use super::{LeftOut, Unwritten, client::Refusal};
use crate::{completeness::Span, ledger::StoredLedger, time::Range};

/// Most flows that an agent gives in one answer.
pub(super) const MOST_FLOWS: usize = 100_000;
/// Longest filter that an agent reads.
const MOST_FILTER_OCTETS: usize = 4096;

/// What is asked for: path and query. The agent leaves out what does not pass the filter, so that there is
/// less to send; the engine asks every flow again.
pub(super) fn target(filter: &Filter, limit: usize) -> String {
    let mut query = form_urlencoded::Serializer::new(String::from("/api/v1/interval?"));
    query.append_pair("limit", &limit.to_string());
    let text = filter.to_string();
    if !filter.is_empty() && text.len() <= MOST_FILTER_OCTETS {
        query.append_pair("filter", &text);
    }
    query.finish()
}

/// As the agent wrote it. Keys that are not known are skipped: newer agents may write some.
#[derive(Debug, Deserialize)]
pub(super) struct Answer<'a> {
    pub(super) at: Timestamp,
    pub(super) host: String,
    pub(super) interfaces: Vec<RunningLedger>,
    pub(super) stores: BTreeMap<String, Store>,
    matched: u64,
    total: Counts,
    #[serde(borrow)]
    pub(super) flows: Vec<Flow<'a>>,
}

/// The ledger of an interface.
#[derive(Debug, Deserialize)]
pub(super) struct RunningLedger {
    pub(super) iface: String,
    #[serde(flatten)]
    pub(super) ledger: StoredLedger,
}

/// A directory that the agent stores in.
#[derive(Debug, Deserialize)]
pub(super) struct Store {
    pub(super) device: Option<u64>,
    pub(super) inode: Option<u64>,
    unwritten: Vec<Ended>,
}

#[derive(Debug, Deserialize)]
struct Ended {
    iface: String,
    start: Timestamp,
    end: Timestamp,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
pub(super) struct Counts {
    pub(super) packets_rcvd: u64,
    pub(super) packets_sent: u64,
    pub(super) bytes_rcvd: u64,
    pub(super) bytes_sent: u64,
}

/// A flow, with the fields of stored ones.
#[derive(Debug, Deserialize)]
pub(super) struct Flow<'a> {
    #[serde(borrow)]
    pub(super) iface: Cow<'a, str>,
    pub(super) ip_version: u8,
    pub(super) ip_protocol: u8,
    pub(super) src_addr: Cow<'a, str>,
    pub(super) src_port: u16,
    pub(super) dst_addr: Cow<'a, str>,
    pub(super) dst_port: u16,
    pub(super) packets_rcvd: u64,
    pub(super) packets_sent: u64,
    pub(super) bytes_rcvd: u64,
    pub(super) bytes_sent: u64,
    pub(super) tcp_flags: u8,
    pub(super) direction_evidence: Cow<'a, str>,
    pub(super) direction_confidence: Cow<'a, str>,
    pub(super) overflow: bool,
    pub(super) first_seen: Timestamp,
    pub(super) last_seen: Timestamp,
}

impl<'a> Answer<'a> {
    pub(super) fn read(body: &'a [u8]) -> Result<Self, Refusal> {
        serde_json::from_slice(body).map_err(|error| {
            Refusal::Other(format!(
                "the agent's answer is not understood ({error}); are agent and probe-query of one version?"
            ))
        })
    }

    /// What passed the filter and is not among the flows.
    pub(super) fn left_out(&self) -> Option<LeftOut> {
        let shown = u64::try_from(self.flows.len()).unwrap_or(u64::MAX);
        let flows = self.matched.checked_sub(shown).filter(|left| *left > 0)?;
        let sum = |of_flow: fn(&Flow<'_>) -> u64| self.flows.iter().map(of_flow).sum::<u64>();
        let all = self.total;
        Some(LeftOut {
            flows,
            packets: (all.packets_rcvd + all.packets_sent)
                .saturating_sub(sum(|flow| flow.packets_rcvd + flow.packets_sent)),
            bytes: (all.bytes_rcvd + all.bytes_sent)
                .saturating_sub(sum(|flow| flow.bytes_rcvd + flow.bytes_sent)),
        })
    }
}

impl Store {
    /// The intervals of the asked time that are not stored yet.
    pub(super) fn unwritten(&self, range: Range) -> Vec<Unwritten> {
        let asked = self.unwritten.iter();
        let asked = asked.filter(|it| range.selects(it.start, it.end));
        let unwritten = asked.map(|it| Unwritten {
            iface: it.iface.as_str().into(),
            span: Span {
                since: it.start,
                until: it.end,
            },
        });
        unwritten.collect()
    }
}
