//! What the demo shows: flows, a few metrics, and the ledger beside the link's own counters.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
};

use anyhow::{Result, bail};
use serde_json::Value;

use super::{
    agent::Written,
    net::{ETHERNET_HEADER_BYTES, LinkCounters},
};

/// Metrics worth a newcomer's first minute.
const METRICS: [&str; 6] = [
    "probe_packets_total",
    "probe_bytes_total",
    "probe_flows",
    "probe_lost_packets_total",
    "probe_ledger_residue",
    "probe_interfaces_capturing",
];

pub(super) fn print(written: &Written, metrics: &str, link: &LinkCounters) -> io::Result<()> {
    let mut out = io::stdout().lock();
    title(&mut out, "Flows")?;
    flows(&mut out, &written.flows)?;
    title(&mut out, "Metrics (an excerpt of /metrics)")?;
    let is_shown =
        |line: &&str| METRICS.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0");
    for line in metrics.lines().filter(is_shown) {
        writeln!(out, "{line}")?;
    }
    title(&mut out, "Ledger")?;
    ledger(&mut out, written, link)
}

fn title(out: &mut impl Write, text: &str) -> io::Result<()> {
    if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        writeln!(out, "\n\x1b[1m{text}\x1b[0m")
    } else {
        writeln!(out, "\n{text}")
    }
}

fn flows(out: &mut impl Write, flows: &[Value]) -> io::Result<()> {
    let mut flows: Vec<_> = flows.iter().collect();
    flows.sort_by_key(|flow| {
        std::cmp::Reverse(flow["bytes_rcvd"].as_u64().max(flow["bytes_sent"].as_u64()))
    });
    let mut rows = vec![
        [
            "source",
            "destination",
            "proto",
            "packets rcvd",
            "packets sent",
            "bytes rcvd",
            "bytes sent",
        ]
        .map(str::to_owned),
    ];
    for flow in flows {
        let number = |key: &str| flow[key].as_u64().unwrap_or_default();
        rows.push([
            endpoint(&flow["src_addr"], number("src_port")),
            endpoint(&flow["dst_addr"], number("dst_port")),
            protocol(number("ip_protocol")),
            number("packets_rcvd").to_string(),
            number("packets_sent").to_string(),
            number("bytes_rcvd").to_string(),
            number("bytes_sent").to_string(),
        ]);
    }
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    for row in &rows {
        let [w0, w1, w2, w3, w4, w5, w6] = widths;
        let [
            source,
            destination,
            proto,
            pkts_in,
            pkts_out,
            bytes_in,
            bytes_out,
        ] = row;
        writeln!(
            out,
            "{source:<w0$}  {destination:<w1$}  {proto:<w2$}  {pkts_in:>w3$}  {pkts_out:>w4$}  \
             {bytes_in:>w5$}  {bytes_out:>w6$}"
        )?;
    }
    Ok(())
}

fn endpoint(address: &Value, port: u64) -> String {
    let address = address.as_str().unwrap_or("?");
    match (port, address.contains(':')) {
        (0, _) => address.to_owned(),
        (_, true) => format!("[{address}]:{port}"),
        (_, false) => format!("{address}:{port}"),
    }
}

fn protocol(number: u64) -> String {
    match number {
        1 => "ICMP".into(),
        6 => "TCP".into(),
        17 => "UDP".into(),
        58 => "ICMPv6".into(),
        other => other.to_string(),
    }
}

/// Sums over all flows and ledgers that were written.
#[derive(Default)]
struct Sums {
    flow_packets: u64,
    flow_bytes: u64,
    seen: u64,
    lost: u64,
    /// Of frames in no flow (ARP), without their Ethernet headers.
    lost_octets: u64,
    residue: i64,
}

impl Sums {
    fn from_written(written: &Written) -> Self {
        let mut sums = Self::default();
        for flow in &written.flows {
            let number = |key: &str| flow[key].as_u64().unwrap_or_default();
            sums.flow_packets += number("packets_rcvd") + number("packets_sent");
            sums.flow_bytes += number("bytes_rcvd") + number("bytes_sent");
        }
        for ledger in &written.ledgers {
            sums.seen += ledger["seen"].as_u64().unwrap_or_default();
            sums.residue += ledger["residue"].as_i64().unwrap_or_default();
        }
        sums.lost = sums_by_name(written, "losses").values().sum();
        let lost_bytes: u64 = sums_by_name(written, "loss_bytes").values().sum();
        sums.lost_octets = lost_bytes.saturating_sub(ETHERNET_HEADER_BYTES * sums.lost);
        sums
    }
}

fn ledger(out: &mut impl Write, written: &Written, link: &LinkCounters) -> io::Result<()> {
    let sums = Sums::from_written(written);
    let mut line = |what: &str, number: u64| writeln!(out, "{what:<45}{number:>9}");
    line("packets that the kernel counted on the link", link.packets)?;
    line("packets that the agent saw", sums.seen)?;
    line("  in flows", sums.flow_packets)?;
    for (name, packets) in sums_by_name(written, "losses") {
        line(&format!("  {name}"), packets)?;
    }
    line("  unaccounted (must be 0)", sums.residue.unsigned_abs())?;
    line("octets on the link without Ethernet headers", link.octets())?;
    line("  in flows", sums.flow_bytes)?;
    line("  in frames that belong to no flow", sums.lost_octets)
}

/// Sums of a map from loss to number over all ledgers, without the zeros.
fn sums_by_name(written: &Written, key: &str) -> BTreeMap<String, u64> {
    let mut sums = BTreeMap::new();
    for (name, number) in written
        .ledgers
        .iter()
        .filter_map(|it| it[key].as_object())
        .flatten()
    {
        let number = number.as_u64().unwrap_or_default();
        if number > 0 {
            *sums.entry(name.clone()).or_default() += number;
        }
    }
    sums
}

/// Fails unless the agent's totals are those of the link.
pub(super) fn check(written: &Written, link: &LinkCounters) -> Result<()> {
    let sums = Sums::from_written(written);
    if sums.residue != 0 {
        bail!("{} packets are unaccounted for", sums.residue);
    }
    if sums.seen != link.packets || sums.flow_packets + sums.lost != sums.seen {
        bail!(
            "the agent saw {} packets, the link counted {}",
            sums.seen,
            link.packets
        );
    }
    if sums.flow_bytes + sums.lost_octets != link.octets() {
        bail!(
            "flows hold {} octets and losses {}, the link counted {}",
            sums.flow_bytes,
            sums.lost_octets,
            link.octets()
        );
    }
    Ok(())
}
