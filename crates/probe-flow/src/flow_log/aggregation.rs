//! Which ports are common ([`is_common`]) or kept ([`is_kept`](probe_common::ports::is_kept)), without
//! branches: which end of a record has the common port cannot be predicted.

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

/// What a port says about its end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PortRole {
    /// Clients of the service are aggregated: [`is_common`].
    pub(super) is_common: bool,
    /// It is not aggregated away: [`is_kept`](probe_common::ports::is_kept).
    pub(super) is_kept: bool,
}

impl PortRole {
    /// Of a port in the order of the network, with its protocol above it.
    #[inline(always)]
    pub(super) fn of_service(service: u32) -> Self {
        /// The system ports, below 1024, have this high octet at most, which is the first on the network.
        const SYSTEM: u32 = 3;
        let is_common = COMMON[place(service)] == service;
        Self {
            is_common,
            is_kept: is_common || service & 0xff <= SYSTEM,
        }
    }
}

#[cfg(test)]
mod tests {
    use probe_common::ports::{is_common, is_kept};

    use super::{PortRole, service};

    #[test]
    fn ports_have_the_same_roles() {
        for ip_protocol in 0..=u8::MAX {
            for port in 0..=u16::MAX {
                let expected = PortRole {
                    is_common: is_common(ip_protocol, port),
                    is_kept: is_kept(ip_protocol, port),
                };
                assert_eq!(
                    PortRole::of_service(service(port.swap_bytes(), ip_protocol)),
                    expected,
                    "protocol {ip_protocol}, port {port}"
                );
            }
        }
    }
}
