//! The maps, behind safe accessors: the one place with map pointers.

#![expect(unsafe_code, reason = "map values are reached through raw pointers")]

use core::sync::atomic::AtomicU64;

use aya_ebpf::{
    bindings::{BPF_F_MMAPABLE, BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP},
    btf_maps::{self, ArrayOfMaps},
    helpers::{bpf_get_smp_processor_id, bpf_jiffies64, bpf_ktime_get_ns, bpf_ringbuf_query},
    macros::{btf_map, map},
    maps::{Array, HashMap, PerCpuArray},
};
use probe_common::{
    coalesce::{Coalesce, InsertBatch, InsertBatchV4, InsertBatchV6, L1SlotV4},
    control::{
        CounterBlock, InterfaceSlot, InterfaceTable, MAX_INTERFACES, Tally, bank_word,
        interface_index,
    },
    ephash::{EpHashV4, EpHashV6},
    record::{IntoRecord, RecordHead, RecordV4, RecordV6},
};

// The agent sets the sizes of *RECORDS, COUNTERS, L1_*, L2_*, INSERT_BATCH_*, TAGS_* and OPENED_* before it
// creates them.

/// A ring of records of either family; its size is that of the smallest one.
type Ring = btf_maps::RingBuf<(), { 64 << 10 }>;

#[btf_map]
static RECORDS: Ring = Ring::new();

#[btf_map]
static FURTHER_RECORDS: ArrayOfMaps<Ring, 1> = ArrayOfMaps::new();

#[map]
static COUNTERS: Array<CounterBlock> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static L1_V4: Array<L1SlotV4> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static L1_V6: Array<RecordV6> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static L2_V4: Array<RecordV4> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static L2_V6: Array<RecordV6> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static INSERT_BATCH_V4: Array<InsertBatchV4> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static INSERT_BATCH_V6: Array<InsertBatchV6> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static TAGS_V4: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static TAGS_V6: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static OPENED_V4: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static OPENED_V6: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static ALL_INTERFACES: HashMap<u32, InterfaceSlot> = HashMap::with_max_entries(MAX_INTERFACES, 0);

#[map]
static UNKNOWN_IFACE: PerCpuArray<Tally> = PerCpuArray::with_max_entries(1, 0);

// No program reads it: the agent updates it to wait for an RCU grace period.
#[btf_map]
static GRACE_PERIOD: ArrayOfMaps<btf_maps::Array<u32, 1>, 1> = ArrayOfMaps::new();

/// A constant that the agent sets before the programs are loaded: the verifier knows its value, and
/// leaves out what is not reached with it.
macro_rules! constant {
    ($(#[$doc:meta])* $accessor:ident, $name:ident) => {
        $(#[$doc])*
        #[inline(always)]
        pub(crate) fn $accessor() -> u32 {
            // SAFETY: the section is read by the loader, which finds the constant by this name.
            #[unsafe(no_mangle)]
            static $name: u32 = 0;
            // SAFETY: the pointer is that of a static. Volatile, since the compiler must not know
            // the value.
            unsafe { (&raw const $name).read_volatile() }
        }
    };
}

constant!(
    /// Set at load: [`probe_common::control::globals::L1_SLOTS`].
    l1_slots,
    L1_SLOTS
);
constant!(
    /// Set at load: [`probe_common::control::globals::L2_SLOTS`].
    l2_slots,
    L2_SLOTS
);
constant!(
    /// Set at load: [`probe_common::control::globals::L2_FIRST_SLOT`].
    l2_first_slot,
    L2_FIRST_SLOT
);
constant!(
    /// Set at load: [`probe_common::control::globals::RING_MASK`].
    ring_mask,
    RING_MASK
);
constant!(
    /// Set at load: [`probe_common::control::globals::WAKE_BYTES`].
    wake_bytes,
    WAKE_BYTES
);

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

/// The low half of the kernel's tick count (jiffies): wraps after 49 days at 1,000 Hz.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "the low half is meant")]
pub(crate) fn tick() -> u32 {
    // SAFETY: the helper takes nothing and reads a counter. (It is no call: the kernel puts the
    // load in its place.)
    let jiffies = unsafe { bpf_jiffies64() };
    jiffies as u32
}

/// Ors two parts of a word, in a way that the compiler does not see through. See
/// [`IntoRecord::join_record`].
#[inline(always)]
pub(crate) fn join(mut part: u64, other: u64) -> u64 {
    #[cfg(target_arch = "bpf")]
    // SAFETY: the instruction does nothing but that.
    unsafe {
        core::arch::asm!(
            "{part} |= {other}",
            part = inout(reg) part,
            other = in(reg) other,
            options(nomem, nostack, preserves_flags),
        );
    }
    #[cfg(not(target_arch = "bpf"))]
    {
        part |= other;
    }
    part
}

/// The monotonic clock, in nanoseconds: some 35 ns to read.
#[inline(always)]
pub(crate) fn now_ns() -> u64 {
    // SAFETY: the helper takes nothing and reads a clock.
    unsafe { bpf_ktime_get_ns() }
}

/// The CPU that the program runs on, until it ends.
#[inline(always)]
pub(crate) fn cpu() -> u32 {
    // SAFETY: the helper takes nothing. (From 6.10 on it is no call, commit 1ae6921009e5.)
    unsafe { bpf_get_smp_processor_id() }
}

/// The slot of an interface, if the agent captures it.
#[inline(always)]
pub(crate) fn interface_slot(ifindex: u32) -> Option<InterfaceSlot> {
    // SAFETY: the section is a map of its own, with this as its only value; the loader finds it by
    // the section's name. Whatever the agent writes into it is an `InterfaceTable`.
    #[unsafe(link_section = ".bss.interfaces")]
    static INTERFACES: [AtomicU64; SLOTS] = [const { AtomicU64::new(0) }; SLOTS];
    const SLOTS: usize = size_of::<InterfaceTable>() / size_of::<InterfaceSlot>();
    // SAFETY: the pointer is that of a static. The agent writes an interface's slot before it
    // attaches a program to it, and clears it after the program is gone; what is read meanwhile for
    // another interface is not its ifindex. Volatile: see `active_bank_word`.
    let word = unsafe {
        INTERFACES[interface_index(ifindex)]
            .as_ptr()
            .read_volatile()
    };
    let slot = InterfaceSlot::from_word(word);
    if slot.ifindex == ifindex {
        return Some(slot);
    }
    // SAFETY: the pointer was just returned by the kernel's lookup, so it is valid and aligned for a
    // `InterfaceSlot` until the program ends. No element of an interface in use is written to or removed.
    ALL_INTERFACES.get_ptr(ifindex).map(|slot| unsafe { *slot })
}

/// The [`bank_word`] of the bank to count in. Read it once per packet, so that the packet's counters and
/// its record are on the same side of a rotation.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "it is 0 or 2")]
pub(crate) fn active_bank_word() -> u32 {
    // SAFETY: the section is a map of its own, with this as its only value; the loader finds it by
    // the section's name. Whatever the agent writes into it is a `u64`.
    #[unsafe(link_section = ".data.bank")]
    static ACTIVE_BANK: AtomicU64 = AtomicU64::new(0);
    // SAFETY: the pointer is that of a static. The agent may write the value meanwhile; it is an
    // aligned word, so either the old or the new value is read. Volatile keeps the compiler, which
    // sees no write to it, from knowing the value, and from reading it twice.
    let word = unsafe { ACTIVE_BANK.as_ptr().read_volatile() };
    // SAFETY: the agent writes the words of both banks and no others.
    unsafe { core::hint::assert_unchecked(word & !u64::from(bank_word(1)) == 0) };
    word as u32
}

/// The counter block at an index, which is of an area of this CPU. The caller drops the reference before it
/// asks again.
#[inline(always)]
pub(crate) fn counter_block(index: u32) -> Option<&'static mut CounterBlock> {
    let block = COUNTERS.get_ptr_mut(index)?;
    // SAFETY: the pointer was just returned by the kernel's lookup, so it is valid and aligned for a
    // `CounterBlock` until the program ends, and no other reference to it is in use. The value belongs to
    // this CPU, and a run is not interrupted by another run on it: all hooks run with bottom halves
    // disabled. The agent writes it only before the interface is attached, and what it reads
    // meanwhile it reads word by word.
    Some(unsafe { &mut *block })
}

/// Packets on interfaces that are not captured, of this CPU.
#[inline(always)]
pub(crate) fn unknown_interface() -> Option<&'static mut Tally> {
    let tally = UNKNOWN_IFACE.get_ptr_mut(0)?;
    // SAFETY: as in `counter_block`.
    Some(unsafe { &mut *tally })
}

/// A family of flow keys with its cache of open records.
pub(crate) trait Cached: IntoRecord<Record: Coalesce + 'static> {
    /// Its insert batch between L1 and L2.
    type Batch: InsertBatch<Record = Self::Record> + 'static;

    /// All but the key of a record.
    fn head(record: &Self::Record) -> RecordHead;

    /// The slot of L1 at an index. The caller drops the reference before it asks again.
    fn l1_slot(index: u32) -> Option<&'static mut Self::Record>;

    /// The slot of L2 at an index. The caller drops the reference before it asks again.
    fn l2_slot(index: u32) -> Option<&'static mut Self::Record>;

    /// The insert batch of an area. The caller drops the reference before it asks again.
    fn batch(area: u32) -> Option<&'static mut Self::Batch>;

    /// Reads both ends of the slot of L2 at an index, so that the CPU begins to fetch its memory, which may be
    /// two cache lines.
    fn prefetch_l2_slot(index: u32);

    /// Reads the word of tags at an index, so that the CPU begins to fetch it.
    fn prefetch_tags(word: u32);

    /// The word of tags at an index. The caller drops the reference before it asks again.
    fn tags(word: u32) -> Option<&'static mut u64>;

    /// When the record in the slot at an index was opened, in nanoseconds of the monotonic clock.
    fn opened(index: u32) -> Option<&'static mut u64>;

    /// [`cache::merge_batch`](crate::cache::merge_batch) in a global function.
    fn merge_batch(area: u32);
}

macro_rules! cached {
    (
        $key:ty, $batch:ty, $l1:ident, $l2:ident, $batches:ident, $tags:ident, $opened:ident, $merge_batch:ident
    ) => {
        /// Global, since it is long and full of loops: the verifier walks through a global function
        /// once, whatever the number that it is handed, and through others at each call. The kernel
        /// wants it to return a number. (5.6, commit 51c39bb1d5d1.)
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $merge_batch(area: u32) -> u32 {
            crate::cache::merge_batch::<$key>(area);
            0
        }

        impl Cached for $key {
            type Batch = $batch;

            #[inline(always)]
            fn head(record: &Self::Record) -> RecordHead {
                record.head()
            }

            #[inline(always)]
            fn l1_slot(index: u32) -> Option<&'static mut Self::Record> {
                // Slots begin with their records.
                let record = $l1.get_ptr_mut(index)?.cast();
                // SAFETY: as in `counter_block`: the area belongs to this CPU, and the agent reads and
                // writes only the areas of a bank that no program uses any more.
                Some(unsafe { &mut *record })
            }

            #[inline(always)]
            fn l2_slot(index: u32) -> Option<&'static mut Self::Record> {
                let record = $l2.get_ptr_mut(index)?;
                // SAFETY: as in `l1_slot`.
                Some(unsafe { &mut *record })
            }

            #[inline(always)]
            fn batch(area: u32) -> Option<&'static mut Self::Batch> {
                let batch = $batches.get_ptr_mut(area)?;
                // SAFETY: as in `l1_slot`.
                Some(unsafe { &mut *batch })
            }

            #[inline(always)]
            fn prefetch_l2_slot(index: u32) {
                if let Some(slot) = $l2.get_ptr(index) {
                    // SAFETY: as in `l1_slot`. Volatile, since the value is not used.
                    unsafe {
                        (&raw const (*slot).octets).read_volatile();
                        (&raw const (*slot).flags).read_volatile();
                    }
                }
            }

            #[inline(always)]
            fn prefetch_tags(word: u32) {
                if let Some(word) = $tags.get_ptr(word) {
                    // SAFETY: as in `prefetch_l2_slot`.
                    unsafe { word.read_volatile() };
                }
            }

            #[inline(always)]
            fn tags(word: u32) -> Option<&'static mut u64> {
                let word = $tags.get_ptr_mut(word)?;
                // SAFETY: as in `l1_slot`.
                Some(unsafe { &mut *word })
            }

            #[inline(always)]
            fn opened(index: u32) -> Option<&'static mut u64> {
                let time = $opened.get_ptr_mut(index)?;
                // SAFETY: as in `l1_slot`.
                Some(unsafe { &mut *time })
            }

            #[inline(always)]
            fn merge_batch(area: u32) {
                $merge_batch(area);
            }
        }
    };
}

cached!(
    EpHashV4,
    InsertBatchV4,
    L1_V4,
    L2_V4,
    INSERT_BATCH_V4,
    TAGS_V4,
    OPENED_V4,
    merge_batch_v4
);
cached!(
    EpHashV6,
    InsertBatchV6,
    L1_V6,
    L2_V6,
    INSERT_BATCH_V6,
    TAGS_V6,
    OPENED_V6,
    merge_batch_v6
);

/// The ring for a record: that of this CPU, since CPUs that push side by side would wait for each
/// other at one.
///
/// Records whose order counts have ring 0, on whatever CPU, since nothing tells in which order
/// those of two rings were pushed: where the order is all that tells the direction of a
/// flow, and fragments, the first of which names the ports of the later ones.
#[inline(always)]
fn ring_for<R: Coalesce>(record: &R) -> &'static Ring {
    let mask = ring_mask();
    if mask == 0 || record.is_order_sensitive() || !record.is_coalescible() {
        return &RECORDS;
    }
    match cpu() & mask {
        0 => &RECORDS,
        ring => FURTHER_RECORDS.get(ring).unwrap_or(&RECORDS),
    }
}

/// Bytes in a ring that have not been given back.
#[inline(always)]
fn waiting_bytes(ring: &'static Ring) -> u64 {
    let ring = core::ptr::from_ref(ring).cast_mut().cast();
    // SAFETY: the reference is to a map of the object, or was returned by the kernel's lookup of a
    // map in a map; either is what the helper takes as a ring.
    unsafe { bpf_ringbuf_query(ring, u64::from(BPF_RB_AVAIL_DATA)) }
}

/// Pushes a record into its ring. `false` if that is full.
///
/// The reader polls often enough by itself; it is woken when a ring has filled up to a mark, by
/// the records that pass the mark and not by those behind it: a wake-up is an interrupt, and the reader of
/// a ring that is fuller is awake.
#[inline(always)]
pub(crate) fn push<K: Cached>(record: &K::Record) -> bool {
    let ring = ring_for(record);
    let Some(mut entry) = ring.reserve_untyped::<K::Record>(0) else {
        return false;
    };
    entry.write(*record);
    let above_mark = waiting_bytes(ring).wrapping_sub(u64::from(wake_bytes()));
    let flags = if above_mark < MARK_WIDTH {
        BPF_RB_FORCE_WAKEUP
    } else {
        BPF_RB_NO_WAKEUP
    };
    entry.submit(u64::from(flags));
    true
}

/// Bytes of a few records, so that the mark is not jumped over where CPUs push side by side.
const MARK_WIDTH: u64 = 1024;
