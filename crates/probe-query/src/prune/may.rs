//! Whether a filter may hold for any of some rows of which little is known.

use probe_flow::filter::{Expr, Filter, IpVersion, Net, Test};

use super::Asked;
use crate::filter::{ADDRESSES, PORTS, ends, texts_of};

/// What is known of some rows.
pub(super) trait Bounds {
    /// The least text of a column, and the greatest.
    fn texts(&self, column: &str) -> Option<(&[u8], &[u8])>;

    /// The least number of a column, and the greatest.
    fn numbers(&self, column: &str) -> Option<(i64, i64)>;

    /// Whether a row may have this text, which lies within the bounds.
    fn may_have(&self, column: &str, text: &str) -> bool;
}

/// Whether any of the rows may be asked for.
pub(super) fn may_pass(asked: Asked<'_>, bounds: &impl Bounds) -> bool {
    is_in_time(asked, bounds) && passes(asked.filter, bounds)
}

fn is_in_time(asked: Asked<'_>, bounds: &impl Bounds) -> bool {
    let Some(range) = asked.range else {
        return true;
    };
    let (since, until) = (range.since.as_microsecond(), range.until.as_microsecond());
    let last = bounds.numbers("interval_end");
    let first = bounds.numbers("interval_start");
    last.is_none_or(|(_, last)| last >= since) && first.is_none_or(|(first, _)| first <= until)
}

fn passes(filter: &Filter, bounds: &impl Bounds) -> bool {
    filter.expr().is_none_or(|expr| may_be(expr, true, bounds))
}

/// Whether the expression may be true, or may be false, for any of the rows.
fn may_be(expr: &Expr, wanted: bool, bounds: &impl Bounds) -> bool {
    let each = |parts: &[Expr], needs_all: bool| {
        let mut parts = parts.iter().map(|part| may_be(part, wanted, bounds));
        if needs_all {
            parts.all(|may| may)
        } else {
            parts.any(|may| may)
        }
    };
    match expr {
        Expr::And(parts) => each(parts, wanted),
        Expr::Or(parts) => each(parts, !wanted),
        Expr::Not(expr) => may_be(expr, !wanted, bounds),
        // Nothing is known of rows that do not.
        Expr::Test(test) => !wanted || may_hold(test, bounds),
    }
}

fn may_hold(test: &Test, bounds: &impl Bounds) -> bool {
    match test {
        Test::Address(side, nets) => ends(*side, &ADDRESSES)
            .iter()
            .any(|column| nets.iter().any(|net| may_lie_in(column, *net, bounds))),
        Test::Port(side, ranges) => ends(*side, &PORTS).iter().any(|column| {
            let range = |(low, high): &(u16, u16)| (i64::from(*low), i64::from(*high));
            any_within(column, ranges.iter().map(range), bounds)
        }),
        Test::Protocol(numbers) => {
            let each = numbers.iter().map(|number| (*number).into());
            any_within(
                "ip_protocol",
                each.map(|number: i64| (number, number)),
                bounds,
            )
        }
        Test::Version(versions) => {
            let each = versions.iter().map(|version| match version {
                IpVersion::V4 => (4, 4),
                IpVersion::V6 => (6, 6),
            });
            any_within("ip_version", each, bounds)
        }
        Test::Traffic(_)
        | Test::Iface(_)
        | Test::Evidence(_)
        | Test::Flags(_)
        | Test::Count(..)
        | Test::Overflow
        | Test::Idle => true,
    }
}

fn any_within(
    column: &str,
    mut ranges: impl Iterator<Item = (i64, i64)>,
    bounds: &impl Bounds,
) -> bool {
    let known = bounds.numbers(column);
    known.is_none_or(|(least, most)| ranges.any(|(low, high)| low <= most && high >= least))
}

/// Addresses are stored as text, which sorts: a host is one text, and a network of IPv4 a range of texts.
fn may_lie_in(column: &str, net: Net, bounds: &impl Bounds) -> bool {
    let Some((least, most)) = bounds.texts(column) else {
        return true;
    };
    if net.is_host() {
        let text = net.addr().to_string();
        let octets = text.as_bytes();
        return least <= octets && octets <= most && bounds.may_have(column, &text);
    }
    texts_of(net).is_none_or(|(low, high)| low.as_bytes() <= most && least < high.as_bytes())
}
