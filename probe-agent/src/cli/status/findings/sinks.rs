//! What was wrong with a sink or the clock, and is over.

use super::{Finding, note};
use crate::term::human;
use probe_api::v1::status::{SinkStatus, StatusReport};
use probe_flow::text::counted;

/// What a sink has lost since the start.
pub(super) fn compare(findings: &mut Vec<Finding>, sink: &str, it: &SinkStatus) {
    if it.failed > 0 {
        findings.push(note(format!(
            "sink {sink} could not store {} since the start; the agent's log has the reason \
             (`journalctl -u probe-agent`)",
            counted(it.failed, "interval")
        )));
    }
    if it.dropped > 0 {
        findings.push(note(format!(
            "sink {sink} was too slow and lost {}, since its queue was full; give it a faster disk, or \
             raise rotation.interval",
            counted(it.dropped, "interval")
        )));
    }
    let Some(store) = &it.store else { return };
    if store.crowded.is_none() && store.early_days > 0 {
        findings.push(note(format!(
            "sink {sink}: {} of {} were deleted before their time since the start, since other files had taken \
             the room",
            human::bytes(store.early_bytes),
            counted(store.early_days, "day")
        )));
    }
}

/// Steps of the clock are worth knowing when times are compared.
pub(super) fn clock(findings: &mut Vec<Finding>, now: &StatusReport) {
    let steps = &now.clock_steps;
    if steps.forward + steps.backward > 0 {
        findings.push(note(format!(
            "the clock was set {} ahead and {} back since the start; the ledgers of these intervals \
             tell by how much",
            counted(steps.forward, "time"),
            counted(steps.backward, "time")
        )));
    }
}

#[cfg(test)]
mod tests {
    use super::compare;
    use probe_api::v1::status::{SinkStatus, StoreStatus};

    #[test]
    fn what_is_over_is_a_note() {
        let store = StoreStatus {
            early_days: 2,
            early_bytes: 4 << 20,
            ..StoreStatus::default()
        };
        let sink = SinkStatus {
            failed: 2,
            dropped: 3,
            store: Some(store),
            ..SinkStatus::default()
        };
        let mut findings = Vec::new();
        compare(&mut findings, "parquet", &sink);
        for (finding, part) in findings.iter().zip([
            "could not store 2 intervals",
            "lost 3 intervals",
            "4.0 MiB of 2 days were deleted before their time",
        ]) {
            assert!(
                !finding.is_trouble && finding.text.contains(part),
                "{}",
                finding.text
            );
        }
        assert_eq!(findings.len(), 3);
    }
}
