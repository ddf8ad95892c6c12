//! Flows put together by some of their fields: the same options for `flows` and `replay`.

mod show;

use std::{
    cmp::{Ordering, Reverse},
    net::IpAddr,
};

use clap::{Args, ValueEnum};
use serde::Serialize;

pub(super) use self::show::Shown;
use super::{flows::counters, select::UsageError};
use crate::term::groups::{Groups, Sum};
use probe_api::v1::flows::{LiveFlow, Sort};
use probe_flow::{
    flow::{FlowCounters, FlowRow},
    schema::{Field, field},
};

/// What is shown: flows or sums of them, counts or rates.
#[derive(Args, Clone, Debug, Default)]
pub struct GroupArgs {
    /// Sums of the flows that are the same in these fields, joined by commas, as in `src,proto`: the names or the
    /// short words of filters. Groups with the most bytes come first
    #[arg(long, value_name = "FIELD", value_delimiter = ',', value_enum)]
    pub by: Vec<GroupField>,
    /// Rates instead of counts: bits and packets a second, over the whole time that is counted
    #[arg(long)]
    pub rate: bool,
}

/// A field by which flows are put together.
#[derive(Clone, Copy, Debug, Eq, PartialEq, ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum GroupField {
    /// Name of the interface.
    #[value(alias = "interface")]
    Iface,
    /// Version of the Internet Protocol, 4 or 6.
    IpVersion,
    /// IANA number of the protocol.
    #[value(aliases = ["proto", "protocol"])]
    IpProtocol,
    /// Address of the client.
    #[value(aliases = ["src", "sip"])]
    SrcAddr,
    /// Port of the client.
    #[value(alias = "sport")]
    SrcPort,
    /// Address of the server.
    #[value(aliases = ["dst", "dip"])]
    DstAddr,
    /// Port of the server.
    #[value(alias = "dport")]
    DstPort,
}

impl GroupField {
    /// The same of the schema.
    const fn field(self) -> &'static Field {
        match self {
            Self::Iface => const { field("iface") },
            Self::IpVersion => const { field("ip_version") },
            Self::IpProtocol => const { field("ip_protocol") },
            Self::SrcAddr => const { field("src_addr") },
            Self::SrcPort => const { field("src_port") },
            Self::DstAddr => const { field("dst_addr") },
            Self::DstPort => const { field("dst_port") },
        }
    }

    fn of(self, flow: &Counted<'_>) -> Part {
        match self {
            Self::Iface => Part::Text(flow.iface.to_owned()),
            Self::IpVersion => Part::Number(if flow.src_addr.is_ipv4() { 4 } else { 6 }),
            Self::IpProtocol => Part::Number(flow.ip_protocol.into()),
            Self::SrcAddr => Part::Address(flow.src_addr),
            Self::SrcPort => Part::Number(flow.src_port),
            Self::DstAddr => Part::Address(flow.dst_addr),
            Self::DstPort => Part::Number(flow.dst_port),
        }
    }
}

/// The value that the flows of a group have in one field.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(untagged)]
enum Part {
    Number(u16),
    Address(IpAddr),
    Text(String),
}

/// What of a flow groups are made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counted<'a> {
    iface: &'a str,
    src_addr: IpAddr,
    src_port: u16,
    dst_addr: IpAddr,
    dst_port: u16,
    ip_protocol: u8,
    counters: FlowCounters,
}

impl<'a> Counted<'a> {
    /// Of a flow of an interface.
    pub(super) const fn of_row(iface: &'a str, row: &FlowRow) -> Self {
        Self {
            iface,
            src_addr: row.src_addr,
            src_port: row.src_port,
            dst_addr: row.dst_addr,
            dst_port: row.dst_port,
            ip_protocol: row.ip_protocol,
            counters: row.flow.counters,
        }
    }

    /// Of a flow that the API has answered.
    pub(super) const fn of_live(flow: &'a LiveFlow) -> Self {
        Self {
            iface: flow.iface.as_str(),
            src_addr: flow.src_addr,
            src_port: flow.src_port,
            dst_addr: flow.dst_addr,
            dst_port: flow.dst_port,
            ip_protocol: flow.ip_protocol,
            counters: counters(flow),
        }
    }
}

/// How flows are put together, and in which order the groups come.
#[derive(Clone, Debug)]
pub(super) struct Grouping {
    fields: Vec<GroupField>,
    order: GroupOrder,
}

#[derive(Clone, Copy, Debug)]
enum GroupOrder {
    /// By traffic, most first.
    Traffic(fn(&FlowCounters) -> u64),
    /// From small to large, by the part of this number.
    Part(usize),
}

impl GroupArgs {
    /// What was asked for; none if flows are shown one by one.
    ///
    /// # Errors
    ///
    /// Groups are to be sorted by a field in which their flows differ.
    pub(super) fn grouping(&self, sort: Option<Sort>) -> Result<Option<Grouping>, UsageError> {
        let mut fields = Vec::new();
        for field in &self.by {
            if !fields.contains(field) {
                fields.push(*field);
            }
        }
        if fields.is_empty() {
            return Ok(None);
        }
        let order = order(sort.unwrap_or_default(), &fields)?;
        Ok(Some(Grouping { fields, order }))
    }
}

fn order(sort: Sort, fields: &[GroupField]) -> Result<GroupOrder, UsageError> {
    let wanted = match sort {
        Sort::Bytes => return Ok(GroupOrder::Traffic(FlowCounters::bytes)),
        Sort::BytesRcvd => return Ok(GroupOrder::Traffic(|it| it.bytes_rcvd)),
        Sort::BytesSent => return Ok(GroupOrder::Traffic(|it| it.bytes_sent)),
        Sort::Packets => return Ok(GroupOrder::Traffic(FlowCounters::packets)),
        Sort::PacketsRcvd => return Ok(GroupOrder::Traffic(|it| it.packets_rcvd)),
        Sort::PacketsSent => return Ok(GroupOrder::Traffic(|it| it.packets_sent)),
        Sort::Iface => GroupField::Iface,
        Sort::SrcAddr => GroupField::SrcAddr,
        Sort::SrcPort => GroupField::SrcPort,
        Sort::DstAddr => GroupField::DstAddr,
        Sort::DstPort => GroupField::DstPort,
        Sort::IpProtocol => GroupField::IpProtocol,
    };
    let position = fields.iter().position(|field| *field == wanted);
    position.map(GroupOrder::Part).ok_or_else(|| {
        let names: Vec<_> = fields.iter().map(|it| it.field().name).collect();
        UsageError(format!(
            "--sort {}: the flows of a group differ in it; sort by traffic or by {}",
            sort.name(),
            names.join(", ")
        ))
    })
}

impl Grouping {
    /// All groups of these flows, in their order.
    pub(super) fn groups<'a>(&self, flows: impl Iterator<Item = Counted<'a>>) -> Grouped<'_> {
        let mut groups = Groups::default();
        groups.extend(flows.map(|flow| {
            let parts = self.fields.iter().map(|field| field.of(&flow));
            (parts.collect::<Vec<_>>(), flow.counters)
        }));
        let compare = |a: &(Vec<Part>, Sum), b: &(Vec<Part>, Sum)| -> Ordering {
            match self.order {
                GroupOrder::Traffic(read) => {
                    Reverse(read(&a.1.counters)).cmp(&Reverse(read(&b.1.counters)))
                }
                GroupOrder::Part(position) => a.0.get(position).cmp(&b.0.get(position)),
            }
        };
        Grouped {
            fields: &self.fields,
            groups: groups.sorted_by(compare),
        }
    }
}

/// Groups in their order.
#[derive(Clone, Debug)]
pub(super) struct Grouped<'a> {
    fields: &'a [GroupField],
    groups: Vec<(Vec<Part>, Sum)>,
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use clap::Parser;

    use super::{Counted, GroupArgs, GroupField, Grouping};
    use crate::cli::select::short_words;
    use probe_api::v1::flows::Sort;
    use probe_flow::flow::FlowCounters;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        group: GroupArgs,
    }

    fn by(words: &str, sort: Option<Sort>) -> Result<Grouping, String> {
        let line = Line::try_parse_from(["probe", "--by", words]);
        let line = line.map_err(|error| error.to_string())?;
        let grouping = line.group.grouping(sort);
        Ok(grouping
            .map_err(|error| error.to_string())?
            .expect("groups"))
    }

    pub(super) fn flow(src: &str, dst_port: u16, ip_protocol: u8, bytes: u64) -> Counted<'static> {
        Counted {
            iface: "eth0",
            src_addr: src.parse().expect("an address"),
            src_port: 0,
            dst_addr: "198.18.0.9".parse().expect("an address"),
            dst_port,
            ip_protocol,
            counters: FlowCounters {
                bytes_rcvd: bytes,
                packets_sent: 1,
                ..FlowCounters::default()
            },
        }
    }

    pub(in crate::cli) fn grouping(words: &str, sort: Option<Sort>) -> Grouping {
        by(words, sort).unwrap_or_else(|error| panic!("{error}"))
    }

    #[test]
    fn words_are_those_of_filters() {
        let fields = by("src,dst,dport,proto,iface", None).expect("known").fields;
        let names: Vec<_> = fields.iter().map(|it| it.field().name).collect();
        let expected = ["src_addr", "dst_addr", "dst_port", "ip_protocol", "iface"];
        assert_eq!(names, expected);
        for (short, long) in [
            ("sip", "src_addr"),
            ("dip", "dst_addr"),
            ("sport", "src_port"),
            ("protocol", "ip_protocol"),
            ("interface", "iface"),
            ("ip_version,ip_version", "ip_version"),
        ] {
            let [short, long] = [short, long].map(|words| by(words, None).expect("known").fields);
            assert_eq!(short, long);
        }
        assert!(by("size", None).is_err());
    }

    #[test]
    fn groups_have_the_order_that_was_asked_for() {
        let flows = [
            flow("198.18.0.10", 53, 17, 100),
            flow("198.18.0.9", 443, 6, 150),
            flow("198.18.0.10", 80, 6, 60),
        ];
        let keys = |words, sort| {
            let grouping = grouping(words, sort);
            let grouped = grouping.groups(flows.into_iter());
            let keys = grouped.groups.iter().map(|(parts, sum)| {
                let parts = serde_json::to_string(parts).expect("JSON");
                format!("{parts} {} {}", sum.flows, sum.counters.bytes())
            });
            keys.collect::<Vec<_>>()
        };
        assert_eq!(
            keys("src", None),
            [r#"["198.18.0.10"] 2 160"#, r#"["198.18.0.9"] 1 150"#]
        );
        assert_eq!(
            keys("src", Some(Sort::SrcAddr)),
            [r#"["198.18.0.9"] 1 150"#, r#"["198.18.0.10"] 2 160"#],
            "as numbers, not as text"
        );
        assert_eq!(
            keys("proto,dport", Some(Sort::DstPort)),
            ["[17,53] 1 100", "[6,80] 1 60", "[6,443] 1 150"]
        );
        assert_eq!(keys("iface,ip_version", None), [r#"["eth0",4] 3 310"#]);
    }

    #[test]
    fn groups_are_not_sorted_by_what_their_flows_differ_in() {
        let told = by("src,proto", Some(Sort::DstPort)).expect_err("it is no part");
        assert!(
            told.contains("sort by traffic or by src_addr, ip_protocol"),
            "{told}"
        );
        let none = GroupArgs::default().grouping(Some(Sort::DstPort));
        assert!(none.expect("flows are shown").is_none());
    }

    #[test]
    fn each_field_is_one_of_the_schema() {
        use clap::ValueEnum as _;
        for it in GroupField::value_variants() {
            let value = it.to_possible_value().expect("it has a word");
            let mut words = value.get_name_and_aliases();
            assert_eq!(words.next(), Some(it.field().name));
            assert!(words.eq(short_words(it.field().name).iter().copied()));
        }
    }
}
