//! What `top` knows: the last two readings, and how they are to be shown.

use std::{
    cmp::Reverse,
    collections::HashMap,
    net::IpAddr,
    time::{Duration, Instant},
};

use crate::{
    cli::flows::{counters, shown},
    term::{
        flow_format::{ShownFlow, per_second},
        groups::{Groups, Sum},
    },
};
use probe_api::v1::{
    flows::{Flows, LiveFlow, Sort},
    status::{InterfaceStatus, StatusReport},
};
use probe_flow::{filter::Filter, flow::FlowCounters, text};

/// What the agent said at one moment.
pub(super) struct Reading {
    /// Which flows it was asked for.
    pub(super) filter: Filter,
    pub(super) status: StatusReport,
    pub(super) flows: Flows,
}

/// What the list below the interfaces has.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum View {
    Flows,
    Talkers,
}

/// The order of the rows on the screen.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Order {
    Bytes,
    Packets,
    Received,
    Sent,
}

impl Order {
    pub(super) const fn next(self) -> Self {
        match self {
            Self::Bytes => Self::Packets,
            Self::Packets => Self::Received,
            Self::Received => Self::Sent,
            Self::Sent => Self::Bytes,
        }
    }

    /// The one that comes closest to an order of the API.
    pub(super) const fn of_sort(sort: Sort) -> Self {
        match sort {
            Sort::BytesRcvd => Self::Received,
            Sort::BytesSent => Self::Sent,
            Sort::Packets | Sort::PacketsRcvd | Sort::PacketsSent => Self::Packets,
            _ => Self::Bytes,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Bytes => "bytes",
            Self::Packets => "packets",
            Self::Received => "bytes received",
            Self::Sent => "bytes sent",
        }
    }

    const fn value(self, counters: &FlowCounters) -> u64 {
        match self {
            Self::Bytes => counters.bytes(),
            Self::Packets => counters.packets(),
            Self::Received => counters.bytes_rcvd,
            Self::Sent => counters.bytes_sent,
        }
    }
}

/// The key of a flow. Overflow flows share keys with none.
type Key = (String, IpAddr, u16, IpAddr, u16, u8, bool);

fn key(flow: &LiveFlow) -> Key {
    (
        flow.iface.clone(),
        flow.src_addr,
        flow.src_port,
        flow.dst_addr,
        flow.dst_port,
        flow.ip_protocol,
        flow.overflow,
    )
}

/// State of the screen.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a switch of its own, with a key of its own"
)]
pub(super) struct Top {
    pub(super) interval: Duration,
    pub(super) view: View,
    pub(super) order: Order,
    /// Rates since the last reading, or counts since the last rotation.
    pub(super) with_rates: bool,
    pub(super) with_help: bool,
    /// The filter as it is being typed.
    pub(super) input: Option<String>,
    /// What is wrong with the filter that is being typed.
    pub(super) mistake: Option<String>,
    /// Since when the agent does not answer, and why.
    silence: Option<(Instant, String)>,
    /// Lines of the list above the screen.
    pub(super) scrolled: usize,
    pub(super) paused: bool,
    pub(super) ended: bool,
    pub(super) wants_refresh: bool,
    pub(super) filter: Filter,
    earlier: Option<Reading>,
    now: Option<Reading>,
}

impl Top {
    pub(super) fn new(interval: Duration, filter: Filter) -> Self {
        Self {
            interval,
            view: View::Flows,
            order: Order::Bytes,
            with_rates: true,
            with_help: false,
            input: None,
            mistake: None,
            silence: None,
            scrolled: 0,
            paused: false,
            ended: false,
            wants_refresh: false,
            filter,
            earlier: None,
            now: None,
        }
    }

    pub(super) fn on_reading(&mut self, reading: Reading) {
        self.silence = None;
        self.earlier = self.now.replace(reading);
    }

    /// The agent did not answer: what was last read stays, with the reason.
    pub(super) fn on_failure(&mut self, reason: String) {
        let since = self.silence.take().map(|(since, _)| since);
        self.silence = Some((since.unwrap_or_else(Instant::now), reason));
    }

    /// For how long it has not answered, and why.
    pub(super) fn silence(&self) -> Option<(Duration, &str)> {
        let (since, reason) = self.silence.as_ref()?;
        Some((since.elapsed(), reason))
    }

    pub(super) const fn has_ended(&self) -> bool {
        self.ended
    }

    pub(super) const fn is_paused(&self) -> bool {
        self.paused
    }

    pub(super) const fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Whether the next reading should come at once.
    pub(super) fn takes_refresh(&mut self) -> bool {
        std::mem::take(&mut self.wants_refresh)
    }

    /// The last reading, and the one before it or itself.
    pub(super) fn readings(&self) -> Option<(&Reading, &Reading)> {
        let now = self.now.as_ref()?;
        Some((self.earlier.as_ref().unwrap_or(now), now))
    }

    /// Time between the two readings.
    fn window(&self) -> Duration {
        self.readings().map_or(Duration::ZERO, |(earlier, now)| {
            now.flows.at.duration_since(earlier.flows.at).unsigned_abs()
        })
    }

    /// Whether there are rates to show: there are none before the second reading of the same flows.
    pub(super) fn shows_rates(&self) -> bool {
        let is_comparable = self
            .readings()
            .is_some_and(|(earlier, now)| earlier.filter == now.filter);
        self.with_rates && is_comparable && !self.window().is_zero()
    }

    /// The captured interfaces, those with most traffic between the two readings first.
    pub(super) fn busiest(&self) -> Vec<&str> {
        let Some((earlier, now)) = self.readings() else {
            return Vec::new();
        };
        let traffic = |iface: &str, it: &InterfaceStatus| {
            let before = earlier.status.interfaces.get(iface);
            let before = before.map_or(0, |it| it.bytes_rcvd + it.bytes_sent);
            (it.bytes_rcvd + it.bytes_sent).saturating_sub(before)
        };
        let interfaces = now.status.interfaces.iter();
        let mut busiest: Vec<_> = interfaces
            .map(|(iface, it)| (Reverse(traffic(iface, it)), iface.as_str()))
            .collect();
        busiest.sort_unstable();
        busiest.into_iter().map(|(_, iface)| iface).collect()
    }

    /// The flows in their order, with what is to be shown as their counts: those of a second, or
    /// those of the interval.
    fn counted(&self) -> Vec<(&LiveFlow, FlowCounters)> {
        let Some((earlier, now)) = self.readings() else {
            return Vec::new();
        };
        let mut flows: Vec<_> = now
            .flows
            .flows
            .iter()
            .map(|it| (it, counters(it)))
            .collect();
        if self.shows_rates() {
            let before = earlier.flows.flows.iter();
            let before: HashMap<_, _> = before.map(|it| (key(it), counters(it))).collect();
            let window = self.window();
            // A flow that was not among those with the most traffic: its rate is not known yet.
            let is_known = |flow: &LiveFlow| {
                !earlier.flows.truncated
                    || flow.first_seen >= earlier.flows.at
                    || before.contains_key(&key(flow))
            };
            flows.retain(|(flow, _)| is_known(flow));
            for (flow, counted) in &mut flows {
                let before = before.get(&key(flow)).copied().unwrap_or_default();
                *counted = rate(*counted, before, window);
            }
            flows.retain(|(_, counted)| counted.packets() > 0 || counted.bytes() > 0);
        }
        let order = self.order;
        // A stable order of equal ones: the agent's.
        flows.sort_by_key(|(_, counted)| Reverse(order.value(counted)));
        flows
    }

    /// The lines of the list.
    pub(super) fn list(&self) -> Vec<ShownFlow> {
        let counted = self.counted();
        if self.view == View::Flows {
            let shown = counted.into_iter().map(|(flow, counters)| ShownFlow {
                counters,
                ..shown(flow)
            });
            return shown.collect();
        }
        let mut talkers: Groups<IpAddr> = Groups::default();
        for (flow, counted) in counted {
            // A host that talks to itself is one talker.
            let others = (flow.dst_addr != flow.src_addr).then_some(flow.dst_addr);
            let ends = [flow.src_addr].into_iter().chain(others);
            talkers.extend(ends.map(|address| (address, counted)));
        }
        let value = |sum: &Sum| self.order.value(&sum.counters);
        let talkers = talkers.sorted_by(|(_, a), (_, b)| value(b).cmp(&value(a)));
        let talkers = talkers.into_iter().map(|(address, sum)| ShownFlow {
            source: address.to_string(),
            destination: text::counted(sum.flows, "flow"),
            counters: sum.counters,
            ..ShownFlow::default()
        });
        talkers.collect()
    }
}

/// What came in a second. Counts that went back were reset by a rotation.
fn rate(now: FlowCounters, before: FlowCounters, window: Duration) -> FlowCounters {
    let has_rotated = now.packets() < before.packets() || now.bytes() < before.bytes();
    let before = if has_rotated {
        FlowCounters::default()
    } else {
        before
    };
    let more = |read: fn(&FlowCounters) -> u64| read(&now).saturating_sub(read(&before));
    let more = FlowCounters {
        bytes_rcvd: more(|it| it.bytes_rcvd),
        bytes_sent: more(|it| it.bytes_sent),
        packets_rcvd: more(|it| it.packets_rcvd),
        packets_sent: more(|it| it.packets_sent),
    };
    per_second(more, window)
}
