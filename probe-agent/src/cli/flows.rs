//! `probe-agent flows`: who talks to whom, right now.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    net::IpAddr,
    process::ExitCode,
};

use clap::Args;
use jiff::Timestamp;
use serde::Serialize;

use super::{
    connect::ConnectArgs,
    print, resolve,
    select::{FormatArgs, SelectArgs, split},
};
use crate::term::{
    flow_format::{
        FlowFormat, Numbers, ShownFlow, endpoint, marks, named_endpoint, no_rows, tcp_flags,
        write_table,
    },
    human,
    page::TableStyle,
};
use probe_api::{
    client::Client,
    v1::flows::{Flows, FlowsOf, FlowsQuery, LiveFlow, Totals},
};
use probe_flow::{filter::Filter, flow::FlowCounters, protocols as names};

/// Flows that are shown unless a number is given.
const LIMIT: u32 = 20;

/// Show the flows of the running interval, those with the most traffic first
///
/// Counts are since the last rotation. In the table `*` marks flows whose direction is certain and
/// `+` those that stand for many. A port `*` is one that was aggregated away or is not known.
/// Received and sent are seen from the interface. 20 flows are shown unless --limit says otherwise.
/// JSON is one object a line: the flows with the fields of the JSON sink, then one of type `flows` with
/// the sums.
#[derive(Args, Debug)]
pub(super) struct FlowsArgs {
    /// Only flows of these interfaces; from the first other word on a filter, as by --filter
    #[arg(value_name = "IFACE|FILTER")]
    words: Vec<String>,
    #[command(flatten)]
    select: SelectArgs,
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
    let client = args.connect.client()?;
    let (iface, filter) = selected(&client, &args.words, &args.select)?;
    let flows = client.flows(&FlowsQuery {
        iface,
        filter,
        sort: args.select.sort,
        limit: Some(usize::try_from(args.select.limit.unwrap_or(LIMIT))?),
        ..FlowsQuery::default()
    })?;
    let text = match args.output.format() {
        FlowFormat::Json => json_text(&flows)?,
        FlowFormat::Csv => csv_text(&flows)?,
        FlowFormat::Table => {
            let style = TableStyle::of_terminal(io::stdout().is_terminal());
            let names = if args.resolve {
                let ends = flows
                    .flows
                    .iter()
                    .flat_map(|flow| [flow.src_addr, flow.dst_addr]);
                resolve::names(ends)
            } else {
                HashMap::new()
            };
            let mut out = Vec::new();
            write_text(&mut out, style, &flows, &names)?;
            String::from_utf8(out)?
        }
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
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

/// JSON lines as those of the sink and of `replay`: the flows, then one object with the sums.
fn json_text(flows: &Flows) -> anyhow::Result<String> {
    #[derive(Serialize)]
    struct Line<'a, T> {
        r#type: &'static str,
        #[serde(flatten)]
        value: &'a T,
    }
    #[derive(Serialize)]
    struct Sums<'a> {
        at: Timestamp,
        interfaces: &'a [FlowsOf],
        matched: u64,
        truncated: bool,
        total: Totals,
    }
    let lines = flows.flows.iter().map(|value| {
        let r#type = "flow";
        serde_json::to_string(&Line { r#type, value })
    });
    let mut lines: Vec<_> = lines.collect::<Result<_, _>>()?;
    let sums = Sums {
        at: flows.at,
        interfaces: &flows.interfaces,
        matched: flows.matched,
        truncated: flows.truncated,
        total: flows.total,
    };
    lines.push(serde_json::to_string(&Line {
        r#type: "flows",
        value: &sums,
    })?);
    Ok(lines.join("\n") + "\n")
}

fn csv_text(flows: &Flows) -> anyhow::Result<String> {
    let mut csv = csv::Writer::from_writer(Vec::new());
    for flow in &flows.flows {
        csv.serialize(flow)?;
    }
    Ok(String::from_utf8(csv.into_inner()?)?)
}

pub(super) fn write_text(
    out: &mut impl Write,
    style: TableStyle,
    flows: &Flows,
    names: &HashMap<IpAddr, String>,
) -> io::Result<()> {
    let shown: Vec<_> = flows.flows.iter().map(|flow| named(flow, names)).collect();
    let with_iface = flows.interfaces.len() > 1;
    write_table(out, style, Numbers::Human, with_iface, &shown)?;
    let total = &flows.total;
    let all: u64 = flows.interfaces.iter().map(|it| it.flows).sum();
    let of = if shown.is_empty() {
        no_rows(flows.matched, all)
    } else if flows.matched == all {
        format!("{} of {all} flows", shown.len())
    } else {
        let matched = flows.matched;
        format!("{} of {matched} flows that pass, of {all}", shown.len())
    };
    writeln!(
        out,
        "{of}; received {}, sent {}",
        human::bytes(total.bytes_rcvd),
        human::bytes(total.bytes_sent),
    )?;
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
        counters: FlowCounters {
            bytes_rcvd: flow.bytes_rcvd,
            bytes_sent: flow.bytes_sent,
            packets_rcvd: flow.packets_rcvd,
            packets_sent: flow.packets_sent,
        },
        further: vec![
            tcp_flags(flow.ip_protocol, flow.tcp_flags),
            flow.direction_evidence.clone(),
            flow.first_seen.strftime("%H:%M:%SZ").to_string(),
            flow.last_seen.strftime("%H:%M:%SZ").to_string(),
        ],
    }
}
