//! The active bank, and waiting until no program uses the other one.

use std::time::{Duration, Instant};

use aya::maps::{Array, ArrayOfMaps, MapData};
use probe_common::control::{bank_word, maps};

use super::{DatapathError, load::Object};

/// Switches banks. A program reads the active bank once, at its start.
pub struct BankSwitch {
    active_bank: Array<MapData, u64>,
    active: u8,
    grace_period: GracePeriod,
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
            active_bank,
            active: 0,
            grace_period: GracePeriod::new(object)?,
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
    /// [`DatapathError::Map`]: the kernel refuses to update a map. If that is the map for the grace
    /// periods, the other bank is the active one already.
    pub fn switch(&mut self) -> Result<u8, DatapathError> {
        let closed = self.active;
        let active = 1 - closed;
        self.active_bank
            .set(0, u64::from(bank_word(active.into())), 0)
            .map_err(DatapathError::update(maps::ACTIVE_BANK))?;
        self.active = active;
        let waited = self.wait()? + self.wait()?;
        tracing::debug!(closed, waited_us = waited.as_micros(), "switched banks");
        Ok(closed)
    }

    /// Returns when every program run that had begun before the call has ended.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Map`]: the kernel refuses the update that waits for a grace period.
    pub fn wait(&mut self) -> Result<Duration, DatapathError> {
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
