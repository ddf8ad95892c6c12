//! The EPHash: the flow key, laid out as bytes in network order.
//!
//! IPv4, 13 bytes: source address `[0..4]`, source port `[4..6]`, destination address `[6..10]`,
//! destination port `[10..12]`, protocol `[12]`. IPv6, 37 bytes: `[0..16]`, `[16..18]`, `[18..34]`,
//! `[34..36]`, `[36]`.

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::wire_type;

/// Flow key with addresses of `N` bytes. See [`EpHashV4`] and [`EpHashV6`].
#[derive(
    Clone,
    Copy,
    Debug,
    Eq,
    FromBytes,
    Immutable,
    IntoBytes,
    KnownLayout,
    PartialEq,
    Unaligned,
    Ord,
    PartialOrd,
)]
#[repr(C)]
pub struct EpHash<const N: usize> {
    /// Source address, network order.
    pub src_addr: [u8; N],
    /// Source port, network order; 0 where the protocol has none or where it was aggregated away.
    pub src_port: [u8; 2],
    /// Destination address, network order.
    pub dst_addr: [u8; N],
    /// Destination port, network order; 0 like `src_port`.
    pub dst_port: [u8; 2],
    /// IP protocol number: of the transport header, behind any IPv6 extension headers.
    pub ip_protocol: u8,
}

/// Flow key of an IPv4 packet, 13 bytes.
pub type EpHashV4 = EpHash<4>;
/// Flow key of an IPv6 packet, 37 bytes.
pub type EpHashV6 = EpHash<16>;

wire_type!(EpHashV4, size = 13);
wire_type!(EpHashV6, size = 37);

impl<const N: usize> core::hash::Hash for EpHash<N> {
    // In one piece: the derived form feeds the hasher five slices with their lengths.
    #[inline]
    fn hash<H: core::hash::Hasher>(&self, state: &mut H) {
        state.write(self.as_bytes());
    }
}

impl<const N: usize> EpHash<N> {
    /// The key of the opposite direction: both (address, port) pairs swap, the protocol stays.
    #[inline(always)]
    #[must_use]
    pub const fn reverse(&self) -> Self {
        Self {
            src_addr: self.dst_addr,
            src_port: self.dst_port,
            dst_addr: self.src_addr,
            dst_port: self.src_port,
            ip_protocol: self.ip_protocol,
        }
    }

    /// Source port in host order.
    #[inline(always)]
    pub const fn src_port(&self) -> u16 {
        u16::from_be_bytes(self.src_port)
    }

    /// Destination port in host order.
    #[inline(always)]
    pub const fn dst_port(&self) -> u16 {
        u16::from_be_bytes(self.dst_port)
    }

    /// The key with the port of the client side set to 0 where the server side's port is common
    /// (see [`crate::ports::is_common`]), unless that of the client side may be a service's, too
    /// (see [`crate::ports::is_kept`]). Both directions of a conversation give the same.
    #[must_use]
    #[inline]
    pub const fn aggregate_ports(mut self) -> Self {
        use crate::ports::{is_common, is_kept};
        let (src, dst) = (self.src_port(), self.dst_port());
        if is_common(self.ip_protocol, dst) && !is_kept(self.ip_protocol, src) {
            self.src_port = [0, 0];
        } else if is_common(self.ip_protocol, src) && !is_kept(self.ip_protocol, dst) {
            self.dst_port = [0, 0];
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use zerocopy::IntoBytes;

    use super::{EpHash, EpHashV4};
    use crate::headers::ip_protocol::{TCP, UDP};

    const KEY: EpHashV4 = EpHash {
        src_addr: [198, 18, 0, 1],
        src_port: [0xc0, 0x01],
        dst_addr: [198, 18, 0, 2],
        dst_port: [0x01, 0xbb],
        ip_protocol: TCP,
    };

    #[test]
    fn bytes_are_in_the_documented_order() {
        assert_eq!(
            KEY.as_bytes(),
            [198, 18, 0, 1, 0xc0, 1, 198, 18, 0, 2, 1, 0xbb, 6]
        );
    }

    #[test]
    fn reverse_swaps_the_ends_and_is_its_own_inverse() {
        let reverse = KEY.reverse();
        assert_eq!(
            reverse.as_bytes(),
            [198, 18, 0, 2, 1, 0xbb, 198, 18, 0, 1, 0xc0, 1, 6]
        );
        assert_eq!(reverse.reverse(), KEY);
    }

    #[test]
    fn aggregation_clears_the_client_port_in_both_directions() {
        assert_eq!(KEY.aggregate_ports().src_port(), 0);
        assert_eq!(KEY.aggregate_ports().dst_port(), 443);
        assert_eq!(
            KEY.reverse().aggregate_ports(),
            KEY.aggregate_ports().reverse()
        );
    }
    #[test]
    fn aggregation_keeps_both_ports_where_either_may_be_the_service() {
        for (src, dst, ip_protocol) in [
            (53, 53, UDP),
            (443, 443, UDP),
            (53, 443, UDP),
            (80, 80, TCP),
            (445, 445, TCP),
            (80, 443, TCP),
            (8080, 80, TCP),
            (53, 22, TCP),
            (443, 123, UDP),
        ] {
            let key = EpHashV4 {
                src_port: u16::to_be_bytes(src),
                dst_port: u16::to_be_bytes(dst),
                ip_protocol,
                ..KEY
            };
            assert_eq!(key.aggregate_ports(), key, "{src} -> {dst}");
            let back = key.reverse();
            assert_eq!(back.aggregate_ports(), back, "{dst} -> {src}");
        }
    }

    #[test]
    fn aggregation_finds_the_service_among_user_ports() {
        for (client, service, ip_protocol) in [(1024, 443, TCP), (5353, 53, UDP), (5432, 8080, TCP)]
        {
            let key = EpHashV4 {
                src_port: u16::to_be_bytes(client),
                dst_port: u16::to_be_bytes(service),
                ip_protocol,
                ..KEY
            };
            let aggregated = key.aggregate_ports();
            assert_eq!((aggregated.src_port(), aggregated.dst_port()), (0, service));
            assert_eq!(key.reverse().aggregate_ports(), aggregated.reverse());
        }
    }
}
