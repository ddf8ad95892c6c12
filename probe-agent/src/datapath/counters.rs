//! The programs' counters, summed over all CPUs.

use aya::maps::{MapData, PerCpuArray};
use probe_common::{
    control::{Counters, Tally, area, counters_entries, counters_index, maps},
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
    /// One for each CPU and bank.
    areas: usize,
    per_area: usize,
    unclaimed: PerCpuArray<MapData, Tally>,
}

impl KernelCounters {
    /// Takes the maps from the object, which was loaded for so many interfaces.
    pub fn new(object: &mut Object, interfaces: u32) -> Result<Self, DatapathError> {
        let counters = SharedArray::new(object, maps::COUNTERS)?;
        let per_area = counters_entries(interfaces) as usize;
        Ok(Self {
            areas: counters.len() / per_area,
            per_area,
            counters: counters.map(0..counters.len())?,
            unclaimed: PerCpuArray::try_from(object.take_map(maps::UNCLAIMED)?)
                .map_err(DatapathError::read(maps::UNCLAIMED))?,
        })
    }

    /// Sets the counters of a slot to 0, which no interface uses.
    pub fn clear_slot(&self, slot: u16) {
        for (bank, direction) in POSITIONS {
            for index in self.indices(bank, slot, direction) {
                self.counters.clear(index);
            }
        }
    }

    /// Counters of the interface in a slot.
    pub fn of_slot(&self, slot: u16) -> BankCounters {
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
    fn indices(&self, bank: u32, slot: u16, direction: u8) -> impl Iterator<Item = usize> {
        let (index, per_area) = (counters_index(slot.into(), direction), self.per_area);
        (0..)
            .map(move |cpu| area(cpu, bank) as usize)
            .take_while(|area| *area < self.areas)
            .map(move |area| area * per_area + index as usize)
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
