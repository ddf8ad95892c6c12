//! The programs' counters, summed over all CPUs.

use aya::maps::{MapData, PerCpuArray};
use probe_common::{
    control::{FIRST_STATION, Station, Tally, area, maps, station_index, stations_per_slot},
    record::{EGRESS, INGRESS},
};

use super::{
    DatapathError,
    load::Object,
    shared_array::{Entries, SharedArray},
};
use probe_capture::source::BankCounters;

/// Banks and directions of a slot.
const POSITIONS: [(u32, u8); 4] = [(0, INGRESS), (0, EGRESS), (1, INGRESS), (1, EGRESS)];

/// The programs' counter maps.
pub struct KernelCounters {
    /// Of all interface slots, one after the other.
    stations: Entries<Station>,
    cpus: u32,
    unclaimed: PerCpuArray<MapData, Tally>,
}

impl KernelCounters {
    /// Takes the maps from the object, which was loaded for so many interfaces.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the kernel counts entries in 32 bits"
    )]
    pub fn new(object: &mut Object, interfaces: u32) -> Result<Self, DatapathError> {
        let stations = SharedArray::new(object, maps::COUNTERS)?;
        let of_a_cpu = interfaces as usize * stations_per_slot(1) as usize;
        Ok(Self {
            cpus: (stations.len().saturating_sub(FIRST_STATION as usize) / of_a_cpu) as u32,
            stations: stations.map(0..stations.len())?,
            unclaimed: PerCpuArray::try_from(object.take_map(maps::UNCLAIMED)?)
                .map_err(DatapathError::read(maps::UNCLAIMED))?,
        })
    }

    /// Makes a slot ready that no interface uses: with counters of 0. Says where they begin.
    pub fn prepare_slot(&self, slot: u16) -> u32 {
        let first = self.first_station(slot);
        for index in (first as usize..).take(stations_per_slot(self.cpus) as usize) {
            self.stations.clear(index);
        }
        first
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
        let first = self.first_station(slot);
        (0..self.cpus).map(move |cpu| (first + station_index(area(cpu, bank), direction)) as usize)
    }

    const fn first_station(&self, slot: u16) -> u32 {
        FIRST_STATION + slot as u32 * stations_per_slot(self.cpus)
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
