//! `bench sinks`: what each sink takes for a flow that it stores, in CPU time and in its files.
//!
//! One interval of random flows goes through the sink as a writeout thread hands it over, to a file
//! below the directory for temporary files. The flows are the same in every run, and so are the
//! files but for the host's name.

#![expect(
    clippy::cast_precision_loss,
    reason = "numbers of flows and octets far below 2^52"
)]

use std::{path::Path, sync::Arc, time::Duration};

use anyhow::{Context, Result, anyhow};
use jiff::{SignedDuration, Timestamp};
use probe_common::{
    classify::Evidence,
    ephash::EpHash,
    headers::ip_protocol::{TCP, UDP},
};
use probe_flow::{
    flow::{Flow, FlowCounters, FlowMap},
    interval::{Interval, Watched},
    ledger::Ledger,
    ticks::{TickClock, millis},
};
use probe_store::{
    WriteoutHandler, open_sinks,
    options::{Retention, SinkConfig, SinkFormat},
};
use serde_json::json;

use crate::{
    Common,
    facts::Facts,
    process::thread_user_seconds,
    quiet::Quiet,
    random::Random,
    report::{self, Table, Verdict},
    stats::median,
};

/// Flows of the interval.
const FLOWS: u32 = 1_000_000;
const SHORT_FLOWS: u32 = 20_000;

/// Clients: few with many flows each, and more than there are flows.
const HOSTS: [(&str, u32); 2] = [("1,000", 1000), ("any", u32::MAX)];

/// 10.0.0.0 and 198.18.0.0: the addresses of the hosts go up from there.
const CLIENT_NETWORK: u32 = 0x0a00_0000;
const SERVER_NETWORK: u32 = 0xc612_0000;
const SERVERS: u32 = 1 << 17;

/// How long the interval is.
const LENGTH_MS: u32 = 5 * 60 * 1000;

/// Octets that a flow may take in a file, far from what it takes: a column that no longer compresses
/// or a name that grew shows.
const fn most_octets(format: SinkFormat) -> f64 {
    match format {
        SinkFormat::Parquet => 80.0,
        SinkFormat::Json => 600.0,
    }
}

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds, each of which measures everything once.
    #[arg(long)]
    rounds: Option<usize>,
    /// How long a round may wait until neighbours leave the core alone, and measure again.
    #[arg(long, value_name = "SECONDS", default_value_t = 20)]
    patience: u64,
}

/// The flows of one IP version and one number of hosts.
struct Traffic {
    version: u8,
    hosts: &'static str,
    interval: Interval,
}

/// What one format took for one interval.
struct Row<'a> {
    name: &'static str,
    format: SinkFormat,
    traffic: &'a Traffic,
    /// Of user CPU time for a million flows, a value for each round.
    seconds: Vec<f64>,
    octets_per_flow: f64,
}

pub(crate) fn run(args: &Args, common: &Common) -> Result<()> {
    let rounds = args.rounds.unwrap_or(if common.short { 1 } else { 5 });
    let number = if common.short { SHORT_FLOWS } else { FLOWS };
    let facts = Facts::gather();
    let mut traffic = Vec::new();
    for (hosts, clients) in HOSTS {
        let v4 = FlowMap {
            v4: flows(number, clients, v4_address),
            v6: Vec::new(),
        };
        let v6 = FlowMap {
            v4: Vec::new(),
            v6: flows(number, clients, v6_address),
        };
        traffic.push(Traffic::new(4, hosts, v4));
        traffic.push(Traffic::new(6, hosts, v6));
    }
    let mut rows = Vec::new();
    for (name, format) in SinkFormat::ALL {
        rows.extend(
            traffic
                .iter()
                .map(|traffic| Row::new(name, format, traffic)),
        );
    }
    let mut quiet = Quiet::new();
    for round in 0..rounds {
        eprintln!(":: round {} of {rounds}", round + 1);
        if !common.short {
            quiet.set_patience(Duration::from_secs(args.patience));
        }
        for turn in 0..rows.len() {
            let index = (turn + round) % rows.len();
            rows[index].measure(&mut quiet)?;
        }
    }
    print(&facts, rounds, &rows);
    println!("{quiet}\n");
    let verdicts: Vec<_> = rows.iter().map(Row::verdict).collect();
    let results = rows.iter().map(|row| {
        json!({
            "format": row.name,
            "ip_version": row.traffic.version,
            "hosts": row.traffic.hosts,
            "user_seconds_per_million": row.seconds,
            "median_user_seconds_per_million": median(&row.seconds),
            "octets_per_flow": row.octets_per_flow,
        })
    });
    let numbers = json!({
        "rounds": rounds,
        "flows": number,
        "neighbours": quiet.json(),
        "results": results.collect::<Vec<_>>(),
    });
    report::finish(common, &facts, "sinks", numbers, &verdicts)
}

impl<'a> Row<'a> {
    const fn new(name: &'static str, format: SinkFormat, traffic: &'a Traffic) -> Self {
        Self {
            name,
            format,
            traffic,
            seconds: Vec::new(),
            octets_per_flow: 0.0,
        }
    }

    /// Stores the interval in a directory of its own, and removes that.
    fn measure(&mut self, quiet: &mut Quiet) -> Result<()> {
        let interval = &self.traffic.interval;
        let flows = interval.flows.len() as f64;
        let seconds = quiet.measure(|| {
            let directory = tempfile::tempdir().context("cannot make a temporary directory")?;
            let mut sink = open(self.format, directory.path())?;
            let before = thread_user_seconds()?;
            sink.write(interval)?;
            let seconds = thread_user_seconds()? - before;
            self.octets_per_flow = sink.stored_bytes() as f64 / flows;
            Ok(seconds)
        })?;
        self.seconds.push(seconds / flows * 1e6);
        Ok(())
    }

    fn verdict(&self) -> Verdict {
        let Traffic { version, hosts, .. } = self.traffic;
        let target = format!(
            "{}, IPv{version}, {hosts} hosts, octets per flow",
            self.name
        );
        Verdict::at_most(target, self.octets_per_flow, most_octets(self.format))
    }
}

fn open(format: SinkFormat, path: &Path) -> Result<Box<dyn WriteoutHandler>> {
    let config = SinkConfig {
        format,
        path: path.to_owned(),
        retention: Retention::default(),
        compact: false,
    };
    let sinks = open_sinks(&[config], probe_capture::clock::now).map_err(|errors| {
        let errors: Vec<_> = errors.iter().map(ToString::to_string).collect();
        anyhow!(errors.join("; "))
    })?;
    sinks.into_iter().next().context("no sink was opened")
}

impl Traffic {
    fn new(version: u8, hosts: &'static str, flows: FlowMap) -> Self {
        let start = start();
        let interval = Interval {
            iface: Arc::from("eth0"),
            start,
            end: start + Duration::from_millis(LENGTH_MS.into()),
            end_since_boot: None,
            flows,
            tick_clock: TickClock::millis(start),
            totals: FlowCounters::default(),
            ledger: Ledger::default(),
            watched: Watched::default(),
        };
        Self {
            version,
            hosts,
            interval,
        }
    }
}

/// 2026-01-01, since a file's size depends on its times a little.
fn start() -> Timestamp {
    Timestamp::UNIX_EPOCH + SignedDuration::from_hours(20_454 * 24)
}

fn v4_address(host: u32) -> [u8; 4] {
    host.to_be_bytes()
}

/// A host that has chosen its interface identifier at random (RFC 8981), in one of many networks.
fn v6_address(host: u32) -> [u8; 16] {
    let identifier = u64::from(host).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let network = 0x2001_0db8_0000_0000 | u64::from(host >> 8 & 0xffff);
    (u128::from(network) << 64 | u128::from(identifier)).to_be_bytes()
}

/// Flows of clients with servers, as a gateway has them.
fn flows<const N: usize>(
    number: u32,
    clients: u32,
    address: fn(u32) -> [u8; N],
) -> Vec<(EpHash<N>, Flow)> {
    const SERVER_PORTS: [u16; 6] = [443, 443, 443, 80, 53, 5001];
    let mut random = Random::new();
    let servers = clients.min(SERVERS);
    let mut flow = || {
        let server_port = SERVER_PORTS[random.below(6) as usize];
        let is_udp = server_port == 53;
        let key = EpHash {
            src_addr: address(CLIENT_NETWORK.wrapping_add(random.below(clients))),
            src_port: ephemeral_port(&mut random),
            dst_addr: address(SERVER_NETWORK + random.below(servers)),
            dst_port: server_port.to_be_bytes(),
            ip_protocol: if is_udp { UDP } else { TCP },
        };
        (key, counted(is_udp, &mut random))
    };
    (0..number).map(|_| flow()).collect()
}

/// A random port of 32768 to 65535.
fn ephemeral_port(random: &mut Random) -> [u8; 2] {
    let [.., high, low] = random.below(1 << 15).to_be_bytes();
    [high | 0x80, low]
}

/// Counts of a flow: few packets mostly, sometimes thousands.
fn counted(is_udp: bool, random: &mut Random) -> Flow {
    let mut packets = || 1 + (random.below(1 << 12) >> random.below(12));
    let (received, sent) = (u64::from(packets()), u64::from(packets()));
    let first = millis(start()).wrapping_add(random.below(LENGTH_MS));
    Flow {
        counters: FlowCounters {
            bytes_rcvd: received * u64::from(60 + random.below(1440)),
            bytes_sent: sent * u64::from(60 + random.below(1440)),
            packets_rcvd: received,
            packets_sent: sent,
        },
        first,
        last: first.wrapping_add(random.below(10_000)),
        tcp_flags: if is_udp { 0 } else { 0x1b },
        evidence: if is_udp {
            Evidence::Ports
        } else {
            Evidence::Handshake
        },
        is_overflow: false,
    }
}

/// As Markdown, for docs/PERFORMANCE.md.
fn print(facts: &Facts, rounds: usize, rows: &[Row<'_>]) {
    println!("{facts}  \nuser CPU time, medians of {rounds} rounds\n");
    let mut table = Table::new([
        "format, IP version, hosts",
        "s per million flows",
        "octets per flow",
    ]);
    for row in rows {
        let Traffic { version, hosts, .. } = row.traffic;
        table.row([
            format!("{}, IPv{version}, {hosts}", row.name),
            format!("{:.2}", median(&row.seconds)),
            format!("{:.1}", row.octets_per_flow),
        ]);
    }
    table.print();
}
