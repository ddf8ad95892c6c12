//! Which port of a record is aggregated away, without branches: which end has the common port
//! ([`is_common`]) cannot be predicted.

use probe_common::{
    headers::ip_protocol::{TCP, UDP},
    ports::is_common,
};

/// The common ports, each in the only place where it is tested.
static COMMON: [u32; PLACES] = places();

const PLACES: usize = 1 << PLACE_BITS;
const PLACE_BITS: u32 = 4;

/// What no service is.
const VACANT: u32 = u32::MAX;

/// Gives each service that is common a place of its own. Found by trying; where the rule changes, the
/// compiler says whether another one has to be found.
const FACTOR: u32 = 0xe4b0_6ce7;

/// A port, in the order of the network, with its protocol above it: as they lie in packed keys.
const fn service(port: u16, ip_protocol: u8) -> u32 {
    port as u32 | (ip_protocol as u32) << 16
}

#[inline(always)]
const fn place(service: u32) -> usize {
    (service.wrapping_mul(FACTOR) >> (u32::BITS - PLACE_BITS)) as usize
}

const fn places() -> [u32; PLACES] {
    let mut places = [VACANT; PLACES];
    let mut port = 0;
    while port < u16::MAX {
        port += 1;
        let mut protocols: &[u8] = &[TCP, UDP];
        while let [ip_protocol, rest @ ..] = protocols {
            protocols = rest;
            if is_common(*ip_protocol, port) {
                let service = service(port.swap_bytes(), *ip_protocol);
                assert!(places[place(service)] == VACANT, "needs another factor");
                places[place(service)] = service;
            }
        }
    }
    places
}

/// Whether the port of the source and that of the destination are aggregated away: where the other end's is
/// common and this one is not [kept](probe_common::ports::is_kept). Of ports in the order of the network, with
/// their protocol above them.
///
/// Both are decided before any port is cleared: the compiler then has fewer values at hand at a time and keeps
/// them in registers (13 instructions less for each record of IPv4).
#[inline(always)]
pub(super) const fn aggregates(src: u32, dst: u32) -> (bool, bool) {
    let is_common = (is_common_service(src), is_common_service(dst));
    let is_kept = (
        is_common.0 | is_system_port(src),
        is_common.1 | is_system_port(dst),
    );
    (is_common.1 && !is_kept.0, is_common.0 && !is_kept.1)
}

#[inline(always)]
const fn is_common_service(service: u32) -> bool {
    COMMON[place(service)] == service
}

/// The system ports, below 1024, have 3 at most as their high octet, which is the first on the network.
#[inline(always)]
const fn is_system_port(service: u32) -> bool {
    service & 0xfc == 0
}

#[cfg(test)]
mod tests {
    use probe_common::ports::{is_common, is_kept};

    use super::{aggregates, service};

    #[test]
    fn the_same_ports_are_aggregated_away() {
        for ip_protocol in 0..=u8::MAX {
            let service = |port: u16| service(port.swap_bytes(), ip_protocol);
            for other in [0, 22, 53, 80, 443, 1023, 1024, 8080, 0x3500, u16::MAX] {
                let is_common = |port| is_common(ip_protocol, port);
                let is_kept = |port| is_kept(ip_protocol, port);
                for port in 0..=u16::MAX {
                    let expected = (
                        is_common(other) && !is_kept(port),
                        is_common(port) && !is_kept(other),
                    );
                    assert_eq!(
                        aggregates(service(port), service(other)),
                        expected,
                        "protocol {ip_protocol}, ports {port} and {other}"
                    );
                }
            }
        }
    }
}
