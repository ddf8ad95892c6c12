//! The ledger as all sinks store it.

use probe_flow::{flow::FlowCounters, flow_json::LedgerLine, interval::Interval};

/// The ledger of an interval, with bounds, sums over its flows, and what supervision knows.
pub(crate) fn ledger_line(interval: &Interval) -> LedgerLine<'_> {
    let bounds = Some(interval.bounds());
    let line = LedgerLine::new(&interval.iface, bounds, &interval.ledger);
    let line = line.watched(&interval.watched);
    match sums(interval) {
        Some(sums) => line.stored(interval.flows.len(), &sums),
        None => line,
    }
}

/// Of the flows as they are stored; `None` where a sum does not fit.
fn sums(interval: &Interval) -> Option<FlowCounters> {
    let mut rows = interval.flows.rows();
    rows.try_fold(FlowCounters::default(), |sums, row| {
        let counters = row.flow.counters;
        Some(FlowCounters {
            bytes_rcvd: sums.bytes_rcvd.checked_add(counters.bytes_rcvd)?,
            bytes_sent: sums.bytes_sent.checked_add(counters.bytes_sent)?,
            packets_rcvd: sums.packets_rcvd.checked_add(counters.packets_rcvd)?,
            packets_sent: sums.packets_sent.checked_add(counters.packets_sent)?,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::ledger_line;
    use crate::fixture;

    #[test]
    fn sums_are_those_of_the_stored_flows_or_are_left_out() {
        let mut interval = fixture::interval("eth0", "2026-03-01T00:00:00Z", 3);
        interval.flows.v4[0].1.counters.bytes_sent = 7;
        let line = serde_json::to_value(ledger_line(&interval)).unwrap();
        let sums = [
            "rows",
            "packets_rcvd",
            "packets_sent",
            "bytes_rcvd",
            "bytes_sent",
        ];
        assert_eq!(
            sums.map(|name| line[name].as_u64()),
            [3, 3, 0, 300, 7].map(Some)
        );
        interval.flows.v4[1].1.counters.bytes_sent = u64::MAX;
        let line = serde_json::to_value(ledger_line(&interval)).unwrap();
        assert_eq!(sums.map(|name| line[name].as_u64()), [None; 5]);
    }
}
