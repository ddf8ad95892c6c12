//! The fields of a flow, by the names that JSON and CSV share.

use std::net::IpAddr;

use serde::Serialize;

use crate::flow::FlowRow;

/// Counts are seen from the interface: received entered the host, sent left it.
#[derive(Debug, Serialize)]
pub(super) struct FlowFields<'a> {
    iface: &'a str,
    sip: IpAddr,
    /// 0 where there is none, or where it was aggregated away.
    sport: u16,
    dip: IpAddr,
    dport: u16,
    /// IANA protocol number.
    proto: u8,
    packets_rcvd: u64,
    packets_sent: u64,
    /// IP octets.
    bytes_rcvd: u64,
    bytes_sent: u64,
    /// What the orientation rests on: the name of an `Evidence`.
    direction: &'static str,
    /// `high` or `low`.
    direction_confidence: &'static str,
    /// TCP flags of both directions, or-ed, as a number (RFC 9293, section 3.1).
    tcp_flags: u8,
    /// The flow stands for many, see `max_flows`.
    overflow: bool,
}

impl<'a> FlowFields<'a> {
    pub(super) fn new(iface: &'a str, row: &FlowRow) -> Self {
        let FlowRow {
            src_addr,
            src_port,
            dst_addr,
            dst_port,
            ip_protocol,
            flow,
        } = *row;
        Self {
            iface,
            sip: src_addr,
            sport: src_port,
            dip: dst_addr,
            dport: dst_port,
            proto: ip_protocol,
            packets_rcvd: flow.counters.packets_rcvd,
            packets_sent: flow.counters.packets_sent,
            bytes_rcvd: flow.counters.bytes_rcvd,
            bytes_sent: flow.counters.bytes_sent,
            direction: flow.evidence.name(),
            direction_confidence: if flow.evidence.is_high_confidence() {
                "high"
            } else {
                "low"
            },
            tcp_flags: flow.tcp_flags,
            overflow: flow.is_overflow,
        }
    }
}
