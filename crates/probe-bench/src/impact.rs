//! `bench impact`: what watching a veth takes from the traffic that goes through it.
//!
//! iperf3 runs between two namespaces, without an agent and with one on the receiving end, with each
//! hook in turn. A round measures all of them, one after the other; ratios are taken within a round.

use std::{path::Path, process::Stdio, thread, time::Duration};

use anyhow::{Context, Result, anyhow};
use probe_testkit::{agent::Agent, command::output, process::Process, testbed::Testbed};
use serde_json::{Value, json};

use crate::{
    Common,
    facts::Facts,
    report::{self, Table, Verdict},
    requirements::require,
    stats::{median, middle_half, ratios},
    testbed::{HOST_V4, LINK, Priority, testbed, urgent},
};

/// What `hook: auto` must leave of the unmonitored TCP throughput of a veth.
const LEAST_TCP_RATIO: f64 = 0.97;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Rounds, each of which measures everything once.
    #[arg(long)]
    runs: Option<usize>,
    /// Length of one measurement.
    #[arg(long, default_value_t = 1)]
    seconds: u32,
    /// Only `hook: auto` and TCP, which have a target: more rounds in the same time.
    #[arg(long)]
    only_target: bool,
}

impl Args {
    fn has_setup(&self, setup: usize) -> bool {
        !self.only_target || setup <= AUTO
    }

    fn has_traffic(&self, traffic: usize) -> bool {
        !self.only_target || TCP.contains(&traffic)
    }
}

/// Hooks to compare. The first two are without agent: they are what the others are compared with,
/// and what they differ by among themselves is noise.
const SETUPS: [Option<&str>; 6] = [
    None,
    None,
    Some("auto"),
    Some("tc"),
    Some("xdp-native"),
    Some("xdp-generic"),
];
const AUTO: usize = 2;

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

/// What the agent counted.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    seen: u64,
    /// In no flow because the agent did not keep up.
    dropped: u64,
}

#[derive(Default)]
struct Measured {
    values: Values,
    counted: [Counted; SETUPS.len()],
}

pub(crate) fn run(args: &Args, common: &Common) -> Result<()> {
    require(&["ip", "iperf3", "nice"])?;
    let runs = args.runs.unwrap_or(if common.short { 1 } else { 11 });
    let facts = Facts::gather();
    let measured = measure(args, runs, common)?;
    print(args, runs, &facts, &measured);
    let mut verdicts = Vec::new();
    // Throughput on a machine that does other things, too, is anybody's guess.
    for traffic in TCP.iter().copied().filter(|_| !common.short) {
        let target = format!("{}, `hook: auto` over none", TRAFFIC[traffic].name);
        let ratio = measured.ratio(traffic, AUTO);
        verdicts.push(Verdict::at_least(target, ratio, LEAST_TCP_RATIO));
    }
    let numbers = numbers(runs, args.seconds, &measured);
    report::finish(common, &facts, "impact", numbers, &verdicts)
}

fn measure(args: &Args, runs: usize, common: &Common) -> Result<Measured> {
    let _priority = Priority::raise();
    let testbed = testbed()?;
    let mut server = urgent(&testbed.host, "iperf3");
    server
        .arg("--server")
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    let _server = Process::try_spawn(&mut server)?;
    // Once for nothing: the server has to listen, and the caches are cold.
    transfer(&testbed, 1, &TRAFFIC[0])?;
    let mut measured = Measured::default();
    for round in 0..runs {
        eprintln!(":: round {} of {runs}", round + 1);
        for turn in 0..SETUPS.len() {
            // Each begins once, so that none always follows the same.
            let setup = (turn + round) % SETUPS.len();
            if !args.has_setup(setup) {
                continue;
            }
            let start = |hook| start(&common.agent, &testbed, hook);
            let agent = SETUPS[setup].map(start).transpose()?;
            for (index, traffic) in TRAFFIC.iter().enumerate() {
                if args.has_traffic(index) {
                    let value = transfer(&testbed, args.seconds, traffic)?;
                    measured.values[index][setup].push(value);
                }
            }
            if let Some(agent) = agent {
                let metrics = agent.try_metrics()?;
                let counted = &mut measured.counted[setup];
                counted.seen += metrics.count("probe_packets_seen_total", "");
                counted.dropped += metrics.count("probe_packets_dropped_total", "");
            }
        }
    }
    Ok(measured)
}

fn start(binary: &Path, testbed: &Testbed, hook: &str) -> Result<Agent> {
    let configuration = format!(
        "interfaces: {{ {LINK}: {{ hook: {hook} }} }}\n\
         rotation: {{ interval: 1h }}\n\
         logging: {{ level: error }}\n"
    );
    let agent = Agent::try_start(&mut urgent(&testbed.host, binary), &configuration);
    agent.with_context(|| format!("with hook {hook}"))
}

/// One measurement by iperf3.
fn transfer(testbed: &Testbed, seconds: u32, traffic: &Traffic) -> Result<f64> {
    const TRIES: u32 = 50;
    let mut client = urgent(&testbed.peer, "iperf3");
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
        match output(&mut client) {
            Ok(report) => {
                let report: Value =
                    serde_json::from_str(&report).context("iperf3 wrote no JSON")?;
                if let Some(value) = (traffic.value)(&report) {
                    return Ok(value);
                }
                // It may end well and say in its report that the server was busy.
                last = Some(anyhow!("iperf3 reports no throughput: {}", report["error"]));
            }
            Err(error) => last = Some(error),
        }
        thread::sleep(Duration::from_millis(100));
    }
    Err(last.unwrap_or_else(|| anyhow!("not tried"))).context("iperf3 does not work")
}

impl Measured {
    /// Over the mean of the two without agent; the second of those, over the first.
    fn ratios(&self, traffic: usize, setup: usize) -> Vec<f64> {
        let values = &self.values[traffic];
        if setup < AUTO {
            return ratios(&values[setup], &values[0]);
        }
        let pairs = values[0].iter().zip(&values[1]);
        let base: Vec<_> = pairs.map(|(a, b)| f64::midpoint(*a, *b)).collect();
        ratios(&values[setup], &base)
    }

    /// Median over the rounds, of what is left of the unmonitored throughput.
    fn ratio(&self, traffic: usize, setup: usize) -> f64 {
        median(&self.ratios(traffic, setup))
    }
}

fn name(setup: usize) -> &'static str {
    match setup {
        0 => "none",
        1 => "none, again",
        _ => SETUPS[setup].unwrap_or_default(),
    }
}

/// As Markdown, for docs/PERFORMANCE.md.
fn print(args: &Args, runs: usize, facts: &Facts, measured: &Measured) {
    let seconds = args.seconds;
    println!("{facts}  ");
    println!(
        "medians of {runs} rounds of {seconds} s; in brackets the middle half of the rounds' ratios\n"
    );
    let mut header = vec!["hook".to_owned()];
    let shown = || (0..TRAFFIC.len()).filter(|traffic| args.has_traffic(*traffic));
    for traffic in shown().map(|traffic| &TRAFFIC[traffic]) {
        header.push(format!("{}, {}", traffic.name, traffic.unit));
        header.push("over none".to_owned());
    }
    header.extend(["seen", "dropped"].map(str::to_owned));
    let mut table = Table::new(header);
    for setup in (0..SETUPS.len()).filter(|setup| args.has_setup(*setup)) {
        let mut cells = vec![name(setup).to_owned()];
        for traffic in shown() {
            let ratios = measured.ratios(traffic, setup);
            let (low, high) = middle_half(&ratios);
            let value = median(&measured.values[traffic][setup]);
            cells.push(format!("{value:.2}"));
            cells.push(format!("{:.3} ({low:.2}–{high:.2})", median(&ratios)));
        }
        let Counted { seen, dropped } = measured.counted[setup];
        cells.extend([seen.to_string(), dropped.to_string()]);
        table.row(cells);
    }
    table.print();
}

fn numbers(runs: usize, seconds: u32, measured: &Measured) -> Value {
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
        "runs": runs,
        "seconds": seconds,
        "results": results,
        "counted": counted.collect::<Vec<_>>(),
    })
}
