//! Series of the interfaces.

use probe_capture::status::WatchStatus;

use super::{
    super::{Direction, count::Count, gauges::InterfaceGauges},
    Samples, Scrape, float,
};

impl Scrape<'_> {
    /// Counters of interfaces, each with the value of its label, if it has one.
    pub(super) fn counts<const N: usize>(&self, counts: [Count; N]) -> Samples<'_> {
        let mut samples = Samples::with_capacity(self.counters.len() * N);
        for (name, values) in self.counters {
            for count in counts {
                let labels = [&**name].into_iter().chain(count.label());
                samples.push((labels.collect(), float(values.value(count))));
            }
        }
        samples
    }

    /// A gauge of interfaces without further labels. Without the label `iface` there is a sum over
    /// none, too.
    pub(super) fn gauge(&self, value: fn(&InterfaceGauges) -> f64) -> Samples<'_> {
        if !self.with_iface && self.gauges.by_name.is_empty() {
            return vec![(vec![""], value(&InterfaceGauges::default()))];
        }
        let gauges = self.gauges.by_name.iter();
        gauges
            .map(|(name, gauges)| (vec![&**name], value(gauges)))
            .collect()
    }

    pub(super) fn attached(&self) -> Samples<'_> {
        let gauges = self.gauges.by_name.iter();
        gauges
            .flat_map(|(name, gauges)| {
                let hooks = gauges.hooks.iter();
                hooks.map(|([ingress, egress], interfaces)| {
                    (vec![&**name, *ingress, *egress], float(*interfaces))
                })
            })
            .collect()
    }

    /// Only where interfaces have series of their own.
    pub(super) fn attach_reason(&self) -> Samples<'_> {
        let interfaces = self.status.interfaces.iter();
        let named = interfaces
            .filter(|(iface, _)| self.with_iface && self.gauges.by_name.contains_key(&***iface));
        named
            .map(|(iface, status)| (vec![&**iface, &*status.attachment.reason], 1.0))
            .collect()
    }

    /// All states have a series, so that one which is over shows 0.
    pub(super) fn capture_state(&self) -> Samples<'_> {
        let gauges = self.gauges.by_name.iter();
        gauges
            .flat_map(|(name, gauges)| {
                let states = WatchStatus::STATES.into_iter().zip(gauges.states);
                states.map(|(state, interfaces)| (vec![&**name, state], float(interfaces)))
            })
            .collect()
    }

    /// No ratio rather than a wrong one where it is not known yet.
    pub(super) fn coverage(&self) -> Samples<'_> {
        let gauges = self.gauges.by_name.iter();
        gauges
            .flat_map(|(name, gauges)| {
                let ratios = Direction::ALL.into_iter().zip(gauges.coverage);
                ratios.filter_map(|(direction, ratio)| {
                    Some((vec![&**name, direction.name()], ratio?))
                })
            })
            .collect()
    }
}
