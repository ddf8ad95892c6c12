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
    coalesce::{Coalesce, LineV4, Pending, PendingV4, PendingV6},
    control::{MAX_INTERFACES, Slot, SlotTable, Station, Tally, slot_index},
    ephash::{EpHashV4, EpHashV6},
    record::{IntoRecord, RecordHead, RecordV4, RecordV6},
};

// The sizes of *RECORDS, COUNTERS, FRONT_*, BACK_*, PENDING_*, TAGS_* and OPENED_* are set by the agent
// before they are made.

/// A ring of records of either family; its size is that of the smallest one.
type Ring = btf_maps::RingBuf<(), { 64 << 10 }>;

#[btf_map]
static RECORDS: Ring = Ring::new();

#[btf_map]
static FURTHER_RECORDS: ArrayOfMaps<Ring, 1> = ArrayOfMaps::new();

#[map]
static COUNTERS: Array<Station> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static FRONT_V4: Array<LineV4> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static FRONT_V6: Array<RecordV6> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static BACK_V4: Array<RecordV4> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static BACK_V6: Array<RecordV6> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static PENDING_V4: Array<PendingV4> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static PENDING_V6: Array<PendingV6> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static TAGS_V4: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static TAGS_V6: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static OPENED_V4: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static OPENED_V6: Array<u64> = Array::with_max_entries(1, BPF_F_MMAPABLE);

#[map]
static ALL_SLOTS: HashMap<u32, Slot> = HashMap::with_max_entries(MAX_INTERFACES, 0);

#[map]
static UNCLAIMED: PerCpuArray<Tally> = PerCpuArray::with_max_entries(1, 0);

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
    /// [`probe_common::control::globals::FRONT_SLOTS`].
    front_slots,
    FRONT_SLOTS
);
constant!(
    /// [`probe_common::control::globals::BACK_SLOTS`].
    back_slots,
    BACK_SLOTS
);
constant!(
    /// [`probe_common::control::globals::BACKS`].
    backs,
    BACKS
);
constant!(
    /// [`probe_common::control::globals::RING_MASK`].
    ring_mask,
    RING_MASK
);
constant!(
    /// [`probe_common::control::globals::WAKE_BYTES`].
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

/// Ors two parts of a word, in a way that the compiler does not look into. See
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

/// What the agent has set for the interface, if it captures it.
#[inline(always)]
pub(crate) fn slot(ifindex: u32) -> Option<Slot> {
    // SAFETY: the section is a map of its own, with this as its only value; the loader finds it by
    // the section's name. Whatever the agent writes into it is a `SlotTable`.
    #[unsafe(link_section = ".bss.slots")]
    static SLOTS: [AtomicU64; SLOTS_LEN] = [const { AtomicU64::new(0) }; SLOTS_LEN];
    const SLOTS_LEN: usize = size_of::<SlotTable>() / size_of::<Slot>();
    // SAFETY: the pointer is that of a static. The agent writes an interface's slot before it
    // attaches a program to it, and clears it after the program is gone; what is read meanwhile for
    // another interface is not its ifindex. Volatile: see `active_bank`.
    let word = unsafe { SLOTS[slot_index(ifindex)].as_ptr().read_volatile() };
    let slot = Slot::from_word(word);
    if slot.ifindex == ifindex {
        return Some(slot);
    }
    // SAFETY: the pointer was just returned by the kernel's lookup, so it is valid and aligned for a
    // `Slot` until the program ends. No element of an interface in use is written to or removed.
    ALL_SLOTS.get_ptr(ifindex).map(|slot| unsafe { *slot })
}

/// The bank to count in: 0 or 1. Read it once per packet, so that the packet's counters and its
/// record are on the same side of a rotation.
#[inline(always)]
#[expect(clippy::cast_possible_truncation, reason = "it is 0 or 1")]
pub(crate) fn active_bank() -> u32 {
    // SAFETY: the section is a map of its own, with this as its only value; the loader finds it by
    // the section's name. Whatever the agent writes into it is a `u64`.
    #[unsafe(link_section = ".data.bank")]
    static ACTIVE_BANK: AtomicU64 = AtomicU64::new(0);
    // SAFETY: the pointer is that of a static. The agent may write the value meanwhile; it is an
    // aligned word, so either the old or the new value is read. Volatile keeps the compiler, which
    // sees nobody write it, from knowing the value, and from reading it twice.
    let bank = unsafe { ACTIVE_BANK.as_ptr().read_volatile() };
    bank as u32
}

/// The counters at a position, which are of an area of this CPU. The caller lets go of them before it
/// asks again.
#[inline(always)]
pub(crate) fn station(index: u32) -> Option<&'static mut Station> {
    let station = COUNTERS.get_ptr_mut(index)?;
    // SAFETY: the pointer was just returned by the kernel's lookup, so it is valid and aligned for a
    // `Station` until the program ends, and no other reference to it is in use. The value belongs to
    // this CPU, and a run is not interrupted by another run on it: all hooks run with bottom halves
    // disabled. The agent writes it only before the interface is attached, and what it reads
    // meanwhile it reads word by word.
    Some(unsafe { &mut *station })
}

/// Packets on interfaces without slot, of this CPU.
#[inline(always)]
pub(crate) fn unclaimed() -> Option<&'static mut Tally> {
    let tally = UNCLAIMED.get_ptr_mut(0)?;
    // SAFETY: as in `station`.
    Some(unsafe { &mut *tally })
}

/// A family of flow keys with its cache of open records.
pub(crate) trait Cached: IntoRecord<Record: Coalesce + 'static> {
    /// Its row of pending records between front and back.
    type Pending: Pending<Record = Self::Record> + 'static;

    /// All but the key of a record.
    fn head(record: &Self::Record) -> RecordHead;

    /// The entry at a position of the fronts. The caller lets go of it before it asks again.
    fn in_front(index: u32) -> Option<&'static mut Self::Record>;

    /// The same of the backs.
    fn in_back(index: u32) -> Option<&'static mut Self::Record>;

    /// The row of an area. The caller lets go of it before it asks again.
    fn pending(area: u32) -> Option<&'static mut Self::Pending>;

    /// Reads both ends of the entry at a position of the backs, so that its memory, which may be two lines of the
    /// CPU's cache, is on its way to the CPU.
    fn touch(index: u32);

    /// Reads the word of tags at a position, so that it is on its way to the CPU.
    fn touch_tags(word: u32);

    /// The word of tags at a position.
    fn tags(word: u32) -> Option<&'static mut u64>;

    /// When the entry at a position was opened.
    fn opened(index: u32) -> Option<&'static mut u64>;

    /// [`cache::take_in_row`](crate::cache::take_in_row) in a global function.
    fn take_in_row(area: u32);
}

macro_rules! cached {
    (
        $key:ty, $row:ty, $front:ident, $back:ident, $pending:ident, $tags:ident, $opened:ident, $take_in_row:ident
    ) => {
        /// Global, since it is long and full of loops: the verifier walks through a global function
        /// once, whatever the number that it is handed, and through others at each call. The kernel
        /// wants it to return a number. (5.6, commit 51c39bb1d5d1.)
        // SAFETY: no other function has this name.
        #[unsafe(no_mangle)]
        #[inline(never)]
        extern "C" fn $take_in_row(area: u32) -> u32 {
            crate::cache::take_in_row::<$key>(area);
            0
        }

        impl Cached for $key {
            type Pending = $row;

            #[inline(always)]
            fn head(record: &Self::Record) -> RecordHead {
                record.head()
            }

            #[inline(always)]
            fn in_front(index: u32) -> Option<&'static mut Self::Record> {
                // Entries begin with their records.
                let record = $front.get_ptr_mut(index)?.cast();
                // SAFETY: as in `station`: the area belongs to this CPU, and the agent reads and
                // writes only the areas of a bank that no program uses any more.
                Some(unsafe { &mut *record })
            }

            #[inline(always)]
            fn in_back(index: u32) -> Option<&'static mut Self::Record> {
                let record = $back.get_ptr_mut(index)?;
                // SAFETY: as in `in_front`.
                Some(unsafe { &mut *record })
            }

            #[inline(always)]
            fn pending(area: u32) -> Option<&'static mut Self::Pending> {
                let row = $pending.get_ptr_mut(area)?;
                // SAFETY: as in `in_front`.
                Some(unsafe { &mut *row })
            }

            #[inline(always)]
            fn touch(index: u32) {
                if let Some(entry) = $back.get_ptr(index) {
                    // SAFETY: as in `in_front`. Volatile, since nobody needs what is read.
                    unsafe {
                        (&raw const (*entry).octets).read_volatile();
                        (&raw const (*entry).notes).read_volatile();
                    }
                }
            }

            #[inline(always)]
            fn touch_tags(word: u32) {
                if let Some(word) = $tags.get_ptr(word) {
                    // SAFETY: as in `touch`.
                    unsafe { word.read_volatile() };
                }
            }

            #[inline(always)]
            fn tags(word: u32) -> Option<&'static mut u64> {
                let word = $tags.get_ptr_mut(word)?;
                // SAFETY: as in `in_front`.
                Some(unsafe { &mut *word })
            }

            #[inline(always)]
            fn opened(index: u32) -> Option<&'static mut u64> {
                let time = $opened.get_ptr_mut(index)?;
                // SAFETY: as in `in_front`.
                Some(unsafe { &mut *time })
            }

            #[inline(always)]
            fn take_in_row(area: u32) {
                $take_in_row(area);
            }
        }
    };
}

cached!(
    EpHashV4,
    PendingV4,
    FRONT_V4,
    BACK_V4,
    PENDING_V4,
    TAGS_V4,
    OPENED_V4,
    take_in_row_v4
);
cached!(
    EpHashV6,
    PendingV6,
    FRONT_V6,
    BACK_V6,
    PENDING_V6,
    TAGS_V6,
    OPENED_V6,
    take_in_row_v6
);

/// The ring for a record: that of this CPU, since CPUs that push side by side would wait for each
/// other at one.
///
/// Records whose order counts have ring 0, on whatever CPU, since nothing tells in which order
/// those of two rings were pushed: where who spoke first is all that tells the direction of a
/// flow, and fragments, the first of which names the ports of the later ones.
#[inline(always)]
fn ring_for<R: Coalesce>(record: &R) -> &'static Ring {
    let mask = ring_mask();
    if mask == 0 || record.is_told_by_order() || !record.is_coalescible() {
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
/// The reader looks often enough by itself; it is woken when a ring has filled up to a mark, by
/// those who pass the mark and not by those behind it: a wake-up is an interrupt, and whoever reads
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
