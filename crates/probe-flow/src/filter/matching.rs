//! Whether a flow passes.

use super::ast::{Comparison, Expr, Field, IfacePattern, IpVersion, Side, Test, Traffic};
use crate::{
    flow::{FlowCounters, FlowRow},
    protocols::has_ports,
};

impl Expr {
    /// Whether a flow of this interface passes.
    pub fn matches(&self, iface: &str, row: &FlowRow) -> bool {
        match self {
            Self::And(all) => all.iter().all(|expr| expr.matches(iface, row)),
            Self::Or(any) => any.iter().any(|expr| expr.matches(iface, row)),
            Self::Not(expr) => !expr.matches(iface, row),
            Self::Test(test) => test.matches(iface, row),
        }
    }
}

impl Test {
    fn matches(&self, iface: &str, row: &FlowRow) -> bool {
        let flow = &row.flow;
        match self {
            Self::Address(side, nets) => side.any(row.src_addr, row.dst_addr, |addr| {
                nets.iter().any(|net| net.contains(addr))
            }),
            Self::Port(side, ranges) => {
                has_ports(row.ip_protocol)
                    && side.any(row.src_port, row.dst_port, |port| {
                        ranges
                            .iter()
                            .any(|(low, high)| (*low..=*high).contains(&port))
                    })
            }
            Self::Protocol(numbers) => numbers.contains(&row.ip_protocol),
            Self::Version(IpVersion::V4) => row.src_addr.is_ipv4(),
            Self::Version(IpVersion::V6) => row.src_addr.is_ipv6(),
            Self::Traffic(ways) => ways.iter().any(|way| way.matches(&flow.counters)),
            Self::Iface(patterns) => patterns.iter().any(|pattern| pattern.matches(iface)),
            Self::Evidence(any) => any.contains(&flow.evidence),
            Self::Flags(masks) => masks.iter().any(|mask| match mask {
                0 => flow.tcp_flags == 0,
                mask => flow.tcp_flags & mask == *mask,
            }),
            Self::Count(field, comparison, number) => {
                comparison.holds(field.of(&flow.counters), *number)
            }
            Self::Overflow => flow.is_overflow,
            Self::Idle => flow.is_idle(),
        }
    }
}

impl Side {
    fn any<T>(self, src: T, dst: T, matches: impl Fn(T) -> bool) -> bool {
        match self {
            Self::Either => matches(src) || matches(dst),
            Self::Src => matches(src),
            Self::Dst => matches(dst),
        }
    }
}

impl Traffic {
    const fn matches(self, counters: &FlowCounters) -> bool {
        let (rcvd, sent) = (counters.packets_rcvd > 0, counters.packets_sent > 0);
        match self {
            Self::In => rcvd && !sent,
            Self::Out => sent && !rcvd,
            Self::Uni => rcvd != sent,
            Self::Bi => rcvd && sent,
        }
    }
}

impl IfacePattern {
    fn matches(&self, iface: &str) -> bool {
        match self {
            Self::Name(name) => name == iface,
            Self::Regex(regex) => regex.is_match(iface),
        }
    }
}

impl Field {
    const fn of(self, counters: &FlowCounters) -> u64 {
        match self {
            Self::Bytes => counters.bytes(),
            Self::BytesRcvd => counters.bytes_rcvd,
            Self::BytesSent => counters.bytes_sent,
            Self::Packets => counters.packets(),
            Self::PacketsRcvd => counters.packets_rcvd,
            Self::PacketsSent => counters.packets_sent,
        }
    }
}

impl Comparison {
    const fn holds(self, count: u64, number: u64) -> bool {
        match self {
            Self::Equal => count == number,
            Self::Less => count < number,
            Self::AtMost => count <= number,
            Self::Greater => count > number,
            Self::AtLeast => count >= number,
        }
    }
}
