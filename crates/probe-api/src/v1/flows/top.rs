//! The first N flows in an order, without sorting all of them.
//!
//! Of a row no more is kept than its order needs; the answer is written from it piece by piece.

use std::{cmp::Ordering, collections::BinaryHeap, ops::ControlFlow, sync::Arc};

use jiff::Timestamp;

use super::{DEFAULT_LIMIT, Flows, FlowsOf, FlowsQuery, Order, Sort};
use crate::{lane, limits::too_long, problem::Problem};
use probe_capture::manager::Manager;
use probe_flow::{
    flow::{FlowCounters, FlowRow},
    ticks::TickClock,
};

/// Flows that are checked before it is asked again whether anybody waits for the answer.
const FLOWS_AT_A_TIME: usize = 256;

/// A flow with the order it is ranked by. The greatest is the last that would be shown.
pub(super) struct Ranked {
    sort: Sort,
    order: Order,
    pub(super) iface: Arc<str>,
    pub(super) row: FlowRow,
}

/// The answer to a query, before it is written.
pub(super) struct Selected {
    /// All but the flows.
    pub(super) head: Flows,
    /// The flows in their order.
    pub(super) rows: Vec<Ranked>,
    /// Tells the times of the flows.
    pub(super) tick_clock: TickClock,
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
/// Fails where nobody waits for them any more, or it takes too long.
pub(super) fn select(
    manager: &Manager,
    query: &FlowsQuery,
    waiting: &lane::Order,
) -> Result<Selected, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let sort = query.sort.unwrap_or_default();
    let order = query.order.unwrap_or(sort.natural_order());
    let mut kept: BinaryHeap<Ranked> = BinaryHeap::new();
    let mut interfaces = Vec::new();
    let mut total = FlowCounters::default();
    let mut is_over = false;
    let wanted: Vec<_> = query.iface.iter().map(String::as_str).collect();
    let tick_clock = manager.flush_and_visit_flows(&wanted, |iface, since, flows| {
        let mut matched = 0;
        // What the filter asks of the interface is decided once, not for each flow.
        let filter = query.filter.of_iface(iface);
        for (number, row) in flows.rows().enumerate() {
            if number % FLOWS_AT_A_TIME == 0 && waiting.is_over() {
                is_over = true;
                return ControlFlow::Break(());
            }
            if !filter.matches(iface, &row) {
                continue;
            }
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
    if is_over {
        return Err(too_long());
    }
    let matched = interfaces.iter().map(|it| it.matched).sum();
    let rows = kept.into_sorted_vec();
    let head = Flows {
        at: Timestamp::now(),
        interfaces,
        matched,
        truncated: matched > rows.len() as u64,
        total: total.into(),
        flows: Vec::new(),
    };
    Ok(Selected {
        head,
        rows,
        tick_clock,
    })
}
