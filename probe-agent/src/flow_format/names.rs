//! Names of protocols and services, as in the IANA registries.

/// Keyword of a protocol number, lower case; `None` for those that are hardly ever seen.
pub(super) const fn protocol(number: u8) -> Option<&'static str> {
    Some(match number {
        1 => "icmp",
        2 => "igmp",
        4 => "ipip",
        6 => "tcp",
        17 => "udp",
        33 => "dccp",
        41 => "ipv6",
        46 => "rsvp",
        47 => "gre",
        50 => "esp",
        51 => "ah",
        58 => "icmp6",
        59 => "none",
        88 => "eigrp",
        89 => "ospf",
        103 => "pim",
        112 => "vrrp",
        115 => "l2tp",
        132 => "sctp",
        136 => "udpl",
        137 => "mpls",
        _ => return None,
    })
}

/// Service at the server's port, for the protocols that have ports.
pub(super) const fn service(ip_protocol: u8, port: u16) -> Option<&'static str> {
    if !matches!(ip_protocol, 6 | 17 | 132) {
        return None;
    }
    Some(match port {
        20 => "ftp-data",
        21 => "ftp",
        22 => "ssh",
        23 => "telnet",
        25 => "smtp",
        53 => "dns",
        67 | 68 => "dhcp",
        80 => "http",
        110 => "pop3",
        123 => "ntp",
        137 => "netbios",
        143 => "imap",
        161 | 162 => "snmp",
        179 => "bgp",
        389 => "ldap",
        443 => "https",
        445 => "smb",
        500 | 4500 => "ike",
        514 => "syslog",
        546 | 547 => "dhcp6",
        587 => "submit",
        636 => "ldaps",
        853 => "dns-tls",
        993 => "imaps",
        1900 => "ssdp",
        2049 => "nfs",
        3306 => "mysql",
        3389 => "rdp",
        4789 => "vxlan",
        5060 => "sip",
        5201 => "iperf3",
        5353 => "mdns",
        5432 => "postgres",
        6081 => "geneve",
        6379 => "redis",
        6443 => "k8s-api",
        8080 => "http-alt",
        9090 => "prom",
        9092 => "kafka",
        51820 => "wg",
        _ => return None,
    })
}
