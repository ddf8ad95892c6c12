//! What is wrong with a sink, its retention or the clock.

use std::{
    io::{self, ErrorKind},
    time::Duration,
};

use jiff::Timestamp;

use super::space;
use crate::term::human;
use probe_api::v1::status::{RetentionHold, SinkStatus, SinkTrouble, StoreStatus};
use probe_capture::trouble::{Trouble, TroubleKind};
use probe_flow::text::counted;

/// The kind of a sink's trouble while its queue runs over.
const OVERRUN: &str = "overrun";

/// What is wrong with a sink now.
pub(crate) fn of_sink(sink: &str, it: &SinkStatus, at: Timestamp) -> Vec<Trouble> {
    let subject = format!("sink {sink}");
    let mut found = Vec::new();
    found.extend(
        it.trouble
            .as_ref()
            .map(|now| not_storing(&subject, it, now)),
    );
    let is_told = it.trouble.as_ref().is_some_and(|now| now.kind == OVERRUN);
    if let Some(seconds) = it.overrun_seconds.filter(|_| !is_told) {
        let lasts = human::duration(Duration::from_secs(seconds));
        found.push(Trouble::new(
            TroubleKind::SinkOverrun,
            Some(&subject),
            &format_args!(
                "it loses intervals, since its queue has run over for {lasts}: {} lost so far",
                counted(it.dropped, "interval")
            ),
            "mend the trouble above; what is in the queue is kept until then",
        ));
    }
    if let Some(store) = &it.store {
        retention(&mut found, &subject, store);
        found.extend(space::of_store(&subject, store, at));
    }
    found
}

fn not_storing(subject: &str, it: &SinkStatus, now: &SinkTrouble) -> Trouble {
    let lasts = human::duration(Duration::from_secs(now.seconds));
    let (kind, what) = match now.kind.as_str() {
        "stuck" => (
            TroubleKind::SinkStuck,
            format!("it hangs, for {lasts}: its disk or mount does not answer"),
        ),
        OVERRUN => (
            TroubleKind::SinkOverrun,
            format!("it is too slow: its queue has run over for {lasts}"),
        ),
        _ => (
            TroubleKind::SinkFailing,
            format!("it does not store, for {lasts}: {}", now.error),
        ),
    };
    let wait = if it.queue_length == 1 {
        "waits"
    } else {
        "wait"
    };
    let queued = counted(it.queue_length, "interval");
    Trouble::new(
        kind,
        Some(subject),
        &format_args!("{what}; {queued} {wait}"),
        &now.remedy,
    )
}

fn retention(found: &mut Vec<Trouble>, subject: &str, store: &StoreStatus) {
    found.extend(store.held.as_ref().map(|held| doubt(subject, held)));
    found.extend(store.error.as_ref().map(|error| {
        Trouble::new(
            TroubleKind::RetentionFailing,
            Some(subject),
            &format_args!("retention could not delete or count everything: {error}"),
            remedy(error),
        )
    }));
    // Their sentences end with the remedy.
    let told = [
        (TroubleKind::StoreMoved, &store.moved),
        (TroubleKind::CompactionFailing, &store.compaction_error),
    ];
    for (kind, sentence) in told {
        let Some(sentence) = sentence else { continue };
        let parts = sentence.split_once(". Remedy: ");
        let (cause, remedy) = parts.unwrap_or((
            sentence,
            "mend that; the day is tried again when its directory has changed",
        ));
        found.push(Trouble::new(kind, Some(subject), &cause, remedy));
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

fn doubt(subject: &str, held: &RetentionHold) -> Trouble {
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
    Trouble::new(
        TroubleKind::RetentionHeld,
        Some(subject),
        &format_args!(
            "the clock is {by} {way} the time that surely has passed, and retention does not believe it; {effect}"
        ),
        "set the clock right, or if it is right, `probe-agent retention confirm`",
    )
}

#[cfg(test)]
mod tests {
    use super::of_sink;
    use probe_api::v1::status::{RetentionHold, SinkStatus, SinkTrouble, StoreStatus};

    /// The sentences, each behind its kind.
    fn told(sink: &SinkStatus) -> Vec<String> {
        let found = of_sink("parquet", sink, jiff::Timestamp::UNIX_EPOCH);
        let told = found.iter().map(|it| format!("{} {it}", it.kind.name()));
        told.collect()
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
            let said = &told(&sink)[0];
            let begin = format!("sink_{kind} sink parquet: ");
            for part in [begin.as_str(), "12 intervals wait", "Remedy: free space"] {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
        sink.trouble = None;
        assert_eq!(told(&sink), [""; 0], "what is over is a note");
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
        let said = told(&sink);
        assert!(
            said[0].starts_with("sink_stuck sink parquet: it hangs"),
            "{said:?}"
        );
        for part in [
            "sink_overrun",
            "loses intervals",
            "12 intervals lost so far",
        ] {
            assert!(said[1].contains(part), "{said:?}");
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
            let text = &told(&sink)[0];
            let (what, remedy) = text.split_once("Remedy: ").expect("a remedy");
            assert!(what.contains("could not delete or count"), "{text}");
            assert!(remedy.contains(part), "{text}");
        }
    }

    #[test]
    fn a_store_elsewhere_and_a_day_that_cannot_be_compacted_have_remedies() {
        let store = StoreStatus {
            moved: Some("/flows was on / at the start. Remedy: mount it as it was".to_owned()),
            compaction_error: Some("cannot compact /flows: it is damaged".to_owned()),
            ..StoreStatus::default()
        };
        let sink = SinkStatus {
            store: Some(store),
            ..SinkStatus::default()
        };
        let expected = [
            "store_moved sink parquet: /flows was on / at the start. Remedy: mount it as it was",
            "compaction_failing sink parquet: cannot compact /flows: it is damaged. Remedy: mend that; the day is \
             tried again when its directory has changed",
        ];
        assert_eq!(told(&sink), expected);
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
            let said = &told(&sink)[0];
            for part in ["retention_held", part, "`probe-agent retention confirm`"] {
                assert!(said.contains(part), "{part}: {said}");
            }
        }
    }
}
