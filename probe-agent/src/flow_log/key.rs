//! Flow keys in words, as the flow tables keep them.
//!
//! A key of 13 or 37 octets that is copied, reversed and compared in pieces costs more than all the
//! rest of a look-up: each piece waits until those that it was put together from are written. Words
//! stay in registers.

use std::{fmt::Debug, hint::select_unpredictable};

use probe_common::ephash::EpHash;

use super::{aggregation::is_common_service, hash::KeyHasher};

/// A key that has a packed form: that of IPv4 and that of IPv6.
pub(super) trait FlowKey: Copy + Debug {
    /// The packed form.
    type Packed: PackedKey<Key = Self>;
}

impl FlowKey for EpHash<4> {
    type Packed = PackedV4;
}

impl FlowKey for EpHash<16> {
    type Packed = PackedV6;
}

/// A key in words.
pub(super) trait PackedKey: Copy + Debug + Eq {
    /// What it is the packed form of.
    type Key;

    /// A type aligned as flows with this key are.
    type Alignment: Copy + Debug;

    fn pack(key: &Self::Key) -> Self;

    fn unpack(self) -> Self::Key;

    /// See [`EpHash::reverse`].
    fn reverse(self) -> Self;

    /// See [`EpHash::aggregate_ports`].
    fn aggregate_ports(self) -> Self;

    fn ip_protocol(self) -> u8;

    /// Whether the key is another one or, if `either_way`, its reverse. Which of the two nobody can
    /// predict, so the other one is turned round by masks if the sources differ. (Where two comparisons
    /// are or-ed, the compiler makes a branch of each.)
    fn is(self, other: Self, either_way: bool) -> bool;

    /// The hash of the key, which is that of its reverse.
    fn hash(self, hasher: &KeyHasher) -> u64;
}

/// A key with its hash, which is computed once for a record.
#[derive(Clone, Copy, Debug)]
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
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PackedV4 {
    src: u64,
    dst: u64,
}

const V4_PORT_SHIFT: u32 = 32;
const V4_PROTOCOL_SHIFT: u32 = 48;

impl PackedV4 {
    /// In network order.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the piece is cut out")]
    const fn port(end: u64) -> u16 {
        (end >> V4_PORT_SHIFT) as u16
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
    fn pack(key: &EpHash<4>) -> Self {
        let octets: [u8; 13] = zerocopy::transmute!(*key);
        let dst = word(octets, 5) >> 8;
        let src_alone = word(octets, 0) & ((1 << V4_PROTOCOL_SHIFT) - 1);
        let protocol = dst >> V4_PROTOCOL_SHIFT << V4_PROTOCOL_SHIFT;
        Self {
            src: src_alone | protocol,
            dst,
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
    fn aggregate_ports(self) -> Self {
        const PORT: u64 = 0xffff << V4_PORT_SHIFT;
        let is_common = |end: u64| is_common_service((end >> V4_PORT_SHIFT) as u32);
        let (src, dst) = (is_common(self.src), is_common(self.dst));
        let dst_if_src = select_unpredictable(src, self.dst & !PORT, self.dst);
        Self {
            src: select_unpredictable(dst, self.src & !PORT, self.src),
            dst: select_unpredictable(dst, self.dst, dst_if_src),
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

    #[inline]
    fn is(self, other: Self, either_way: bool) -> bool {
        let is_turned = (self.src != other.src) & either_way;
        let turn = (other.src ^ other.dst) & u64::from(is_turned).wrapping_neg();
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

/// An IPv6 key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PackedV6 {
    src: [u64; 2],
    dst: [u64; 2],
    /// In network order, that of the source in the low half.
    ports: u32,
    ip_protocol: u8,
}

impl PackedV6 {
    /// In network order: that of the source and that of the destination.
    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the pieces are cut out")]
    const fn split(ports: u32) -> (u16, u16) {
        (ports as u16, (ports >> 16) as u16)
    }
}

#[inline]
fn words(addr: [u8; 16]) -> [u64; 2] {
    zerocopy::transmute!(addr)
}

impl PackedKey for PackedV6 {
    type Key = EpHash<16>;
    type Alignment = u64;

    #[inline]
    fn pack(key: &EpHash<16>) -> Self {
        let port = |port| u32::from(u16::from_le_bytes(port));
        Self {
            src: words(key.src_addr),
            dst: words(key.dst_addr),
            ports: port(key.src_port) | port(key.dst_port) << 16,
            ip_protocol: key.ip_protocol,
        }
    }

    fn unpack(self) -> EpHash<16> {
        let (src_port, dst_port) = Self::split(self.ports);
        EpHash {
            src_addr: zerocopy::transmute!(self.src),
            src_port: src_port.to_le_bytes(),
            dst_addr: zerocopy::transmute!(self.dst),
            dst_port: dst_port.to_le_bytes(),
            ip_protocol: self.ip_protocol,
        }
    }

    #[inline]
    fn reverse(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            ports: self.ports.rotate_left(16),
            ip_protocol: self.ip_protocol,
        }
    }

    #[inline]
    fn aggregate_ports(self) -> Self {
        let is_common =
            |port: u16| is_common_service(u32::from(port) | u32::from(self.ip_protocol) << 16);
        let (src, dst) = Self::split(self.ports);
        let (src, dst) = (is_common(src), is_common(dst));
        let without_dst = select_unpredictable(src, self.ports & 0xffff, self.ports);
        Self {
            ports: select_unpredictable(dst, self.ports & !0xffff, without_dst),
            ..self
        }
    }

    #[inline]
    fn ip_protocol(self) -> u8 {
        self.ip_protocol
    }

    #[inline]
    fn is(self, other: Self, either_way: bool) -> bool {
        let differing = |one: [u64; 2], other: [u64; 2]| (one[0] ^ other[0]) | (one[1] ^ other[1]);
        let src_port = (self.ports ^ other.ports) << 16;
        let is_turned = (differing(self.src, other.src) | u64::from(src_port) != 0) & either_way;
        let mask = u64::from(is_turned).wrapping_neg();
        let turn = [0, 1].map(|word| (other.src[word] ^ other.dst[word]) & mask);
        let turned = |addr: [u64; 2]| [addr[0] ^ turn[0], addr[1] ^ turn[1]];
        let rotation = u32::from(is_turned) * 16;
        let ports = self.ports ^ other.ports.rotate_left(rotation);
        let rest = u64::from(ports) | u64::from(self.ip_protocol ^ other.ip_protocol);
        let addrs = differing(self.src, turned(other.src)) | differing(self.dst, turned(other.dst));
        addrs | rest == 0
    }

    #[inline]
    fn hash(self, hasher: &KeyHasher) -> u64 {
        let (src, dst) = Self::split(self.ports);
        let port = |port: u16| u64::from(port) | u64::from(self.ip_protocol) << 16;
        let src = hasher.hash_addr(self.src) ^ port(src);
        let dst = hasher.hash_addr(self.dst) ^ port(dst);
        hasher.hash_ends(src, dst)
    }
}

#[cfg(test)]
mod tests {
    use probe_common::ephash::EpHash;
    use proptest::prelude::*;

    use super::{FlowKey, PackedKey};

    fn key<const N: usize>() -> impl Strategy<Value = EpHash<N>> {
        let port = || prop_oneof![any::<u16>(), Just(53), Just(443), Just(0)];
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
        let pack = <EpHash<N> as FlowKey>::Packed::pack;
        assert_eq!(pack(&key).unpack(), key);
        assert_eq!(pack(&key).ip_protocol(), key.ip_protocol);
        assert_eq!(pack(&key).reverse(), pack(&key.reverse()));
        assert_eq!(pack(&key).aggregate_ports(), pack(&key.aggregate_ports()));
    }

    fn compares_the_same<const N: usize>(key: EpHash<N>, other: EpHash<N>)
    where
        EpHash<N>: FlowKey,
    {
        let pack = <EpHash<N> as FlowKey>::Packed::pack;
        let is_reverse = key == other.reverse();
        assert_eq!(pack(&key).is(pack(&other), false), key == other);
        assert_eq!(
            pack(&key).is(pack(&other), true),
            key == other || is_reverse
        );
    }

    /// Keys that have much in common.
    fn alike<const N: usize>() -> impl Strategy<Value = EpHash<N>> {
        let end = || (0..2_u8, 0..2_u8);
        (end(), end(), 6..8_u8).prop_map(|(src, dst, ip_protocol)| {
            let addr = |differs| {
                let mut addr = [7; N];
                addr[N - 1] ^= differs;
                addr
            };
            EpHash {
                src_addr: addr(src.0),
                src_port: [1, src.1],
                dst_addr: addr(dst.0),
                dst_port: [1, dst.1],
                ip_protocol,
            }
        })
    }

    proptest! {
        #[test]
        fn packed_keys_do_as_keys_do(v4 in key::<4>(), v6 in key::<16>()) {
            does_the_same(v4);
            does_the_same(v6);
        }

        #[test]
        fn packed_keys_are_the_same_as_keys_are(
            v4 in [alike::<4>(), alike::<4>()],
            v6 in [alike::<16>(), alike::<16>()],
        ) {
            compares_the_same(v4[0], v4[1]);
            compares_the_same(v6[0], v6[1]);
        }
    }
}
