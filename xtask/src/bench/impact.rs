//! `bench impact`: what watching a veth takes from the traffic that goes through it.
//!
//! iperf3 runs between two namespaces, without an agent and with one on the receiving end, with each
//! hook in turn. A round measures all of them, one after the other; ratios are taken within a round.

use std::{
    fs,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{
    agent::{self, Agent, Counted},
    facts::Facts,
    net::{HOST_V4, Lab, Priority, Server, inside},
    stats::{median, ratios},
};
use crate::workspace;

/// What `hook: auto` must leave of the unmonitored TCP throughput of a veth.
const LEAST_TCP_RATIO: f64 = 0.97;

#[derive(clap::Args)]
pub(super) struct Args {
    /// Rounds, each of which measures everything once.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Length of one measurement.
    #[arg(long, default_value_t = 3)]
    seconds: u32,
    /// Writes the numbers there, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Measures this agent; by default the release build of this workspace.
    #[arg(long, value_name = "BINARY")]
    agent: Option<PathBuf>,
}

/// Hooks to compare; the first is none.
const SETUPS: [Option<&str>; 5] = [
    None,
    Some("auto"),
    Some("tc"),
    Some("xdp-native"),
    Some("xdp-generic"),
];
const AUTO: usize = 1;

/// One kind of traffic. The host's end of the link receives, unless iperf3 reverses it.
struct Traffic {
    name: &'static str,
    unit: &'static str,
    options: &'static [&'static str],
    value: fn(&Value) -> Option<f64>,
}

const TRAFFIC: [Traffic; 3] = [
    Traffic {
        name: "TCP received",
        unit: "Gbit/s",
        options: &[],
        value: gigabits,
    },
    Traffic {
        name: "TCP sent",
        unit: "Gbit/s",
        options: &["--reverse"],
        value: gigabits,
    },
    Traffic {
        name: "UDP received, 64 octets",
        unit: "kpps",
        options: &["--udp", "--bitrate", "0", "--length", "64"],
        value: kilopackets,
    },
];
const TCP: [usize; 2] = [0, 1];

fn gigabits(report: &Value) -> Option<f64> {
    Some(report["end"]["sum_received"]["bits_per_second"].as_f64()? / 1e9)
}

/// Datagrams that arrived, a second.
fn kilopackets(report: &Value) -> Option<f64> {
    let sum = &report["end"]["sum"];
    let arrived = sum["packets"].as_f64()? - sum["lost_packets"].as_f64()?;
    Some(arrived / sum["seconds"].as_f64()? / 1e3)
}

/// Values by traffic and setup, one per round.
type Values = [[Vec<f64>; SETUPS.len()]; TRAFFIC.len()];

#[derive(Default)]
struct Measured {
    values: Values,
    counted: [Counted; SETUPS.len()],
}

pub(super) fn run(args: &Args) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        bail!("this makes network namespaces: run it as root");
    }
    for tool in ["ip", "iperf3"] {
        if workspace::find_program(tool).is_none() {
            bail!("`{tool}` is missing: install it (Debian: apt-get install iproute2 iperf3)");
        }
    }
    let binary = args.agent.clone().map_or_else(agent::build, Ok)?;
    let facts = Facts::gather();
    let measured = measure(args, &binary)?;
    print(args, &facts, &measured);
    if let Some(path) = &args.json {
        let text = serde_json::to_string_pretty(&report(args, &facts, &measured))?;
        let written = fs::write(path, text + "\n");
        written.with_context(|| format!("cannot write {}", path.display()))?;
    }
    for traffic in TCP {
        let ratio = measured.ratio(traffic, AUTO);
        if ratio < LEAST_TCP_RATIO {
            let name = TRAFFIC[traffic].name;
            bail!("{name} with `hook: auto`: {ratio:.3} of unmonitored, below {LEAST_TCP_RATIO}");
        }
    }
    Ok(())
}

fn measure(args: &Args, binary: &Path) -> Result<Measured> {
    let _priority = Priority::raise();
    let lab = Lab::new()?;
    let _server = Server::spawn(inside(&lab.host, "iperf3").arg("--server"))?;
    // Once for nothing: the server has to listen, and the caches are cold.
    transfer(&lab, 1, &TRAFFIC[0])?;
    let mut measured = Measured::default();
    for round in 0..args.runs {
        eprintln!(":: round {} of {}", round + 1, args.runs);
        for turn in 0..SETUPS.len() {
            // Each begins once, so that none always follows the same.
            let setup = (turn + round) % SETUPS.len();
            let start = |hook| Agent::start(binary, &lab, hook);
            let agent = SETUPS[setup].map(start).transpose()?;
            for (traffic, values) in TRAFFIC.iter().zip(&mut measured.values) {
                values[setup].push(transfer(&lab, args.seconds, traffic)?);
            }
            if let Some(agent) = agent {
                let counted = agent.counted()?;
                measured.counted[setup].seen += counted.seen;
                measured.counted[setup].dropped += counted.dropped;
            }
        }
    }
    Ok(measured)
}

/// One measurement by iperf3.
fn transfer(lab: &Lab, seconds: u32, traffic: &Traffic) -> Result<f64> {
    const TRIES: u32 = 50;
    let mut client = inside(&lab.peer, "iperf3");
    client.args([
        "--client",
        HOST_V4,
        "--json",
        "--time",
        &seconds.to_string(),
    ]);
    client.args(traffic.options);
    if thread::available_parallelism().is_ok_and(|cpus| cpus.get() > 1) {
        // Sender and receiver on CPUs of their own: whether the scheduler puts them on one is worth
        // more than any hook.
        client.args(["--affinity", "0,1"]);
    }
    let mut last = None;
    for _ in 0..TRIES {
        // Refused while the server does not listen yet, or still closes the one before.
        match workspace::output(&mut client) {
            Ok(report) => {
                let report: Value =
                    serde_json::from_str(&report).context("iperf3 wrote no JSON")?;
                return (traffic.value)(&report).context("iperf3 reports no throughput");
            }
            Err(error) => last = Some(error),
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(last.unwrap_or_else(|| anyhow::anyhow!("not tried"))).context("iperf3 does not work")
}

impl Measured {
    fn ratios(&self, traffic: usize, setup: usize) -> Vec<f64> {
        ratios(&self.values[traffic][setup], &self.values[traffic][0])
    }

    /// Median over the rounds, of what is left of the unmonitored throughput.
    fn ratio(&self, traffic: usize, setup: usize) -> f64 {
        median(&self.ratios(traffic, setup))
    }
}

fn name(setup: usize) -> &'static str {
    SETUPS[setup].unwrap_or("none")
}

/// As Markdown, for docs/PERFORMANCE.md.
fn print(args: &Args, facts: &Facts, measured: &Measured) {
    println!(
        "{}, {} CPUs; Linux {}; probe {}; load before {}",
        facts.cpu, facts.cpus, facts.kernel, facts.commit, facts.load
    );
    println!(
        "medians of {} rounds of {} s; in brackets the lowest and highest ratio of a round\n",
        args.runs, args.seconds
    );
    print!("| hook |");
    for traffic in &TRAFFIC {
        print!(" {}, {} | over none |", traffic.name, traffic.unit);
    }
    println!(" seen | dropped |");
    println!("| --- |{}", " ---: |".repeat(2 * TRAFFIC.len() + 2));
    for setup in 0..SETUPS.len() {
        print!("| {} |", name(setup));
        for traffic in 0..TRAFFIC.len() {
            let ratios = measured.ratios(traffic, setup);
            let lowest = ratios.iter().copied().fold(f64::INFINITY, f64::min);
            let highest = ratios.iter().copied().fold(0.0, f64::max);
            print!(
                " {:.2} | {:.3} ({lowest:.2}–{highest:.2}) |",
                median(&measured.values[traffic][setup]),
                median(&ratios)
            );
        }
        let Counted { seen, dropped } = measured.counted[setup];
        println!(" {seen} | {dropped} |");
    }
}

fn report(args: &Args, facts: &Facts, measured: &Measured) -> Value {
    let mut results = Vec::new();
    for (index, traffic) in TRAFFIC.iter().enumerate() {
        for setup in 0..SETUPS.len() {
            let values = &measured.values[index][setup];
            results.push(json!({
                "traffic": traffic.name,
                "hook": name(setup),
                "unit": traffic.unit,
                "values": values,
                "median": median(values),
                "ratios": measured.ratios(index, setup),
                "median_ratio": measured.ratio(index, setup),
            }));
        }
    }
    let counted =
        measured.counted.iter().enumerate().map(
            |(setup, it)| json!({ "hook": name(setup), "seen": it.seen, "dropped": it.dropped }),
        );
    json!({
        "benchmark": "impact",
        "facts": facts.json(),
        "runs": args.runs,
        "seconds": args.seconds,
        "results": results,
        "counted": counted.collect::<Vec<_>>(),
    })
}
