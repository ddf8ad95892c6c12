//! Questions of the tests: the words of a command line, and the JSON of the answer. And small stores.

use std::{path::Path, time::Duration};

use clap::Parser;
use jiff::{Timestamp, tz::TimeZone};
use probe_common::{classify::Evidence, control::Tally, ephash::EpHash};
use probe_flow::{
    flow::{Flow, FlowCounters, FlowMap},
    interval::{Interval, Watched},
    ledger::Ledger,
    moment::Moment,
    ticks::{TickClock, millis},
};
use probe_store::{WriteoutHandler, file_sink::FileSink, options::Retention, parquet::Parquet};
use serde_json::Value;

use crate::{ask::ask, cli::Cli, error::QueryError, output::Json, progress::Progress, time::Now};

/// Asks a store as of the end of November 2026, in UTC.
pub(crate) fn ask_json(root: &Path, words: &[&str]) -> Result<Value, QueryError> {
    ask_live(root, &[words, &["--no-live"]].concat())
}

/// As [`ask_json`], and the agent whose socket is among the words.
pub(crate) fn ask_live(root: &Path, words: &[&str]) -> Result<Value, QueryError> {
    let mut out = Vec::new();
    let sink = &mut Json::new(&mut out);
    ask_into(root, words, sink)?;
    let text = || String::from_utf8_lossy(&out);
    Ok(serde_json::from_slice(&out).unwrap_or_else(|error| panic!("{error}: {}", text())))
}

/// As [`ask_live`], with the answer in any format.
pub(crate) fn ask_into(
    root: &Path,
    words: &[&str],
    sink: &mut dyn crate::output::Sink,
) -> Result<crate::completeness::Report, QueryError> {
    let cli = ["probe-query", "--utc", "--store", root.to_str().unwrap()];
    let cli = Cli::try_parse_from(cli.iter().chain(words)).unwrap();
    let now = Now::new("2026-12-01T00:30:00Z".parse().unwrap(), TimeZone::UTC);
    let question = cli.question(now, true)?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(ask(&question, sink, &Progress::hidden()))
}

/// Stores an interval of `eth0` with flows of one received packet of 100 octets, by clients of
/// 198.18.0.1, .2 and so on to port 53.
pub(crate) fn store_flows(root: &Path, start: &str, end: &str, flows: u8) {
    let flow = |number: u8| {
        let key = EpHash {
            src_addr: [198, 18, 0, number],
            src_port: 40_000_u16.to_be_bytes(),
            dst_addr: [198, 18, 1, 1],
            dst_port: 53_u16.to_be_bytes(),
            ip_protocol: 17,
        };
        let flow = Flow {
            counters: FlowCounters {
                bytes_rcvd: 100,
                packets_rcvd: 1,
                ..FlowCounters::default()
            },
            evidence: Evidence::Ports,
            ..Flow::default()
        };
        (key, flow)
    };
    let flows = FlowMap {
        v4: (1..=flows).map(flow).collect(),
        v6: Vec::new(),
    };
    store_interval(root, start, end, flows);
}

/// Stores an interval of `eth0` with flows of received packets, which are all of them.
pub(crate) fn store_interval(root: &Path, start: &str, end: &str, mut flows: FlowMap) {
    let clock = || Moment {
        wall: "2026-12-01T00:30:00Z".parse().unwrap(),
        since_boot: Duration::from_hours(1),
    };
    let start: Timestamp = start.parse().unwrap();
    let mut totals = FlowCounters::default();
    for (_, flow) in &mut flows.v4 {
        (flow.first, flow.last) = (millis(start), millis(start));
        totals.packets_rcvd += flow.counters.packets_rcvd;
        totals.bytes_rcvd += flow.counters.bytes_rcvd;
    }
    let tally = Tally {
        packets: totals.packets_rcvd,
        bytes: totals.bytes_rcvd,
    };
    let interval = Interval {
        iface: "eth0".into(),
        start,
        end: end.parse().unwrap(),
        end_since_boot: None,
        flows,
        tick_clock: TickClock::millis(start),
        totals,
        ledger: Ledger {
            seen: tally,
            recorded: tally,
            flows: tally,
            ..Ledger::default()
        },
        watched: Watched::default(),
    };
    let root = root.to_owned();
    let sink = FileSink::open(Parquet::new(), root, Retention::default(), clock);
    sink.unwrap().write(&interval).unwrap();
}
