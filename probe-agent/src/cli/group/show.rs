//! Groups of flows as people and programs read them.

use std::{
    collections::HashMap,
    io::{self, Write},
    net::IpAddr,
    time::Duration,
};

use serde::{Serialize, Serializer};

use super::{GroupField, GroupValue, Grouped};
use crate::term::{
    flow_format::{Numbers, count_columns, named_counts, per_second},
    groups::Sum,
    page::{Colour, TableStyle, paint},
    text_table::{Column, fits, lay_out},
};
use probe_flow::{
    flow::FlowCounters,
    protocols::protocol_or_number,
    text::{counted, printable},
};

/// Addresses and names may be shortened to so many characters.
const LEAST: usize = 7;

/// The first groups, as they are shown.
#[derive(Clone, Copy, Debug)]
pub(in crate::cli) struct Shown<'a> {
    fields: &'a [GroupField],
    groups: &'a [(Vec<GroupValue>, Sum)],
    /// How many there are.
    all: usize,
    /// Rates over this time are shown.
    over: Option<Duration>,
}

impl Grouped<'_> {
    /// So many of them, at most: with the rates over a time, if one is given.
    pub(in crate::cli) fn first(&self, limit: usize, over: Option<Duration>) -> Shown<'_> {
        Shown {
            fields: self.fields,
            groups: &self.groups[..limit.min(self.groups.len())],
            all: self.groups.len(),
            over,
        }
    }
}

const fn column(field: GroupField) -> Column {
    let column = Column::of_text_field(field.field());
    match field {
        GroupField::Iface | GroupField::SrcAddr | GroupField::DstAddr => column.shortened_to(LEAST),
        GroupField::IpProtocol => column,
        GroupField::IpVersion | GroupField::SrcPort | GroupField::DstPort => {
            Column::number(field.field().heading)
        }
    }
}

fn cell(field: GroupField, value: &GroupValue, names: &HashMap<IpAddr, String>) -> String {
    match (field, value) {
        (GroupField::IpProtocol, GroupValue::Number(number)) => {
            let number = u8::try_from(*number);
            number.map_or_else(|_| String::new(), |it| protocol_or_number(it).into_owned())
        }
        // As in the table of flows.
        (GroupField::SrcPort | GroupField::DstPort, GroupValue::Number(0)) => "*".to_owned(),
        (_, GroupValue::Number(number)) => number.to_string(),
        (_, GroupValue::Address(address)) => match names.get(address) {
            Some(name) => name.clone(),
            None => address.to_string(),
        },
        (_, GroupValue::Text(text)) => printable(text),
    }
}

impl Shown<'_> {
    /// The addresses in it.
    pub(in crate::cli) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        let parts = self.groups.iter().flat_map(|(parts, _)| parts);
        parts.filter_map(|part| match part {
            GroupValue::Address(address) => Some(*address),
            GroupValue::Number(_) | GroupValue::Text(_) => None,
        })
    }

    /// `20 of 130 groups`.
    pub(in crate::cli) fn count(&self) -> String {
        format!(
            "{} of {}",
            self.groups.len(),
            counted(self.all as u64, "group")
        )
    }

    /// A table; nothing where there are no groups.
    pub(in crate::cli) fn write_table(
        &self,
        out: &mut impl Write,
        style: TableStyle,
        numbers: Numbers,
        names: &HashMap<IpAddr, String>,
    ) -> io::Result<()> {
        if self.groups.is_empty() {
            return Ok(());
        }
        let keys = self.fields.iter().map(|field| column(*field));
        let flows = [Column::number("flows").left_out(4)];
        let numbers = numbers.over(self.over);
        let counts = count_columns(numbers);
        let columns: Vec<_> = keys.chain(flows).chain(counts).collect();
        let rows = |is_short| -> Vec<Vec<String>> {
            let row = |(parts, sum): &(Vec<GroupValue>, Sum)| {
                let keys = self.fields.iter().zip(parts);
                let keys = keys.map(|(field, part)| cell(*field, part, names));
                let flows = [numbers.count(sum.flows, is_short)];
                let counters = match self.over {
                    Some(over) => per_second(sum.counters, over),
                    None => sum.counters,
                };
                let counts = numbers.cells(&counters, is_short);
                keys.chain(flows).chain(counts).collect()
            };
            self.groups.iter().map(row).collect()
        };
        let long = rows(false);
        let is_long = style.width.is_none_or(|width| fits(&columns, &long, width));
        let rows = if is_long { long } else { rows(true) };
        let layout = lay_out(&columns, &rows, style.width);
        let head = layout.group_line(&columns).into_iter();
        for line in head.chain([layout.header_line(&columns)]) {
            writeln!(out, "{}", paint(style, Colour::Bold, &line))?;
        }
        for row in &rows {
            writeln!(out, "{}", layout.line(&columns, row))?;
        }
        Ok(())
    }

    /// One JSON object a line, of type `group`.
    pub(in crate::cli) fn write_json(&self, out: &mut impl Write) -> io::Result<()> {
        for (parts, sum) in self.groups {
            let record = Record {
                fields: self.fields,
                parts,
                sum,
                over: self.over,
            };
            serde_json::to_writer(&mut *out, &record).map_err(io::Error::from)?;
            out.write_all(b"\n")?;
        }
        Ok(())
    }

    /// Comma-separated with a header.
    pub(in crate::cli) fn write_csv(&self, out: &mut impl Write) -> io::Result<()> {
        // In memory, since its errors do not keep the kind of those of `out`.
        let mut csv = csv::WriterBuilder::new()
            .has_headers(false)
            .from_writer(Vec::new());
        let keys = self.fields.iter().map(|field| field.field().name);
        let counted = named_counts(&FlowCounters::default(), self.over).map(|(name, _)| name);
        csv.serialize((keys.collect::<Vec<_>>(), "flows", counted))?;
        for (parts, sum) in self.groups {
            let counted = named_counts(&sum.counters, self.over).map(|(_, count)| count);
            csv.serialize((parts, sum.flows, counted))?;
        }
        let text = csv.into_inner().map_err(csv::IntoInnerError::into_error)?;
        out.write_all(&text)
    }
}

/// A group as a line of JSON.
struct Record<'a> {
    fields: &'a [GroupField],
    parts: &'a [GroupValue],
    sum: &'a Sum,
    over: Option<Duration>,
}

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeMap as _;
        let mut line = serializer.serialize_map(None)?;
        line.serialize_entry("type", "group")?;
        for (field, part) in self.fields.iter().zip(self.parts) {
            line.serialize_entry(field.field().name, part)?;
        }
        line.serialize_entry("flows", &self.sum.flows)?;
        for (name, count) in named_counts(&self.sum.counters, self.over) {
            line.serialize_entry(name, &count)?;
        }
        line.end()
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, time::Duration};

    use super::super::tests::{flow, grouping};
    use crate::term::{flow_format::Numbers, page::TableStyle};

    fn written(
        words: &str,
        how: &str,
        width: Option<usize>,
        limit: usize,
        over: Option<Duration>,
    ) -> String {
        let flows = [
            flow("198.18.0.10", 53, 17, 100_000_000),
            flow("2001:db8:1234:5678:9abc:def0:1234:5678", 0, 58, 150),
            flow("198.18.0.10", 80, 6, 60),
        ];
        let grouping = grouping(words, None);
        let grouped = grouping.groups(flows.iter().map(|it| ("eth0", it)));
        let shown = grouped.first(limit, over);
        let mut out = Vec::new();
        let style = TableStyle {
            width,
            ..TableStyle::default()
        };
        let names = HashMap::from([("198.18.0.10".parse().expect("an address"), "dns".to_owned())]);
        match how {
            "json" => shown.write_json(&mut out),
            "csv" => shown.write_csv(&mut out),
            _ => shown.write_table(&mut out, style, Numbers::Human, &names),
        }
        .expect("written");
        String::from_utf8(out).expect("text")
    }

    #[test]
    fn programs_read_the_names_of_the_schema() {
        assert_eq!(
            written("src,proto", "json", None, 1, None),
            "{\"type\":\"group\",\"src_addr\":\"198.18.0.10\",\"ip_protocol\":17,\"flows\":1,\
             \"packets_rcvd\":0,\"packets_sent\":1,\"bytes_rcvd\":100000000,\"bytes_sent\":0}\n"
        );
        assert_eq!(
            written("iface,dport", "csv", None, 9, None),
            "iface,dst_port,flows,packets_rcvd,packets_sent,bytes_rcvd,bytes_sent\n\
             eth0,53,1,0,1,100000000,0\neth0,0,1,0,1,150,0\neth0,80,1,0,1,60,0\n"
        );
    }

    #[test]
    fn people_read_a_table() {
        assert_eq!(
            written("src,proto,dport", "table", None, 9, None),
            "                                                                    bytes   packets\n\
             source                                 proto dst port flows     rcvd sent rcvd sent\n\
             dns                                    udp         53     1 95.3 MiB  0 B    0    1\n\
             2001:db8:1234:5678:9abc:def0:1234:5678 icmp6        *     1    150 B  0 B    0    1\n\
             dns                                    tcp         80     1     60 B  0 B    0    1\n"
        );
        assert_eq!(written("src", "table", None, 0, None), "");
    }

    #[test]
    fn rates_stand_in_the_place_of_counts() {
        let two = Some(Duration::from_secs(2));
        assert_eq!(
            written("proto", "csv", None, 1, two),
            "ip_protocol,flows,packets_rcvd_per_second,packets_sent_per_second,\
             bits_rcvd_per_second,bits_sent_per_second\n17,1,0,0,400000000,0\n"
        );
        assert!(
            written("proto", "json", None, 1, two).contains("\"bits_rcvd_per_second\":400000000")
        );
        let table = written("proto", "table", None, 1, two);
        for part in ["bit/s packets/s\n", "udp       1 400 M    0    0    0"] {
            assert!(table.contains(part), "{table}");
        }
    }

    #[test]
    fn no_terminal_is_too_narrow() {
        for width in 1..120 {
            for line in written("src,dport", "table", Some(width), 9, None).lines() {
                assert!(line.chars().count() <= width, "{width}: {line}");
            }
        }
    }
}
