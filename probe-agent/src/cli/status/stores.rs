//! What the sinks keep, and what retention deletes next.

use std::time::Duration;

use jiff::Timestamp;

use crate::term::human::{self, day, when};
use probe_api::v1::status::{StatusReport, StoreStatus};

/// An estimate by less is told as such.
const YOUNG: Duration = Duration::from_hours(1);

/// A line for each sink that knows what it keeps: its name, and a sentence.
pub(super) fn lines(now: &StatusReport) -> Vec<(&str, String)> {
    let sinks = now.sinks.iter();
    let stores = sinks.filter_map(|(sink, it)| Some((sink.as_str(), it.store.as_ref()?)));
    stores
        .map(|(sink, store)| (sink, format!("{}; {}", kept(store), next(store, now.at))))
        .collect()
}

fn kept(store: &StoreStatus) -> String {
    let since = store.oldest.map(|oldest| format!(" since {}", day(oldest)));
    let per_day = store.bytes_per_day.map(|bytes| {
        let seen = store.growth_seen_seconds.map(Duration::from_secs);
        let young = seen.filter(|seen| *seen < YOUNG);
        let young = young.map(|seen| format!(" by its first {}", human::duration(seen)));
        let young = young.unwrap_or_default();
        format!(", {} a day{young}", human::bytes(bytes))
    });
    let free = store
        .free_bytes
        .map(|free| format!(", {} free", human::bytes(free)));
    let parts = [Some(human::bytes(store.bytes)), since, per_day, free];
    parts.into_iter().flatten().collect()
}

/// What comes first of the rules that there are.
fn next(store: &StoreStatus, now: Timestamp) -> String {
    let age = store.max_age_seconds.map(Duration::from_secs);
    let rules = [
        (
            store.age_deletes_at,
            age.map(|age| format!("max_age {}", human::duration(age))),
        ),
        (
            store.size_deletes_at,
            store
                .max_size_bytes
                .map(|max| format!("max_size {}", human::bytes(max))),
        ),
        (
            store.free_deletes_at,
            store
                .min_free_bytes
                .map(|min| format!("min_free {}", human::bytes(min))),
        ),
    ];
    if let Some(full_at) = store.full_at {
        return format!(
            "the disk is full {}, before anything is deleted",
            when(full_at, now)
        );
    }
    let mut known: Vec<_> = rules
        .iter()
        .filter_map(|(at, rule)| Some(((*at)?, rule.as_ref()?)))
        .collect();
    known.sort();
    if let Some((at, rule)) = known.first() {
        return format!("next deletes the oldest {}, by {rule}", when(*at, now));
    }
    if rules.iter().all(|(_, rule)| rule.is_none()) {
        return "nothing is ever deleted".to_owned();
    }
    "nothing to delete yet".to_owned()
}

#[cfg(test)]
mod tests {
    use super::lines;
    use crate::cli::status::table::tests::report;
    use probe_api::v1::status::{SinkStatus, StoreStatus};

    #[test]
    fn each_store_says_what_it_keeps_and_which_rule_comes_first() {
        let at = |text: &str| Some(text.parse().expect("a time"));
        let store = StoreStatus {
            bytes: 3 << 30,
            free_bytes: Some(50 << 30),
            oldest: at("2025-12-11T00:05:00Z"),
            bytes_per_day: Some(40 << 20),
            max_age_seconds: Some(90 * 86_400),
            max_size_bytes: Some(20 << 30),
            age_deletes_at: at("2026-03-11T12:05:00Z"),
            size_deletes_at: at("2026-12-11T00:05:00Z"),
            ..StoreStatus::default()
        };
        let shown = |store: StoreStatus| {
            let mut now = report();
            let sink = SinkStatus {
                store: Some(store),
                ..SinkStatus::default()
            };
            now.sinks.insert("parquet".to_owned(), sink);
            lines(&now)[0].1.clone()
        };
        assert_eq!(
            shown(store.clone()),
            "3.0 GiB since 2025-12-11, 40.0 MiB a day, 50.0 GiB free; next deletes the oldest \
             2026-03-11 (in 10 days), by max_age 90d 0h"
        );
        let young = StoreStatus {
            growth_seen_seconds: Some(60),
            ..store.clone()
        };
        assert!(shown(young).contains("40.0 MiB a day by its first 1m 0s, 50.0"));
        let full = StoreStatus {
            size_deletes_at: at("2026-03-01T12:00:00Z"),
            ..store
        };
        assert!(shown(full).ends_with("the oldest now, by max_size 20.0 GiB"));
        let unbounded = StoreStatus::default();
        assert_eq!(shown(unbounded), "0 B; nothing is ever deleted");
    }
}
