//! Sums of flows by a key of any kind.

use std::{cmp::Ordering, collections::HashMap, hash::Hash};

use probe_flow::flow::FlowCounters;

/// What the flows of a group come to.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Sum {
    /// How many flows the group has.
    pub(crate) flows: u64,
    /// Packets and IP octets of these flows.
    pub(crate) counters: FlowCounters,
}

/// Sums of flows, each with the key that the flows share.
#[derive(Clone, Debug)]
pub(crate) struct Groups<K> {
    sums: HashMap<K, Sum>,
}

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Self {
            sums: HashMap::new(),
        }
    }
}

impl<K: Eq + Hash> Groups<K> {
    /// Adds a flow to the group of this key.
    pub(crate) fn add(&mut self, key: K, counters: FlowCounters) {
        let sum = self.sums.entry(key).or_default();
        sum.flows += 1;
        sum.counters += counters;
    }
}

impl<K: Ord> Groups<K> {
    /// The groups in an order; equal ones by their keys, so that nothing depends on chance.
    pub(crate) fn sorted_by(
        self,
        mut compare: impl FnMut(&(K, Sum), &(K, Sum)) -> Ordering,
    ) -> Vec<(K, Sum)> {
        let mut groups: Vec<_> = self.sums.into_iter().collect();
        sort_by(&mut groups, &mut compare);
        groups
    }
}

/// Puts groups in an order; equal ones by their keys.
pub(crate) fn sort_by<K: Ord>(
    groups: &mut [(K, Sum)],
    mut compare: impl FnMut(&(K, Sum), &(K, Sum)) -> Ordering,
) {
    groups.sort_unstable_by(|a, b| compare(a, b).then_with(|| a.0.cmp(&b.0)));
}

impl<K: Eq + Hash> Extend<(K, FlowCounters)> for Groups<K> {
    fn extend<I: IntoIterator<Item = (K, FlowCounters)>>(&mut self, flows: I) {
        for (key, counters) in flows {
            self.add(key, counters);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;

    use proptest::{collection::vec, prelude::*};

    use super::{Groups, Sum};
    use probe_flow::flow::FlowCounters;

    fn counters(packets_rcvd: u64) -> FlowCounters {
        FlowCounters {
            packets_rcvd,
            bytes_sent: 100 * packets_rcvd,
            ..FlowCounters::default()
        }
    }

    #[test]
    fn equal_groups_come_by_their_keys() {
        let mut groups = Groups::default();
        groups.extend([
            ("b", counters(2)),
            ("c", counters(1)),
            ("a", counters(1)),
            ("c", counters(1)),
        ]);
        let sorted = groups.sorted_by(|(_, a), (_, b)| {
            Reverse(a.counters.packets()).cmp(&Reverse(b.counters.packets()))
        });
        let shown: Vec<_> = sorted
            .iter()
            .map(|(key, sum)| (*key, sum.flows, sum.counters.packets()))
            .collect();
        assert_eq!(shown, [("b", 1, 2), ("c", 2, 2), ("a", 1, 1)]);
    }

    proptest! {
        /// No flow is lost and none is counted twice.
        #[test]
        fn groups_add_up_to_all_flows(flows in vec((0_u8..5, 0_u64..1000), 0..50)) {
            let mut groups = Groups::default();
            groups.extend(flows.iter().map(|(key, packets)| (*key, counters(*packets))));
            let mut total = Sum::default();
            for (key, sum) in groups.sorted_by(|_, _| std::cmp::Ordering::Equal) {
                let own = flows.iter().filter(|(other, _)| *other == key);
                prop_assert_eq!(sum.flows, own.clone().count() as u64);
                prop_assert_eq!(sum.counters.packets(), own.map(|(_, packets)| packets).sum::<u64>());
                total.flows += sum.flows;
                total.counters += sum.counters;
            }
            prop_assert_eq!(total.flows, flows.len() as u64);
            let packets: u64 = flows.iter().map(|(_, packets)| packets).sum();
            prop_assert_eq!(total.counters, counters(packets));
        }
    }
}
