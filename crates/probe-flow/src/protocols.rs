//! Names of protocols and services, mostly as in the IANA registries.
//!
//! One table for what is shown and for what the filter language understands, on every host the same.

use std::borrow::Cow;

use probe_common::headers::ip_protocol::{
    AH, DCCP, EIGRP, ESP, GRE, HOP_BY_HOP, ICMP, ICMPV6, IGMP, IPV4_IN_IP, IPV6_IN_IP, L2TP,
    MPLS_IN_IP, NO_NEXT_HEADER, OSPF, PIM, RSVP, SCTP, TCP, UDP, UDP_LITE, VRRP,
};

/// Protocols that are seen outside of laboratories, by number.
const PROTOCOLS: &[(u8, &str)] = &[
    (HOP_BY_HOP, "hopopt"),
    (ICMP, "icmp"),
    (IGMP, "igmp"),
    (IPV4_IN_IP, "ipip"),
    (TCP, "tcp"),
    (UDP, "udp"),
    (DCCP, "dccp"),
    (IPV6_IN_IP, "ipv6"),
    (RSVP, "rsvp"),
    (GRE, "gre"),
    (ESP, "esp"),
    (AH, "ah"),
    (ICMPV6, "icmp6"),
    (NO_NEXT_HEADER, "none"),
    (EIGRP, "eigrp"),
    (OSPF, "ospf"),
    (PIM, "pim"),
    (VRRP, "vrrp"),
    (L2TP, "l2tp"),
    (SCTP, "sctp"),
    (UDP_LITE, "udpl"),
    (MPLS_IN_IP, "mpls"),
];

/// Other names of them that people type.
const PROTOCOL_ALIASES: &[(&str, u8)] = &[
    ("icmpv6", ICMPV6),
    ("ipv6-icmp", ICMPV6),
    ("ipencap", IPV4_IN_IP),
    ("udplite", UDP_LITE),
    ("carp", VRRP),
];

/// Services by port. The first name of a port is the one that is shown.
const SERVICES: &[(u16, &[&str])] = &[
    (20, &["ftp-data"]),
    (21, &["ftp"]),
    (22, &["ssh"]),
    (23, &["telnet"]),
    (25, &["smtp"]),
    (53, &["dns", "domain"]),
    (67, &["dhcp", "bootps"]),
    (68, &["dhcp", "bootpc"]),
    (69, &["tftp"]),
    (80, &["http"]),
    (88, &["kerberos"]),
    (110, &["pop3"]),
    (111, &["sunrpc"]),
    (123, &["ntp"]),
    (137, &["netbios"]),
    (143, &["imap"]),
    (161, &["snmp"]),
    (162, &["snmp", "snmp-trap"]),
    (179, &["bgp"]),
    (389, &["ldap"]),
    (443, &["https"]),
    (445, &["smb", "microsoft-ds"]),
    (500, &["ike", "isakmp"]),
    (514, &["syslog"]),
    (546, &["dhcp6"]),
    (547, &["dhcp6"]),
    (587, &["submit", "submission"]),
    (631, &["ipp"]),
    (636, &["ldaps"]),
    (853, &["dns-tls"]),
    (873, &["rsync"]),
    (993, &["imaps"]),
    (995, &["pop3s"]),
    (1812, &["radius"]),
    (1900, &["ssdp"]),
    (2049, &["nfs"]),
    (2379, &["etcd"]),
    (3260, &["iscsi"]),
    (3306, &["mysql"]),
    (3389, &["rdp"]),
    (4500, &["ike", "ipsec-nat-t"]),
    (4789, &["vxlan"]),
    (5060, &["sip"]),
    (5201, &["iperf3"]),
    (5353, &["mdns"]),
    (5432, &["postgres", "postgresql"]),
    (5672, &["amqp"]),
    (6081, &["geneve"]),
    (6379, &["redis"]),
    (6443, &["k8s-api"]),
    (8080, &["http-alt"]),
    (9090, &["prom"]),
    (9092, &["kafka"]),
    (9200, &["elastic"]),
    (51820, &["wg", "wireguard"]),
];

/// Keyword of a protocol number, lower case; `None` for those that are hardly ever seen.
pub fn protocol(number: u8) -> Option<&'static str> {
    let found = PROTOCOLS.iter().find(|(known, _)| *known == number);
    found.map(|(_, name)| *name)
}

/// The keyword of a protocol, or its number.
pub fn protocol_or_number(number: u8) -> Cow<'static, str> {
    protocol(number).map_or_else(|| number.to_string().into(), Cow::Borrowed)
}

/// Number of a protocol by its keyword or another name of it, lower case.
pub fn protocol_number(name: &str) -> Option<u8> {
    let keyword = PROTOCOLS.iter().find(|(_, known)| *known == name);
    let alias = PROTOCOL_ALIASES.iter().find(|(known, _)| *known == name);
    keyword
        .map(|(number, _)| *number)
        .or_else(|| alias.map(|(_, number)| *number))
}

/// Keywords of all protocols in the table.
pub fn protocols() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().map(|(_, name)| *name)
}

/// Whether packets of the protocol have ports, and flows of it therefore may.
pub const fn has_ports(ip_protocol: u8) -> bool {
    matches!(ip_protocol, TCP | UDP | SCTP)
}

/// Service at the server's port, for the protocols that have ports.
pub fn service(ip_protocol: u8, port: u16) -> Option<&'static str> {
    if !has_ports(ip_protocol) {
        return None;
    }
    let position = SERVICES.binary_search_by_key(&port, |(known, _)| *known);
    SERVICES.get(position.ok()?)?.1.first().copied()
}

/// Ports of a service by any of its names, lower case; none if it is not known.
pub fn service_ports(name: &str) -> Vec<u16> {
    let known = SERVICES.iter().filter(|(_, names)| names.contains(&name));
    known.map(|(port, _)| *port).collect()
}

/// Names of all services in the table; those of several ports more than once.
pub fn services() -> impl Iterator<Item = &'static str> {
    SERVICES.iter().flat_map(|(_, names)| *names).copied()
}

#[cfg(test)]
mod tests {
    use super::{PROTOCOLS, SERVICES, protocol, protocol_number, service, service_ports};

    #[test]
    fn tables_are_ordered_and_without_twins() {
        assert!(SERVICES.windows(2).all(|pair| pair[0].0 < pair[1].0));
        assert!(PROTOCOLS.windows(2).all(|pair| pair[0].0 < pair[1].0));
    }

    #[test]
    fn what_is_shown_is_understood() {
        for (number, name) in PROTOCOLS {
            assert_eq!(protocol(*number), Some(*name));
            assert_eq!(protocol_number(name), Some(*number));
        }
        for (port, names) in SERVICES {
            assert_eq!(service(6, *port), names.first().copied());
            assert!(names.iter().all(|name| service_ports(name).contains(port)));
        }
        assert_eq!(service(1, 443), None, "ICMP has no ports");
        assert_eq!(service_ports("dhcp"), [67, 68]);
    }
}
