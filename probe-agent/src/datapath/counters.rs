//! The programs' counters, summed over all CPUs.

use aya::maps::{MapData, PerCpuArray};
use probe_common::{
    control::{Counters, Tally, counters_index, maps},
    record::{EGRESS, INGRESS},
};

use super::{DatapathError, load::Object};
use crate::source::BankCounters;

/// The programs' counter maps.
pub struct KernelCounters {
    counters: PerCpuArray<MapData, Counters>,
    unclaimed: PerCpuArray<MapData, Tally>,
}

impl KernelCounters {
    /// Takes the maps from the object.
    pub fn new(object: &mut Object) -> Result<Self, DatapathError> {
        Ok(Self {
            counters: PerCpuArray::try_from(object.take_map(maps::COUNTERS)?)
                .map_err(DatapathError::read(maps::COUNTERS))?,
            unclaimed: PerCpuArray::try_from(object.take_map(maps::UNCLAIMED)?)
                .map_err(DatapathError::read(maps::UNCLAIMED))?,
        })
    }

    /// Counters of the interface in a slot. They begin where the slot's last user left them.
    pub fn of_slot(&self, slot: u32) -> Result<BankCounters, DatapathError> {
        let mut banks = BankCounters::default();
        for (bank, directions) in (0..).zip(&mut banks) {
            for (direction, sum) in [INGRESS, EGRESS].into_iter().zip(directions) {
                let index = counters_index(bank, slot, direction);
                let per_cpu = self
                    .counters
                    .get(&index, 0)
                    .map_err(DatapathError::read(maps::COUNTERS))?;
                per_cpu.iter().for_each(|counters| *sum += *counters);
            }
        }
        Ok(banks)
    }

    /// Frames that a program saw on an interface without slot: one that was moved to another
    /// network namespace and has another index there.
    pub fn unclaimed(&self) -> Result<Tally, DatapathError> {
        let per_cpu = self
            .unclaimed
            .get(&0, 0)
            .map_err(DatapathError::read(maps::UNCLAIMED))?;
        let mut sum = Tally::default();
        per_cpu.iter().for_each(|tally| sum += *tally);
        Ok(sum)
    }
}
