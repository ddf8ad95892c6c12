//! What is wrong with the space of a store.

use std::time::Duration;

use jiff::Timestamp;

use crate::term::human::{self, day, when};
use probe_api::v1::status::{Crowded, StoreStatus};
use probe_capture::trouble::{Trouble, TroubleKind};
use probe_flow::text::counted;

/// What lacks now, in bytes or soon.
pub(super) fn of_store(subject: &str, store: &StoreStatus, at: Timestamp) -> Vec<Trouble> {
    let trouble = |kind, cause: String, remedy| Trouble::new(kind, Some(subject), &cause, remedy);
    let mut found = Vec::new();
    if store.short_bytes > 0 {
        let cause = format!(
            "{} are missing to min_free {}, and nothing is left to delete: what is written now is \
             deleted within a minute",
            human::bytes(store.short_bytes),
            min_free(store)
        );
        let remedy =
            "free space on its file system, which other files fill, or lower retention.min_free";
        found.push(trouble(TroubleKind::StoreShort, cause, remedy));
    }
    if let Some(crowded) = &store.crowded {
        let remedy = "free space on its file system; or let max_age and min_free be what the disk can \
                      hold, and restart the agent";
        found.push(trouble(
            TroubleKind::StoreCrowded,
            taken(store, crowded),
            remedy,
        ));
    }
    if let Some(full_at) = store.full_at.filter(|_| store.is_filling) {
        let cause = format!(
            "its file system is full {}, by estimate, before anything is deleted; then nothing is stored",
            when(full_at, at)
        );
        let remedy = "free space there, lower its retention.max_size or retention.max_age, or set its \
                      retention.min_free";
        found.push(trouble(TroubleKind::StoreFilling, cause, remedy));
    }
    found
}

fn taken(store: &StoreStatus, crowded: &Crowded) -> String {
    let left = store.oldest.map_or_else(
        || "nothing is kept".to_owned(),
        |oldest| format!("what is kept begins at {}", day(oldest)),
    );
    let age = store.max_age_seconds.map(Duration::from_secs);
    let age = age.map(|age| format!(", younger than max_age {}", human::duration(age)));
    format!(
        "other files have taken {} of its room, so that {} of {}{} were deleted to leave min_free {}; {left}",
        human::bytes(crowded.taken_bytes),
        human::bytes(store.early_bytes),
        counted(store.early_days, "day"),
        age.unwrap_or_default(),
        min_free(store)
    )
}

fn min_free(store: &StoreStatus) -> String {
    human::bytes(store.min_free_bytes.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::of_store;
    use jiff::Timestamp;
    use probe_api::v1::status::{Crowded, StoreStatus};

    #[test]
    fn each_lack_of_space_is_told_with_its_remedy() {
        let store = StoreStatus {
            oldest: Some("2026-03-01T00:05:00Z".parse().expect("a time")),
            min_free_bytes: Some(8 << 20),
            max_age_seconds: Some(90 * 86_400),
            full_at: Some("1970-01-01T06:00:00Z".parse().expect("a time")),
            is_filling: true,
            short_bytes: 3 << 20,
            crowded: Some(Crowded {
                since: Timestamp::UNIX_EPOCH,
                taken_bytes: 5 << 20,
            }),
            early_days: 2,
            early_bytes: 4 << 20,
            ..StoreStatus::default()
        };
        let told = |store: &StoreStatus| {
            let found = of_store("sink parquet", store, Timestamp::UNIX_EPOCH);
            found.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        let said = told(&store);
        for (said, part) in said.iter().zip([
            "3.0 MiB are missing to min_free 8.0 MiB",
            "other files have taken 5.0 MiB of its room, so that 4.0 MiB of 2 days, younger than max_age 90d \
             0h were deleted to leave min_free 8.0 MiB; what is kept begins at 2026-03-01. Remedy: ",
            "its file system is full in 6h 0m",
        ]) {
            assert!(said.contains(part) && said.contains(". Remedy: "), "{said}");
        }
        assert_eq!(said.len(), 3);
        let over = StoreStatus {
            is_filling: false,
            short_bytes: 0,
            crowded: None,
            ..store
        };
        assert_eq!(told(&over), [""; 0]);
    }
}
