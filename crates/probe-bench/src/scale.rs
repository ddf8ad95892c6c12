//! `bench scale`: many interfaces. How long the agent takes to start and to end with them, by default
//! and with `capture.expedite_attach: false`, and what it holds.

use std::{
    fmt::Write as _,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};
use probe_datapath::expedite;
use probe_testkit::{agent::Agent, netns::Namespace};
use serde_json::{Value, json};

use crate::{
    Common,
    facts::Facts,
    process::{bpf_bytes, cpu_ns, mapped_bpf_bytes, rss_bytes},
    report::{self, Table, Verdict},
    requirements::require,
};

/// `capture.expedite_attach` as it is by default, and without it.
const DEFAULT: &str = "auto";
const NEVER: &str = "false";

/// With so many interfaces the targets are about: seconds, and MiB of agent and kernel together.
const TARGET_AT: u32 = 500;
const START_S: f64 = 5.0;
const MEMORY_MIB: f64 = 100.0;
/// For how long the agent has nothing to do, and in the short form.
const IDLE: Duration = Duration::from_secs(5);
const SHORT_IDLE: Duration = Duration::from_secs(2);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Numbers of interfaces to measure.
    #[arg(long, value_delimiter = ',')]
    interfaces: Vec<u32>,
}

/// What was measured with so many interfaces.
struct Row {
    interfaces: u32,
    /// Value of `capture.expedite_attach` during the measurement.
    expedite_attach: &'static str,
    /// From its start until the agent is ready.
    start_s: f64,
    rss_mib: f64,
    /// Of that, what is in the maps, too.
    mapped_mib: f64,
    /// Kernel memory of maps and programs, in MiB.
    kernel_mib: f64,
    /// CPU of the idle agent, of one CPU, in per cent.
    idle_percent: f64,
    /// From the signal to the end, final writeout included.
    stop_s: f64,
}

pub(crate) fn run(args: &Args, common: &Common) -> Result<()> {
    require(&["ip"])?;
    let mut counts = args.interfaces.clone();
    if counts.is_empty() {
        let short: &[u32] = &[1, 50];
        counts.extend(if common.short {
            short
        } else {
            &[1, 100, 500, 1000]
        });
    }
    let facts = Facts::gather();
    let mut rows = Vec::new();
    for count in counts {
        eprintln!(":: {count} interfaces");
        rows.push(measure(common, count, DEFAULT)?);
        // With fewer the setting does nothing.
        if count as usize >= expedite::MANY {
            eprintln!(":: {count} interfaces, expedite_attach: {NEVER}");
            rows.push(measure(common, count, NEVER)?);
        }
    }
    print(&facts, &rows);
    let numbers = json!({ "results": rows.iter().map(Row::json).collect::<Vec<_>>() });
    let mut verdicts = Vec::new();
    // As it is shipped; without the setting the kernel's waits are shown.
    let judged = |row: &&Row| row.interfaces == TARGET_AT && row.expedite_attach == DEFAULT;
    for row in rows.iter().filter(judged) {
        let name = format!("{TARGET_AT} interfaces");
        let memory = row.rss_mib - row.mapped_mib + row.kernel_mib;
        verdicts.push(Verdict::at_most(
            format!("{name}, s to start"),
            row.start_s,
            START_S,
        ));
        verdicts.push(Verdict::at_most(format!("{name}, MiB"), memory, MEMORY_MIB));
    }
    report::finish(common, &facts, "scale", numbers, &verdicts)
}

fn measure(common: &Common, count: u32, expedite_attach: &'static str) -> Result<Row> {
    let namespace = namespace_with(count)?;
    let configuration = format!(
        "interfaces: {{ \"/^scale[0-9]+$/\": {{}} }}\n\
         capture: {{ expedite_attach: {expedite_attach} }}\n\
         rotation: {{ interval: 1h }}\n\
         logging: {{ level: error }}\n"
    );
    let idle = if common.short { SHORT_IDLE } else { IDLE };
    let began = Instant::now();
    let mut command = namespace.command(&common.agent);
    let mut agent = Agent::try_start(&mut command, &configuration)?;
    let start_s = began.elapsed().as_secs_f64();
    let captured = agent.try_metrics()?.count("probe_interfaces_capturing", "");
    if captured != u64::from(count) {
        bail!("the agent captures {captured} of {count} interfaces");
    }
    let pid = agent.id();
    let before = cpu_ns(pid);
    thread::sleep(idle);
    let idle_ns = cpu_ns(pid) - before;
    let (rss, mapped, kernel) = (rss_bytes(pid)?, mapped_bpf_bytes(pid)?, bpf_bytes(pid));
    let began = Instant::now();
    agent.try_stop()?;
    Ok(Row {
        interfaces: count,
        expedite_attach,
        start_s,
        rss_mib: mib(rss),
        mapped_mib: mib(mapped),
        kernel_mib: mib(kernel),
        idle_percent: Duration::from_nanos(idle_ns).as_secs_f64() / idle.as_secs_f64() * 100.0,
        stop_s: began.elapsed().as_secs_f64(),
    })
}

/// A namespace with veth pairs, of which `scale1`, `scale2` … are to be captured. They are up and
/// silent.
fn namespace_with(pairs: u32) -> Result<Namespace> {
    let namespace = Namespace::try_new("scale")?;
    namespace.try_set("ipv6/conf/default/disable_ipv6", "1")?;
    let mut batch = String::new();
    for pair in 1..=pairs {
        write!(
            batch,
            "link add scale{pair} type veth peer name other{pair}\n\
             link set scale{pair} up\nlink set other{pair} up\n"
        )?;
    }
    namespace.try_ip(&batch)?;
    Ok(namespace)
}

#[expect(clippy::cast_precision_loss, reason = "for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

impl Row {
    fn json(&self) -> Value {
        json!({
            "interfaces": self.interfaces,
            "expedite_attach": self.expedite_attach,
            "start_s": self.start_s,
            "rss_mib": self.rss_mib,
            "mapped_mib": self.mapped_mib,
            "kernel_mib": self.kernel_mib,
            "idle_percent": self.idle_percent,
            "stop_s": self.stop_s,
        })
    }
}

/// As Markdown, for docs/PERFORMANCE.md.
fn print(facts: &Facts, rows: &[Row]) {
    println!("{facts}\n");
    let mut table = Table::new([
        "veth interfaces",
        "expedite_attach",
        "start, s",
        "RSS, MiB",
        "of it maps, MiB",
        "maps and programs, MiB",
        "idle, % of a CPU",
        "stop, s",
    ]);
    for row in rows {
        table.row([
            row.interfaces.to_string(),
            row.expedite_attach.to_owned(),
            format!("{:.2}", row.start_s),
            format!("{:.1}", row.rss_mib),
            format!("{:.1}", row.mapped_mib),
            format!("{:.1}", row.kernel_mib),
            format!("{:.2}", row.idle_percent),
            format!("{:.2}", row.stop_s),
        ]);
    }
    table.print();
}
