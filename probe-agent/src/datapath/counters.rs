//! The programs' counters, summed over all CPUs.

use aya::maps::{MapData, PerCpuArray};
use probe_common::{
    control::{Front, Station, Tally, area, counters_entries, counters_index, maps},
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
    stations: Entries<Station>,
    /// One for each CPU and bank.
    areas: usize,
    per_area: usize,
    /// Where each area has its front.
    fronts: Vec<Front>,
    unclaimed: PerCpuArray<MapData, Tally>,
}

impl KernelCounters {
    /// Takes the maps from the object, which was loaded for so many interfaces.
    pub fn new(object: &mut Object, interfaces: u32) -> Result<Self, DatapathError> {
        let stations = SharedArray::new(object, maps::COUNTERS)?;
        let per_area = counters_entries(interfaces) as usize;
        let areas = stations.len() / per_area;
        Ok(Self {
            areas,
            per_area,
            fronts: (0..).take(areas).map(|area| object.front(area)).collect(),
            stations: stations.map(0..stations.len())?,
            unclaimed: PerCpuArray::try_from(object.take_map(maps::UNCLAIMED)?)
                .map_err(DatapathError::read(maps::UNCLAIMED))?,
        })
    }

    /// Makes a slot ready that no interface uses: with counters of 0.
    pub fn prepare_slot(&self, slot: u16) {
        for (bank, direction) in POSITIONS {
            for index in self.indices(bank, slot, direction) {
                let station = Station {
                    front: self.fronts[index / self.per_area],
                    ..Station::default()
                };
                self.stations.store(index, &station);
            }
        }
    }

    /// Counters of the interface in a slot.
    pub fn of_slot(&self, slot: u16) -> BankCounters {
        let mut banks = BankCounters::default();
        for (bank, direction) in POSITIONS {
            let sum = &mut banks[bank as usize][usize::from(direction)];
            let indices = self.indices(bank, slot, direction);
            for station in indices.filter_map(|index| self.stations.load(index)) {
                *sum += station.counters;
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
