//! From the ticks in records to wall-clock time.
//!
//! The programs stamp packets with the kernel's count of timer ticks, which costs them one
//! nanosecond where a clock costs twenty. A [`TickClock`] knows which tick was when.

use std::{sync::Arc, time::Duration};

use jiff::Timestamp;

pub use self::table::{NO_TIME, TickTable, TickTableBuilder};

mod table;

/// Tells the times of ticks: those of [`probe_common::record::RecordHead::first`].
#[derive(Clone, Debug)]
pub struct TickClock(Kind);

#[derive(Clone, Debug)]
enum Kind {
    /// From one tick to the next it is always as long.
    Even {
        tick: u32,
        at: Timestamp,
        length: Duration,
    },
    Table(Arc<TickTable>),
}

impl TickClock {
    /// A tick and its time: all that is needed to tell the time of those before and after it, if
    /// `length` lies between each and the next.
    ///
    /// It is right for half of the range of a tick to both sides: 24 days at 1,000 Hz. The source
    /// hands out a new one from time to time, so that adjustments of the wall clock are followed.
    pub const fn even(tick: u32, at: Timestamp, length: Duration) -> Self {
        Self(Kind::Even { tick, at, length })
    }

    /// Milliseconds of the Unix epoch, with `at` in the middle of the range.
    pub fn millis(at: Timestamp) -> Self {
        Self::even(millis(at), at, Duration::from_millis(1))
    }

    /// Ticks as a table has handed them out.
    pub const fn of_table(table: Arc<TickTable>) -> Self {
        Self(Kind::Table(table))
    }

    /// When a tick was; `None` if the packets had no times ([`NO_TIME`]), which only files have.
    pub fn known_time_of(&self, tick: u32) -> Option<Timestamp> {
        match &self.0 {
            Kind::Even {
                tick: known,
                at,
                length,
            } => {
                let ticks = i64::from(tick.wrapping_sub(*known).cast_signed());
                let length = i64::try_from(length.as_nanos()).unwrap_or(i64::MAX);
                let offset = jiff::SignedDuration::from_nanos(ticks.saturating_mul(length));
                // A clock that stands at one of the ends of time has no more to tell.
                Some(at.checked_add(offset).unwrap_or(*at))
            }
            Kind::Table(table) => table.time_of(tick),
        }
    }

    /// When a tick was, for sources that know the time of each packet, as the kernel does; else the
    /// Unix epoch stands for a time that is not known.
    pub fn time_of(&self, tick: u32) -> Timestamp {
        self.known_time_of(tick).unwrap_or(Timestamp::UNIX_EPOCH)
    }
}

/// Ticks that a source without any counts: none has passed since 1970.
impl Default for TickClock {
    fn default() -> Self {
        Self::millis(Timestamp::UNIX_EPOCH)
    }
}

/// Milliseconds since the Unix epoch as a tick.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a tick is the low half, of times before 1970 too"
)]
pub fn millis(at: Timestamp) -> u32 {
    at.as_millisecond() as u32
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::{TickClock, millis};

    #[test]
    fn ticks_are_told_across_the_end_of_their_range() {
        let at: Timestamp = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock = TickClock::even(1, at, Duration::from_millis(4));
        assert_eq!(clock.time_of(1), at);
        assert_eq!(clock.time_of(251), at + Duration::from_secs(1));
        assert_eq!(clock.time_of(u32::MAX), at - Duration::from_millis(8));
    }

    proptest! {
        #[test]
        fn milliseconds_survive_for_24_days(
            now in -4_000_000_000_000_i64..4_000_000_000_000,
            offset in -2_000_000_000_i64..2_000_000_000,
        ) {
            let at = Timestamp::from_millisecond(now).unwrap();
            let then = Timestamp::from_millisecond(now + offset).unwrap();
            prop_assert_eq!(TickClock::millis(at).time_of(millis(then)), then);
        }
    }
}
