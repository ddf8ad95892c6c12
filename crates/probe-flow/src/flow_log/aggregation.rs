//! Which ports are common ([`is_common`]), without branches: which end of a record has the common port
//! cannot be predicted.

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

/// Whether flows to a port, in the order of the network and with its protocol above it, are kept
/// without the client's.
#[inline(always)]
pub(super) fn is_common_service(service: u32) -> bool {
    COMMON[place(service)] == service
}

#[cfg(test)]
mod tests {
    use probe_common::ports::is_common;

    use super::{is_common_service, service};

    #[test]
    fn the_same_ports_are_common() {
        for ip_protocol in 0..=u8::MAX {
            for port in 0..=u16::MAX {
                assert_eq!(
                    is_common_service(service(port.swap_bytes(), ip_protocol)),
                    is_common(ip_protocol, port),
                    "protocol {ip_protocol}, port {port}"
                );
            }
        }
    }
}
