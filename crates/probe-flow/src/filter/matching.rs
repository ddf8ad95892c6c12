//! Whether a flow passes.

use std::net::IpAddr;

use probe_common::headers::ip_protocol::TCP;

use super::ast::{Comparison, Expr, IfacePattern, IpVersion, Side, Test, Traffic};
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

    /// The same for the flows of one interface, without tests of its name.
    pub(super) fn of_iface(&self, iface: &str) -> Self {
        let each = |parts: &[Self]| parts.iter().map(|expr| expr.of_iface(iface)).collect();
        match self {
            Self::And(all) => Self::And(each(all)),
            Self::Or(any) => Self::Or(each(any)),
            Self::Not(expr) => Self::Not(Box::new(expr.of_iface(iface))),
            Self::Test(Test::Iface(patterns)) => {
                // All of nothing are true, and none of nothing is.
                if patterns.iter().any(|pattern| pattern.matches(iface)) {
                    Self::And(Vec::new())
                } else {
                    Self::Or(Vec::new())
                }
            }
            Self::Test(test) => Self::Test(test.clone()),
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
            Self::Version(versions) => {
                let version = match row.src_addr {
                    IpAddr::V4(_) => IpVersion::V4,
                    IpAddr::V6(_) => IpVersion::V6,
                };
                versions.contains(&version)
            }
            Self::Traffic(ways) => ways.iter().any(|way| way.matches(&flow.counters)),
            Self::Iface(patterns) => patterns.iter().any(|pattern| pattern.matches(iface)),
            Self::Evidence(any) => any.contains(&flow.evidence),
            Self::Flags(masks) => {
                row.ip_protocol == TCP
                    && masks.iter().any(|mask| match mask {
                        0 => flow.tcp_flags == 0,
                        mask => flow.tcp_flags & mask == *mask,
                    })
            }
            Self::Count(measure, comparison, number) => {
                comparison.holds(measure.value(row), *number)
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
            Self::Rcvd => rcvd && !sent,
            Self::Sent => sent && !rcvd,
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
