//! What may be asked for, by clients and to the server.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::{
    problem::Problem,
    query::{Query, word},
};
use probe_flow::{
    filter::{Filter, FilterError},
    flow::{FlowCounters, FlowRow},
};

/// Flows that are answered unless a limit is given.
pub const DEFAULT_LIMIT: usize = 100;

/// Most flows that are answered.
pub const MAX_LIMIT: usize = 100_000;

/// Which flows, in which order, and how many.
#[derive(Clone, Debug, Default, IntoParams, PartialEq)]
#[into_params(parameter_in = Query)]
pub struct FlowsQuery {
    /// Only these interfaces; may be repeated.
    pub iface: Vec<String>,
    /// Only flows that pass this filter (docs/FILTER.md); by default all do.
    #[param(value_type = Option<String>, max_length = 4096, example = "tcp port 443")]
    pub filter: Filter,
    /// What they are sorted by; `bytes` by default.
    #[param(inline)]
    pub sort: Option<Sort>,
    /// `desc` by default for counts, `asc` for everything else.
    #[param(inline)]
    pub order: Option<Order>,
    /// How many are answered: the first in that order. 100 by default.
    #[param(maximum = 100_000)]
    pub limit: Option<usize>,
}

/// What flows are sorted by.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Bytes of both directions.
    #[default]
    Bytes,
    /// By bytes received, most first.
    BytesRcvd,
    /// By bytes sent, most first.
    BytesSent,
    /// Packets of both directions.
    Packets,
    /// By packets received, most first.
    PacketsRcvd,
    /// By packets sent, most first.
    PacketsSent,
    /// Name of the interface.
    Iface,
    /// By source address, lowest first.
    SrcAddr,
    /// By source port, lowest first.
    SrcPort,
    /// By destination address, lowest first.
    DstAddr,
    /// By destination port, lowest first.
    DstPort,
    /// By protocol number, lowest first.
    IpProtocol,
}

impl Sort {
    /// All of them, with their words.
    pub const ALL: [(&str, Self); 12] = [
        ("bytes", Self::Bytes),
        ("bytes_rcvd", Self::BytesRcvd),
        ("bytes_sent", Self::BytesSent),
        ("packets", Self::Packets),
        ("packets_rcvd", Self::PacketsRcvd),
        ("packets_sent", Self::PacketsSent),
        ("iface", Self::Iface),
        ("src_addr", Self::SrcAddr),
        ("src_port", Self::SrcPort),
        ("dst_addr", Self::DstAddr),
        ("dst_port", Self::DstPort),
        ("ip_protocol", Self::IpProtocol),
    ];

    /// Value of the query parameter `sort`.
    pub fn name(self) -> &'static str {
        let found = Self::ALL.iter().find(|(_, sort)| *sort == self);
        found.map_or("bytes", |(name, _)| name)
    }

    /// Compares two flows of one interface, the smaller one first.
    pub(super) fn compare(self, a: &FlowRow, b: &FlowRow) -> Ordering {
        let count =
            |read: fn(&FlowCounters) -> u64| read(&a.flow.counters).cmp(&read(&b.flow.counters));
        match self {
            Self::Bytes => count(FlowCounters::bytes),
            Self::BytesRcvd => count(|it| it.bytes_rcvd),
            Self::BytesSent => count(|it| it.bytes_sent),
            Self::Packets => count(FlowCounters::packets),
            Self::PacketsRcvd => count(|it| it.packets_rcvd),
            Self::PacketsSent => count(|it| it.packets_sent),
            Self::Iface => Ordering::Equal,
            Self::SrcAddr => a.src_addr.cmp(&b.src_addr),
            Self::SrcPort => a.src_port.cmp(&b.src_port),
            Self::DstAddr => a.dst_addr.cmp(&b.dst_addr),
            Self::DstPort => a.dst_port.cmp(&b.dst_port),
            Self::IpProtocol => a.ip_protocol.cmp(&b.ip_protocol),
        }
    }

    /// Compares two flows of one interface in the natural order.
    pub fn compare_rows(self, a: &FlowRow, b: &FlowRow) -> Ordering {
        match self.natural_order() {
            Order::Asc => self.compare(a, b),
            Order::Desc => self.compare(b, a),
        }
    }

    /// The order that is meant when none is given: most traffic first, else from small to large.
    pub const fn natural_order(self) -> Order {
        match self {
            Self::Bytes
            | Self::BytesRcvd
            | Self::BytesSent
            | Self::Packets
            | Self::PacketsRcvd
            | Self::PacketsSent => Order::Desc,
            Self::Iface
            | Self::SrcAddr
            | Self::SrcPort
            | Self::DstAddr
            | Self::DstPort
            | Self::IpProtocol => Order::Asc,
        }
    }
}

/// From small to large, or from large to small.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// From small to large.
    Asc,
    /// From large to small.
    Desc,
}

impl Order {
    const ALL: [(&str, Self); 2] = [("asc", Self::Asc), ("desc", Self::Desc)];
}

impl FlowsQuery {
    pub(super) const PARAMETERS: [&str; 5] = ["iface", "filter", "sort", "order", "limit"];

    /// Reads the query of a request, which is what stands behind the question mark.
    ///
    /// # Errors
    ///
    /// A parameter is unknown, given twice or wrong: status 400, and `detail` names the parameter.
    pub fn parse(raw: Option<&str>) -> Result<Self, Problem> {
        Self::from_query(&Query::parse(raw, &Self::PARAMETERS)?)
    }

    pub(super) fn from_query(query: &Query) -> Result<Self, Problem> {
        Ok(Self {
            iface: query.all("iface"),
            filter: filter(query.one("filter")?.unwrap_or_default())?,
            sort: query.read("sort", word(&Sort::ALL))?,
            order: query.read("order", word(&Order::ALL))?,
            limit: query.read("limit", limit)?,
        })
    }

    /// How many rows an answer may have, by the query of a request.
    pub(super) fn rows(raw: Option<&str>) -> Result<usize, Problem> {
        let limit = Query::parse(raw, &Self::PARAMETERS)?.read("limit", limit)?;
        Ok(limit.unwrap_or(DEFAULT_LIMIT))
    }

    /// The query as a client sends it, without the question mark.
    pub fn encode(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        for iface in &self.iface {
            query.append_pair("iface", iface);
        }
        if !self.filter.is_empty() {
            query.append_pair("filter", &self.filter.to_string());
        }
        if let Some(sort) = self.sort {
            query.append_pair("sort", sort.name());
        }
        if let Some(order) = self.order {
            let word = if order == Order::Asc { "asc" } else { "desc" };
            query.append_pair("order", word);
        }
        if let Some(limit) = self.limit {
            query.append_pair("limit", &limit.to_string());
        }
        query.finish()
    }
}

fn limit(text: &str) -> Result<usize, String> {
    let limit = text.parse().ok().filter(|limit| *limit <= MAX_LIMIT);
    let found = text.escape_debug();
    limit.ok_or_else(|| format!("must be a whole number from 0 to {MAX_LIMIT}, found `{found}`"))
}

fn filter(text: &str) -> Result<Filter, Problem> {
    text.parse().map_err(|error: FilterError| Problem {
        column: Some(error.column()),
        ..Problem::bad_request(format!("parameter `filter`: {}", error.message()))
    })
}

#[cfg(test)]
mod tests {
    use probe_flow::schema::live_fields;

    use super::{FlowsQuery, Order, Sort};

    #[test]
    fn what_a_client_sends_is_what_the_server_reads() {
        let query = FlowsQuery {
            iface: vec!["eth0".to_owned(), "a&b=c".to_owned()],
            filter: "src net 10.0.0.0/8 and not tcp port 443".parse().unwrap(),
            sort: Some(Sort::PacketsRcvd),
            order: Some(Order::Asc),
            limit: Some(7),
        };
        assert_eq!(FlowsQuery::parse(Some(&query.encode())), Ok(query));
        assert_eq!(FlowsQuery::parse(None), Ok(FlowsQuery::default()));
        let refused = |raw| FlowsQuery::parse(Some(raw)).expect_err("refused").detail;
        assert_eq!(
            refused("limit=100001"),
            "parameter `limit` must be a whole number from 0 to 100000, found `100001`"
        );
        let problem = FlowsQuery::parse(Some("filter=tcp+prot+1")).expect_err("refused");
        assert_eq!((problem.status, problem.column), (400, Some(5)));
        assert!(refused("sort=size").starts_with("parameter `sort` must be one of bytes, "));
    }

    #[test]
    fn words_are_those_of_the_document() {
        for (name, sort) in Sort::ALL {
            assert_eq!(serde_json::to_value(sort).unwrap(), name);
        }
    }

    #[test]
    fn words_are_fields_and_sums() {
        let is_field = |name| live_fields().any(|field| field.name == name);
        for (name, _) in Sort::ALL {
            let is_sum = ["bytes", "packets"].contains(&name);
            assert!(is_sum || is_field(name), "{name}");
        }
    }
}
