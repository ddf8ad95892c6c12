//! The programs' counters, summed over all CPUs.

use aya::maps::{MapData, PerCpuArray};
use probe_common::{
    control::{
        CounterBlock, FIRST_COUNTER_BLOCK, Tally, area, counter_block_index,
        counter_blocks_per_slot, maps,
    },
    record::{EGRESS, INGRESS},
};

use super::{
    DatapathError,
    load::Object,
    shared_array::{Entries, SharedArray},
};
use probe_capture::source::BankCounters;

/// Banks and directions of an interface.
const POSITIONS: [(u32, u8); 4] = [(0, INGRESS), (0, EGRESS), (1, INGRESS), (1, EGRESS)];

/// The programs' counter maps.
pub struct KernelCounters {
    /// Of all interface slots, one after the other.
    blocks: Entries<CounterBlock>,
    cpus: u32,
    unknown_interface: PerCpuArray<MapData, Tally>,
}

impl KernelCounters {
    /// Takes the maps from the object, which was loaded for this number of interfaces.
    ///
    /// # Errors
    ///
    /// [`DatapathError::NoMap`]: the object lacks a map of counters, or its entries have another
    /// size. [`DatapathError::Map`]: the kernel does not describe a map or does not map it into
    /// memory, or a map is of another type.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the kernel counts entries in 32 bits"
    )]
    pub fn new(object: &mut Object, interfaces: u32) -> Result<Self, DatapathError> {
        let blocks = SharedArray::new(object, maps::COUNTERS)?;
        let per_cpu = interfaces as usize * counter_blocks_per_slot(1) as usize;
        Ok(Self {
            cpus: (blocks.len().saturating_sub(FIRST_COUNTER_BLOCK as usize) / per_cpu) as u32,
            blocks: blocks.map(0..blocks.len())?,
            unknown_interface: PerCpuArray::try_from(object.take_map(maps::UNKNOWN_IFACE)?)
                .map_err(DatapathError::read(maps::UNKNOWN_IFACE))?,
        })
    }

    /// Sets the counters of a free interface slot to 0. Returns the index of its first counter block.
    pub fn prepare_slot(&self, slot: u16) -> u32 {
        let first = self.first_counter_block(slot);
        for index in (first as usize..).take(counter_blocks_per_slot(self.cpus) as usize) {
            self.blocks.clear(index);
        }
        first
    }

    /// Counters of the interface in a slot, by bank and direction, summed over all CPUs.
    pub fn slot_counters(&self, slot: u16) -> BankCounters {
        let mut banks = BankCounters::default();
        for (bank, direction) in POSITIONS {
            let sum = &mut banks[bank as usize][usize::from(direction)];
            let indices = self.indices(bank, slot, direction);
            for block in indices.filter_map(|index| self.blocks.load(index)) {
                *sum += block.counters;
            }
        }
        banks
    }

    /// Index of the counter block of each CPU.
    fn indices(&self, bank: u32, slot: u16, direction: u8) -> impl Iterator<Item = usize> {
        let first = self.first_counter_block(slot);
        (0..self.cpus)
            .map(move |cpu| (first + counter_block_index(area(cpu, bank), direction)) as usize)
    }

    const fn first_counter_block(&self, slot: u16) -> u32 {
        FIRST_COUNTER_BLOCK + slot as u32 * counter_blocks_per_slot(self.cpus)
    }

    /// Packets that a program saw on an interface that is not captured: one that was moved to another
    /// network namespace and has another index there.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Map`]: the kernel refuses to read the counter.
    pub fn unknown_interface(&self) -> Result<Tally, DatapathError> {
        let per_cpu = self
            .unknown_interface
            .get(&0, 0)
            .map_err(DatapathError::read(maps::UNKNOWN_IFACE))?;
        let mut sum = Tally::default();
        per_cpu.iter().for_each(|tally| sum += *tally);
        Ok(sum)
    }
}
