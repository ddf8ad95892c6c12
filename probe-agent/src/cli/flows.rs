//! `probe-agent flows`: who talks to whom, right now.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    net::IpAddr,
    process::ExitCode,
    time::Duration,
};

use anyhow::bail;
use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    connect::ConnectArgs,
    group::{GroupArgs, Shown},
    print, resolve,
    select::{FormatArgs, SelectArgs, split},
};
use crate::term::{
    flow_format::{
        FlowFormat, Numbers, RatedFlow, ShownFlow, endpoint, marks, named_endpoint, no_rows,
        passed, tcp_flags, write_table,
    },
    human,
    page::{TableStyle, wrap},
};
use probe_api::{
    client::Client,
    v1::flows::{
        Flows, FlowsOf, FlowsQuery, LiveFlow, Totals,
        groups::{FlowGroups, GroupsQuery},
    },
};
use probe_flow::{filter::Filter, flow::FlowCounters, protocols as names};

#[cfg(test)]
mod tests;

/// Flows that are shown unless a number is given.
const LIMIT: u32 = 20;

/// Show the flows of the running interval, those with the most traffic first
///
/// Counts are since the last rotation. In the table `*` marks flows whose direction is certain and
/// `+` those that stand for many. A port `*` is one that was aggregated away or is not known.
/// Received and sent are seen from the interface. 20 flows are shown unless --limit says otherwise.
/// JSON is one object a line: the flows with the fields of the JSON sink, then one of type `flows` with
/// the sums.
///
/// With --by, the agent adds up all flows that pass, and answers up to 100,000 groups. JSON lines are of
/// type `group` then. With --rate the sums in the last line of JSON stay counts. What stands for many
/// flows has the source 0.0.0.0 or `::`.
#[derive(Args, Debug)]
pub(super) struct FlowsArgs {
    /// Only flows of these interfaces; from the first other word on a filter, as by --filter
    #[arg(value_name = "IFACE|FILTER")]
    words: Vec<String>,
    #[command(flatten)]
    select: SelectArgs,
    #[command(flatten)]
    group: GroupArgs,
    #[command(flatten)]
    output: FormatArgs,
    /// Names of addresses in the table, as far as the resolver knows them within two seconds
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    resolve: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// Asks the agent for flows, and shows them.
pub(super) fn run(args: &FlowsArgs) -> anyhow::Result<ExitCode> {
    let grouping = args.group.grouping(args.select.sort)?;
    let client = args.connect.client()?;
    let (iface, filter) = selected(&client, &args.words, &args.select)?;
    let limit = usize::try_from(args.select.limit.unwrap_or(LIMIT))?;
    let mut out = Vec::new();
    if let Some(grouping) = grouping {
        let by = grouping.fields().to_vec();
        let answer = client.flow_groups(&GroupsQuery { by, iface, filter })?;
        let flows = without_flows(&answer);
        let groups = grouping.answered(answer);
        let over = over(args, &flows)?;
        write_groups(&mut out, args, &flows, over, &groups.first(limit, over))?;
    } else {
        let flows = client.flows(&FlowsQuery {
            iface,
            filter,
            sort: args.select.sort,
            limit: Some(limit),
            ..FlowsQuery::default()
        })?;
        write_flows(&mut out, args, &flows)?;
    }
    print(&String::from_utf8(out)?)?;
    Ok(ExitCode::SUCCESS)
}

/// What there is to say of all flows.
fn without_flows(answer: &FlowGroups) -> Flows {
    Flows {
        at: answer.at,
        interfaces: answer.interfaces.clone(),
        matched: answer.matched,
        truncated: false,
        total: answer.total,
        flows: Vec::new(),
    }
}

fn write_flows(out: &mut Vec<u8>, args: &FlowsArgs, flows: &Flows) -> anyhow::Result<()> {
    let over = over(args, flows)?;
    match args.output.format() {
        FlowFormat::Json => write_json(out, flows, over)?,
        FlowFormat::Csv => write_csv(out, flows, over)?,
        FlowFormat::Table => {
            let ends = |flow: &LiveFlow| [flow.src_addr, flow.dst_addr];
            let names = names(args, flows.flows.iter().flat_map(ends));
            let style = TableStyle::of_terminal(io::stdout().is_terminal());
            write_text(out, style, flows, over, &names)?;
        }
    }
    Ok(())
}

fn write_groups(
    out: &mut Vec<u8>,
    args: &FlowsArgs,
    flows: &Flows,
    over: Option<Duration>,
    groups: &Shown<'_>,
) -> anyhow::Result<()> {
    match args.output.format() {
        FlowFormat::Json => {
            groups.write_json(out)?;
            write_sums(out, flows)?;
        }
        FlowFormat::Csv => groups.write_csv(out)?,
        FlowFormat::Table => {
            let names = names(args, groups.addresses());
            let style = TableStyle::of_terminal(io::stdout().is_terminal());
            groups.write_table(out, style, Numbers::Human, &names)?;
            let of = match flows.matched {
                0 => no_rows(0, all(flows)),
                matched => format!("{}, of {}", groups.count(), passed(matched, all(flows))),
            };
            write_total(out, style, flows, over, &of)?;
        }
    }
    Ok(())
}

/// The time over which rates are asked for: since the first of the intervals began that run.
fn over(args: &FlowsArgs, flows: &Flows) -> anyhow::Result<Option<Duration>> {
    if !args.group.rate {
        return Ok(None);
    }
    let Some(since) = flows.interfaces.iter().map(|it| it.since).min() else {
        // Nothing is divided: there are no flows.
        return Ok(Some(Duration::ZERO));
    };
    let at = flows.at;
    match Duration::try_from(at.duration_since(since)) {
        Ok(over) if !over.is_zero() => Ok(Some(over)),
        _ => bail!(
            "no rates: it is {at} for the agent, and flows are counted since {since}; without --rate \
             the counts are shown"
        ),
    }
}

/// The names of addresses, if they are asked for.
fn names(args: &FlowsArgs, addresses: impl Iterator<Item = IpAddr>) -> HashMap<IpAddr, String> {
    if args.resolve {
        resolve::names(addresses)
    } else {
        HashMap::new()
    }
}

/// The interfaces and the filter that the words name. Asks the agent where there are words.
pub(super) fn selected(
    client: &Client,
    words: &[String],
    select: &SelectArgs,
) -> anyhow::Result<(Vec<String>, Filter)> {
    let captured = if words.is_empty() {
        Vec::new()
    } else {
        let interfaces = client.interfaces(&[])?.interfaces;
        interfaces.into_iter().map(|it| it.iface).collect()
    };
    Ok(split(words, &captured, select)?)
}

#[derive(Serialize)]
struct Line<'a, T> {
    r#type: &'static str,
    #[serde(flatten)]
    value: &'a T,
}

/// JSON lines as those of the sink and of `replay`: the flows, then one object with the sums.
fn write_json(out: &mut Vec<u8>, flows: &Flows, over: Option<Duration>) -> anyhow::Result<()> {
    let r#type = "flow";
    for value in &flows.flows {
        if let Some(over) = over {
            let value = &RatedFlow::new(value, &counters(value), over)?;
            serde_json::to_writer(&mut *out, &Line { r#type, value })?;
        } else {
            serde_json::to_writer(&mut *out, &Line { r#type, value })?;
        }
        out.push(b'\n');
    }
    write_sums(out, flows)
}

/// All of the answer but the flows.
fn write_sums(out: &mut Vec<u8>, flows: &Flows) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Sums<'a> {
        at: Timestamp,
        interfaces: &'a [FlowsOf],
        matched: u64,
        truncated: bool,
        total: Totals,
    }
    let value = Sums {
        at: flows.at,
        interfaces: &flows.interfaces,
        matched: flows.matched,
        truncated: flows.truncated,
        total: flows.total,
    };
    let r#type = "flows";
    let value = &value;
    serde_json::to_writer(&mut *out, &Line { r#type, value })?;
    out.push(b'\n');
    Ok(())
}

fn write_csv(out: &mut Vec<u8>, flows: &Flows, over: Option<Duration>) -> anyhow::Result<()> {
    let mut csv = csv::WriterBuilder::new();
    let mut csv = csv.has_headers(over.is_none()).from_writer(out);
    if over.is_some() {
        csv.write_record(RatedFlow::header())?;
    }
    for flow in &flows.flows {
        match over {
            None => csv.serialize(flow)?,
            Some(over) => {
                csv.serialize(RatedFlow::new(flow, &counters(flow), over)?.cells())?;
            }
        }
    }
    csv.flush()?;
    Ok(())
}

pub(super) fn write_text(
    out: &mut impl Write,
    style: TableStyle,
    flows: &Flows,
    over: Option<Duration>,
    names: &HashMap<IpAddr, String>,
) -> io::Result<()> {
    let shown = flows.flows.iter().map(|flow| named(flow, names).over(over));
    let shown: Vec<_> = shown.collect();
    let with_iface = flows.interfaces.len() > 1;
    let numbers = Numbers::Human.over(over);
    write_table(out, style, numbers, with_iface, &shown)?;
    let of = if shown.is_empty() {
        no_rows(flows.matched, all(flows))
    } else {
        format!("{} of {}", shown.len(), passed(flows.matched, all(flows)))
    };
    write_total(out, style, flows, over, &of)
}

/// How many flows were searched.
fn all(flows: &Flows) -> u64 {
    flows.interfaces.iter().map(|it| it.flows).sum()
}

fn write_total(
    out: &mut impl Write,
    style: TableStyle,
    flows: &Flows,
    over: Option<Duration>,
    of: &str,
) -> io::Result<()> {
    let total = &flows.total;
    let octets = [total.bytes_rcvd, total.bytes_sent];
    let [rcvd, sent] = octets.map(|octets| match over {
        Some(over) => human::bit_rate(octets, over),
        None => human::bytes(octets),
    });
    let total = format!("{of}; received {rcvd}, sent {sent}");
    for line in wrap(&total, style.sentence_width()) {
        writeln!(out, "{line}")?;
    }
    let since = flows.interfaces.iter().map(|it| it.since).min();
    if let Some(since) = since {
        let age = flows.at.duration_since(since).unsigned_abs();
        writeln!(out, "since {since:.0}, {} ago", human::duration(age))?;
    }
    Ok(())
}

/// A flow with the names of its ends, where they have some.
fn named(flow: &LiveFlow, names: &HashMap<IpAddr, String>) -> ShownFlow {
    let mut shown = shown(flow);
    if let Some(name) = names.get(&flow.src_addr) {
        shown.source = named_endpoint(name, flow.src_port, flow.ip_protocol);
    }
    if let Some(name) = names.get(&flow.dst_addr) {
        shown.destination = named_endpoint(name, flow.dst_port, flow.ip_protocol);
    }
    shown
}

/// A flow of the API as a table shows it.
pub(super) fn shown(flow: &LiveFlow) -> ShownFlow {
    let is_sure = flow.direction_confidence == "high";
    ShownFlow {
        iface: flow.iface.clone(),
        marks: marks(false, is_sure, flow.overflow),
        source: endpoint(flow.src_addr, flow.src_port, flow.ip_protocol),
        destination: endpoint(flow.dst_addr, flow.dst_port, flow.ip_protocol),
        protocol: names::protocol_or_number(flow.ip_protocol).into_owned(),
        service: names::service(flow.ip_protocol, flow.dst_port),
        counters: counters(flow),
        further: vec![
            tcp_flags(flow.ip_protocol, flow.tcp_flags),
            flow.direction_evidence.clone(),
            flow.first_seen.strftime("%H:%M:%SZ").to_string(),
            flow.last_seen.strftime("%H:%M:%SZ").to_string(),
        ],
    }
}

/// The counts of a flow of the API.
pub(super) const fn counters(flow: &LiveFlow) -> FlowCounters {
    FlowCounters {
        bytes_rcvd: flow.bytes_rcvd,
        bytes_sent: flow.bytes_sent,
        packets_rcvd: flow.packets_rcvd,
        packets_sent: flow.packets_sent,
    }
}
