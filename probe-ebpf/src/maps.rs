//! The maps, behind safe accessors: the one place with map pointers.

#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use core::sync::atomic::AtomicU64;

use aya_ebpf::{
    bindings::BPF_RB_NO_WAKEUP,
    macros::map,
    maps::{Array, HashMap, PerCpuArray, RingBuf},
};
use probe_common::{
    control::{Counters, MAX_INTERFACES, SLOT_ENTRIES, Slot, Tally, counters_entries, slot_index},
    record::IntoRecord,
};

// The sizes of RECORDS and COUNTERS are set by the agent before the maps are made.

#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(16 << 20, 0);

#[map]
static COUNTERS: PerCpuArray<Counters> =
    PerCpuArray::with_max_entries(counters_entries(MAX_INTERFACES), 0);

#[map]
static SLOTS: Array<Slot> = Array::with_max_entries(SLOT_ENTRIES, 0);

#[map]
static ALL_SLOTS: HashMap<u32, Slot> = HashMap::with_max_entries(MAX_INTERFACES, 0);

#[map]
static ACTIVE_BANK: Array<u32> = Array::with_max_entries(1, 0);

#[map]
static UNCLAIMED: PerCpuArray<Tally> = PerCpuArray::with_max_entries(1, 0);

/// A zero of which the verifier knows nothing, since it lies in writable memory.
static UNKNOWN_ZERO: AtomicU64 = AtomicU64::new(0);

/// 0, but the verifier does not know. See [`probe_common::parse::PacketBytes::blur`].
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "it is 0")]
pub(crate) fn unknown_zero() -> usize {
    // SAFETY: the pointer is that of a static. Volatile, since the compiler knows the value.
    let zero = unsafe { UNKNOWN_ZERO.as_ptr().read_volatile() };
    zero as usize
}

/// What the agent has set for the interface, if it captures it.
#[inline(always)]
pub(crate) fn slot(ifindex: u32) -> Option<Slot> {
    // SAFETY: the pointer was just returned by the kernel's lookup, so it is valid and aligned for
    // a `Slot` until the program ends. The agent writes an interface's slot before it attaches a
    // program to it, and clears it after the program is gone; what is read meanwhile for another
    // interface is not its ifindex.
    let slot = SLOTS
        .get_ptr(slot_index(ifindex))
        .map(|slot| unsafe { *slot });
    match slot {
        Some(slot) if slot.ifindex == ifindex => Some(slot),
        // SAFETY: as above; no element of an interface in use is written to or removed.
        _ => ALL_SLOTS.get_ptr(ifindex).map(|slot| unsafe { *slot }),
    }
}

/// The bank to count in: 0 or 1. Read it once per packet, so that the packet's counters and its
/// record are on the same side of a rotation.
#[inline(always)]
pub(crate) fn active_bank() -> u32 {
    let Some(bank) = ACTIVE_BANK.get_ptr(0) else {
        return 0;
    };
    // SAFETY: the pointer was just returned by the kernel's lookup. The agent may write the value
    // meanwhile; it is an aligned word, so either the old or the new value is read, and volatile
    // keeps the compiler from reading it twice.
    unsafe { bank.read_volatile() }
}

/// The counters at a position of [`probe_common::control::counters_index`], of this CPU.
#[inline(always)]
pub(crate) fn counters(index: u32) -> Option<&'static mut Counters> {
    let counters = COUNTERS.get_ptr_mut(index)?;
    // SAFETY: the pointer was just returned by the kernel's lookup, so it is valid and aligned for
    // `Counters` until the program ends, and each program looks up one index once. The value
    // belongs to this CPU, and a run is not interrupted by another run on it: all hooks run with
    // bottom halves disabled.
    Some(unsafe { &mut *counters })
}

/// Packets on interfaces without slot, of this CPU.
#[inline(always)]
pub(crate) fn unclaimed() -> Option<&'static mut Tally> {
    let tally = UNCLAIMED.get_ptr_mut(0)?;
    // SAFETY: as in `counters`.
    Some(unsafe { &mut *tally })
}

/// Pushes a record into the ring without waking its reader, which polls. `false` if it is full.
#[inline(always)]
pub(crate) fn push<K: IntoRecord>(record: K::Record) -> bool
where
    K::Record: 'static,
{
    let Some(mut entry) = RECORDS.reserve::<K::Record>(0) else {
        return false;
    };
    entry.write(record);
    entry.submit(u64::from(BPF_RB_NO_WAKEUP));
    true
}
