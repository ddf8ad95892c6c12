//! The active bank, and waiting until no program uses the other one.

use std::time::{Duration, Instant};

use aya::maps::{Array, ArrayOfMaps, MapData};
use probe_common::control::{bank_word, maps};

use super::{DatapathError, load::Object};

/// Switches banks. A program reads the active bank once, at its start.
pub struct BankSwitch {
    kernel: Kernel,
    /// The bank that the next switch closes.
    open: u8,
}

impl BankSwitch {
    /// Takes the maps from the object. Bank 0 is active.
    ///
    /// # Errors
    ///
    /// [`DatapathError::NoMap`]: the object lacks a map. [`DatapathError::Map`]: a map is of
    /// another type, or the kernel makes no map for the grace periods.
    pub fn new(object: &mut Object) -> Result<Self, DatapathError> {
        let active_bank = Array::try_from(object.take_map(maps::ACTIVE_BANK)?)
            .map_err(DatapathError::read(maps::ACTIVE_BANK))?;
        Ok(Self {
            kernel: Kernel {
                active_bank,
                grace_period: GracePeriod::new(object)?,
            },
            open: 0,
        })
    }

    /// Makes the other bank the active one and returns the closed one. On return the closed bank's
    /// counters are final, and the reader meets all its records in each ring before the first that
    /// is not yet complete there.
    ///
    /// Two grace periods, since a ring is read in the order in which its records were begun. The
    /// first ends all runs of the closed bank, so all its records are begun and complete, in
    /// whatever ring. In front of them may be one that a run of the new bank has begun and not
    /// completed (its CPU may have been taken away by the hypervisor), which holds up the reader
    /// of that ring. The second period ends those runs too.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Map`]: the kernel refuses to update a map. No bank is closed, and the one
    /// that was active is so again. Packets that the other bank has taken in meanwhile stay in it:
    /// its counters and records agree, and the next switch opens it.
    pub fn switch(&mut self) -> Result<u8, DatapathError> {
        let closed = self.open;
        let waited = close(&mut self.kernel, closed)?;
        self.open = 1 - closed;
        tracing::debug!(closed, waited_us = waited.as_micros(), "switched banks");
        Ok(closed)
    }

    /// Returns when every program run that had begun before the call has ended.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Map`]: the kernel refuses the update that waits for a grace period.
    pub fn wait(&mut self) -> Result<Duration, DatapathError> {
        self.kernel.wait()
    }
}

/// What closing a bank asks of the kernel.
trait Banks {
    fn activate(&mut self, bank: u8) -> Result<(), DatapathError>;

    /// Until every program run that had begun before has ended.
    fn wait(&mut self) -> Result<Duration, DatapathError>;
}

/// Closes this bank, or leaves it active. Returns how long it waited.
fn close(banks: &mut impl Banks, closed: u8) -> Result<Duration, DatapathError> {
    // Active already if an attempt before could not put the bank back.
    banks.activate(1 - closed)?;
    let mut wait_twice = || Ok(banks.wait()? + banks.wait()?);
    wait_twice().inspect_err(|_| {
        if let Err(error) = banks.activate(closed) {
            tracing::error!(
                %error,
                "cannot put the bank back: records wait in the local buffers until the next rotation"
            );
        }
    })
}

/// The maps behind both.
struct Kernel {
    active_bank: Array<MapData, u64>,
    grace_period: GracePeriod,
}

impl Banks for Kernel {
    fn activate(&mut self, bank: u8) -> Result<(), DatapathError> {
        let word = u64::from(bank_word(bank.into()));
        let set = self.active_bank.set(0, word, 0);
        set.map_err(DatapathError::update(maps::ACTIVE_BANK))
    }

    fn wait(&mut self) -> Result<Duration, DatapathError> {
        self.grace_period.wait()
    }
}

/// An RCU grace period by way of an update of a map in a map.
///
/// The kernel promises that such an update returns only when all programs that could still use the
/// old value have ended (`maybe_wait_bpf_programs` in kernel/bpf/syscall.c, commit 1ae80cf31938,
/// since 4.20). `membarrier(MEMBARRIER_CMD_GLOBAL)` does the same wait, but not on hosts with
/// `nohz_full` (EINVAL) and not with a single CPU.
struct GracePeriod {
    outer: ArrayOfMaps<MapData, Array<MapData, u32>>,
    inner: Array<MapData, u32>,
}

impl GracePeriod {
    fn new(object: &mut Object) -> Result<Self, DatapathError> {
        let name = maps::GRACE_PERIOD;
        let outer =
            ArrayOfMaps::try_from(object.take_map(name)?).map_err(DatapathError::read(name))?;
        let inner = Array::create(1, 0).map_err(|source| DatapathError::Map {
            operation: "make the value of",
            map: name,
            source,
        })?;
        Ok(Self { outer, inner })
    }

    fn wait(&mut self) -> Result<Duration, DatapathError> {
        let began = Instant::now();
        self.outer
            .set(0, &self.inner, 0)
            .map_err(DatapathError::update(maps::GRACE_PERIOD))?;
        Ok(began.elapsed())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use aya::maps::MapError;
    use probe_common::control::maps;

    use super::{Banks, close};
    use crate::DatapathError;

    /// A kernel that refuses some of its next calls.
    #[derive(Default)]
    struct Refusing {
        active: u8,
        /// Whether each call of `activate` and `wait` works, the last one first. Later ones do.
        answers: Vec<bool>,
    }

    impl Refusing {
        fn answer(&mut self) -> Result<(), DatapathError> {
            let refused = DatapathError::update(maps::GRACE_PERIOD);
            match self.answers.pop() {
                Some(false) => Err(refused(MapError::KeyNotFound)),
                _ => Ok(()),
            }
        }
    }

    impl Banks for Refusing {
        fn activate(&mut self, bank: u8) -> Result<(), DatapathError> {
            self.answer()?;
            self.active = bank;
            Ok(())
        }

        fn wait(&mut self) -> Result<Duration, DatapathError> {
            self.answer().map(|()| Duration::ZERO)
        }
    }

    #[test]
    fn a_bank_that_cannot_be_closed_is_active_again() {
        let mut kernel = Refusing::default();
        // Setting the bank, the first wait, the second one; and then putting the bank back.
        for (answers, active) in [
            (vec![false], 0),
            (vec![false, true], 0),
            (vec![false, true, true], 0),
            (vec![false, false, true], 1),
        ] {
            kernel.answers = answers;
            assert!(close(&mut kernel, 0).is_err());
            assert_eq!((kernel.active, kernel.answers.len()), (active, 0));
        }
        assert!(close(&mut kernel, 0).is_ok());
        assert_eq!(kernel.active, 1);
    }
}
