//! The filter of a question as an expression of the engine.
//!
//! The language, its reading and its errors are those of `probe-agent flows`
//! ([`probe_flow::filter`]); what is here only says the same to the engine. The tests compare both
//! over any flows.

mod net;

use datafusion::{
    common::ScalarValue,
    logical_expr::{Expr as Ask, Operator, binary_expr, expr_fn::in_list, lit, not},
    prelude::ident,
};
use probe_common::headers::ip_protocol;
use probe_flow::filter::{Comparison, Expr, Filter, IfacePattern, IpVersion, Side, Test, Traffic};

pub use net::InNet;
pub(crate) use net::texts_of;

/// The filter as an expression over the columns of the store. `None` lets every flow pass.
///
/// `ifaces` are the names of all interfaces that are asked: what the filter says of names is decided here.
pub fn expression(filter: &Filter, ifaces: &[&str]) -> Option<Ask> {
    filter.expr().map(|expr| translated(expr, ifaces))
}

/// Whether any flow of the interface may pass, by the name alone.
pub fn may_pass(filter: &Filter, iface: &str) -> bool {
    passes(filter, iface) != Some(false)
}

/// Whether all flows of the interface pass or none, by the name alone; `None` if each has to be asked.
pub fn passes(filter: &Filter, iface: &str) -> Option<bool> {
    filter.of_iface(iface).expr().map_or(Some(true), constant)
}

/// Whether the filter asks for names of interfaces.
pub fn names_interfaces(filter: &Filter) -> bool {
    fn names(expr: &Expr) -> bool {
        match expr {
            Expr::And(all) | Expr::Or(all) => all.iter().any(names),
            Expr::Not(expr) => names(expr),
            Expr::Test(test) => matches!(test, Test::Iface(_)),
        }
    }
    filter.expr().is_some_and(names)
}

/// What an expression is for any flow, as far as that is known.
fn constant(expr: &Expr) -> Option<bool> {
    match expr {
        Expr::And(all) => {
            let mut parts = all.iter().map(constant);
            if parts.clone().any(|part| part == Some(false)) {
                return Some(false);
            }
            parts.all(|part| part == Some(true)).then_some(true)
        }
        Expr::Or(any) => {
            let mut parts = any.iter().map(constant);
            if parts.clone().any(|part| part == Some(true)) {
                return Some(true);
            }
            parts.all(|part| part == Some(false)).then_some(false)
        }
        Expr::Not(expr) => constant(expr).map(|is_true| !is_true),
        Expr::Test(_) => None,
    }
}

fn translated(expr: &Expr, ifaces: &[&str]) -> Ask {
    let each = |parts: &[Expr]| {
        parts
            .iter()
            .map(|it| translated(it, ifaces))
            .collect::<Vec<_>>()
    };
    match expr {
        Expr::And(parts) => all(each(parts)),
        Expr::Or(parts) => any(each(parts)),
        Expr::Not(expr) => not(translated(expr, ifaces)),
        Expr::Test(test) => of_test(test, ifaces),
    }
}

/// All of nothing are true.
fn all(parts: Vec<Ask>) -> Ask {
    parts
        .into_iter()
        .reduce(Ask::and)
        .unwrap_or_else(|| lit(true))
}

/// None of nothing is true.
fn any(parts: Vec<Ask>) -> Ask {
    parts
        .into_iter()
        .reduce(Ask::or)
        .unwrap_or_else(|| lit(false))
}

fn of_test(test: &Test, ifaces: &[&str]) -> Ask {
    match test {
        Test::Address(side, nets) => of_ends(*side, &ADDRESSES, |column| {
            any(nets
                .iter()
                .map(|wanted| net::lies_in(column, *wanted))
                .collect())
        }),
        Test::Port(side, ranges) => {
            let protocols = [ip_protocol::TCP, ip_protocol::UDP, ip_protocol::SCTP];
            let ports = of_ends(*side, &PORTS, |column| {
                let of_range = |(low, high): &(u16, u16)| {
                    if low == high {
                        ident(column).eq(lit(*low))
                    } else {
                        ident(column)
                            .gt_eq(lit(*low))
                            .and(ident(column).lt_eq(lit(*high)))
                    }
                };
                any(ranges.iter().map(of_range).collect())
            });
            one_of("ip_protocol", protocols).and(ports)
        }
        Test::Protocol(numbers) => one_of("ip_protocol", numbers.iter().copied()),
        Test::Version(versions) => one_of(
            "ip_version",
            versions.iter().map(|version| match version {
                IpVersion::V4 => 4_u8,
                IpVersion::V6 => 6,
            }),
        ),
        Test::Traffic(ways) => any(ways.iter().map(|way| of_traffic(*way)).collect()),
        Test::Iface(patterns) => {
            let matches = |iface: &&&str| patterns.iter().any(|pattern| is_match(pattern, iface));
            let names = ifaces.iter().filter(matches).map(|iface| text(iface));
            in_list(ident("iface"), names.collect(), false)
        }
        Test::Evidence(some) => {
            let names = some.iter().map(|evidence| text(evidence.name()));
            in_list(ident("direction_evidence"), names.collect(), false)
        }
        Test::Flags(masks) => {
            let of_mask = |mask: &u8| match mask {
                0 => ident("tcp_flags").eq(lit(0_u8)),
                mask => {
                    let seen = binary_expr(ident("tcp_flags"), Operator::BitwiseAnd, lit(*mask));
                    seen.eq(lit(*mask))
                }
            };
            one_of("ip_protocol", [ip_protocol::TCP]).and(any(masks.iter().map(of_mask).collect()))
        }
        Test::Count(measure, comparison, number) => {
            let count = match measure.name() {
                sum @ ("bytes" | "packets") => both(sum),
                field => ident(field),
            };
            let number = lit(*number);
            match comparison {
                Comparison::Equal => count.eq(number),
                Comparison::Less => count.lt(number),
                Comparison::AtMost => count.lt_eq(number),
                Comparison::Greater => count.gt(number),
                Comparison::AtLeast => count.gt_eq(number),
            }
        }
        Test::Overflow => ident("overflow"),
        Test::Idle => both("packets").eq(lit(0_u64)),
    }
}

fn is_match(pattern: &IfacePattern, iface: &str) -> bool {
    match pattern {
        IfacePattern::Name(name) => name == iface,
        IfacePattern::Regex(regex) => regex.is_match(iface),
    }
}

/// Columns of the addresses of source and destination.
pub(crate) const ADDRESSES: [&str; 2] = ["src_addr", "dst_addr"];
/// Columns of their ports.
pub(crate) const PORTS: [&str; 2] = ["src_port", "dst_port"];

/// Those of the columns of source and destination that a test asks: it holds if it does for any.
pub(crate) const fn ends<'a>(side: Side, columns: &'a [&'static str; 2]) -> &'a [&'static str] {
    let (src, dst) = columns.split_at(1);
    match side {
        Side::Either => columns,
        Side::Src => src,
        Side::Dst => dst,
    }
}

fn of_ends(side: Side, columns: &[&'static str; 2], of_column: impl Fn(&str) -> Ask) -> Ask {
    any(ends(side, columns)
        .iter()
        .map(|column| of_column(column))
        .collect())
}

fn one_of(column: &str, numbers: impl IntoIterator<Item = u8>) -> Ask {
    any(numbers
        .into_iter()
        .map(|number| ident(column).eq(lit(number)))
        .collect())
}

fn of_traffic(way: Traffic) -> Ask {
    let rcvd = || ident("packets_rcvd").gt(lit(0_u64));
    let sent = || ident("packets_sent").gt(lit(0_u64));
    match way {
        Traffic::Rcvd => rcvd().and(not(sent())),
        Traffic::Sent => sent().and(not(rcvd())),
        Traffic::Uni => rcvd().and(not(sent())).or(sent().and(not(rcvd()))),
        Traffic::Bi => rcvd().and(sent()),
    }
}

/// The sum of both directions: `bytes` or `packets`.
pub(crate) fn both(what: &str) -> Ask {
    ident(format!("{what}_rcvd")) + ident(format!("{what}_sent"))
}

/// Text of the type that the columns have, so that nothing has to be converted row by row.
pub(crate) fn text(value: &str) -> Ask {
    lit(ScalarValue::Utf8View(Some(value.to_owned())))
}

#[cfg(test)]
mod tests;
