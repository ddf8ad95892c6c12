//! The programs' counters, summed over all CPUs.

use aya::maps::{MapData, PerCpuArray};
use probe_common::{
    control::{Counters, Tally, counters_entries, counters_index, maps},
    record::{EGRESS, INGRESS},
};

use super::{
    DatapathError,
    load::Object,
    shared_array::{Entries, SharedArray},
};
use crate::source::BankCounters;

/// Banks and directions of a slot.
const POSITIONS: [(u32, u8); 4] = [(0, INGRESS), (0, EGRESS), (1, INGRESS), (1, EGRESS)];

/// The programs' counter maps.
pub struct KernelCounters {
    /// Of all CPUs, one after the other.
    counters: Entries<Counters>,
    cpus: usize,
    per_cpu: usize,
    unclaimed: PerCpuArray<MapData, Tally>,
}

impl KernelCounters {
    /// Takes the maps from the object, which was loaded for so many interfaces.
    pub fn new(object: &mut Object, interfaces: u32) -> Result<Self, DatapathError> {
        let counters = SharedArray::new(object, maps::COUNTERS)?;
        let per_cpu = counters_entries(interfaces) as usize;
        Ok(Self {
            cpus: counters.len() / per_cpu,
            per_cpu,
            counters: counters.map(0..counters.len())?,
            unclaimed: PerCpuArray::try_from(object.take_map(maps::UNCLAIMED)?)
                .map_err(DatapathError::read(maps::UNCLAIMED))?,
        })
    }

    /// Sets the counters of a slot to 0, which no interface uses.
    pub fn clear_slot(&self, slot: u32) {
        for (bank, direction) in POSITIONS {
            for index in self.indices(bank, slot, direction) {
                self.counters.clear(index);
            }
        }
    }

    /// Counters of the interface in a slot.
    pub fn of_slot(&self, slot: u32) -> BankCounters {
        let mut banks = BankCounters::default();
        for (bank, direction) in POSITIONS {
            let sum = &mut banks[bank as usize][usize::from(direction)];
            let indices = self.indices(bank, slot, direction);
            for counters in indices.filter_map(|index| self.counters.load(index)) {
                *sum += counters;
            }
        }
        banks
    }

    /// Where the counters are, on each CPU.
    fn indices(&self, bank: u32, slot: u32, direction: u8) -> impl Iterator<Item = usize> {
        let (index, per_cpu) = (counters_index(bank, slot, direction) as usize, self.per_cpu);
        (0..self.cpus).map(move |cpu| cpu * per_cpu + index)
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
