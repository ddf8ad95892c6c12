//! Whether the CPU's core is ours alone.
//!
//! The CPUs of a virtual machine are often threads of cores whose other threads belong to another guest.
//! While such a neighbour computes, ours has some two thirds of the core: what takes 9 ns takes 14, for
//! milliseconds or minutes, and no clock shows it. So a piece of arithmetic that needs nothing but the
//! core is timed before and after a measurement, and what was measured beside a busy neighbour is measured again.

use std::{
    fmt,
    hint::black_box,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::Result;
use serde_json::{Value, json};

use crate::programs::cpu_time_ns;

/// Turns of the arithmetic: some 9 µs.
const TURNS: u64 = 10_000;
/// Times it is timed to find out how long it takes alone. The shortest of all times counts.
const FIRST_LOOKS: u32 = 2_000;
/// Beside a busy neighbour it takes 1.3 to 1.5 times as long; alone it varies by less than 1 %.
const ALONE: f64 = 1.08;
/// What a neighbour may need to come to an end.
const PAUSE: Duration = Duration::from_millis(10);

/// Takes measurements while the core is ours alone, as far as its patience goes.
pub(crate) struct Quiet {
    alone_ns: f64,
    patience: Duration,
    taken: u32,
    again: u32,
    in_company: u32,
}

impl Quiet {
    /// A gate that waits for no quiet core.
    pub(crate) fn new() -> Self {
        let mut quiet = Self {
            alone_ns: f64::INFINITY,
            patience: Duration::ZERO,
            taken: 0,
            again: 0,
            in_company: 0,
        };
        for _ in 0..FIRST_LOOKS {
            quiet.is_alone();
        }
        quiet
    }

    /// From now on it may wait and measure again for so long altogether.
    pub(crate) const fn set_patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    /// Measures once, or again until the core was ours alone before and after.
    pub(crate) fn measure<T>(&mut self, mut measure: impl FnMut() -> Result<T>) -> Result<T> {
        self.taken += 1;
        loop {
            let begin = Instant::now();
            let was_alone = self.is_alone();
            let value = measure()?;
            if was_alone && self.is_alone() {
                return Ok(value);
            }
            if self.patience.is_zero() {
                self.in_company += 1;
                return Ok(value);
            }
            self.again += 1;
            sleep(PAUSE);
            self.patience = self.patience.saturating_sub(begin.elapsed());
        }
    }

    fn is_alone(&mut self) -> bool {
        let ns = time_arithmetic();
        self.alone_ns = self.alone_ns.min(ns);
        ns < self.alone_ns * ALONE
    }

    pub(crate) fn json(&self) -> Value {
        json!({ "measurements": self.taken, "taken_again": self.again, "in_company": self.in_company })
    }
}

impl fmt::Display for Quiet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            taken,
            again,
            in_company,
            ..
        } = self;
        write!(
            f,
            "Of {taken} measurements {in_company} were taken while somebody else had a part of the core, and {again} \
             were thrown away for that"
        )
    }
}

/// CPU time of arithmetic that keeps all units of a core busy, in ns.
fn time_arithmetic() -> f64 {
    let mut units = black_box([1_u64, 2, 3, 4, 5, 6]);
    let before = cpu_time_ns();
    for turn in 0..TURNS {
        units[0] = units[0].wrapping_add(units[1] ^ turn);
        units[1] = units[1].rotate_left(7);
        units[2] ^= units[0];
        units[3] = units[3].wrapping_add(units[2]);
        units[4] = units[4].rotate_left(9);
        units[5] = units[5].wrapping_add(units[4] ^ units[3]);
    }
    black_box(units);
    cpu_time_ns() - before
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::Quiet;

    /// As if the arithmetic had once been done in no time: so it never is alone.
    fn never_alone(patience: Duration) -> Quiet {
        let mut quiet = Quiet::new();
        quiet.set_patience(patience);
        quiet.alone_ns = 0.0;
        quiet
    }

    #[test]
    fn it_measures_again_until_its_patience_ends() {
        let mut quiet = never_alone(Duration::from_millis(25));
        let mut times = 0;
        let value = quiet.measure(|| {
            times += 1;
            Ok(times)
        });
        assert_eq!(value.expect("nothing failed"), times);
        assert!((2..=4).contains(&times), "{times}");
        assert_eq!(
            (quiet.taken, quiet.again, quiet.in_company),
            (1, times - 1, 1)
        );
        quiet.measure(|| Ok(())).expect("nothing failed");
        assert_eq!(
            (quiet.taken, quiet.again, quiet.in_company),
            (2, times - 1, 2)
        );
    }

    #[test]
    fn one_that_fails_is_not_repeated() {
        let mut quiet = never_alone(Duration::from_mins(1));
        let failed = quiet.measure::<()>(|| Err(anyhow::anyhow!("no such program")));
        assert!(failed.is_err());
        assert_eq!(quiet.again, 0);
    }
}
