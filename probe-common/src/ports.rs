//! Port rules: which ports are common (aggregated), and which are more of a server's than others.

use crate::headers::ip_protocol::{TCP, UDP};

const FIRST_USER_PORT: u16 = 1024;
const FIRST_EPHEMERAL_PORT: u16 = 32768;

/// Whether flows to this port are stored without the client's port: TCP 53, 80, 443, 445 and 8080,
/// UDP 53 and 443.
#[inline(always)]
pub const fn is_common(ip_protocol: u8, port: u16) -> bool {
    match ip_protocol {
        TCP => matches!(port, 53 | 80 | 443 | 445 | 8080),
        UDP => matches!(port, 53 | 443),
        _ => false,
    }
}

/// Whether a port may be that of a service although the other end's is [common](is_common), so that it is
/// kept: another common port, or a system port, which clients are not given. Without it the flow
/// might lose the server's port, and both directions might not meet in one flow.
#[inline(always)]
pub const fn is_kept(ip_protocol: u8, port: u16) -> bool {
    port < FIRST_USER_PORT || is_common(ip_protocol, port)
}

/// Who has a port: the lower the range, the more likely a server.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum PortRange {
    /// 1 to 1023: system ports, assigned to services (RFC 6335, section 6).
    System,
    /// 1024 to 32767: services, and clients on systems that choose from a larger range than Linux.
    User,
    /// 32768 and above: what clients are given (the Linux default of `net.ipv4.ip_local_port_range`); or
    /// 0, which stands for a client's port that was aggregated away.
    Ephemeral,
}

impl PortRange {
    /// The range of a port.
    pub const fn from_port(port: u16) -> Self {
        match port {
            0 | FIRST_EPHEMERAL_PORT.. => Self::Ephemeral,
            FIRST_USER_PORT.. => Self::User,
            _ => Self::System,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PortRange, is_common, is_kept};
    use crate::headers::ip_protocol::{ICMP, TCP, UDP};

    #[test]
    fn common_ports_depend_on_the_protocol() {
        for port in [53, 80, 443, 445, 8080] {
            assert!(is_common(TCP, port), "TCP {port}");
        }
        for port in [53, 443] {
            assert!(is_common(UDP, port), "UDP {port}");
        }
        for (protocol, port) in [(UDP, 80), (UDP, 8080), (TCP, 22), (ICMP, 53), (TCP, 0)] {
            assert!(
                !is_common(protocol, port),
                "protocol {protocol} port {port}"
            );
        }
    }

    #[test]
    fn ports_that_may_be_a_service_are_kept() {
        for (protocol, port) in [(TCP, 22), (UDP, 123), (TCP, 1023), (TCP, 8080), (UDP, 443)] {
            assert!(is_kept(protocol, port), "protocol {protocol} port {port}");
        }
        for (protocol, port) in [(TCP, 1024), (UDP, 8080), (TCP, 5432), (TCP, 65535)] {
            assert!(!is_kept(protocol, port), "protocol {protocol} port {port}");
        }
    }

    #[test]
    fn every_port_has_its_range() {
        for (port, range) in [
            (0, PortRange::Ephemeral),
            (1, PortRange::System),
            (1023, PortRange::System),
            (1024, PortRange::User),
            (32767, PortRange::User),
            (32768, PortRange::Ephemeral),
            (65535, PortRange::Ephemeral),
        ] {
            assert_eq!(PortRange::from_port(port), range, "port {port}");
        }
    }
}
