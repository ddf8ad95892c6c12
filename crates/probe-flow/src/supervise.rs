//! When an interface whose programs were removed is attached again.
//!
//! What removed our programs may do so again, and a slot that is taken may stay taken. So
//! each attempt doubles the wait for the next one, and only a calm time brings it back to the first.
//! Nothing is waited for once the slot is seen to be free again.
//! Driven by values; `now` is an argument.

use std::time::{Duration, Instant};

/// Wait between a loss and the first attempt.
pub const FIRST_BACKOFF: Duration = Duration::from_secs(1);

/// The longest wait. Being attached for so long makes the next wait the first again.
pub const LONGEST_BACKOFF: Duration = Duration::from_mins(5);

/// What a check changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Change {
    /// Nothing has changed since the last check.
    None,
    /// The programs are gone. Worth a line in the log.
    Lost,
    /// They are there again, and not by our doing.
    Found,
}

/// Supervises the hooks of one interface.
#[derive(Clone, Copy, Debug)]
pub struct Supervision {
    phase: Phase,
    /// Wait for the attempt after the next.
    backoff: Duration,
    reattached: u64,
    /// Time without programs, as far as it is over.
    detached: Duration,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Attached { since: Instant },
    Lost { since: Instant, attempt_at: Instant },
}

impl Supervision {
    /// The interface has just been attached.
    pub const fn new(now: Instant) -> Self {
        Self {
            phase: Phase::Attached { since: now },
            backoff: FIRST_BACKOFF,
            reattached: 0,
            detached: Duration::ZERO,
        }
    }

    /// Takes in whether all programs are where they were put.
    pub fn on_check(&mut self, is_attached: bool, now: Instant) -> Change {
        match (self.phase, is_attached) {
            (Phase::Attached { since }, false) => {
                if now.duration_since(since) >= LONGEST_BACKOFF {
                    self.backoff = FIRST_BACKOFF;
                }
                self.phase = Phase::Lost {
                    since: now,
                    attempt_at: now + self.next_backoff(),
                };
                Change::Lost
            }
            (Phase::Lost { .. }, true) => {
                self.end_loss(now);
                Change::Found
            }
            _ => Change::None,
        }
    }

    /// What had taken the place of our programs is gone: the next attempt may succeed now.
    pub fn on_freed(&mut self, now: Instant) {
        if let Phase::Lost { attempt_at, .. } = &mut self.phase {
            *attempt_at = now.min(*attempt_at);
        }
    }

    /// Whether it is time to attach again.
    pub fn wants_attempt(&self, now: Instant) -> bool {
        matches!(self.phase, Phase::Lost { attempt_at, .. } if attempt_at <= now)
    }

    /// Takes in how an attempt went.
    pub fn on_attempt(&mut self, succeeded: bool, now: Instant) {
        let backoff = self.backoff;
        match &mut self.phase {
            Phase::Attached { .. } => {}
            Phase::Lost { .. } if succeeded => {
                self.end_loss(now);
                self.reattached += 1;
            }
            Phase::Lost { attempt_at, .. } => {
                *attempt_at = now + backoff;
                self.next_backoff();
            }
        }
    }

    /// Wait before the next attempt, if programs are missing.
    pub fn waits(&self, now: Instant) -> Option<Duration> {
        match self.phase {
            Phase::Attached { .. } => None,
            Phase::Lost { attempt_at, .. } => Some(attempt_at.saturating_duration_since(now)),
        }
    }

    /// How often the interface was attached again.
    pub const fn reattached(&self) -> u64 {
        self.reattached
    }

    /// How long programs were missing, altogether, from their loss being noticed.
    pub fn detached(&self, now: Instant) -> Duration {
        match self.phase {
            Phase::Attached { .. } => self.detached,
            Phase::Lost { since, .. } => self.detached + now.saturating_duration_since(since),
        }
    }

    fn end_loss(&mut self, now: Instant) {
        self.detached = self.detached(now);
        self.phase = Phase::Attached { since: now };
    }

    fn next_backoff(&mut self) -> Duration {
        let backoff = self.backoff;
        self.backoff = (backoff * 2).min(LONGEST_BACKOFF);
        backoff
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Change, LONGEST_BACKOFF, Supervision};

    /// A supervision and a clock that goes by seconds.
    struct Script {
        supervision: Supervision,
        start: Instant,
    }

    impl Script {
        fn new() -> Self {
            #[expect(
                clippy::disallowed_methods,
                reason = "a test needs some moment to begin at"
            )]
            let start = Instant::now();
            Self {
                supervision: Supervision::new(start),
                start,
            }
        }

        fn at(&self, second: u64) -> Instant {
            self.start + Duration::from_secs(second)
        }

        /// Checks every second in which no program is there; returns the seconds of the attempts.
        fn attempts(&mut self, seconds: std::ops::RangeInclusive<u64>) -> Vec<u64> {
            let mut attempts = Vec::new();
            for second in seconds {
                let now = self.at(second);
                self.supervision.on_check(false, now);
                if self.supervision.wants_attempt(now) {
                    self.supervision.on_attempt(false, now);
                    attempts.push(second);
                }
            }
            attempts
        }
    }

    #[test]
    fn a_loss_is_told_once_and_mended_after_a_second() {
        let mut it = Script::new();
        let (at3, at4) = (it.at(3), it.at(4));
        assert_eq!(it.supervision.on_check(true, it.start), Change::None);
        assert_eq!(it.supervision.on_check(false, at3), Change::Lost);
        assert!(!it.supervision.wants_attempt(at3));
        assert_eq!(it.supervision.on_check(false, at4), Change::None);
        assert!(it.supervision.wants_attempt(at4));
        it.supervision.on_attempt(true, at4);
        assert_eq!(it.supervision.reattached(), 1);
        assert!(!it.supervision.wants_attempt(it.at(1000)));
        assert_eq!(it.supervision.detached(it.at(9)), Duration::from_secs(1));
    }

    #[test]
    fn waits_double_up_to_five_minutes() {
        let mut it = Script::new();
        let attempts = it.attempts(10..=1500);
        assert_eq!(attempts[..5], [11, 13, 17, 25, 41]);
        let waits: Vec<_> = attempts.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(waits[6..], [128, 256, 300, 300, 300], "{waits:?}");
        let now = it.at(1500);
        assert_eq!(it.supervision.detached(now), Duration::from_secs(1490));
    }

    #[test]
    fn a_place_that_is_free_again_is_not_waited_for() {
        let mut it = Script::new();
        it.attempts(10..=200);
        let now = it.at(201);
        assert!(!it.supervision.wants_attempt(now));
        it.supervision.on_freed(now);
        assert!(it.supervision.wants_attempt(now));
        it.supervision.on_attempt(false, now);
        let wait = it.supervision.waits(now).expect("it is lost");
        assert_eq!(wait.as_secs(), 256, "the waits go on as they were");
        it.supervision.on_attempt(true, now);
        it.supervision.on_freed(it.at(202));
        assert!(!it.supervision.wants_attempt(it.at(9999)));
    }

    #[test]
    fn who_is_removed_again_and_again_waits_longer_and_longer() {
        let mut it = Script::new();
        let mut second = 0;
        let mut waits = Vec::new();
        for _ in 0..10 {
            second += 1;
            it.supervision.on_check(false, it.at(second));
            let wait = it.supervision.waits(it.at(second)).expect("it is lost");
            waits.push(wait.as_secs());
            second += wait.as_secs();
            assert!(it.supervision.wants_attempt(it.at(second)));
            it.supervision.on_attempt(true, it.at(second));
        }
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300]);
        let calm = it.at(second) + LONGEST_BACKOFF;
        it.supervision.on_check(false, calm);
        assert_eq!(it.supervision.waits(calm), Some(Duration::from_secs(1)));
    }

    #[test]
    fn what_comes_back_by_itself_is_found() {
        let mut it = Script::new();
        it.supervision.on_check(false, it.at(1));
        assert_eq!(it.supervision.on_check(true, it.at(2)), Change::Found);
        assert_eq!(it.supervision.reattached(), 0);
        assert!(!it.supervision.wants_attempt(it.at(600)));
    }
}
