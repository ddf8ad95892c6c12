//! Rings in memory of the test's own, laid out as the kernel's are.

use std::os::fd::{AsFd as _, OwnedFd};

use probe_common::{
    ephash::EpHash,
    record::{IntoRecord as _, Record, RecordHead, RecordV4},
};
use rustix::{
    fs::{MemfdFlags, ftruncate, memfd_create},
    io::{pread, pwrite},
};
use zerocopy::{FromZeros as _, IntoBytes as _};

use super::{HEADER_BYTES, Readers};

const BYTES: usize = 1 << 16;
const RECORD: u32 = 40;
const ENTRY: usize = HEADER_BYTES + size_of::<RecordV4>();
const CAPACITY: usize = BYTES / ENTRY;
const BUSY: u32 = 1 << 31;

const _: () = assert!(size_of::<RecordV4>() == RECORD as usize);

/// The programs' end of a ring.
struct Ring {
    memory: OwnedFd,
    begun: u64,
}

impl Ring {
    fn new() -> Self {
        let memory = memfd_create("ring", MemfdFlags::CLOEXEC).unwrap();
        ftruncate(&memory, (3 * page() + BYTES) as u64).unwrap();
        Self { memory, begun: 0 }
    }

    fn given_back(&self) -> u64 {
        let mut position = [0; 8];
        pread(&self.memory, &mut position, 0).unwrap();
        u64::from_ne_bytes(position)
    }

    /// Begins a record with such a number in the place of its octets. `None` if there is no room.
    fn begin(&mut self, number: u64) -> Option<u64> {
        let at = self.begun;
        if at + ENTRY as u64 - self.given_back() > BYTES as u64 {
            return None;
        }
        let head = RecordHead {
            packets: 1,
            octets: number,
            ..RecordHead::default()
        };
        let record = EpHash::<4>::new_zeroed().into_record(head);
        self.write_header(at, RECORD | BUSY);
        self.write(place(at) + HEADER_BYTES as u64, record.as_bytes());
        self.begun += ENTRY as u64;
        self.write(page() as u64, &self.begun.to_ne_bytes());
        Some(at)
    }

    fn complete(&self, at: u64) {
        self.write_header(at, RECORD);
    }

    fn push(&mut self, number: u64) -> bool {
        let at = self.begin(number);
        at.inspect(|at| self.complete(*at)).is_some()
    }

    fn write_header(&self, at: u64, header: u32) {
        self.write(place(at), &header.to_ne_bytes());
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        assert_eq!(pwrite(&self.memory, bytes, at).unwrap(), bytes.len());
    }
}

/// Where in the memory a position of the data lies.
fn place(at: u64) -> u64 {
    2 * page() as u64 + at % BYTES as u64
}

fn page() -> usize {
    rustix::param::page_size()
}

fn readers(rings: &[Ring]) -> Readers {
    Readers::new(rings.iter().map(|ring| ring.memory.as_fd()), BYTES).unwrap()
}

fn numbers(batch: &[Record<'_>]) -> Vec<u64> {
    batch.iter().map(|record| record.head().octets).collect()
}

#[test]
fn each_record_of_each_ring_is_handed_over_once_and_in_its_order() {
    let mut rings = [Ring::new(), Ring::new(), Ring::new(), Ring::new()];
    let mut readers = readers(&rings);
    assert_eq!(readers.capacity(), 4 * CAPACITY);
    // Often around the end of the memory, where entries are broken.
    for round in 0..20_u64 {
        for (ring, pushed) in [700_u64, 0, 64, 1].into_iter().enumerate() {
            for number in 0..pushed {
                assert!(rings[ring].push(ring as u64 * 1_000_000 + round * 1000 + number));
            }
        }
        let mut handed = Vec::new();
        let pass = readers.pass(&mut |batch| handed.extend(numbers(batch)));
        assert_eq!((pass.records, pass.undecodable), (765, 0));
        handed.sort_by_key(|number| number / 1_000_000);
        let of =
            |ring: u64, pushed| (0..pushed).map(move |it| ring * 1_000_000 + round * 1000 + it);
        let expected: Vec<_> = of(0, 700).chain(of(2, 64)).chain(of(3, 1)).collect();
        assert_eq!(handed, expected, "{round}");
        assert_eq!(readers.pass(&mut |_| panic!("taken out")).records, 0);
    }
}

#[test]
fn the_fullest_ring_is_told() {
    let mut rings = [Ring::new(), Ring::new()];
    let mut readers = readers(&rings);
    while rings[1].push(0) {}
    assert!(rings[0].push(0));
    let fill = readers.pass(&mut |_| ()).fill;
    assert!(fill > 0.999 && fill <= 1.0, "{fill}");
    assert!(rings[0].push(0));
    let fill = readers.pass(&mut |_| ()).fill;
    assert!((fill * 65_536.0 - 48.0).abs() < 1e-9, "{fill}");
    assert!(readers.pass(&mut |_| ()).fill.abs() < 1e-9);
}

/// A flood that refills its ring as fast as it is read: the pass ends all the same, and others are
/// not kept waiting.
#[test]
fn a_flooded_ring_takes_turns_with_a_calm_one() {
    let mut rings = [Ring::new(), Ring::new()];
    let mut readers = readers(&rings);
    let [flooded, calm] = &mut rings;
    while flooded.push(0) {}
    for _ in 0..100 {
        assert!(calm.push(1));
    }
    let (mut flood, mut before_calm_was_over, mut calm_records) = (0, 0, 0);
    let pass = readers.pass(&mut |batch| {
        // Given back only after the batch, so this refills what the one before took.
        while flooded.push(0) {}
        let of_calm = numbers(batch).iter().filter(|it| **it == 1).count();
        calm_records += of_calm;
        flood += batch.len() - of_calm;
        if calm_records < 100 {
            before_calm_was_over = flood;
        }
    });
    assert_eq!(calm_records, 100);
    assert!(before_calm_was_over <= 128, "{before_calm_was_over}");
    assert_eq!(pass.records, flood + 100);
    assert!(
        (CAPACITY..CAPACITY + 64).contains(&flood),
        "all that was there, and no more than a batch beyond: {flood}"
    );
}

#[test]
fn an_entry_that_is_not_complete_holds_up_its_own_ring_only() {
    let mut rings = [Ring::new(), Ring::new()];
    let mut readers = readers(&rings);
    assert!(rings[0].push(1));
    let incomplete = rings[0].begin(2).expect("room");
    assert!(rings[0].push(3) && rings[1].push(4) && rings[1].push(5));
    let mut handed = Vec::new();
    readers.pass(&mut |batch| handed.extend(numbers(batch)));
    assert_eq!(handed, [1, 4, 5]);
    rings[0].complete(incomplete);
    readers.pass(&mut |batch| handed.extend(numbers(batch)));
    assert_eq!(handed, [1, 4, 5, 2, 3]);
}
