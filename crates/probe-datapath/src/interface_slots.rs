//! The interface slots: which interfaces are captured, and where their counters are.

use std::{collections::HashMap, mem};

use aya::maps::{Array, HashMap as BpfHashMap, MapData};
use probe_common::control::{InterfaceSlot, InterfaceTable, MAX_INTERFACES, interface_index, maps};

use super::{DatapathError, load::Object};

/// The programs' two maps of interfaces, and which interface slots are free.
pub struct InterfaceSlots {
    by_index: Array<MapData, InterfaceTable>,
    /// The contents of `by_index`.
    published: Box<InterfaceTable>,
    all: BpfHashMap<MapData, u32, InterfaceSlot>,
    free: Vec<u16>,
    taken: HashMap<u32, u16>,
}

impl InterfaceSlots {
    /// Takes the maps from the object, which was loaded for this number of interfaces.
    ///
    /// # Errors
    ///
    /// [`DatapathError::NoMap`]: the object lacks a map of interfaces. [`DatapathError::Map`]: a
    /// map is of another type.
    pub fn new(object: &mut Object, interfaces: u32) -> Result<Self, DatapathError> {
        let by_index = Array::try_from(object.take_map(maps::INTERFACES)?)
            .map_err(DatapathError::read(maps::INTERFACES))?;
        let all = BpfHashMap::try_from(object.take_map(maps::ALL_INTERFACES)?)
            .map_err(DatapathError::read(maps::ALL_INTERFACES))?;
        Ok(Self {
            by_index,
            published: empty_table(),
            all,
            free: (0..interfaces.clamp(1, MAX_INTERFACES) as u16)
                .rev()
                .collect(),
            taken: HashMap::new(),
        })
    }

    /// The slot of an interface, while it has one.
    pub fn slot(&self, ifindex: u32) -> Option<u16> {
        self.taken.get(&ifindex).copied()
    }

    /// Number of slots, free and taken.
    pub fn len(&self) -> usize {
        self.free.len() + self.taken.len()
    }

    /// Never: there is at least one slot.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next free slot, which is not in use until it is published. `None` if all are taken.
    pub fn reserve(&self) -> Option<u16> {
        self.free.last().copied()
    }

    /// Makes an interface with a reserved slot known to the programs, before one is attached to it.
    ///
    /// An entry of the array is never given to another interface while it is in use, nor handed on when
    /// it becomes free: programs that do not find an interface there look it up in the hash map.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Map`]: the kernel refuses to update a map of interfaces. The programs do not
    /// know the interface, and the slot stays free.
    pub fn publish(&mut self, reserved: u16, slot: InterfaceSlot) -> Result<(), DatapathError> {
        self.all
            .insert(slot.ifindex, slot, 0)
            .map_err(DatapathError::update(maps::ALL_INTERFACES))?;
        let index = interface_index(slot.ifindex);
        if self.published[index].ifindex == 0
            && let Err(error) = self.set(index, slot)
        {
            // Programs would count its frames in a slot that another interface may get.
            if let Err(error) = self.all.remove(&slot.ifindex) {
                tracing::error!(ifindex = slot.ifindex, %error, "cannot remove an interface slot");
            }
            return Err(error);
        }
        self.free.retain(|free| *free != reserved);
        self.taken.insert(slot.ifindex, reserved);
        Ok(())
    }

    /// Writes an entry of the array. The kernel takes the array as a whole, and programs may read the
    /// entries that stay the same meanwhile.
    fn set(&mut self, index: usize, slot: InterfaceSlot) -> Result<(), DatapathError> {
        let before = mem::replace(&mut self.published[index], slot);
        let set = self.by_index.set(0, Box::as_ref(&self.published), 0);
        set.map_err(|error| {
            self.published[index] = before;
            DatapathError::update(maps::INTERFACES)(error)
        })
    }

    /// Removes an interface from the programs' maps, when no program runs for it any more. The slot
    /// stays taken, and its counters readable.
    ///
    /// # Errors
    ///
    /// [`DatapathError::Map`]: the kernel refuses to update a map of interfaces. An interface
    /// without a slot is no error.
    pub fn withdraw(&mut self, ifindex: u32) -> Result<(), DatapathError> {
        if !self.taken.contains_key(&ifindex) {
            return Ok(());
        }
        let index = interface_index(ifindex);
        if self.published[index].ifindex == ifindex {
            self.set(index, InterfaceSlot::default())?;
        }
        match self.all.remove(&ifindex) {
            Ok(()) | Err(aya::maps::MapError::KeyNotFound) => Ok(()),
            Err(error) => Err(DatapathError::update(maps::ALL_INTERFACES)(error)),
        }
    }

    /// Frees the slot of a withdrawn interface.
    pub fn free(&mut self, ifindex: u32) {
        if let Some(slot) = self.taken.remove(&ifindex) {
            self.free.push(slot);
        }
    }
}

#[expect(clippy::large_stack_arrays, reason = "32 KiB, once, at the start")]
fn empty_table() -> Box<InterfaceTable> {
    Box::new([InterfaceSlot::default(); _])
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use aya::maps::Map;
    use probe_common::control::{InterfaceSlot, maps};
    use probe_testkit::skip;

    use super::InterfaceSlots;
    use crate::{
        cache_parts::CacheParts,
        load::{LoadOptions, Object},
        ring_parts::RingParts,
    };

    #[test]
    fn a_slot_that_cannot_be_published_is_free_and_unknown_to_the_programs() {
        if !skip::kernel_or_skip(&["bpftool"]) {
            return;
        }
        let options = LoadOptions {
            rings: RingParts::one(1 << 16),
            cache: CacheParts::NONE,
            interfaces: 2,
        };
        let mut object = Object::load(options).unwrap();
        let Map::Array(table) = object.map(maps::INTERFACES).unwrap() else {
            panic!("the table is no array");
        };
        let table = table.info().unwrap().id().to_string();
        let mut slots = InterfaceSlots::new(&mut object, 2).unwrap();
        // From now on the kernel takes no update of this map.
        let frozen = Command::new("bpftool")
            .args(["map", "freeze", "id", &table])
            .status();
        assert!(frozen.unwrap().success());
        let free = slots.reserve();
        let told = InterfaceSlot::new(7, 0, false);
        assert!(slots.publish(free.unwrap(), told).is_err());
        assert_eq!(slots.all.keys().count(), 0);
        assert_eq!(
            (slots.slot(7), slots.reserve(), slots.len()),
            (None, free, 2)
        );
    }
}
