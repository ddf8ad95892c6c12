//! Flow keys in words, as the flow tables keep them.
//!
//! A key of 13 or 37 octets that is copied, reversed and compared in pieces costs more than all the
//! rest of a look-up: each piece waits until those that it was put together from are written. Words
//! stay in registers.

use std::fmt::Debug;

use probe_common::ephash::EpHash;

use super::hash::KeyHasher;

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

    fn pack(key: &Self::Key) -> Self;

    fn unpack(self) -> Self::Key;

    /// See [`EpHash::reverse`].
    fn reverse(self) -> Self;

    fn ip_protocol(self) -> u8;

    /// Whether the key is another one or, if `either_way`, its reverse. Without branches: which of
    /// the two it is nobody can predict.
    fn is(self, other: Self, either_way: bool) -> bool;

    /// The hash of the key, which is that of its reverse.
    fn hash(self, hasher: &KeyHasher) -> u64;
}

/// An IPv4 key. Each end has address, port and the protocol: so the reverse is the other order.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PackedV4 {
    src: u64,
    dst: u64,
}

const V4_PORT_SHIFT: u32 = 32;
const V4_PROTOCOL_SHIFT: u32 = 56;

impl PackedV4 {
    #[inline]
    fn end(addr: [u8; 4], port: [u8; 2], ip_protocol: u8) -> u64 {
        u64::from(u32::from_ne_bytes(addr))
            | u64::from(u16::from_be_bytes(port)) << V4_PORT_SHIFT
            | u64::from(ip_protocol) << V4_PROTOCOL_SHIFT
    }

    #[inline]
    #[expect(clippy::cast_possible_truncation, reason = "the pieces are cut out")]
    const fn split(end: u64) -> ([u8; 4], u16) {
        ((end as u32).to_ne_bytes(), (end >> V4_PORT_SHIFT) as u16)
    }
}

impl PackedKey for PackedV4 {
    type Key = EpHash<4>;

    #[inline]
    fn pack(key: &EpHash<4>) -> Self {
        Self {
            src: Self::end(key.src_addr, key.src_port, key.ip_protocol),
            dst: Self::end(key.dst_addr, key.dst_port, key.ip_protocol),
        }
    }

    fn unpack(self) -> EpHash<4> {
        let (src_addr, src_port) = Self::split(self.src);
        let (dst_addr, dst_port) = Self::split(self.dst);
        EpHash {
            src_addr,
            src_port: src_port.to_be_bytes(),
            dst_addr,
            dst_port: dst_port.to_be_bytes(),
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
    fn ip_protocol(self) -> u8 {
        (self.src >> V4_PROTOCOL_SHIFT) as u8
    }

    #[inline]
    fn is(self, other: Self, either_way: bool) -> bool {
        let same = (self.src ^ other.src) | (self.dst ^ other.dst);
        let reverse = (self.src ^ other.dst) | (self.dst ^ other.src);
        (same == 0) | (reverse | u64::from(!either_way) == 0)
    }

    #[inline]
    fn hash(self, hasher: &KeyHasher) -> u64 {
        hasher.hash_ends(self.src, self.dst)
    }
}

/// An IPv6 key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PackedV6 {
    src: [u64; 2],
    dst: [u64; 2],
    src_port: u16,
    dst_port: u16,
    ip_protocol: u8,
}

impl PackedV6 {
    /// All but the addresses.
    #[inline]
    fn rest(self) -> u64 {
        let ports = u64::from(self.src_port) | u64::from(self.dst_port) << 16;
        ports | u64::from(self.ip_protocol) << 32
    }
}

#[inline]
fn words(addr: [u8; 16]) -> [u64; 2] {
    zerocopy::transmute!(addr)
}

impl PackedKey for PackedV6 {
    type Key = EpHash<16>;

    #[inline]
    fn pack(key: &EpHash<16>) -> Self {
        Self {
            src: words(key.src_addr),
            dst: words(key.dst_addr),
            src_port: key.src_port(),
            dst_port: key.dst_port(),
            ip_protocol: key.ip_protocol,
        }
    }

    fn unpack(self) -> EpHash<16> {
        EpHash {
            src_addr: zerocopy::transmute!(self.src),
            src_port: self.src_port.to_be_bytes(),
            dst_addr: zerocopy::transmute!(self.dst),
            dst_port: self.dst_port.to_be_bytes(),
            ip_protocol: self.ip_protocol,
        }
    }

    #[inline]
    fn reverse(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            ip_protocol: self.ip_protocol,
        }
    }

    #[inline]
    fn ip_protocol(self) -> u8 {
        self.ip_protocol
    }

    #[inline]
    fn is(self, other: Self, either_way: bool) -> bool {
        let differing =
            |addr: [u64; 2], other: [u64; 2]| (addr[0] ^ other[0]) | (addr[1] ^ other[1]);
        let same = differing(self.src, other.src)
            | differing(self.dst, other.dst)
            | (self.rest() ^ other.rest());
        let reverse = differing(self.src, other.dst)
            | differing(self.dst, other.src)
            | (self.rest() ^ other.reverse().rest());
        (same == 0) | (reverse | u64::from(!either_way) == 0)
    }

    #[inline]
    fn hash(self, hasher: &KeyHasher) -> u64 {
        let port = |port: u16| u64::from(port) | u64::from(self.ip_protocol) << 16;
        let src = hasher.hash_addr(self.src) ^ port(self.src_port);
        let dst = hasher.hash_addr(self.dst) ^ port(self.dst_port);
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
    }

    proptest! {
        #[test]
        fn packed_keys_do_as_keys_do(v4 in key::<4>(), v6 in key::<16>()) {
            does_the_same(v4);
            does_the_same(v6);
        }
    }
}
