//! Flow keys in words, as the flow tables keep them.
//!
//! A key of 13 or 37 octets that is copied, reversed and compared in pieces costs more than all the
//! rest of a look-up: each piece waits until those that it was put together from are written. Words
//! stay in registers.

use std::{fmt::Debug, hint::select_unpredictable};

use probe_common::ephash::EpHash;
use zerocopy::{FromBytes, Immutable, KnownLayout};

use super::{aggregation::aggregates, hash::KeyHasher};

/// A key that has a packed form: that of IPv4 and that of IPv6.
pub(super) trait FlowKey: Copy + Debug {
    /// The same key, packed into machine words.
    type Packed: PackedKey<Key = Self>;
}

impl FlowKey for EpHash<4> {
    type Packed = PackedV4;
}

impl FlowKey for EpHash<16> {
    type Packed = PackedV6;
}

/// A key in words.
pub(super) trait PackedKey: Copy + Debug + Default + Eq {
    /// What it is the packed form of.
    type Key;

    /// A type aligned as flows with this key are.
    type Alignment: Copy + Debug;

    /// Packs a key, or what [`EpHash::aggregate_ports`] makes of it.
    fn pack(key: &Self::Key, aggregate_ports: bool) -> Self;

    fn unpack(self) -> Self::Key;

    /// The key with its ends exchanged; see [`EpHash::reverse`].
    fn reverse(self) -> Self;

    fn ip_protocol(self) -> u8;

    /// Whether the key is another one or, if `either_way`, its reverse. Which of the two cannot
    /// predict, so nothing branches on that.
    fn is(self, other: Self, either_way: EitherWay) -> bool;

    /// The hash of the key, which is that of its reverse.
    fn hash(self, hasher: &KeyHasher) -> u64;
}

/// Whether a key and its reverse are one flow: a mask of all bits or of none. As a word in memory, which the
/// compiler does not know to be one of two, it costs one instruction for each record and not four.
#[derive(Clone, Copy, Debug)]
pub(super) struct EitherWay(u64);

impl EitherWay {
    pub(super) const fn new(either_way: bool) -> Self {
        Self((either_way as u64).wrapping_neg())
    }

    pub(super) const fn is(self) -> bool {
        self.0 != 0
    }
}

/// A key with its hash, which is computed once for a record.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Hashed<K> {
    pub(super) key: K,
    pub(super) hash: u64,
}

/// Some octets of a key as a word, read at once. The first are the low ones.
#[inline(always)]
fn word<const N: usize>(octets: [u8; N], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&octets[at..at + 8]);
    u64::from_le_bytes(word)
}

/// An IPv4 key. Each end has address, port and the protocol: so the reverse is the other order.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct PackedV4 {
    src: u64,
    dst: u64,
}

const V4_PORT_SHIFT: u32 = 32;
const V4_PROTOCOL_SHIFT: u32 = 48;

impl PackedV4 {
    /// The port of an end, in network order.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the piece is cut out")]
    const fn port(end: u64) -> u16 {
        (end >> V4_PORT_SHIFT) as u16
    }

    /// The key without a client's port; see [`EpHash::aggregate_ports`].
    #[inline]
    fn aggregate_ports(self) -> Self {
        const PORT: u64 = 0xffff << V4_PORT_SHIFT;
        let service = |end: u64| (end >> V4_PORT_SHIFT) as u32;
        let (clears_src, clears_dst) = aggregates(service(self.src), service(self.dst));
        Self {
            src: select_unpredictable(clears_src, self.src & !PORT, self.src),
            dst: select_unpredictable(clears_dst, self.dst & !PORT, self.dst),
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "the piece is cut out")]
    const fn split(end: u64) -> ([u8; 4], [u8; 2]) {
        ((end as u32).to_le_bytes(), Self::port(end).to_le_bytes())
    }
}

impl PackedKey for PackedV4 {
    type Key = EpHash<4>;
    type Alignment = Line;

    #[inline]
    fn pack(key: &EpHash<4>, aggregate_ports: bool) -> Self {
        let octets: [u8; 13] = zerocopy::transmute!(*key);
        let dst = word(octets, 5) >> 8;
        let src_alone = word(octets, 0) & ((1 << V4_PROTOCOL_SHIFT) - 1);
        let protocol = dst >> V4_PROTOCOL_SHIFT << V4_PROTOCOL_SHIFT;
        let key = Self {
            src: src_alone | protocol,
            dst,
        };
        if aggregate_ports {
            key.aggregate_ports()
        } else {
            key
        }
    }

    fn unpack(self) -> EpHash<4> {
        let (src_addr, src_port) = Self::split(self.src);
        let (dst_addr, dst_port) = Self::split(self.dst);
        EpHash {
            src_addr,
            src_port,
            dst_addr,
            dst_port,
            ip_protocol: self.ip_protocol(),
        }
    }

    #[inline]
    fn reverse(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "nothing lies above it")]
    fn ip_protocol(self) -> u8 {
        (self.src >> V4_PROTOCOL_SHIFT) as u8
    }

    /// The other one is turned round by masks if the sources differ. (Where two comparisons are or-ed,
    /// the compiler makes a branch of each.)
    #[inline]
    fn is(self, other: Self, either_way: EitherWay) -> bool {
        let reverse = (other.src ^ other.dst) & either_way.0;
        let turn = select_unpredictable(self.src == other.src, 0, reverse);
        (self.src ^ other.src ^ turn) | (self.dst ^ other.dst ^ turn) == 0
    }

    #[inline]
    fn hash(self, hasher: &KeyHasher) -> u64 {
        hasher.hash_ends(self.src, self.dst)
    }
}

/// Aligned as a line of the cache, which has room for an IPv4 flow.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub(super) struct Line;

/// An IPv6 key. Its ends lie in the order of their addresses, and of their ports where those are the
/// same, whichever is the source: so it is compared with a key and with its reverse at once. It has
/// more words than there are registers to turn them round in.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct PackedV6 {
    low: [u64; 2],
    high: [u64; 2],
    /// From the low bits on: the port of the low end and that of the high one, in network order, the
    /// protocol, and [`V6_TURNED`].
    rest: u64,
}

const V6_PORT_BITS: u32 = 16;
const V6_PROTOCOL_SHIFT: u32 = 32;
/// The high end is the source.
const V6_TURNED: u64 = 1 << 40;

impl PackedV6 {
    /// In network order: that of the low end and that of the high one.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the pieces are cut out")]
    const fn ports(self) -> (u16, u16) {
        (self.rest as u16, (self.rest >> V6_PORT_BITS) as u16)
    }

    const fn is_turned(self) -> bool {
        self.rest & V6_TURNED != 0
    }
}

/// The ports of source and destination, in network order, as [`EpHash::aggregate_ports`] leaves them.
#[inline]
fn aggregated((src, dst): (u16, u16), ip_protocol: u8) -> (u16, u16) {
    let service = |port| u32::from(port) | u32::from(ip_protocol) << 16;
    let (clears_src, clears_dst) = aggregates(service(src), service(dst));
    (
        select_unpredictable(clears_src, 0, src),
        select_unpredictable(clears_dst, 0, dst),
    )
}

/// Whether an end comes after another one, where most of the address is the same. Seldom asked, and so the
/// compiler makes a branch of it and not some more instructions for each record.
#[cold]
fn is_behind(end: ([u8; 16], u16), other: ([u8; 16], u16)) -> bool {
    end > other
}

/// An IPv6 key by its ends: each has an address and a port.
#[derive(FromBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Ends {
    ends: [[u8; 18]; 2],
    ip_protocol: u8,
}

impl PackedKey for PackedV6 {
    type Key = EpHash<16>;
    type Alignment = u64;

    #[inline]
    fn pack(key: &EpHash<16>, aggregate_ports: bool) -> Self {
        let port = u16::from_le_bytes;
        let mut ports = (port(key.src_port), port(key.dst_port));
        if aggregate_ports {
            ports = aggregated(ports, key.ip_protocol);
        }
        let (src_port, dst_port) = ports;
        let Ends { ends, ip_protocol } = zerocopy::transmute_ref!(key);
        let [src, dst] = ends.each_ref().map(|end| word(*end, 8));
        let is_turned = if src == dst {
            is_behind((key.src_addr, src_port), (key.dst_addr, dst_port))
        } else {
            src > dst
        };
        // Read from where they lie: so no word has to be chosen out of two.
        let low = &ends[usize::from(is_turned)];
        let high = &ends[usize::from(!is_turned)];
        let ports = u32::from(src_port) | u32::from(dst_port) << V6_PORT_BITS;
        let ports = ports.rotate_left(u32::from(is_turned) * V6_PORT_BITS);
        let protocol = u64::from(*ip_protocol) << V6_PROTOCOL_SHIFT;
        let turned = u64::from(is_turned) * V6_TURNED;
        Self {
            low: [word(*low, 0), word(*low, 8)],
            high: [word(*high, 0), word(*high, 8)],
            rest: u64::from(ports) | protocol | turned,
        }
    }

    fn unpack(self) -> EpHash<16> {
        let (low_port, high_port) = self.ports();
        let key = EpHash {
            src_addr: zerocopy::transmute!(self.low),
            src_port: low_port.to_le_bytes(),
            dst_addr: zerocopy::transmute!(self.high),
            dst_port: high_port.to_le_bytes(),
            ip_protocol: self.ip_protocol(),
        };
        if self.is_turned() { key.reverse() } else { key }
    }

    fn reverse(self) -> Self {
        let (low_port, high_port) = self.ports();
        if self.low == self.high && low_port == high_port {
            return self;
        }
        Self {
            rest: self.rest ^ V6_TURNED,
            ..self
        }
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the piece is cut out")]
    fn ip_protocol(self) -> u8 {
        (self.rest >> V6_PROTOCOL_SHIFT) as u8
    }

    #[inline]
    fn is(self, other: Self, either_way: EitherWay) -> bool {
        let no_matter = V6_TURNED & either_way.0;
        let differing = (self.rest ^ other.rest) & !no_matter;
        self.low == other.low && self.high == other.high && differing == 0
    }

    #[inline]
    fn hash(self, hasher: &KeyHasher) -> u64 {
        hasher.hash_ordered(self.low, self.high, self.rest & !V6_TURNED)
    }
}

#[cfg(test)]
mod tests {
    use probe_common::ephash::EpHash;
    use proptest::prelude::*;

    use super::{EitherWay, FlowKey, PackedKey};

    fn key<const N: usize>() -> impl Strategy<Value = EpHash<N>> {
        let port = || prop_oneof![any::<u16>(), Just(53), Just(443), Just(8080), 0..2048_u16];
        let protocol = prop_oneof![any::<u8>(), Just(6), Just(17)];
        (any::<[[u8; N]; 2]>(), port(), port(), protocol).prop_map(|(addrs, src, dst, protocol)| {
            EpHash {
                src_addr: addrs[0],
                src_port: src.to_be_bytes(),
                dst_addr: addrs[1],
                dst_port: dst.to_be_bytes(),
                ip_protocol: protocol,
            }
        })
    }

    fn does_the_same<const N: usize>(key: EpHash<N>)
    where
        EpHash<N>: FlowKey,
    {
        let pack = |key: EpHash<N>| <EpHash<N> as FlowKey>::Packed::pack(&key, false);
        assert_eq!(pack(key).unpack(), key);
        assert_eq!(pack(key).ip_protocol(), key.ip_protocol);
        assert_eq!(pack(key).reverse(), pack(key.reverse()));
        let aggregated = <EpHash<N> as FlowKey>::Packed::pack(&key, true);
        assert_eq!(aggregated, pack(key.aggregate_ports()));
        let back = <EpHash<N> as FlowKey>::Packed::pack(&key.reverse(), true);
        assert!(
            aggregated.is(back, EitherWay::new(true)),
            "one conversation is one flow"
        );
    }

    fn compares_the_same<const N: usize>(key: EpHash<N>, other: EpHash<N>)
    where
        EpHash<N>: FlowKey,
    {
        let pack = |key: EpHash<N>| <EpHash<N> as FlowKey>::Packed::pack(&key, false);
        let is_reverse = key == other.reverse();
        let is = |either_way| pack(key).is(pack(other), EitherWay::new(either_way));
        assert_eq!(is(false), key == other);
        assert_eq!(is(true), key == other || is_reverse);
    }

    /// Keys that have much in common: their addresses differ in the first octet or the last, or not at all.
    fn alike<const N: usize>() -> impl Strategy<Value = EpHash<N>> {
        let end = || (0..2_u8, 0..2_u8, 0..2_u8);
        (end(), end(), 6..8_u8).prop_map(|(src, dst, ip_protocol)| {
            let addr = |(first, last, _)| {
                let mut addr = [7; N];
                addr[0] ^= first;
                addr[N - 1] ^= last;
                addr
            };
            EpHash {
                src_addr: addr(src),
                src_port: [1, src.2],
                dst_addr: addr(dst),
                dst_port: [1, dst.2],
                ip_protocol,
            }
        })
    }

    proptest! {
        #[test]
        fn packed_keys_do_as_keys_do(v4 in key::<4>(), v6 in key::<16>()) {
            does_the_same(v4);
            does_the_same(v6);
            does_the_same(EpHash { dst_addr: v4.src_addr, ..v4 });
            does_the_same(EpHash { dst_addr: v6.src_addr, ..v6 });
        }

        #[test]
        fn packed_keys_are_the_same_as_keys_are(
            v4 in [alike::<4>(), alike::<4>()],
            v6 in [alike::<16>(), alike::<16>()],
        ) {
            compares_the_same(v4[0], v4[1]);
            compares_the_same(v6[0], v6[1]);
            does_the_same(v6[0]);
        }
    }
}
