//! Whatever happens to clock and disk: nothing younger than the rule is deleted, and room is made.

use std::time::Duration;

use proptest::prelude::*;

use super::{
    model::{Ended, FILE, Host, INTERVAL, Kept},
    trust::allowance,
};
use crate::options::{MinFree, Retention};

const DAY: i64 = 24 * 3600;

/// What happens to the host.
#[derive(Clone, Debug)]
enum Event {
    /// So many intervals are written.
    Write(usize),
    /// The clock is set, so that it is ahead by so many seconds.
    SetClock(i64),
    /// An interval ends and waits for so many seconds; then the clock is set so, and it is written.
    SetClockBeforeWrite(i64, i64),
    /// Others use so many percent of the disk.
    Fill(u64),
    /// Somebody deletes every so many-th file.
    RemoveByHand(usize),
    /// The agent starts again.
    Restart,
    /// The host is off for so many seconds, and starts with a clock that is ahead by so many.
    Reboot(i64, i64),
    /// A person confirms the clock, which is right.
    Confirm,
}

/// Right, nearly right, or wrong by years: errors between could not be told from one another by
/// the names of files.
fn clock_error() -> impl Strategy<Value = i64> {
    prop_oneof![
        3 => Just(0),
        1 => -1800_i64..1800,
        3 => (-4_i64..5).prop_map(|it| it * 1000 * DAY),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        8 => (1_usize..30).prop_map(Event::Write),
        4 => clock_error().prop_map(Event::SetClock),
        2 => (0_i64..2 * 3600, clock_error())
            .prop_map(|(waits, error)| Event::SetClockBeforeWrite(waits, error)),
        2 => (0_u64..101).prop_map(Event::Fill),
        1 => (1_usize..5).prop_map(Event::RemoveByHand),
        1 => Just(Event::Restart),
        1 => (60_i64..20 * DAY, clock_error()).prop_map(|(down, error)| Event::Reboot(down, error)),
        1 => Just(Event::Confirm),
    ]
}

fn retention() -> impl Strategy<Value = Retention> {
    let min_free = prop_oneof![
        Just(None),
        (1_u64..20).prop_map(|files| Some(MinFree::Bytes(files * FILE))),
        (1_u8..30).prop_map(|percent| Some(MinFree::Percent(percent))),
    ];
    let days = prop::option::of(4_u64..40);
    let files = prop::option::of(10_u64..120);
    (days, files, min_free).prop_map(|(days, files, min_free)| Retention {
        max_age: days.map(|days| Duration::from_hours(days * 24)),
        max_size_bytes: files.map(|files| files * FILE),
        min_free,
    })
}

/// A host with what is allowed to it.
struct Checked {
    host: Host,
    retention: Retention,
}

impl Checked {
    /// Seconds that may have been believed wrongly: a budget for each boot, and its refills.
    fn slack(&self) -> i64 {
        let allowance = allowance(self.retention.max_age).as_secs().cast_signed();
        allowance * self.host.boots + self.host.time / 100 + 120
    }

    fn excess(&self) -> u64 {
        let contents = self.host.disk.0.borrow();
        let max = self.retention.max_size_bytes.unwrap_or(u64::MAX);
        let wanted = self
            .retention
            .min_free
            .map_or(0, |it| it.of(contents.total));
        let missing = wanted.saturating_sub(contents.free());
        contents.stored().saturating_sub(max).max(missing)
    }

    fn is_too_old(&self, kept: &Kept, slack: i64) -> bool {
        let age = self.host.time - kept.written;
        self.retention
            .max_age
            .is_some_and(|max| age + slack > max.as_secs().cast_signed())
    }

    /// One interval; everything that is deleted on the way has a reason.
    fn write(&mut self) -> Result<(), TestCaseError> {
        let ended = self.host.end_interval(INTERVAL);
        self.write_ended(&ended)
    }

    fn write_ended(&mut self, ended: &Ended) -> Result<(), TestCaseError> {
        let (excess, had_room) = (self.excess(), self.host.disk.0.borrow().free() >= FILE);
        let is_written = self.host.write_ended(ended);
        self.check_deleted(excess)?;
        if had_room {
            prop_assert!(is_written, "there was room");
        }
        self.check_room(is_written)
    }

    /// What a pass has deleted was too old, or there were so many bytes too many.
    fn check_deleted(&self, excess: u64) -> Result<(), TestCaseError> {
        let deleted = std::mem::take(&mut self.host.disk.0.borrow_mut().deleted);
        let slack = self.slack();
        let young: Vec<_> = deleted
            .iter()
            .filter(|it| !self.is_too_old(it, slack))
            .collect();
        prop_assert!(
            young.len() as u64 <= excess.div_ceil(FILE),
            "{} young files deleted for {excess} bytes",
            young.len()
        );
        let contents = self.host.disk.0.borrow();
        let oldest_kept = contents.kept.values().map(|it| it.written).min();
        let youngest = young.iter().map(|it| it.written).max();
        if let (Some(youngest), Some(oldest_kept)) = (youngest, oldest_kept) {
            prop_assert!(
                youngest <= oldest_kept + slack,
                "a file of {youngest} was deleted before one of {oldest_kept}"
            );
        }
        Ok(())
    }

    /// Where the clock is believed, nothing is left that the rule does not allow.
    fn check_room(&self, is_written: bool) -> Result<(), TestCaseError> {
        let slack = self.slack();
        let report = self.host.pruner.report().expect("after a pass");
        let contents = self.host.disk.0.borrow();
        let new = if is_written { FILE } else { 0 };
        let max = self.retention.max_size_bytes.unwrap_or(u64::MAX);
        prop_assert!(contents.stored() - new <= max);
        if let Some(min_free) = self.retention.min_free {
            let has_room = contents.free() + new >= min_free.of(contents.total);
            prop_assert!(has_room || contents.stored() <= new);
        }
        if report.held.is_none() && self.host.error == 0 {
            // What was written with a clock that is wrong by years, or may be, is kept for as long.
            let right = contents.kept.values().filter(|it| {
                let name = it.file.end.as_second() - self.host.now().wall.as_second();
                let is_right = (name + self.host.time - it.written).abs() < DAY;
                is_right && self.host.moved(&it.file).is_none()
            });
            for kept in right {
                prop_assert!(
                    !self.is_too_old(kept, -slack - INTERVAL),
                    "{kept:?} is too old"
                );
            }
        }
        Ok(())
    }

    fn on_event(&mut self, event: &Event) -> Result<(), TestCaseError> {
        let host = &mut self.host;
        match *event {
            Event::Write(intervals) => {
                for _ in 0..intervals {
                    self.write()?;
                }
            }
            Event::SetClock(error) => host.error = error,
            Event::SetClockBeforeWrite(waits, error) => {
                let ended = host.end_interval(INTERVAL);
                host.time += waits;
                host.error = error;
                self.write_ended(&ended)?;
            }
            Event::Fill(percent) => {
                let mut contents = host.disk.0.borrow_mut();
                let room = contents.total - contents.stored();
                contents.foreign = (contents.total / 100 * percent).min(room);
            }
            Event::RemoveByHand(every) => host.remove_by_hand(every),
            Event::Restart => host.restart(),
            Event::Reboot(down, error) => host.reboot(down, error),
            Event::Confirm => {
                host.error = 0;
                let (now, excess) = (host.now(), self.excess());
                self.host.pruner.confirm_clock(now);
                self.check_deleted(excess)?;
                self.write()?;
            }
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn nothing_young_is_deleted_and_room_is_made(
        retention in retention(),
        files in 40_u64..200,
        events in prop::collection::vec(event(), 1..24),
    ) {
        let host = Host::new(retention, files * FILE);
        let mut checked = Checked { host, retention };
        // A store that is begun with a wrong clock has nothing to compare it with.
        checked.write()?;
        for event in &events {
            checked.on_event(event)?;
        }
    }
}
