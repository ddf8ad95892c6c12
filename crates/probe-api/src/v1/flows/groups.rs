//! `GET /api/v1/flows/groups`: sums of the flows of the running interval that are the same in some of
//! their fields.
//!
//! They are made here, since all flows are more than an answer may have: sums over the largest ones would
//! be no sums.

use std::{collections::HashMap, convert::Infallible, net::IpAddr};

use axum::{
    body::{Body, Bytes},
    extract::RawQuery,
    http::{HeaderValue, header},
    response::{IntoResponse, Response},
};
use futures_util::stream::unfold;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::task::yield_now;
use utoipa::ToSchema;

use super::{
    FlowsOf, FlowsQuery, Totals, no_text,
    top::{Visited, visit},
};
use crate::{
    lane,
    limits::Asked,
    problem::Problem,
    query::{Query, word},
    v1::check_interfaces,
};
use probe_capture::manager::Manager;
use probe_flow::{
    filter::Filter,
    flow::{FlowCounters, FlowRow},
    schema::{Field, field},
};

/// Path of this endpoint below the API's address.
pub const PATH: &str = "/api/v1/flows/groups";

/// Most groups that are answered.
pub const MAX_GROUPS: usize = 100_000;

/// Octets of a piece of the answer.
const PIECE: usize = 32 << 10;

/// Sums of all flows that had traffic since the last rotation and pass the filter.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FlowGroups {
    /// When the flows were read.
    pub at: Timestamp,
    /// The interfaces whose flows were searched.
    pub interfaces: Vec<FlowsOf>,
    /// Flows that passed the filter: those of all groups.
    pub matched: u64,
    /// Sums over all groups.
    pub total: Totals,
    /// In which fields the flows of a group are the same.
    pub by: Vec<GroupField>,
    /// All groups, in no order.
    pub groups: Vec<FlowGroup>,
}

/// Flows that are the same in some fields.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct FlowGroup {
    /// The value of each field of `by`, as flows have it.
    pub values: Vec<GroupValue>,
    /// How many flows the group has.
    pub flows: u64,
    /// Sums over these flows.
    pub total: Totals,
}

/// The value that the flows of a group have in one field.
#[derive(Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize, ToSchema)]
#[serde(untagged)]
pub enum GroupValue {
    /// A port, a protocol, or the version of the Internet Protocol.
    Number(u16),
    /// IP address of an end.
    #[schema(value_type = String)]
    Address(IpAddr),
    /// Name of an interface.
    Text(String),
}

/// A field by which flows are put together.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum GroupField {
    /// Name of the interface.
    Iface,
    /// Version of the Internet Protocol, 4 or 6.
    IpVersion,
    /// IANA number of the protocol.
    IpProtocol,
    /// Address of the client.
    SrcAddr,
    /// Port of the client.
    SrcPort,
    /// Address of the server.
    DstAddr,
    /// Port of the server.
    DstPort,
}

impl GroupField {
    /// All of them, with their words.
    pub const ALL: [(&str, Self); 7] = [
        ("iface", Self::Iface),
        ("ip_version", Self::IpVersion),
        ("ip_protocol", Self::IpProtocol),
        ("src_addr", Self::SrcAddr),
        ("src_port", Self::SrcPort),
        ("dst_addr", Self::DstAddr),
        ("dst_port", Self::DstPort),
    ];

    /// The same of the schema.
    pub const fn field(self) -> &'static Field {
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

    /// What a flow of an interface has there.
    pub fn of(self, iface: &str, row: &FlowRow) -> GroupValue {
        match self {
            Self::Iface => GroupValue::Text(iface.to_owned()),
            Self::IpVersion => GroupValue::Number(if row.src_addr.is_ipv4() { 4 } else { 6 }),
            Self::IpProtocol => GroupValue::Number(row.ip_protocol.into()),
            Self::SrcAddr => GroupValue::Address(row.src_addr),
            Self::SrcPort => GroupValue::Number(row.src_port),
            Self::DstAddr => GroupValue::Address(row.dst_addr),
            Self::DstPort => GroupValue::Number(row.dst_port),
        }
    }
}

/// Which flows, and by what they are put together.
#[derive(Clone, Debug, Default, utoipa::IntoParams, PartialEq)]
#[into_params(parameter_in = Query)]
pub struct GroupsQuery {
    /// In which fields the flows of a group are the same; repeated for each.
    #[param(inline)]
    pub by: Vec<GroupField>,
    /// Only these interfaces; may be repeated.
    pub iface: Vec<String>,
    /// Only flows that pass this filter (docs/FILTER.md); by default all do.
    #[param(value_type = Option<String>, max_length = 4096, example = "tcp port 443")]
    pub filter: Filter,
}

impl GroupsQuery {
    /// Reads the query of a request, which is what stands behind the question mark.
    ///
    /// # Errors
    ///
    /// A parameter is unknown, missing, given twice or wrong: status 400, and `detail` names the
    /// parameter.
    pub fn parse(raw: Option<&str>) -> Result<Self, Problem> {
        let query = Query::parse(raw, &["by", "iface", "filter"])?;
        let mut by = Vec::new();
        for name in query.all("by") {
            let field = word(&GroupField::ALL)(&name);
            let wrong = |message| Problem::bad_request(format!("parameter `by` {message}"));
            let field = field.map_err(wrong)?;
            if !by.contains(&field) {
                by.push(field);
            }
        }
        if by.is_empty() {
            return Err(Problem::bad_request(
                "parameter `by` is missing; name a field, as in by=src_addr".to_owned(),
            ));
        }
        let FlowsQuery { iface, filter, .. } = FlowsQuery::from_query(&query)?;
        Ok(Self { by, iface, filter })
    }

    /// The query as a client sends it, without the question mark.
    pub fn encode(&self) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.extend_pairs(self.by.iter().map(|field| ("by", field.field().name)));
        let flows = FlowsQuery {
            iface: self.iface.clone(),
            filter: self.filter.clone(),
            ..FlowsQuery::default()
        };
        [query.finish(), flows.encode()]
            .join("&")
            .trim_end_matches('&')
            .to_owned()
    }
}

/// What flows of a group share: small, since it is made and hashed for each flow.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
struct Key {
    /// Place in the list of interfaces.
    iface: Option<usize>,
    is_v4: Option<bool>,
    ip_protocol: Option<u8>,
    src_addr: Option<IpAddr>,
    src_port: Option<u16>,
    dst_addr: Option<IpAddr>,
    dst_port: Option<u16>,
}

impl Key {
    fn new(by: &[GroupField], iface: usize, row: &FlowRow) -> Self {
        let mut key = Self::default();
        for field in by {
            match field {
                GroupField::Iface => key.iface = Some(iface),
                GroupField::IpVersion => key.is_v4 = Some(row.src_addr.is_ipv4()),
                GroupField::IpProtocol => key.ip_protocol = Some(row.ip_protocol),
                GroupField::SrcAddr => key.src_addr = Some(row.src_addr),
                GroupField::SrcPort => key.src_port = Some(row.src_port),
                GroupField::DstAddr => key.dst_addr = Some(row.dst_addr),
                GroupField::DstPort => key.dst_port = Some(row.dst_port),
            }
        }
        key
    }
}

/// A group with one of its flows, whose values are those of all.
struct Group {
    iface: usize,
    example: FlowRow,
    flows: u64,
    counters: FlowCounters,
}

/// Sums of the flows of the running interval
#[utoipa::path(get, path = PATH, tag = "capture", params(GroupsQuery), responses(
    (status = 200, description = "All groups", body = FlowGroups),
    (status = 404, description = "An interface is not captured", body = Problem,
        content_type = "application/problem+json"),
))]
pub(crate) async fn groups(asked: Asked, RawQuery(query): RawQuery) -> Result<Response, Problem> {
    let grouped = asked.query(MAX_GROUPS, move |state, waiting| {
        let query = GroupsQuery::parse(query.as_deref())?;
        check_interfaces(state, &query.iface)?;
        let groups = group(&state.manager, &query, waiting)?;
        serde_json::to_vec(&groups).map_err(|error| no_text(&error))
    });
    let (text, memory) = grouped.await?;
    // The memory is given back with the last piece.
    let pieces = unfold(
        (Bytes::from(text), memory),
        |(mut text, memory)| async move {
            yield_now().await;
            let piece = text.split_to(PIECE.min(text.len()));
            (!piece.is_empty()).then_some((Ok::<_, Infallible>(piece), (text, memory)))
        },
    );
    let json = HeaderValue::from_static("application/json");
    Ok(([(header::CONTENT_TYPE, json)], Body::from_stream(pieces)).into_response())
}

/// Puts the flows of the wanted interfaces together.
fn group(
    manager: &Manager,
    query: &GroupsQuery,
    waiting: &lane::Order,
) -> Result<FlowGroups, Problem> {
    let mut groups: HashMap<Key, Group> = HashMap::new();
    let visited = visit(
        manager,
        &query.iface,
        &query.filter,
        waiting,
        |(place, _), row| {
            let key = Key::new(&query.by, place, &row);
            let group = groups.entry(key).or_insert_with(|| Group {
                iface: place,
                example: row,
                flows: 0,
                counters: FlowCounters::default(),
            });
            group.flows += 1;
            group.counters += row.flow.counters;
            if groups.len() > MAX_GROUPS {
                return Err(too_many());
            }
            Ok(())
        },
    )?;
    let Visited {
        at,
        interfaces,
        matched,
        total,
        ..
    } = visited;
    let groups = groups.into_values().map(|group| {
        let iface = interfaces.get(group.iface).map_or("", |it| &it.iface);
        let values = query.by.iter().map(|field| field.of(iface, &group.example));
        FlowGroup {
            values: values.collect(),
            flows: group.flows,
            total: group.counters.into(),
        }
    });
    Ok(FlowGroups {
        groups: groups.collect(),
        at,
        matched,
        total: total.into(),
        by: query.by.clone(),
        interfaces,
    })
}

fn too_many() -> Problem {
    Problem::bad_request(format!(
        "parameter `by` makes more than {MAX_GROUPS} groups; name fewer fields, an interface, or a filter \
         that fewer flows pass"
    ))
}

#[cfg(test)]
mod tests {
    use super::{GroupField, GroupsQuery};

    #[test]
    fn what_a_client_sends_is_what_the_server_reads() {
        let query = GroupsQuery {
            by: vec![GroupField::SrcAddr, GroupField::IpProtocol],
            iface: vec!["eth0".to_owned(), "a&b=c".to_owned()],
            filter: "tcp port 443".parse().unwrap(),
        };
        assert_eq!(GroupsQuery::parse(Some(&query.encode())), Ok(query));
        let least = GroupsQuery {
            by: vec![GroupField::Iface],
            ..GroupsQuery::default()
        };
        assert_eq!(least.encode(), "by=iface");
        for (wrong, part) in [
            (None, "`by` is missing"),
            (Some("by=size"), "`by` must be one of iface, "),
            (Some("by=iface&sort=bytes"), "unknown parameter `sort`"),
        ] {
            let told = GroupsQuery::parse(wrong).expect_err("refused").detail;
            assert!(told.contains(part), "{told}");
        }
    }

    #[test]
    fn words_are_those_of_the_schema() {
        for (name, field) in GroupField::ALL {
            assert_eq!(field.field().name, name);
            assert_eq!(serde_json::to_value(field).unwrap(), name);
        }
    }
}
