//! Flows put together by some of their fields: the same options for `flows` and `replay`.

mod show;

use std::cmp::{Ordering, Reverse};

use clap::{Args, builder::TypedValueParser};

pub(super) use self::show::Shown;
use super::select::{UsageError, Words};
use crate::term::groups::{self, Groups, Sum};
use probe_api::v1::flows::{
    Sort, Totals,
    groups::{FlowGroups, GroupField, GroupValue},
};
use probe_flow::flow::{FlowCounters, FlowRow};

/// What is shown: flows or sums of them, counts or rates.
#[derive(Args, Clone, Debug, Default)]
pub struct GroupArgs {
    /// Sums of the flows that are the same in these fields, joined by commas, as in `src,proto`: the names or the
    /// short words of filters. Groups with the most bytes come first
    #[arg(long, value_name = "FIELD", value_delimiter = ',', value_parser = field_parser())]
    pub by: Vec<GroupField>,
    /// Rates instead of counts: bits and packets a second, over the whole time that is counted
    #[arg(long)]
    pub rate: bool,
}

/// The words are those of the API, and the short ones of filters.
fn field_parser() -> impl TypedValueParser<Value = GroupField> {
    Words(&GroupField::ALL)
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
    /// The fields by which flows are put together.
    pub(super) fn fields(&self) -> &[GroupField] {
        &self.fields
    }

    /// All groups of these flows, each with its interface, in their order.
    pub(super) fn groups<'a>(
        &self,
        flows: impl Iterator<Item = (&'a str, &'a FlowRow)>,
    ) -> Grouped<'_> {
        let mut groups = Groups::default();
        groups.extend(flows.map(|(iface, row)| {
            let values = self.fields.iter().map(|field| field.of(iface, row));
            (values.collect::<Vec<_>>(), row.flow.counters)
        }));
        Grouped {
            fields: &self.fields,
            groups: groups.sorted_by(|a, b| self.compare(a, b)),
        }
    }

    /// All groups that an agent has answered, in their order.
    pub(super) fn answered(&self, answer: FlowGroups) -> Grouped<'_> {
        let groups = answer.groups.into_iter().map(|group| {
            let sum = Sum {
                flows: group.flows,
                counters: counters(group.total),
            };
            (group.values, sum)
        });
        let mut groups: Vec<_> = groups.collect();
        groups::sort_by(&mut groups, |a, b| self.compare(a, b));
        Grouped {
            fields: &self.fields,
            groups,
        }
    }

    fn compare(&self, a: &(Vec<GroupValue>, Sum), b: &(Vec<GroupValue>, Sum)) -> Ordering {
        match self.order {
            GroupOrder::Traffic(read) => {
                Reverse(read(&a.1.counters)).cmp(&Reverse(read(&b.1.counters)))
            }
            GroupOrder::Part(position) => a.0.get(position).cmp(&b.0.get(position)),
        }
    }
}

const fn counters(total: Totals) -> FlowCounters {
    FlowCounters {
        bytes_rcvd: total.bytes_rcvd,
        bytes_sent: total.bytes_sent,
        packets_rcvd: total.packets_rcvd,
        packets_sent: total.packets_sent,
    }
}

/// Groups in their order.
#[derive(Clone, Debug)]
pub(super) struct Grouped<'a> {
    fields: &'a [GroupField],
    groups: Vec<(Vec<GroupValue>, Sum)>,
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use clap::Parser;

    use super::{GroupArgs, Grouping};
    use probe_api::v1::flows::Sort;
    use probe_flow::flow::{Flow, FlowCounters, FlowRow};

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

    pub(super) fn flow(src: &str, dst_port: u16, ip_protocol: u8, bytes: u64) -> FlowRow {
        let counters = FlowCounters {
            bytes_rcvd: bytes,
            packets_sent: 1,
            ..FlowCounters::default()
        };
        FlowRow {
            src_addr: src.parse().expect("an address"),
            src_port: 0,
            dst_addr: "198.18.0.9".parse().expect("an address"),
            dst_port,
            ip_protocol,
            flow: Flow {
                counters,
                ..Flow::default()
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
            let grouped = grouping.groups(flows.iter().map(|it| ("eth0", it)));
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
}
