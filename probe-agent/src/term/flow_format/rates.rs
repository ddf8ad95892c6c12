//! Rates instead of counts.

use std::time::Duration;

use serde::{Serialize, Serializer};
use serde_json::Value;

use crate::term::human;
use probe_flow::{
    flow::FlowCounters,
    schema::{field, live_fields},
};

/// The same of a second of this time, by [`human::per_second`].
pub(crate) fn per_second(counters: FlowCounters, over: Duration) -> FlowCounters {
    let rate = |count| human::per_second(count, over);
    FlowCounters {
        bytes_rcvd: rate(counters.bytes_rcvd),
        bytes_sent: rate(counters.bytes_sent),
        packets_rcvd: rate(counters.packets_rcvd),
        packets_sent: rate(counters.packets_sent),
    }
}

/// The counts of the schema, in its order, and the names of their rates.
const RATES: [(&str, &str); 4] = [
    (field("packets_rcvd").name, "packets_rcvd_per_second"),
    (field("packets_sent").name, "packets_sent_per_second"),
    (field("bytes_rcvd").name, "bits_rcvd_per_second"),
    (field("bytes_sent").name, "bits_sent_per_second"),
];

/// What programs read: counts by the names of the schema, or the rates over a time.
pub(crate) fn named_counts(
    counters: &FlowCounters,
    over: Option<Duration>,
) -> [(&'static str, u64); 4] {
    let of = |it: &FlowCounters| {
        [
            it.packets_rcvd,
            it.packets_sent,
            it.bytes_rcvd,
            it.bytes_sent,
        ]
    };
    let Some(over) = over else {
        let values = of(counters);
        return std::array::from_fn(|number| (RATES[number].0, values[number]));
    };
    let mut rates = per_second(*counters, over);
    for octets in [&mut rates.bytes_rcvd, &mut rates.bytes_sent] {
        *octets = octets.saturating_mul(8);
    }
    let values = of(&rates);
    std::array::from_fn(|number| (RATES[number].1, values[number]))
}

/// The fields of a flow that is not stored, with its rates in the places of its counts.
#[derive(Clone, Debug)]
pub(crate) struct RatedFlow(Vec<(&'static str, Value)>);

impl RatedFlow {
    /// Of a flow that is written with the names of the schema.
    pub(crate) fn new(
        flow: &impl Serialize,
        counters: &FlowCounters,
        over: Duration,
    ) -> serde_json::Result<Self> {
        let mut written = serde_json::to_value(flow)?;
        let rates = named_counts(counters, Some(over));
        let fields = live_fields().map(|field| {
            let rate = rates
                .iter()
                .find(|(name, _)| *name == shown_name(field.name));
            match rate {
                Some((name, rate)) => (*name, Value::from(*rate)),
                None => (field.name, written[field.name].take()),
            }
        });
        Ok(Self(fields.collect()))
    }

    /// What stands above its cells.
    pub(crate) fn header() -> impl Iterator<Item = &'static str> {
        live_fields().map(|field| shown_name(field.name))
    }

    /// Its values, as a line of CSV has them.
    pub(crate) fn cells(&self) -> Vec<&Value> {
        self.0.iter().map(|(_, value)| value).collect()
    }
}

/// The name of the rate of a count; that of every other field.
fn shown_name(field: &'static str) -> &'static str {
    let rate = RATES.iter().find(|(count, _)| *count == field);
    rate.map_or(field, |(_, rate)| rate)
}

impl Serialize for RatedFlow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, value)| (name, value)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{named_counts, per_second};
    use probe_flow::flow::FlowCounters;

    #[test]
    fn rates_are_rounded_down() {
        let counters = FlowCounters {
            bytes_rcvd: 1_000_001,
            bytes_sent: u64::MAX,
            packets_rcvd: 7,
            packets_sent: 1,
        };
        let two = Duration::from_secs(2);
        let rates = per_second(counters, two);
        assert_eq!(
            (rates.bytes_rcvd, rates.packets_rcvd, rates.packets_sent),
            (500_000, 3, 0)
        );
        assert_eq!(
            named_counts(&counters, Some(two)),
            [
                ("packets_rcvd_per_second", 3),
                ("packets_sent_per_second", 0),
                ("bits_rcvd_per_second", 4_000_000),
                ("bits_sent_per_second", u64::MAX),
            ]
        );
        assert_eq!(named_counts(&counters, None)[2], ("bytes_rcvd", 1_000_001));
        let at_once = per_second(counters, Duration::ZERO);
        assert_eq!(
            (at_once.packets_rcvd, at_once.bytes_sent),
            (7_000_000_000, u64::MAX)
        );
    }
}
