//! A flow of the running interval, typed for clients.

use std::net::IpAddr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use probe_flow::{
    flow::FlowRow,
    schema::{confidence, rfc3339_millis},
    ticks::TickClock,
};

// The OpenAPI document has the full meanings of the fields from `probe_flow::schema::FIELDS`.
/// A flow of the running interval: the fields of stored flows without the bounds of the interval.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct LiveFlow {
    /// Name of the interface.
    pub iface: String,
    /// IP version: 4 or 6.
    pub ip_version: u8,
    /// IANA number of the protocol.
    pub ip_protocol: u8,
    /// Address of the client.
    #[schema(value_type = String, example = "198.18.0.1")]
    pub src_addr: IpAddr,
    /// Port of the client, or 0.
    pub src_port: u16,
    /// Address of the server.
    #[schema(value_type = String, example = "198.18.0.2")]
    pub dst_addr: IpAddr,
    /// Port of the server, or 0.
    pub dst_port: u16,
    /// Received packets on the wire.
    pub packets_rcvd: u64,
    /// Sent packets on the wire.
    pub packets_sent: u64,
    /// IP octets of the received packets.
    pub bytes_rcvd: u64,
    /// IP octets of the sent packets.
    pub bytes_sent: u64,
    /// TCP flags of both directions, combined by OR.
    pub tcp_flags: u8,
    /// What tells client and server apart.
    pub direction_evidence: String,
    /// Worth of the evidence: `high` or `low`.
    pub direction_confidence: String,
    /// Whether the flow stands for many.
    pub overflow: bool,
    /// Time of the first packet in the interval.
    #[serde(serialize_with = "rfc3339_millis")]
    pub first_seen: Timestamp,
    /// Time of the last packet in the interval.
    #[serde(serialize_with = "rfc3339_millis")]
    pub last_seen: Timestamp,
}

impl LiveFlow {
    pub(super) fn new(iface: &str, row: &FlowRow, tick_clock: &TickClock) -> Self {
        let flow = row.flow;
        Self {
            iface: iface.to_owned(),
            ip_version: if row.src_addr.is_ipv4() { 4 } else { 6 },
            ip_protocol: row.ip_protocol,
            src_addr: row.src_addr,
            src_port: row.src_port,
            dst_addr: row.dst_addr,
            dst_port: row.dst_port,
            packets_rcvd: flow.counters.packets_rcvd,
            packets_sent: flow.counters.packets_sent,
            bytes_rcvd: flow.counters.bytes_rcvd,
            bytes_sent: flow.counters.bytes_sent,
            tcp_flags: flow.tcp_flags,
            direction_evidence: flow.evidence.name().to_owned(),
            direction_confidence: confidence(flow.evidence).to_owned(),
            overflow: flow.is_overflow,
            first_seen: tick_clock.time_of(flow.first),
            last_seen: tick_clock.time_of(flow.last),
        }
    }
}

#[cfg(test)]
mod tests {
    use probe_flow::{
        flow::{Flow, FlowCounters, FlowRow},
        schema::{FlowView, live_fields},
        ticks::TickClock,
    };

    use super::LiveFlow;
    use crate::openapi;

    fn row() -> FlowRow {
        FlowRow {
            src_addr: "fd00::1".parse().unwrap(),
            src_port: 40_000,
            dst_addr: "fd00::2".parse().unwrap(),
            dst_port: 443,
            ip_protocol: 6,
            flow: Flow {
                counters: FlowCounters {
                    bytes_rcvd: 400,
                    bytes_sent: 120,
                    packets_rcvd: 4,
                    packets_sent: 3,
                },
                first: 250,
                last: 4_999,
                tcp_flags: 0x1b,
                is_overflow: true,
                ..Flow::default()
            },
        }
    }

    /// Names, order and values: the typed flow is written as the schema writes it.
    #[test]
    fn a_live_flow_is_written_like_a_json_line() {
        let (row, tick_clock) = (row(), TickClock::default());
        let live = LiveFlow::new("eth0", &row, &tick_clock);
        let view = FlowView {
            iface: "eth0",
            bounds: None,
            host: None,
            row: &row,
            tick_clock: &tick_clock,
        };
        let line = serde_json::to_string(&view.line()).unwrap();
        let typed = serde_json::to_string(&live).unwrap();
        assert_eq!(typed, line.replacen(r#""type":"flow","#, "", 1));
        assert_eq!(serde_json::from_str::<LiveFlow>(&line).unwrap(), live);
    }

    #[test]
    fn the_document_has_the_meaning_of_every_field() {
        let document = serde_json::to_value(openapi::document()).unwrap();
        let flow = &document["components"]["schemas"]["LiveFlow"];
        let names: Vec<_> = live_fields().map(|field| field.name).collect();
        assert_eq!(flow["required"], serde_json::Value::from(names));
        assert_eq!(
            flow["properties"].as_object().unwrap().len(),
            live_fields().count()
        );
        for field in live_fields() {
            let meaning = &flow["properties"][field.name]["description"];
            assert_eq!(meaning, &field.meaning, "{}", field.name);
        }
    }
}
