//! Ports, TCP flags and ICMP types.

use super::{Observation, PacketBytes, network::wire_header_octets};
use crate::{
    ephash::EpHash,
    headers::{
        PORTS_LEN, TCP_THROUGH_FLAGS_LEN, UDP_LEN,
        ip_protocol::{ICMP, ICMPV6, SCTP, TCP, UDP},
    },
    record::FLAG_SHORT_TRANSPORT,
};

/// Completes an observation with what the transport header at `offset` says.
///
/// The packet ends at `end` by its IP header; bytes behind it are padding and not read. A header
/// that is cut is no error: its octets belong to a flow all the same, which then lacks the ports
/// that could not be read. `FLAG_SHORT_TRANSPORT` marks it, so that it is counted by name.
#[inline(always)]
pub fn parse<P: PacketBytes + ?Sized, const N: usize>(
    frame: &P,
    offset: usize,
    end: usize,
    mut observation: Observation<EpHash<N>>,
) -> Observation<EpHash<N>> {
    let available = end.saturating_sub(offset);
    match observation.key.ip_protocol {
        TCP => {
            if available >= TCP_THROUGH_FLAGS_LEN
                && let Ok(header) = frame.load::<TCP_THROUGH_FLAGS_LEN>(offset)
            {
                let [s0, s1, d0, d1, ..] = header;
                observation.key.src_port = [s0, s1];
                observation.key.dst_port = [d0, d1];
                observation.tcp_flags = header[13];
                observation.aux = header[13];
                observation.header_octets += u16::from(header[12] >> 4) * 4;
            } else {
                observation.flags |= FLAG_SHORT_TRANSPORT;
                load_ports(frame, offset, available, &mut observation.key);
            }
        }
        UDP | SCTP => {
            if !load_ports(frame, offset, available, &mut observation.key) {
                observation.flags |= FLAG_SHORT_TRANSPORT;
            }
            if observation.key.ip_protocol == UDP {
                observation.header_octets += wire_header_octets(UDP_LEN);
            }
        }
        ICMP | ICMPV6 => {
            if available >= 1
                && let Ok([icmp_type]) = frame.load::<1>(offset)
            {
                observation.aux = icmp_type;
            } else {
                observation.flags |= FLAG_SHORT_TRANSPORT;
            }
        }
        _ => {}
    }
    observation
}

/// Reads both ports into the key if they are there, and says whether they were.
#[inline(always)]
fn load_ports<P: PacketBytes + ?Sized, const N: usize>(
    frame: &P,
    offset: usize,
    available: usize,
    key: &mut EpHash<N>,
) -> bool {
    if available >= PORTS_LEN
        && let Ok([s0, s1, d0, d1]) = frame.load::<PORTS_LEN>(offset)
    {
        key.src_port = [s0, s1];
        key.dst_port = [d0, d1];
        return true;
    }
    false
}
