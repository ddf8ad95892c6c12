//! The first N flows in an order, without sorting all of them.

use std::{cmp::Ordering, collections::BinaryHeap, ops::ControlFlow, sync::Arc};

use jiff::Timestamp;

use super::{DEFAULT_LIMIT, Flows, FlowsOf, FlowsQuery, LiveFlow, Order, Sort};
use probe_capture::manager::Manager;
use probe_flow::flow::{FlowCounters, FlowRow};

/// A flow with the order it is ranked by. The greatest is the last that would be shown.
struct Ranked {
    sort: Sort,
    order: Order,
    iface: Arc<str>,
    row: FlowRow,
}

impl Ord for Ranked {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_key = match self.sort {
            Sort::Iface => self.iface.cmp(&other.iface),
            sort => sort.compare(&self.row, &other.row),
        };
        let by_key = match self.order {
            Order::Asc => by_key,
            Order::Desc => by_key.reverse(),
        };
        // Ties by the key of the flow, so that an answer does not depend on chance.
        by_key.then_with(|| self.tie_break().cmp(&other.tie_break()))
    }
}

impl PartialOrd for Ranked {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ranked {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ranked {}

impl Ranked {
    fn tie_break(&self) -> impl Ord + '_ {
        let row = &self.row;
        let ends = (row.src_addr, row.dst_addr, row.src_port, row.dst_port);
        (&self.iface, ends, row.ip_protocol, row.flow.is_overflow)
    }
}

/// Checks the flows of the wanted interfaces, one interface after the other, and keeps the first.
pub(super) fn select(manager: &Manager, query: &FlowsQuery) -> Flows {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let sort = query.sort.unwrap_or_default();
    let order = query.order.unwrap_or(sort.natural_order());
    let mut kept: BinaryHeap<Ranked> = BinaryHeap::new();
    let mut interfaces = Vec::new();
    let mut total = FlowCounters::default();
    let wanted: Vec<_> = query.iface.iter().map(String::as_str).collect();
    let tick_clock = manager.flush_and_visit_flows(&wanted, |iface, since, flows| {
        let mut matched = 0;
        let passing = flows.rows().filter(|row| query.filter.matches(iface, row));
        for row in passing {
            matched += 1;
            total += row.flow.counters;
            kept.push(Ranked {
                sort,
                order,
                iface: iface.clone(),
                row,
            });
            if kept.len() > limit {
                kept.pop();
            }
        }
        interfaces.push(FlowsOf {
            iface: iface.to_string(),
            since,
            flows: flows.len() as u64,
            matched,
        });
        ControlFlow::Continue(())
    });
    let matched = interfaces.iter().map(|it| it.matched).sum();
    let kept = kept.into_sorted_vec();
    Flows {
        at: Timestamp::now(),
        interfaces,
        matched,
        truncated: matched > kept.len() as u64,
        total: total.into(),
        flows: kept
            .iter()
            .map(|it| LiveFlow::new(&it.iface, &it.row, &tick_clock))
            .collect(),
    }
}
