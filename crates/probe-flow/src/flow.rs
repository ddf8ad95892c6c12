//! Flows: what is counted per EPHash, and how it is handed to readers.

use std::{hint::select_unpredictable, net::IpAddr};

use probe_common::{
    classify::Evidence,
    ephash::{EpHashV4, EpHashV6},
    record::{EGRESS, RecordHead, tick_after},
};

/// Packets and IP octets of a flow (or of many), as seen from the interface: what entered the host
/// is received, what left it is sent, whichever end is the flow's source.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FlowCounters {
    /// IP octets on the wire, ingress.
    pub bytes_rcvd: u64,
    /// IP octets on the wire, egress.
    pub bytes_sent: u64,
    /// Packets on the wire, ingress.
    pub packets_rcvd: u64,
    /// Packets on the wire, egress.
    pub packets_sent: u64,
}

impl FlowCounters {
    /// Adds the counts of one record.
    #[inline]
    pub fn on_record(&mut self, head: &RecordHead) {
        // Without a branch: which direction comes next cannot be predicted.
        let is_sent = head.direction() == EGRESS;
        let (bytes, packets) = select_unpredictable(
            is_sent,
            (&mut self.bytes_sent, &mut self.packets_sent),
            (&mut self.bytes_rcvd, &mut self.packets_rcvd),
        );
        *bytes += head.octets;
        *packets += u64::from(head.packets);
    }

    /// Packets of both directions.
    pub const fn packets(&self) -> u64 {
        self.packets_rcvd + self.packets_sent
    }

    /// IP octets of both directions.
    pub const fn bytes(&self) -> u64 {
        self.bytes_rcvd + self.bytes_sent
    }
}

impl std::ops::AddAssign for FlowCounters {
    fn add_assign(&mut self, other: Self) {
        let Self {
            bytes_rcvd,
            bytes_sent,
            packets_rcvd,
            packets_sent,
        } = other;
        self.bytes_rcvd += bytes_rcvd;
        self.bytes_sent += bytes_sent;
        self.packets_rcvd += packets_rcvd;
        self.packets_sent += packets_sent;
    }
}

/// State of one flow. Its key is kept beside it.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Flow {
    /// Counts since the last rotation.
    pub counters: FlowCounters,
    /// Tick of the first packet since the last rotation ([`RecordHead::first`]), which a
    /// [`crate::ticks::TickClock`] tells the time of. Means nothing while the flow is idle.
    pub first: u32,
    /// Tick of the last packet, like `first`.
    pub last: u32,
    /// TCP flags of both directions since the last rotation, or-ed.
    pub tcp_flags: u8,
    /// How the orientation was decided.
    pub evidence: Evidence,
    /// The flow stands for many: it took what did not fit under `max_flows` or the budget of
    /// all logs.
    pub is_overflow: bool,
}

// A flow log has up to a million of these, and each look-up should touch one cache line.
const _: () = {
    let size = size_of::<(EpHashV4, Flow)>();
    let align = align_of::<(EpHashV4, Flow)>();
    assert!(size <= 64 && align == 8, "larger than a cache line");
};

impl Flow {
    /// Adds the counts of one record to the flow.
    pub fn on_record(&mut self, head: &RecordHead) {
        if self.is_begun_by(head.first) {
            self.first = head.first;
        }
        if self.is_idle() {
            self.last = head.last();
        }
        self.on_later_record(head, head.last());
    }

    /// The same for a record by which the flow [is not begun](Self::is_begun_by), and which is no fragment
    /// or has this as its last tick.
    #[inline(always)]
    pub(crate) fn on_later_record(&mut self, head: &RecordHead, last: u32) {
        if tick_after(last, self.last) {
            self.last = last;
        }
        self.counters.on_record(head);
        self.tcp_flags |= head.tcp_flags;
    }

    /// Whether packets that began at this tick are the first since the last rotation. Records may come out
    /// of order, since each CPU hands over its own.
    #[inline(always)]
    pub(crate) const fn is_begun_by(&self, first: u32) -> bool {
        self.is_idle() || tick_after(self.first, first)
    }

    /// Forgets what belongs to the interval that has ended; what is known of the direction stays.
    pub fn begin_interval(&mut self) {
        *self = Self {
            evidence: self.evidence,
            is_overflow: self.is_overflow,
            ..Self::default()
        };
    }

    /// Had no packet since the last rotation.
    pub const fn is_idle(&self) -> bool {
        self.counters.packets() == 0
    }
}

/// The flows of one interface over one interval: what `rotate` and `aggregate` return.
#[derive(Clone, Debug, Default)]
pub struct FlowMap {
    /// IPv4 flows, in no particular order.
    pub v4: Vec<(EpHashV4, Flow)>,
    /// IPv6 flows, in no particular order.
    pub v6: Vec<(EpHashV6, Flow)>,
}

impl FlowMap {
    /// Number of flows of both families.
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether there is no flow.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All flows in the readers' form: IPv4 first, then IPv6.
    pub fn rows(&self) -> impl Iterator<Item = FlowRow> {
        let v4 = self.v4.iter().map(|(key, flow)| FlowRow::new(key, *flow));
        v4.chain(self.v6.iter().map(|(key, flow)| FlowRow::new(key, *flow)))
    }

    /// All flows, ordered by packets (most first), then by key: the order people are shown.
    pub fn sorted_rows(&self) -> Vec<FlowRow> {
        let mut rows: Vec<_> = self.rows().collect();
        rows.sort_by_key(|row| {
            (
                std::cmp::Reverse(row.flow.counters.packets()),
                row.src_addr,
                row.dst_addr,
                row.src_port,
                row.dst_port,
                row.ip_protocol,
            )
        });
        rows
    }
}

/// A flow with its key in host form.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FlowRow {
    /// Client side, as far as the evidence goes.
    pub src_addr: IpAddr,
    /// 0 where the protocol has no ports or where it was aggregated away.
    pub src_port: u16,
    /// Server side, as far as the evidence goes.
    pub dst_addr: IpAddr,
    /// Port of the destination; 0 like `src_port` where there is none.
    pub dst_port: u16,
    /// IP protocol number, as assigned by IANA.
    pub ip_protocol: u8,
    /// Counts of the flow, and evidence of its direction.
    pub flow: Flow,
}

impl FlowRow {
    fn new<const N: usize>(key: &probe_common::ephash::EpHash<N>, flow: Flow) -> Self
    where
        IpAddr: From<[u8; N]>,
    {
        Self {
            src_addr: key.src_addr.into(),
            src_port: key.src_port(),
            dst_addr: key.dst_addr.into(),
            dst_port: key.dst_port(),
            ip_protocol: key.ip_protocol,
            flow,
        }
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{classify::Evidence, record::RecordHead};

    use super::Flow;

    fn head(first: u32, last: u32) -> RecordHead {
        RecordHead {
            packets: 1,
            first,
            last_or_fragment_id: last,
            tcp_flags: 0x10,
            ..RecordHead::default()
        }
    }

    fn flow(first: u32, last: u32) -> Flow {
        let mut flow = Flow::default();
        flow.on_record(&head(first, last));
        flow
    }

    #[test]
    fn times_are_the_earliest_and_the_latest_across_the_end_of_the_range() {
        let mut flow = flow(u32::MAX, 3);
        flow.on_record(&head(2, 5));
        assert_eq!((flow.first, flow.last), (u32::MAX, 5));
        flow.on_record(&head(u32::MAX - 9, u32::MAX - 8));
        assert_eq!((flow.first, flow.last), (u32::MAX - 9, 5));
    }

    #[test]
    fn the_first_record_gives_the_times_wherever_the_ticks_are() {
        for tick in [0, 1, 1 << 31, u32::MAX] {
            let flow = flow(tick, tick);
            assert_eq!((flow.first, flow.last), (tick, tick));
        }
    }

    #[test]
    fn an_interval_begins_with_nothing_but_the_direction() {
        let mut flow = flow(10, 20);
        flow.evidence = Evidence::Handshake;
        flow.begin_interval();
        let direction_alone = Flow {
            evidence: Evidence::Handshake,
            ..Flow::default()
        };
        assert_eq!(flow, direction_alone);
        flow.on_record(&head(30, 30));
        assert_eq!((flow.first, flow.last), (30, 30));
    }
}
