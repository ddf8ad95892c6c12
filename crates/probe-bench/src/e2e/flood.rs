//! The flood: each packet a new flow, at full rate. Memory must stop growing, every packet must be
//! accounted for, and a calm interface beside it must not notice.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result};
use probe_testkit::{agent::Agent, metrics::Metrics, testbed::Testbed};
use serde_json::json;

use super::generator::{Generator, Pace, Sent, Until};
use crate::{
    Common,
    facts::Facts,
    process::anonymous_bytes,
    programs::Flows,
    report::{self, Table, Verdict},
    testbed::{LINK, join, testbed},
};

/// The interface without flood, and what goes over it.
const CALM: &str = "calm0";
const CALM_FLOWS: u32 = 100;
const CALM_RATE: u32 = 2000;

/// Packets a second in the short form.
const SHORT_RATE: u32 = 200_000;

/// What a flush and a writeout take for a moment, whatever the number of flows: a small log seems
/// small beside it.
const BUFFERS_MIB: f64 = 8.0;

/// What memory may grow by after the limit of flows is reached.
const GROWTH: f64 = 1.05;
const PATIENCE: Duration = Duration::from_secs(30);

/// The agent's memory at a moment.
struct Sample {
    seconds: f64,
    flows: u64,
    own_mib: f64,
}

/// An interface at the end.
struct Line {
    link: &'static str,
    sent: Sent,
    received: u64,
    seen: u64,
    in_flows: u64,
    octets: u64,
    lost: u64,
    residue: i64,
    flows: u64,
}

pub(crate) fn run(seconds: f64, max_flows: u64, common: &Common, facts: &Facts) -> Result<()> {
    let testbed = testbed()?;
    join(&testbed, CALM)?;
    let mut flood = Generator::new(&common.programs, &testbed, LINK)?;
    let mut calm = Generator::new(&common.programs, &testbed, CALM)?;
    let before = [flood.received()?, calm.received()?];
    let agent = start(&common.agent, &testbed, max_flows)?;
    eprintln!(":: a flood of {seconds} s");
    let is_over = AtomicBool::new(false);
    let (sent, samples) = thread::scope(|scope| -> Result<_> {
        let watcher = scope.spawn(|| watch(&agent, &is_over));
        let ordinary = scope.spawn(|| {
            calm.send(
                Flows::InTurn(CALM_FLOWS.into()),
                Until::Seconds(seconds),
                Pace::Bursts(CALM_RATE),
            )
        });
        // A debug build of the agent does not keep up with all that a CPU sends.
        let pace = if common.short {
            Pace::Steady(SHORT_RATE)
        } else {
            Pace::Full
        };
        let flooded = flood.send(Flows::InTurn(1 << 32), Until::Seconds(seconds), pace);
        let ordinary = ordinary.join();
        is_over.store(true, Ordering::Relaxed);
        let samples = watcher.join();
        let panicked = "a thread of the benchmark panicked";
        let ordinary = ordinary.ok().context(panicked)??;
        Ok(([flooded?, ordinary], samples.ok().context(panicked)??))
    })?;
    let metrics = settled(&agent)?;
    let received = [flood.received()? - before[0], calm.received()? - before[1]];
    let lines =
        [0, 1].map(|at| Line::from_metrics(&metrics, [LINK, CALM][at], sent[at], received[at]));
    let growth = growth(&samples, max_flows);
    print(facts, seconds, max_flows, &lines, &samples, growth);
    let numbers = json!({
        "seconds": seconds,
        "max_flows": max_flows,
        "growth_after_the_limit": growth,
        "samples": samples.iter().map(|it| [it.seconds, it.own_mib]).collect::<Vec<_>>(),
        "lines": lines.iter().map(Line::json).collect::<Vec<_>>(),
    });
    report::finish(common, facts, "flood", numbers, &verdicts(&lines, growth))
}

fn start(binary: &Path, testbed: &Testbed, max_flows: u64) -> Result<Agent> {
    let configuration = format!(
        "interfaces: {{ {LINK}: {{}}, {CALM}: {{}} }}\n\
         capture: {{ max_flows: {max_flows} }}\n\
         rotation: {{ interval: 1d }}\nlogging: {{ level: error }}\n"
    );
    Agent::try_start(&mut testbed.host.command(binary), &configuration)
}

/// Checks the agent until the flood is over.
fn watch(agent: &Agent, is_over: &AtomicBool) -> Result<Vec<Sample>> {
    const EVERY: Duration = Duration::from_millis(500);
    let began = Instant::now();
    let mut samples = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        thread::sleep(EVERY);
        samples.push(Sample {
            seconds: began.elapsed().as_secs_f64(),
            flows: agent.try_metrics()?.count("probe_flows", &label(LINK)),
            own_mib: mib(anonymous_bytes(agent.id())?),
        });
    }
    Ok(samples)
}

/// Most memory in the last quarter, less [`BUFFERS_MIB`], over that of the first check after the limit was reached; `None`
/// if it was reached too late to tell.
fn growth(samples: &[Sample], max_flows: u64) -> Option<f64> {
    let at_limit = samples.iter().position(|it| it.flows >= max_flows)?;
    // One check later: what was under way when the limit was reached has come to rest.
    let full = samples.get(at_limit + 1)?;
    let last_quarter = &samples[samples.len() * 3 / 4..];
    let most = last_quarter.iter().map(|it| it.own_mib).fold(0.0, f64::max);
    Some((most - BUFFERS_MIB).max(0.0) / full.own_mib)
}

/// The metrics once every packet that was seen has its address.
fn settled(agent: &Agent) -> Result<Metrics> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let metrics = agent.try_metrics()?;
        if metrics.sum("probe_ledger_residue_packets", "") == 0 || Instant::now() > deadline {
            return Ok(metrics);
        }
        thread::sleep(Duration::from_millis(50));
    }
}

fn label(link: &str) -> String {
    format!("iface=\"{link}\"")
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Line {
    fn from_metrics(metrics: &Metrics, link: &'static str, sent: Sent, received: u64) -> Self {
        let sum = |name| metrics.count(name, &label(link));
        Self {
            link,
            sent,
            received,
            seen: sum("probe_packets_seen_total"),
            in_flows: sum("probe_packets_total"),
            octets: sum("probe_bytes_total"),
            lost: sum("probe_packets_dropped_total"),
            residue: metrics.sum("probe_ledger_residue_packets", &label(link)),
            flows: sum("probe_flows"),
        }
    }

    /// Packets of the link that are neither in flows nor in a named loss, either way.
    fn unaccounted(&self) -> u64 {
        self.received.abs_diff(self.seen) + self.seen.abs_diff(self.in_flows + self.lost)
    }

    /// IP octets in flows that are too few or too many.
    fn octets_off(&self) -> u64 {
        const OCTETS: u64 = 50;
        self.octets.abs_diff(self.in_flows * OCTETS)
    }

    fn json(&self) -> serde_json::Value {
        json!({
            "link": self.link,
            "sent": self.sent.packets,
            "seconds": self.sent.seconds,
            "received": self.received,
            "seen": self.seen,
            "in_flows": self.in_flows,
            "octets": self.octets,
            "lost": self.lost,
            "residue": self.residue,
            "flows": self.flows,
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "small numbers, or failures")]
fn verdicts(lines: &[Line; 2], growth: Option<f64>) -> Vec<Verdict> {
    let mut verdicts = Vec::new();
    for line in lines {
        let off = [
            ("packets unaccounted", line.unaccounted()),
            ("ledger residue", line.residue.unsigned_abs()),
            ("octets off", line.octets_off()),
        ];
        for (what, off) in off {
            verdicts.push(Verdict::at_most(
                format!("{}, {what}", line.link),
                off as f64,
                0.0,
            ));
        }
    }
    let [_, calm] = lines;
    let missing = (calm.sent.packets.abs_diff(calm.in_flows)
        + u64::from(CALM_FLOWS).abs_diff(calm.flows)) as f64;
    verdicts.push(Verdict::at_most(
        format!("{CALM}, packets and flows missing"),
        missing,
        0.0,
    ));
    if let Some(growth) = growth {
        verdicts.push(Verdict::at_most(
            "memory after the limit, growth",
            growth,
            GROWTH,
        ));
    }
    verdicts
}

/// As Markdown, for docs/PERFORMANCE.md.
fn print(
    facts: &Facts,
    seconds: f64,
    max_flows: u64,
    lines: &[Line],
    samples: &[Sample],
    growth: Option<f64>,
) {
    println!("{facts}  \n{seconds} s, each packet on {LINK} a new flow; max_flows {max_flows}\n");
    let mut table = Table::new([
        "interface",
        "packets",
        "a second",
        "seen",
        "in flows",
        "lost, by name",
        "residue",
        "flows",
    ]);
    for line in lines {
        #[expect(clippy::cast_precision_loss, reason = "for people")]
        let rate = line.received as f64 / line.sent.seconds;
        table.row([
            line.link.to_owned(),
            line.received.to_string(),
            format!("{rate:.0}"),
            line.seen.to_string(),
            line.in_flows.to_string(),
            line.lost.to_string(),
            line.residue.to_string(),
            line.flows.to_string(),
        ]);
    }
    table.print();
    let most = samples.iter().map(|it| it.own_mib).fold(0.0, f64::max);
    match growth {
        Some(growth) => {
            println!("Memory of its own at most {most:.0} MiB, {growth:.3} of that at the limit\n");
        }
        None => println!(
            "Memory of its own at most {most:.0} MiB; the limit of flows was not reached in time\n"
        ),
    }
}
