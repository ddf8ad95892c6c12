//! Any order of fragments gives what a model says.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use proptest::prelude::*;

use super::{DATAGRAM, Packet};
use crate::{
    flow::FlowMap,
    flow_log::{FlowLog, FlowLogOptions},
};

#[derive(Clone, Copy, Debug)]
enum Step {
    First(Packet),
    Later(Packet),
    Rotate,
}

fn step() -> impl Strategy<Value = Step> {
    let ports = prop_oneof![Just((40000, 7000)), Just((53, 40000)), Just((5000, 5001))];
    let packet =
        (any::<bool>(), ports, 0..6_u32, 0..2_u8).prop_map(|(is_v6, ports, id, direction)| {
            Packet {
                is_v6,
                // An identification is of one packet here: its ports follow from it.
                ports: if id < 3 { ports } else { (40000, 7000) },
                id: id + 8 * u32::from(ports.0),
                direction,
                ..DATAGRAM
            }
        });
    prop_oneof![
        4 => packet.clone().prop_map(Step::First),
        12 => packet.prop_map(Step::Later),
        1 => Just(Step::Rotate),
    ]
}

/// A flow, whichever end it is stored under.
type Ends = BTreeSet<(IpAddr, u16)>;
type Sums = BTreeMap<Ends, (u64, u64)>;

fn add(sums: &mut Sums, ends: [(IpAddr, u16); 2], packets: u64, octets: u64) {
    let sum = sums.entry(Ends::from(ends)).or_default();
    sum.0 += packets;
    sum.1 += octets;
}

fn sums(flows: &FlowMap) -> Sums {
    let mut sums = Sums::new();
    for row in flows.rows() {
        let ends = [(row.src_addr, row.src_port), (row.dst_addr, row.dst_port)];
        let counters = row.flow.counters;
        add(&mut sums, ends, counters.packets(), counters.bytes());
    }
    sums
}

/// What must come out, worked out interval by interval.
#[derive(Default)]
struct Model {
    /// Packets whose first fragment is remembered.
    known: BTreeSet<Packet>,
    /// Fragments of the interval: packets and octets.
    interval: BTreeMap<Packet, (u64, u64)>,
    unattributed: u64,
}

impl Model {
    fn on_fragment(&mut self, packet: Packet, octets: u64) {
        let sum = self.interval.entry(packet).or_default();
        sum.0 += 1;
        sum.1 += octets;
    }

    fn rotate(&mut self) -> Sums {
        let mut sums = Sums::new();
        let interval = std::mem::take(&mut self.interval);
        for (packet, (packets, octets)) in &interval {
            let is_known = self.known.contains(packet);
            let ports = if is_known { packet.ports } else { (0, 0) };
            if !is_known {
                self.unattributed += packets;
            }
            let ends = |key_ends: [IpAddr; 2]| [(key_ends[0], ports.0), (key_ends[1], ports.1)];
            let ends = if packet.is_v6 {
                let key = packet.key::<16>(ports);
                ends([key.src_addr.into(), key.dst_addr.into()])
            } else {
                let key = packet.key::<4>(ports);
                ends([key.src_addr.into(), key.dst_addr.into()])
            };
            add(&mut sums, ends, *packets, *octets);
        }
        self.known.retain(|packet| interval.contains_key(packet));
        sums
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn any_order_with_duplicates_and_rotations_is_counted_as_the_model_says(
        steps in prop::collection::vec((step(), 28..1500_u64), 0..150),
        bidirectional in any::<bool>(),
    ) {
        let mut log = FlowLog::new(FlowLogOptions {
            bidirectional,
            port_aggregation: false,
            ..FlowLogOptions::default()
        });
        let mut model = Model::default();
        let rotate_at_last = (Step::Rotate, 0);
        for &(step, octets) in steps.iter().chain([&rotate_at_last]) {
            match step {
                Step::First(packet) => {
                    packet.first(&mut log, octets);
                    model.known.insert(packet);
                    model.on_fragment(packet, octets);
                }
                Step::Later(packet) => {
                    packet.later(&mut log, octets);
                    model.on_fragment(packet, octets);
                }
                Step::Rotate => {
                    let expected = model.rotate();
                    prop_assert_eq!(sums(&log.aggregate().0), expected.clone());
                    prop_assert_eq!(sums(&log.rotate().0), expected);
                    prop_assert_eq!(log.unattributed_fragments(), model.unattributed);
                }
            }
        }
    }

    #[test]
    fn a_full_log_shows_before_a_rotation_what_the_rotation_hands_out(
        steps in prop::collection::vec((step(), 28..1500_u64), 0..100),
        max_flows in 1..6_usize,
    ) {
        let mut log = FlowLog::new(FlowLogOptions { max_flows, ..FlowLogOptions::default() });
        let mut handed_out = (0, 0);
        let rotate_at_last = (Step::Rotate, 0);
        for &(step, octets) in steps.iter().chain([&rotate_at_last]) {
            match step {
                Step::First(packet) => packet.first(&mut log, octets),
                Step::Later(packet) => packet.later(&mut log, octets),
                Step::Rotate => {
                    let (shown, shown_totals) = log.aggregate();
                    let (flows, totals) = log.rotate();
                    prop_assert_eq!(shown.sorted_rows(), flows.sorted_rows());
                    prop_assert_eq!(shown_totals, totals);
                    handed_out.0 += totals.packets();
                    handed_out.1 += totals.bytes();
                }
            }
        }
        prop_assert_eq!(handed_out, (log.totals().packets(), log.totals().bytes()));
    }
}
