//! Port rules: which ports are common (aggregated) and which are ephemeral.

use crate::headers::ip_protocol::{TCP, UDP};

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

/// Whether a port is one that clients are given: 32768 and above (the Linux default of
/// `net.ipv4.ip_local_port_range`), or 0, which stands for a port that was aggregated away.
#[inline(always)]
pub const fn is_ephemeral(port: u16) -> bool {
    port >= FIRST_EPHEMERAL_PORT || port == 0
}

#[cfg(test)]
mod tests {
    use super::{is_common, is_ephemeral};
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
    fn ephemeral_ports_start_at_32768_and_include_the_aggregated_one() {
        assert!(is_ephemeral(0) && is_ephemeral(32768) && is_ephemeral(65535));
        assert!(!is_ephemeral(1) && !is_ephemeral(32767));
    }
}
