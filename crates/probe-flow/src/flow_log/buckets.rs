//! The buckets of a flow table: an open-addressing hash table whose entries lie in the table itself.
//!
//! With many flows, the cost of a record is that of its cache misses. Here it has one, for a single cache
//! line with IPv4, and [`Buckets::prefetch`] starts the fetch before it is needed. Tables with control
//! octets beside the entries have two misses, the second of which depends on the first.
//!
//! Linear probing: an entry lies in the first bucket that was free from its preferred bucket on. The preferred bucket
//! is the hash scaled to the number of buckets, which need not be a power of two: the table grows by half,
//! and so stays small.

use super::{
    hash::KeyHasher,
    key::{EitherWay, Hashed, PackedKey},
    table_flow::TableFlow,
};

/// The number of buckets is a multiple of this.
const GROUP: usize = 8;

/// Highest load factor, as a fraction: with more buckets taken, probe sequences would grow long.
const TAKEN: (usize, usize) = (4, 5);

/// Up to this number of groups, memory is no matter: the load factor is at most [`FEW_TAKEN`], so that most
/// entries lie in their preferred bucket. The CPU cannot predict which do, and a misprediction costs more than
/// the fetch.
const FEW_GROUPS: usize = 2048;
const FEW_TAKEN: (usize, usize) = (1, 4);

/// A table with more buckets per entry than this is made smaller, to [`ROOMY`] buckets per entry.
const SPARSE: usize = 8;
const ROOMY: usize = 3;

/// A flow and its key.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry<K> {
    pub(super) flow: TableFlow,
    pub(super) key: K,
}

/// Room for an entry. A bucket of IPv4 is one cache line.
#[derive(Clone, Copy, Debug)]
struct Bucket<K: PackedKey> {
    entry: Option<Entry<K>>,
    _aligned: [K::Alignment; 0],
}

impl<K: PackedKey> Bucket<K> {
    const VACANT: Self = Self {
        entry: None,
        _aligned: [],
    };
}

/// The hash table of one IP version, from packed keys to flows.
#[derive(Debug)]
pub(super) struct Buckets<K: PackedKey> {
    table: Box<[Bucket<K>]>,
    taken: usize,
    hasher: KeyHasher,
}

impl<K: PackedKey> Buckets<K> {
    pub(super) fn new() -> Self {
        Self {
            table: Box::default(),
            taken: 0,
            hasher: KeyHasher::new(),
        }
    }

    /// Entries in the table.
    pub(super) const fn len(&self) -> usize {
        self.taken
    }

    /// Memory of all buckets, in bytes.
    pub(super) const fn memory_bytes(&self) -> usize {
        size_of_val(&*self.table)
    }

    /// The hash of a key, which is that of its reverse.
    #[inline]
    pub(super) fn hash(&self, key: K) -> u64 {
        key.hash(&self.hasher)
    }

    /// Where entries of this hash lie if there is room.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        reason = "less than the number of buckets"
    )]
    const fn preferred(&self, hash: u64) -> usize {
        ((hash as u128 * self.table.len() as u128) >> 64) as usize
    }

    #[inline]
    const fn after(&self, bucket: usize) -> usize {
        if bucket + 1 == self.table.len() {
            0
        } else {
            bucket + 1
        }
    }

    #[inline]
    fn bucket(&self, bucket: usize) -> Option<&Entry<K>> {
        self.table.get(bucket)?.entry.as_ref()
    }

    #[inline]
    fn bucket_mut(&mut self, bucket: usize) -> &mut Option<Entry<K>> {
        &mut self.table[bucket].entry
    }

    /// Begins to fetch the entry of a hash from memory.
    #[inline]
    pub(super) fn prefetch(&self, hash: u64) {
        super::prefetch::prefetch(self.table.as_ptr().wrapping_add(self.preferred(hash)));
    }

    /// The entry of a key, or of its reverse if `either_way`.
    #[inline(always)]
    pub(super) fn find(&mut self, of: &Hashed<K>, either_way: EitherWay) -> Option<&mut Entry<K>> {
        let preferred = self.preferred(of.hash);
        if self.has(preferred, of, either_way)? {
            return self.bucket_mut(preferred).as_mut();
        }
        let bucket = self.find_after(preferred, of, either_way)?;
        self.bucket_mut(bucket).as_mut()
    }

    /// [`Self::find`] without write access.
    pub(super) fn get(&self, key: K, either_way: EitherWay) -> Option<&Entry<K>> {
        let hash = self.hash(key);
        let of = Hashed { key, hash };
        let preferred = self.preferred(hash);
        if self.has(preferred, &of, either_way)? {
            return self.bucket(preferred);
        }
        let bucket = self.find_after(preferred, &of, either_way)?;
        self.bucket(bucket)
    }

    /// Whether the entry in a bucket is that of a key. `None` if there is no entry.
    #[inline(always)]
    fn has(&self, bucket: usize, of: &Hashed<K>, either_way: EitherWay) -> Option<bool> {
        let entry = self.bucket(bucket)?;
        Some(entry.key.is(of.key, either_way))
    }

    /// Bucket of the entry of a key that is not in its preferred bucket. Not inlined, so that the code of most
    /// look-ups is short.
    #[inline(never)]
    fn find_after(&self, preferred: usize, of: &Hashed<K>, either_way: EitherWay) -> Option<usize> {
        let mut bucket = self.after(preferred);
        while !self.has(bucket, of, either_way)? {
            bucket = self.after(bucket);
        }
        Some(bucket)
    }

    /// Adds an entry whose key is not there yet.
    pub(super) fn insert(&mut self, hash: u64, entry: Entry<K>) {
        let (most, of_buckets) = if self.table.len() < FEW_GROUPS * GROUP {
            FEW_TAKEN
        } else {
            TAKEN
        };
        if (self.taken + 1) * of_buckets > self.table.len() * most {
            self.grow();
        }
        self.place(hash, entry);
        self.taken += 1;
    }

    fn place(&mut self, hash: u64, entry: Entry<K>) {
        let mut bucket = self.preferred(hash);
        while self.bucket(bucket).is_some() {
            bucket = self.after(bucket);
        }
        *self.bucket_mut(bucket) = Some(entry);
    }

    /// Grows by half, at least by a group.
    #[cold]
    fn grow(&mut self) {
        let groups = self.table.len() / GROUP;
        self.resize(groups + (groups / 2).max(1));
    }

    /// Moves all entries into a table of this number of groups: in the order of their hashes, so both tables
    /// are walked through once.
    fn resize(&mut self, groups: usize) {
        let vacant = vec![Bucket::VACANT; groups * GROUP].into_boxed_slice();
        let full = std::mem::replace(&mut self.table, vacant);
        for entry in full.iter().filter_map(|bucket| bucket.entry) {
            self.place(self.hash(entry.key), entry);
        }
    }

    /// Removes the entries of which `keep` says no, and frees memory if few are left.
    pub(super) fn retain(&mut self, keep: impl FnMut(&mut Entry<K>) -> bool) {
        self.sweep(keep);
        if self.taken * SPARSE < self.table.len() {
            self.resize((ROOMY * self.taken).div_ceil(GROUP));
        }
    }

    fn sweep(&mut self, mut keep: impl FnMut(&mut Entry<K>) -> bool) {
        let Some(vacant) = (0..self.table.len()).find(|bucket| self.bucket(*bucket).is_none())
        else {
            return;
        };
        // Begins behind a vacant bucket: so each entry comes after all of those that it may lie
        // behind, and moves at most to where one of them was.
        let mut bucket = self.after(vacant);
        let mut has_gap = false;
        while bucket != vacant {
            let found = self.bucket_mut(bucket);
            match found.as_mut().map(&mut keep) {
                None => has_gap = false,
                Some(false) => {
                    *found = None;
                    self.taken -= 1;
                    has_gap = true;
                }
                Some(true) if has_gap => {
                    if let Some(entry) = found.take() {
                        self.place(self.hash(entry.key), entry);
                    }
                }
                Some(true) => {}
            }
            bucket = self.after(bucket);
        }
    }

    /// All entries, in no particular order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Entry<K>> {
        self.table.iter().filter_map(|bucket| bucket.entry.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use probe_common::{classify::Evidence, ephash::EpHash, record::RecordHead};
    use proptest::prelude::*;

    use super::{Bucket, Buckets, Entry, GROUP, SPARSE};
    use crate::flow_log::{
        key::{EitherWay, Hashed, PackedKey as _, PackedV4, PackedV6},
        table_flow::TableFlow,
    };

    fn key(number: u8) -> PackedV4 {
        let key = EpHash {
            src_addr: [10, 0, 0, number],
            src_port: [1, 0],
            dst_addr: [20, 0, 0, number / 7],
            dst_port: [2, 0],
            ip_protocol: 6,
        };
        PackedV4::pack(&key, false)
    }

    fn flow(packets: u32) -> TableFlow {
        let head = RecordHead {
            packets,
            ..RecordHead::default()
        };
        TableFlow::new(Evidence::None, &head)
    }

    #[derive(Clone, Debug)]
    enum Step {
        Put(u8, u32),
        KeepMultiplesOf(u32),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            12 => (any::<u8>(), 1..1000_u32).prop_map(|(number, packets)| Step::Put(number, packets)),
            1 => (1..5_u32).prop_map(Step::KeepMultiplesOf),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Whatever is done, the table has what an ordered map has.
        #[test]
        fn it_is_a_map(steps in proptest::collection::vec(step(), 0..400)) {
            let mut buckets = Buckets::<PackedV4>::new();
            let mut model = BTreeMap::new();
            for step in steps {
                match step {
                    Step::Put(number, packets) => {
                        let hash = buckets.hash(key(number));
                        let of = Hashed { key: key(number).reverse(), hash };
                        match buckets.find(&of, EitherWay::new(true)) {
                            Some(entry) => entry.flow = flow(packets),
                            None => buckets.insert(hash, Entry { key: key(number), flow: flow(packets) }),
                        }
                        model.insert(number, packets);
                    }
                    Step::KeepMultiplesOf(of) => {
                        let is_kept = |packets: u64| packets.is_multiple_of(of.into());
                        buckets.retain(|entry| is_kept(entry.flow.flow().counters.packets_rcvd));
                        model.retain(|_, packets| is_kept(u64::from(*packets)));
                    }
                }
            }
            prop_assert!(buckets.memory_bytes() <= 64 * (SPARSE * model.len()).max(GROUP));
            prop_assert_eq!(buckets.len(), model.len());
            prop_assert_eq!(buckets.iter().count(), model.len());
            for number in 0..=u8::MAX {
                let found = buckets.get(key(number), EitherWay::new(false)).map(|it| it.flow.flow().counters.packets_rcvd);
                prop_assert_eq!(found, model.get(&number).copied().map(u64::from));
                prop_assert!(buckets.get(key(number).reverse(), EitherWay::new(false)).is_none());
            }
        }
    }

    #[test]
    fn an_ipv4_bucket_is_a_line_of_the_cache() {
        assert_eq!(size_of::<Bucket<PackedV4>>(), 64);
        assert_eq!(align_of::<Bucket<PackedV4>>(), 64);
        assert!(size_of::<Bucket<PackedV6>>() <= 88);
    }
}
