//! `bench e2e`: all CPU time that the machine spends because somebody watches a link.
//!
//! A generator sends frames of many flows at a steady rate through a veth pair; no probe, an empty
//! program, the agent and other probes watch the receiving end in turn. What is compared is the CPU
//! time of the generator (in whose time the kernel handles the frames, hooks included), of the probe
//! and of the kernel's own threads, above that of an empty link: on the same link, half before and half
//! behind. The time of other processes on the machine is not in it.

mod flood;
mod generator;
mod measure;
mod probes;

use anyhow::Result;
use serde_json::{Value, json};

use self::{
    measure::{Measured, Traffic, measure},
    probes::Kind,
};
use crate::{
    Common,
    facts::Facts,
    programs::{Flows, Hook},
    report::{self, Table, Verdict},
    requirements::require,
    stats::{median, middle_half},
};

/// What the agent may cost over the best peer.
const OVER_BEST_PEER: f64 = 1.0 / 12.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds, each of which measures everything once.
    #[arg(long)]
    rounds: Option<usize>,
    /// Length of one measurement.
    #[arg(long)]
    seconds: Option<f64>,
    /// Packets a second, at least 100,000, for all the same: what the best peer takes without loss.
    #[arg(long, default_value_t = 500_000, value_parser = clap::value_parser!(u32).range(100_000..))]
    rate: u32,
    /// Numbers of random flows.
    #[arg(long, value_delimiter = ',')]
    flows: Vec<u32>,
    /// One more probe: a name and the command that watches `{iface}`, and does not go to the
    /// background.
    #[arg(long = "probe", value_name = "NAME=COMMAND", value_parser = Kind::parse)]
    others: Vec<Kind>,
    /// Measure only probes of these names.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// The agent's `capture` section, as YAML in braces.
    #[arg(long, value_name = "YAML", default_value = "{}")]
    capture: String,
    /// Instead: a flood, in which every packet is a new flow, for so many seconds at full rate.
    #[arg(long, value_name = "SECONDS")]
    flood: Option<f64>,
    /// The agent's `max_flows` in the flood.
    #[arg(long, default_value_t = 1_000_000)]
    max_flows: u64,
}

/// All measurements of a probe with a number of flows.
struct Row {
    flows: u32,
    kind: Kind,
    measured: Vec<Measured>,
}

pub(crate) fn run(args: &Args, common: &Common) -> Result<()> {
    require(&["ip", "ethtool", "taskset"])?;
    let facts = Facts::gather();
    if let Some(seconds) = args.flood {
        return flood::run(seconds, args.max_flows, common, &facts);
    }
    let kinds = kinds(args, common);
    let mut flows = args.flows.clone();
    if flows.is_empty() {
        let short: &[u32] = &[1000];
        flows.extend(if common.short {
            short
        } else {
            &[1000, 1 << 16, 1_000_000]
        });
    }
    let rounds = args.rounds.unwrap_or(if common.short { 1 } else { 5 });
    let seconds = args.seconds.unwrap_or(if common.short { 2.0 } else { 3.0 });
    let mut rows = Vec::new();
    for flows in flows {
        rows.extend(kinds.iter().map(|kind| Row {
            flows,
            kind: kind.clone(),
            measured: Vec::new(),
        }));
    }
    for round in 0..rounds {
        for turn in 0..rows.len() {
            // Each begins once, so that none always follows the same.
            let index = (turn + round) % rows.len();
            let row = &mut rows[index];
            eprintln!(
                ":: round {} of {rounds}: {}, {} flows",
                round + 1,
                row.kind.name(),
                row.flows
            );
            let traffic = Traffic {
                flows: Flows::Random(row.flows),
                rate: args.rate,
                seconds,
                share: 1.0,
            };
            let measured = measure(common, &row.kind, &args.capture, traffic)?;
            row.measured.push(measured);
        }
    }
    print(args, &facts, rounds, seconds, &rows);
    let numbers = json!({
        "rounds": rounds,
        "seconds": seconds,
        "rate": args.rate,
        "results": rows.iter().map(Row::json).collect::<Vec<_>>(),
    });
    report::finish(common, &facts, "e2e", numbers, &verdicts(common, &rows))
}

/// The probes that take part; those that are not installed are named.
fn kinds(args: &Args, common: &Common) -> Vec<Kind> {
    let mut kinds = vec![
        Kind::None,
        Kind::Empty(Hook::Tc),
        Kind::Empty(Hook::Xdp),
        Kind::Probe(Hook::Tc),
        Kind::Probe(Hook::Xdp),
    ];
    if !common.short {
        kinds.extend([Kind::Softflowd, Kind::Nfpcapd, Kind::Pmacctd]);
    }
    kinds.extend(args.others.iter().cloned());
    kinds.retain(|kind| {
        let is_wanted = args.only.is_empty() || args.only.iter().any(|it| it == kind.name());
        *kind == Kind::None || is_wanted
    });
    kinds.retain(|kind| {
        if !kind.is_here() {
            eprintln!(":: {} is not installed, and left out", kind.name());
        }
        kind.is_here()
    });
    kinds
}

impl Row {
    fn median(&self, value: impl Fn(&Measured) -> f64) -> f64 {
        median(&self.measured.iter().map(value).collect::<Vec<_>>())
    }

    /// What it costs above an empty link, in each round.
    fn costs(&self) -> Vec<f64> {
        self.measured.iter().map(|it| it.above_none).collect()
    }

    fn cost(&self) -> f64 {
        median(&self.costs())
    }

    /// The same with its middle half, for people.
    fn cost_with_middle_half(&self) -> String {
        let (low, high) = middle_half(&self.costs());
        format!("{:.1} ({low:.0}–{high:.0})", self.cost())
    }

    /// Rounds in which the core was hardly ever the generator's alone.
    fn in_company(&self) -> usize {
        self.measured.iter().filter(|it| !it.is_alone).count()
    }

    /// Packets of all rounds that it says it has lost.
    fn lost(&self) -> Option<u64> {
        self.measured.iter().map(|it| it.told.lost).sum()
    }

    fn received(&self) -> u64 {
        self.measured.iter().map(|it| it.received).sum()
    }

    /// Packets on the link that it says nothing about.
    fn unaccounted(&self) -> Option<i64> {
        let one = |it: &Measured| {
            let known = it.told.seen?
                + if matches!(self.kind, Kind::Probe(_)) {
                    0
                } else {
                    it.told.lost?
                };
            Some(it.received.cast_signed() - known.cast_signed() + it.told.residue.unwrap_or(0))
        };
        self.measured.iter().map(one).sum()
    }

    fn json(&self) -> Value {
        let values =
            |value: fn(&Measured) -> f64| self.measured.iter().map(value).collect::<Vec<_>>();
        json!({
            "flows": self.flows,
            "probe": self.kind.name(),
            "cpu_ns_per_packet_above_none": values(|it| it.above_none),
            "in_company": self.in_company(),
            "own_ns_per_packet": values(|it| it.own),
            "rss_mib": values(|it| it.rss_mib),
            "ns_above_none": self.cost(),
            "received": self.received(),
            "lost": self.lost(),
            "unaccounted": self.unaccounted(),
        })
    }
}

/// The cheapest of the others at a number of flows.
fn best_peer(rows: &[Row], flows: u32) -> Option<f64> {
    let peers = rows
        .iter()
        .filter(|row| row.flows == flows && row.kind.is_peer());
    peers.map(Row::cost).min_by(f64::total_cmp)
}

#[expect(clippy::cast_precision_loss, reason = "small numbers, or failures")]
fn verdicts(common: &Common, rows: &[Row]) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for row in rows.iter().filter(|row| matches!(row.kind, Kind::Probe(_))) {
        let (flows, name) = (row.flows, row.kind.name());
        let unaccounted = row.unaccounted().unwrap_or(i64::MAX) as f64;
        let target = format!("{name}, {flows} flows, packets unaccounted");
        verdicts.push(Verdict::at_most(target, unaccounted.abs(), 0.0));
        // On a machine that does other things, too, a probe that is not fast enough loses packets.
        if flows > 1 << 16 || common.short {
            continue;
        }
        let lost = row.lost().unwrap_or(u64::MAX) as f64;
        verdicts.push(Verdict::at_most(
            format!("{name}, {flows} flows, packets lost"),
            lost,
            0.0,
        ));
        if let Some(best) = best_peer(rows, flows) {
            let target = format!("{name}, {flows} flows, CPU over the best peer");
            let ratio = row.cost() / best;
            verdicts.push(Verdict::at_most(target, ratio, OVER_BEST_PEER));
        }
    }
    verdicts
}

/// As Markdown, for docs/PERFORMANCE.md.
fn print(args: &Args, facts: &Facts, rounds: usize, seconds: f64, rows: &[Row]) {
    println!("{facts}  ");
    println!(
        "{} packets a second of 64 octets, medians of {rounds} rounds of {seconds} s\n",
        args.rate
    );
    let mut table = Table::new([
        "flows, probe",
        "CPU per packet above none, ns",
        "of it its processes, ns",
        "over the best peer",
        "RSS, MiB",
        "packets",
        "lost",
        "unaccounted",
    ]);
    let number = |it: Option<i64>| it.map_or("not told".to_owned(), |it| it.to_string());
    for row in rows {
        let best = best_peer(rows, row.flows).filter(|_| row.kind != Kind::None);
        table.row([
            format!("{}, {}", row.flows, row.kind.name()),
            row.cost_with_middle_half(),
            format!("{:.1}", row.median(|it| it.own)),
            best.map_or("–".to_owned(), |best| format!("{:.3}", row.cost() / best)),
            format!("{:.0}", row.median(|it| it.rss_mib)),
            row.received().to_string(),
            number(row.lost().map(u64::cast_signed)),
            number(row.unaccounted()),
        ]);
    }
    table.print();
    let all: usize = rows.iter().map(|row| row.measured.len()).sum();
    let in_company: usize = rows.iter().map(Row::in_company).sum();
    println!(
        "Of {all} measurements {in_company} were taken while somebody else had a part of the core."
    );
}
