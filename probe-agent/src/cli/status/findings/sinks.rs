//! What is wrong with a sink, its retention or the clock.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use jiff::Timestamp;

use super::{Finding, note, trouble};
use crate::term::human;
use probe_api::v1::status::{RetentionHold, SinkStatus, SinkTrouble, StatusReport, StoreStatus};
use probe_flow::text::counted;

mod space;

/// The kind of a sink's trouble while its queue runs over.
const OVERRUN: &str = "overrun";

/// What is wrong with a sink now, and what was.
pub(super) fn compare(findings: &mut Vec<Finding>, sink: &str, it: &SinkStatus, at: Timestamp) {
    if let Some(now) = &it.trouble {
        findings.push(trouble(not_storing(sink, it, now)));
    }
    let is_told = it.trouble.as_ref().is_some_and(|now| now.kind == OVERRUN);
    if let Some(seconds) = it.overrun_seconds.filter(|_| !is_told) {
        let lasts = human::duration(Duration::from_secs(seconds));
        findings.push(trouble(format!(
            "sink {sink} loses intervals, since its queue has run over for {lasts}: {} lost so far. Remedy: \
             mend the trouble above; what is in the queue is kept until then",
            counted(it.dropped, "interval")
        )));
    }
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
    if let Some(store) = &it.store {
        retention(findings, sink, store);
        space::compare(findings, sink, store, at);
    }
}

fn not_storing(sink: &str, it: &SinkStatus, now: &SinkTrouble) -> String {
    let lasts = human::duration(Duration::from_secs(now.seconds));
    let what = match now.kind.as_str() {
        "stuck" => format!("sink {sink} hangs: it has written one interval for {lasts}"),
        OVERRUN => format!("sink {sink} is too slow: its queue has run over for {lasts}"),
        _ => format!("sink {sink} does not store, for {lasts}: {}", now.error),
    };
    let wait = if it.queue_length == 1 {
        "waits"
    } else {
        "wait"
    };
    let queued = counted(it.queue_length, "interval");
    format!("{what}; {queued} {wait}. Remedy: {}", now.remedy)
}

fn retention(findings: &mut Vec<Finding>, sink: &str, store: &StoreStatus) {
    if let Some(held) = &store.held {
        findings.push(trouble(doubt(sink, held)));
    }
    if let Some(error) = &store.error {
        findings.push(trouble(format!(
            "sink {sink}: retention could not delete or count everything: {error}. Remedy: {}",
            remedy(error)
        )));
    }
    if let Some(moved) = &store.moved {
        findings.push(trouble(format!("sink {sink}: {moved}")));
    }
    if let Some(error) = &store.compaction_error {
        findings.push(trouble(format!("sink {sink}: {error}")));
    }
}

/// By the error of the system, which stands in the sentence as `(os error N)`.
fn remedy(error: &str) -> &'static str {
    let number = error.rsplit_once("(os error ");
    let number: Option<i32> = number.and_then(|(_, rest)| rest.split_once(')')?.0.parse().ok());
    // EPERM: root may do whatever mode and owner forbid.
    if number == Some(1) {
        return "let the agent's user read, write and delete there; what is immutable (`lsattr -d`) nobody \
                can delete";
    }
    match number.map(|number| io::Error::from_raw_os_error(number).kind()) {
        Some(ErrorKind::PermissionDenied) => "let the agent's user read, write and delete there",
        Some(ErrorKind::ReadOnlyFilesystem) => {
            "mount the file system so that it can be written; after an error of the disk it is \
             mounted read-only, and `dmesg` tells"
        }
        Some(ErrorKind::NotADirectory | ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            "find out what else changes files there, and put a directory back in its place"
        }
        _ => {
            "look at the directory (`lsattr`, `mount`) and at `dmesg`; the agent tries again every few seconds"
        }
    }
}

fn doubt(sink: &str, held: &RetentionHold) -> String {
    let by = human::duration(Duration::from_secs(held.ahead_seconds.unsigned_abs()));
    let (way, effect) = if held.ahead_seconds < 0 {
        (
            "behind",
            "what is written now is kept for longer".to_owned(),
        )
    } else {
        let bytes = human::bytes(held.held_bytes);
        (
            "ahead of",
            format!(
                "max_age is applied as of {:.0}, {bytes} are held",
                held.reference
            ),
        )
    };
    format!(
        "sink {sink}: the clock is {by} {way} the time that surely has passed, and retention does \
         not believe it; {effect}. Remedy: set the clock right, or if it is right, `probe-agent \
         retention confirm`"
    )
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
    use super::{super::Finding, compare};
    use probe_api::v1::status::{RetentionHold, SinkStatus, SinkTrouble, StoreStatus};

    fn findings(sink: &SinkStatus) -> Vec<Finding> {
        let mut findings = Vec::new();
        compare(&mut findings, "parquet", sink, jiff::Timestamp::UNIX_EPOCH);
        findings
    }

    #[test]
    fn a_sink_that_does_not_store_is_trouble_until_it_does() {
        let mut sink = SinkStatus {
            failed: 2,
            dropped: 3,
            queue_length: 12,
            ..SinkStatus::default()
        };
        for kind in ["failing", "stuck", "overrun"] {
            sink.trouble = Some(SinkTrouble {
                kind: kind.to_owned(),
                seconds: 40,
                error: "cannot write /flows/x: no storage space".to_owned(),
                remedy: "free space".to_owned(),
            });
            let found = findings(&sink);
            assert!(found[0].is_trouble, "{kind}");
            for part in ["sink parquet", "12 intervals wait", "Remedy: free space"] {
                assert!(found[0].text.contains(part), "{part}: {}", found[0].text);
            }
        }
        sink.trouble = None;
        let found = findings(&sink);
        assert_eq!(found.len(), 2);
        assert!(
            found.iter().all(|it| !it.is_trouble),
            "what is over is a note"
        );
    }

    #[test]
    fn a_queue_that_runs_over_is_told_beside_what_causes_it() {
        let sink = SinkStatus {
            trouble: Some(SinkTrouble {
                kind: "stuck".to_owned(),
                ..SinkTrouble::default()
            }),
            overrun_seconds: Some(70),
            dropped: 12,
            ..SinkStatus::default()
        };
        let found = findings(&sink);
        assert!(
            found[0].text.contains("sink parquet hangs"),
            "{}",
            found[0].text
        );
        assert!(found[1].is_trouble);
        for part in ["loses intervals", "12 intervals lost so far"] {
            assert!(found[1].text.contains(part), "{}", found[1].text);
        }
    }

    #[test]
    fn the_remedy_of_retention_is_that_of_its_error() {
        for (number, part) in [
            (13, "let the agent's user"),
            (1, "`lsattr -d`"),
            (30, "mount"),
            (5, "`dmesg`"),
        ] {
            let cause = std::io::Error::from_raw_os_error(number);
            let store = StoreStatus {
                error: Some(format!("cannot list /flows: {cause}")),
                ..StoreStatus::default()
            };
            let sink = SinkStatus {
                store: Some(store),
                ..SinkStatus::default()
            };
            let text = &findings(&sink)[0].text;
            let (what, remedy) = text.split_once("Remedy: ").expect("a remedy");
            assert!(what.contains("could not delete or count"), "{text}");
            assert!(remedy.contains(part), "{text}");
        }
    }

    #[test]
    fn a_day_that_cannot_be_compacted_is_trouble() {
        let store = StoreStatus {
            compaction_error: Some("cannot compact /flows: it is damaged".to_owned()),
            ..StoreStatus::default()
        };
        let sink = SinkStatus {
            store: Some(store),
            ..SinkStatus::default()
        };
        let found = findings(&sink);
        assert!(found[0].is_trouble && found[0].text.contains("cannot compact /flows"));
    }

    #[test]
    fn a_clock_that_is_not_believed_is_trouble_with_a_remedy() {
        for (ahead_seconds, part) in [
            (86_400, "as of 2026-03-01T00:00:00Z, 1.0 GiB"),
            (-86_400, "behind"),
        ] {
            let held = RetentionHold {
                reference: "2026-03-01T00:00:00.123456789Z".parse().expect("a time"),
                ahead_seconds,
                held_bytes: 1 << 30,
            };
            let store = StoreStatus {
                held: Some(held),
                ..StoreStatus::default()
            };
            let sink = SinkStatus {
                store: Some(store),
                ..SinkStatus::default()
            };
            let found = findings(&sink);
            assert!(found[0].is_trouble && found[0].text.contains(part));
            assert!(found[0].text.contains("`probe-agent retention confirm`"));
        }
    }
}
