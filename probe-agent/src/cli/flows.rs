//! `probe-agent flows`: who talks to whom, right now.

use std::{
    collections::HashMap,
    io::{self, IsTerminal, Write},
    net::IpAddr,
    process::ExitCode,
};

use clap::{Args, builder::PossibleValuesParser, builder::TypedValueParser};

use super::{connect::ConnectArgs, print, resolve};
use crate::term::{
    flow_format::{Numbers, ShownFlow, endpoint, marks, named_endpoint, tcp_flags, write_table},
    human,
    page::TableStyle,
};
use probe_api::v1::flows::{Flows, FlowsQuery, LiveFlow, Sort};
use probe_flow::{filter::Filter, flow::FlowCounters, protocols as names};

/// Show the flows of the running interval, those with the most traffic first
///
/// Counts are since the last rotation. In the table `*` marks flows whose direction is certain and
/// `+` those that stand for many. A port `*` is one that was aggregated away or is not known.
/// Received and sent are seen from the interface.
#[derive(Args, Debug)]
pub(super) struct FlowsArgs {
    /// Show only flows of these interfaces
    iface: Vec<String>,
    /// Number of flows to show
    #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
    #[arg(value_parser = clap::value_parser!(u32).range(..=100_000))]
    limit: u32,
    /// Field by which flows are sorted
    #[arg(long, default_value = "bytes", value_parser = sort_parser())]
    sort: Sort,
    /// Only flows that pass, as in 'tcp port https and not host 192.0.2.1' (docs/FILTER.md)
    #[arg(
        long,
        value_name = "FILTER",
        default_value_t,
        hide_default_value = true
    )]
    filter: Filter,
    /// Names of addresses in the table, as far as the resolver knows them within two seconds
    #[arg(long, conflicts_with_all = ["json", "csv"])]
    resolve: bool,
    /// The answer of the agent as one JSON object
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Comma-separated values with a header
    #[arg(long)]
    csv: bool,
    #[command(flatten)]
    connect: ConnectArgs,
}

/// The words are those of the API.
fn sort_parser() -> impl TypedValueParser<Value = Sort> {
    PossibleValuesParser::new(Sort::ALL.map(|(word, _)| word)).map(|word| {
        let found = Sort::ALL.iter().find(|(known, _)| *known == word);
        found.map_or(Sort::default(), |(_, sort)| *sort)
    })
}

/// Asks the agent for flows, and shows them.
pub(super) fn run(args: &FlowsArgs) -> anyhow::Result<ExitCode> {
    let flows = args.connect.client()?.flows(&FlowsQuery {
        iface: args.iface.clone(),
        filter: args.filter.clone(),
        sort: Some(args.sort),
        limit: Some(usize::try_from(args.limit)?),
        ..FlowsQuery::default()
    })?;
    let text = if args.json {
        format!("{}\n", serde_json::to_string_pretty(&flows)?)
    } else if args.csv {
        csv_text(&flows)?
    } else {
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
    };
    print(&text)?;
    Ok(ExitCode::SUCCESS)
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
    let of = if flows.matched == all {
        String::new()
    } else {
        format!(" that pass, of {all}")
    };
    writeln!(
        out,
        "{} of {} flows{of}; received {}, sent {}",
        flows.flows.len(),
        flows.matched,
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
