//! The programs' counters, summed over all CPUs.

use std::io;

use aya::{
    maps::{MapData, MapError, PerCpuArray, PerCpuValues},
    util::nr_cpus,
};
use probe_common::{
    control::{Counters, Tally, counters_index, maps},
    record::{EGRESS, INGRESS},
};

use super::{DatapathError, load::Object};
use crate::source::BankCounters;

/// Banks and directions of a slot.
const POSITIONS: [(u32, u8); 4] = [(0, INGRESS), (0, EGRESS), (1, INGRESS), (1, EGRESS)];

/// The programs' counter maps.
pub struct KernelCounters {
    /// CPUs that the kernel has values for: all that could ever be plugged in.
    cpus: usize,
    counters: PerCpuArray<MapData, Counters>,
    unclaimed: PerCpuArray<MapData, Tally>,
}

impl KernelCounters {
    /// Takes the maps from the object.
    pub fn new(object: &mut Object) -> Result<Self, DatapathError> {
        let cpus = nr_cpus().map_err(|(path, source)| {
            DatapathError::read(maps::COUNTERS)(MapError::IoError(io::Error::new(
                source.kind(),
                format!("{path}: {source}"),
            )))
        })?;
        Ok(Self {
            cpus,
            counters: PerCpuArray::try_from(object.take_map(maps::COUNTERS)?)
                .map_err(DatapathError::read(maps::COUNTERS))?,
            unclaimed: PerCpuArray::try_from(object.take_map(maps::UNCLAIMED)?)
                .map_err(DatapathError::read(maps::UNCLAIMED))?,
        })
    }

    /// Sets the counters of a slot to 0, which no interface uses.
    pub fn clear_slot(&mut self, slot: u32) -> Result<(), DatapathError> {
        let update = DatapathError::update(maps::COUNTERS);
        for (bank, direction) in POSITIONS {
            let index = counters_index(bank, slot, direction);
            let zeros = PerCpuValues::try_from(vec![Counters::default(); self.cpus])
                .map_err(|error| update(error.into()))?;
            self.counters.set(index, zeros, 0).map_err(&update)?;
        }
        Ok(())
    }

    /// Counters of the interface in a slot.
    pub fn of_slot(&self, slot: u32) -> Result<BankCounters, DatapathError> {
        let mut banks = BankCounters::default();
        for (bank, direction) in POSITIONS {
            let index = counters_index(bank, slot, direction);
            let per_cpu = self
                .counters
                .get(&index, 0)
                .map_err(DatapathError::read(maps::COUNTERS))?;
            let sum = &mut banks[bank as usize][usize::from(direction)];
            per_cpu.iter().for_each(|counters| *sum += *counters);
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
