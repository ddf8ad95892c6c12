//! What the demo shows: flows, a few metrics, and the ledger beside the link's own counters.

use std::io::{self, IsTerminal, Write};

use anyhow::{Result, bail};
use serde_json::Value;

use super::{agent::Written, net::LinkCounters};

const ETHERNET_HEADER_BYTES: u64 = 14;
/// Metrics worth a newcomer's first look.
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
            "pkts in",
            "pkts out",
            "bytes in",
            "bytes out",
        ]
        .map(str::to_owned),
    ];
    for flow in flows {
        let number = |key: &str| flow[key].as_u64().unwrap_or_default();
        rows.push([
            endpoint(&flow["sip"], number("sport")),
            endpoint(&flow["dip"], number("dport")),
            protocol(number("proto")),
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
    residue: i64,
}

impl Sums {
    fn of(written: &Written) -> Self {
        let mut sums = Self::default();
        for flow in &written.flows {
            let number = |key: &str| flow[key].as_u64().unwrap_or_default();
            sums.flow_packets += number("packets_rcvd") + number("packets_sent");
            sums.flow_bytes += number("bytes_rcvd") + number("bytes_sent");
        }
        for ledger in &written.ledgers {
            sums.seen += ledger["seen"].as_u64().unwrap_or_default();
            sums.residue += ledger["residue"].as_i64().unwrap_or_default();
            let losses = ledger["losses"].as_object();
            sums.lost += losses.map_or(0, |losses| losses.values().filter_map(Value::as_u64).sum());
        }
        sums
    }
}

fn ledger(out: &mut impl Write, written: &Written, link: &LinkCounters) -> io::Result<()> {
    let sums = Sums::of(written);
    writeln!(
        out,
        "packets the kernel counted on the link  {:>9}",
        link.packets
    )?;
    writeln!(
        out,
        "packets the agent saw                   {:>9}",
        sums.seen
    )?;
    writeln!(
        out,
        "  in flows                              {:>9}",
        sums.flow_packets
    )?;
    let losses = written
        .ledgers
        .iter()
        .filter_map(|ledger| ledger["losses"].as_object());
    for (name, packets) in losses
        .flatten()
        .filter(|(_, packets)| packets.as_u64() != Some(0))
    {
        writeln!(out, "  {name:<36}  {packets:>9}")?;
    }
    writeln!(
        out,
        "  unaccounted (must be 0)               {:>9}",
        sums.residue
    )?;
    let octets = link
        .bytes
        .saturating_sub(ETHERNET_HEADER_BYTES * link.packets);
    writeln!(out, "octets on the link without Ethernet     {octets:>9}")?;
    writeln!(
        out,
        "octets in flows                         {:>9}",
        sums.flow_bytes
    )
}

/// Fails unless the agent's totals are those of the link.
pub(super) fn check(written: &Written, link: &LinkCounters) -> Result<()> {
    let sums = Sums::of(written);
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
    // Frames that are no IP (ARP) are on the link and in no flow.
    let loss_bytes = written
        .ledgers
        .iter()
        .filter_map(|ledger| ledger["loss_bytes"].as_object());
    let loss_bytes: u64 = loss_bytes
        .flatten()
        .filter_map(|(_, bytes)| bytes.as_u64())
        .sum();
    let lost_octets = loss_bytes.saturating_sub(ETHERNET_HEADER_BYTES * sums.lost);
    let octets = link.bytes - ETHERNET_HEADER_BYTES * link.packets;
    if sums.flow_bytes + lost_octets != octets {
        bail!(
            "flows hold {} octets and losses {lost_octets}, the link counted {octets}",
            sums.flow_bytes
        );
    }
    Ok(())
}
