//! The hash of flow keys: keyed, and the same for both orientations of a key.

use std::hash::{BuildHasher as _, RandomState};

/// Hashes flow keys so that no peer can tell which ones collide: a peer that could would make
/// each of its packets cost a walk over all of its flows.
///
/// A key and its reverse have one hash, since a look-up does not know which of them is stored. See
/// [`super::key::PackedKey::hash`].
#[derive(Clone, Debug)]
pub(super) struct KeyHasher {
    seeds: [u64; 5],
}

impl KeyHasher {
    pub(super) fn new() -> Self {
        let random = RandomState::new();
        Self {
            seeds: std::array::from_fn(|seed| random.hash_one(seed)),
        }
    }

    /// The hash of a flow whose ends are these, whichever comes first.
    #[inline]
    pub(super) fn hash_ends(&self, src: u64, dst: u64) -> u64 {
        let [first, second, third, ..] = self.seeds;
        // Twice: neighbours in an address range differ by a multiple of the same number after the
        // first, and could all lie near each other.
        let product = folded_product(src.min(dst) ^ first, src.max(dst) ^ second);
        folded_product(product, third)
    }

    /// The hash of a flow between two IPv6 addresses, in an order that both directions share.
    #[inline]
    pub(super) fn hash_ordered(&self, low: [u64; 2], high: [u64; 2], rest: u64) -> u64 {
        let [first, second, third, ..] = self.seeds;
        let (low, high) = (self.hash_addr(low) ^ rest, self.hash_addr(high));
        folded_product(folded_product(low ^ first, high ^ second), third)
    }

    /// An IPv6 address in a word.
    #[inline]
    fn hash_addr(&self, addr: [u64; 2]) -> u64 {
        let [.., first, second] = self.seeds;
        folded_product(addr[0] ^ first, addr[1] ^ second)
    }
}

/// Both halves of the product in one: each bit depends on all bits of both factors.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "both halves are used")]
const fn folded_product(a: u64, b: u64) -> u64 {
    let product = a as u128 * b as u128;
    (product as u64) ^ ((product >> 64) as u64)
}

#[cfg(test)]
mod tests {
    use probe_common::ephash::EpHash;
    use proptest::prelude::*;

    use super::KeyHasher;
    use crate::flow_log::key::{FlowKey, PackedKey as _};

    fn hash<const N: usize>(hasher: &KeyHasher, key: &EpHash<N>) -> u64
    where
        EpHash<N>: FlowKey,
    {
        <EpHash<N> as FlowKey>::Packed::pack(key, false).hash(hasher)
    }

    fn key<const N: usize>(src: [u8; N], dst: [u8; N], ports: (u16, u16), proto: u8) -> EpHash<N> {
        EpHash {
            src_addr: src,
            src_port: ports.0.to_be_bytes(),
            dst_addr: dst,
            dst_port: ports.1.to_be_bytes(),
            ip_protocol: proto,
        }
    }

    proptest! {
        #[test]
        fn both_orientations_have_one_hash(
            src: [u8; 16], dst: [u8; 16], ports: (u16, u16), proto: u8,
        ) {
            let hasher = KeyHasher::new();
            let v6 = key(src, dst, ports, proto);
            prop_assert_eq!(hash(&hasher, &v6), hash(&hasher, &v6.reverse()));
            let cut = |addr: [u8; 16]| [addr[0], addr[1], addr[2], addr[3]];
            let v4 = key(cut(src), cut(dst), ports, proto);
            prop_assert_eq!(hash(&hasher, &v4), hash(&hasher, &v4.reverse()));
        }
    }

    /// Flows that differ in one octet, wherever it is, spread as random numbers do.
    #[test]
    fn every_octet_of_a_key_counts() {
        fn spread<const N: usize>(place: impl Fn(&mut EpHash<N>, u8)) -> usize
        where
            EpHash<N>: FlowKey,
        {
            let hasher = KeyHasher::new();
            let mut key = key([1; N], [2; N], (3, 4), 5);
            let buckets: std::collections::BTreeSet<u64> = (0..=255)
                .map(|octet| {
                    place(&mut key, octet);
                    hash(&hasher, &key) >> 52
                })
                .collect();
            buckets.len()
        }
        // 256 throws into 4,096 places meet in about 8; in 56 never.
        for at in 0..16 {
            assert!(
                spread::<16>(|key, octet| key.src_addr[at] = octet) > 200,
                "{at}"
            );
            assert!(
                spread::<16>(|key, octet| key.dst_addr[at] = octet) > 200,
                "{at}"
            );
        }
        for at in 0..4 {
            assert!(
                spread::<4>(|key, octet| key.src_addr[at] = octet) > 200,
                "{at}"
            );
            assert!(
                spread::<4>(|key, octet| key.dst_addr[at] = octet) > 200,
                "{at}"
            );
        }
        for at in 0..2 {
            assert!(
                spread::<4>(|key, octet| key.src_port[at] = octet) > 200,
                "{at}"
            );
            assert!(
                spread::<16>(|key, octet| key.dst_port[at] = octet) > 200,
                "{at}"
            );
        }
        assert!(spread::<4>(|key, octet| key.ip_protocol = octet) > 200);
        assert!(spread::<16>(|key, octet| key.ip_protocol = octet) > 200);
    }
}
