//! The first N flows in an order, without sorting all of them.
//!
//! Of a row no more is kept than its order needs; the answer is written from it piece by piece.

use std::{cmp::Ordering, collections::BinaryHeap, ops::ControlFlow, sync::Arc};

use jiff::Timestamp;

use super::{DEFAULT_LIMIT, Flows, FlowsOf, FlowsQuery, Order, Sort};
use crate::{lane, limits::too_long, problem::Problem};
use probe_capture::manager::Manager;
use probe_flow::{
    filter::Filter,
    flow::{FlowCounters, FlowRow},
    ticks::TickClock,
};

/// Flows that are checked before it is asked again whether anybody waits for the answer.
pub(super) const FLOWS_AT_A_TIME: usize = 256;

/// A flow with the order it is ranked by. The greatest is the last that would be shown.
pub(super) struct Ranked {
    sort: Sort,
    order: Order,
    pub(super) iface: Arc<str>,
    pub(super) row: FlowRow,
}

/// The answer to a query, before it is written.
pub(super) struct Selected<H = Flows> {
    /// All but the flows, whose list is its last field, and empty.
    pub(super) head: H,
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

/// The first flows in an order, of all that are pushed.
pub(super) struct First {
    sort: Sort,
    order: Order,
    limit: usize,
    kept: BinaryHeap<Ranked>,
}

impl First {
    pub(super) const fn new(sort: Sort, order: Order, limit: usize) -> Self {
        Self {
            sort,
            order,
            limit,
            kept: BinaryHeap::new(),
        }
    }

    pub(super) fn push(&mut self, iface: &Arc<str>, row: FlowRow) {
        self.kept.push(Ranked {
            sort: self.sort,
            order: self.order,
            iface: Arc::clone(iface),
            row,
        });
        if self.kept.len() > self.limit {
            self.kept.pop();
        }
    }

    /// They themselves, in the order.
    pub(super) fn into_rows(self) -> Vec<Ranked> {
        self.kept.into_sorted_vec()
    }
}

/// What there is to say of all flows that passed.
pub(super) struct Visited {
    /// When they were visited.
    pub(super) at: Timestamp,
    pub(super) interfaces: Vec<FlowsOf>,
    pub(super) matched: u64,
    pub(super) total: FlowCounters,
    /// Tells the times of the flows.
    pub(super) tick_clock: TickClock,
}

/// Visits the flows of the wanted interfaces that pass the filter, one interface after the other, each with
/// the place of its interface in the list and its name. Fails where `each` does, where nobody waits for
/// the answer any more, or where it takes too long.
pub(super) fn visit(
    manager: &Manager,
    ifaces: &[String],
    filter: &Filter,
    waiting: &lane::Order,
    mut each: impl FnMut((usize, &Arc<str>), FlowRow) -> Result<(), Problem>,
) -> Result<Visited, Problem> {
    let mut interfaces = Vec::new();
    let mut total = FlowCounters::default();
    let mut problem = None;
    let wanted: Vec<_> = ifaces.iter().map(String::as_str).collect();
    let tick_clock = manager.flush_and_visit_flows(&wanted, |iface, since, flows| {
        let mut matched = 0;
        // What the filter asks of the interface is decided once, not for each flow.
        let filter = filter.of_iface(iface);
        for (number, row) in flows.rows().enumerate() {
            if number % FLOWS_AT_A_TIME == 0 && waiting.is_over() {
                problem = Some(too_long());
                return ControlFlow::Break(());
            }
            if !filter.matches(iface, &row) {
                continue;
            }
            matched += 1;
            total += row.flow.counters;
            if let Err(refused) = each((interfaces.len(), iface), row) {
                problem = Some(refused);
                return ControlFlow::Break(());
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
    match problem {
        Some(problem) => Err(problem),
        None => Ok(Visited {
            at: Timestamp::now(),
            matched: interfaces.iter().map(|it| it.matched).sum(),
            interfaces,
            total,
            tick_clock,
        }),
    }
}

/// The first flows in the order of a query.
pub(super) fn select(
    manager: &Manager,
    query: &FlowsQuery,
    waiting: &lane::Order,
) -> Result<Selected, Problem> {
    let limit = query.limit.unwrap_or(DEFAULT_LIMIT);
    let sort = query.sort.unwrap_or_default();
    let order = query.order.unwrap_or(sort.natural_order());
    let mut first = First::new(sort, order, limit);
    let visited = visit(
        manager,
        &query.iface,
        &query.filter,
        waiting,
        |(_, iface), row| {
            first.push(iface, row);
            Ok(())
        },
    )?;
    let rows = first.into_rows();
    let head = Flows {
        at: visited.at,
        interfaces: visited.interfaces,
        matched: visited.matched,
        truncated: visited.matched > rows.len() as u64,
        total: visited.total.into(),
        flows: Vec::new(),
    };
    Ok(Selected {
        head,
        rows,
        tick_clock: visited.tick_clock,
    })
}
