//! What the demo shows at its end: a few metrics, and the ledger beside the link's own counters.

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal, Write},
};

use anyhow::{Result, bail};

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
    title(
        &mut out,
        "Metrics (an excerpt of /metrics, since the agent's start)",
    )?;
    let is_shown =
        |line: &&str| METRICS.iter().any(|name| line.starts_with(name)) && !line.ends_with(" 0");
    for line in metrics.lines().filter(is_shown) {
        writeln!(out, "{line}")?;
    }
    title(&mut out, "Ledger of the demo's traffic")?;
    ledger(&mut out, written, link)
}

fn title(out: &mut impl Write, text: &str) -> io::Result<()> {
    if io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() {
        writeln!(out, "\n\x1b[1m{text}\x1b[0m")
    } else {
        writeln!(out, "\n{text}")
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
    if link.dropped > 0 {
        line("packets that it dropped behind the hook", link.dropped)?;
    }
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
    if sums.seen != link.packets + link.dropped || sums.flow_packets + sums.lost != sums.seen {
        bail!(
            "the agent saw {} packets, the link counted {} and dropped {}",
            sums.seen,
            link.packets,
            link.dropped
        );
    }
    // The link does not say how long the packets were that it dropped.
    let octets = sums.flow_bytes + sums.lost_octets;
    if octets < link.octets() || (octets > link.octets() && link.dropped == 0) {
        bail!(
            "flows hold {} octets and losses {}, the link counted {}",
            sums.flow_bytes,
            sums.lost_octets,
            link.octets()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{LinkCounters, Written, check};

    /// Ten packets of 100 octets, as the agent writes them.
    fn written() -> Written {
        Written {
            flows: vec![
                json!({ "packets_rcvd": 4, "packets_sent": 6, "bytes_rcvd": 400,
                                "bytes_sent": 600 }),
            ],
            ledgers: vec![json!({ "seen": 10, "residue": 0 })],
        }
    }

    fn link(packets: u64, dropped: u64) -> LinkCounters {
        LinkCounters {
            packets,
            bytes: 114 * packets,
            dropped,
        }
    }

    #[test]
    fn packets_that_the_link_dropped_behind_the_hook_are_no_difference() {
        check(&written(), &link(10, 0)).expect("all arrived");
        check(&written(), &link(9, 1)).expect("one was dropped");
    }

    #[test]
    fn any_other_difference_is_told() {
        for (packets, dropped) in [(9, 0), (11, 0), (10, 1), (8, 1)] {
            check(&written(), &link(packets, dropped)).expect_err("a difference");
        }
        let mut longer = written();
        longer.flows[0]["bytes_sent"] = json!(601);
        check(&longer, &link(10, 0)).expect_err("an octet more");
    }
}
