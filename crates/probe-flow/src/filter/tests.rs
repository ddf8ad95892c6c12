use std::net::IpAddr;

use probe_common::classify::Evidence;
use rstest::rstest;

use super::{Filter, MAX_DEPTH, MAX_LENGTH, parse::MAX_REGEXES};
use crate::flow::{Flow, FlowCounters, FlowRow};

mod properties;

/// An HTTPS flow of one client, received 4 packets, sent 3.
fn https() -> FlowRow {
    FlowRow {
        src_addr: IpAddr::from([198, 18, 0, 1]),
        src_port: 0,
        dst_addr: IpAddr::from([198, 18, 7, 2]),
        dst_port: 443,
        ip_protocol: 6,
        flow: Flow {
            counters: FlowCounters {
                bytes_rcvd: 4000,
                bytes_sent: 1200,
                packets_rcvd: 4,
                packets_sent: 3,
            },
            tcp_flags: 0x1b,
            evidence: Evidence::Handshake,
            ..Flow::default()
        },
    }
}

/// A ping over IPv6 without an answer.
fn ping() -> FlowRow {
    FlowRow {
        src_addr: "fd00::1".parse().unwrap(),
        src_port: 0,
        dst_addr: "fd00:1::2".parse().unwrap(),
        dst_port: 0,
        ip_protocol: 58,
        flow: Flow {
            counters: FlowCounters {
                packets_sent: 1,
                bytes_sent: 104,
                ..FlowCounters::default()
            },
            evidence: Evidence::IcmpType,
            ..Flow::default()
        },
    }
}

fn filter(text: &str) -> Filter {
    text.parse()
        .unwrap_or_else(|error| panic!("{text}: {error}"))
}

#[rstest]
#[case("")]
#[case("  \t ")]
#[case("host 198.18.0.1")]
#[case("198.18.0.1")]
#[case("src 198.18.0.1")]
#[case("src host 198.18.0.1 and dst host 198.18.7.2")]
#[case("sip = 198.18.0.1 & dip = 198.18.7.2")]
#[case("net 198.18.0.0/15 && !net 10/8")]
#[case("net 198.18")]
#[case("dst net 198.18.7.255/24")]
#[case("src or dst net 198.18.7.0/24")]
#[case("host (10.0.0.1 or 198.18.0.1)")]
#[case("src host 10.0.0.1 or 198.18.0.1")]
#[case("port 443")]
#[case("port https")]
#[case("port = 80,443")]
#[case("port 80 or 443")]
#[case("dst port 80 or https")]
#[case("dport >= 443 and dport <= 443")]
#[case("portrange 400-500")]
#[case("tcp")]
#[case("TCP AND DST PORT 443")]
#[case("tcp port 443")]
#[case("tcp dst port 443")]
#[case("ip proto tcp")]
#[case("ip host 198.18.0.1")]
#[case("proto 6")]
#[case("proto tcp,udp")]
#[case("not (udp or icmp)")]
#[case("not udp port 443")]
#[case("sport 0")]
#[case("dir bi")]
#[case("iface eth0")]
#[case("iface \"eth0\"")]
#[case("iface /^eth[0-9]/")]
#[case("iface lo,/th/")]
#[case("evidence handshake")]
#[case("evidence high")]
#[case("flags syn")]
#[case("flags syn+ack and flags fin")]
#[case("flags 0x12")]
#[case("bytes > 5k")]
#[case("bytes = 5.2kB")]
#[case("bytes < 5.2KiB")]
#[case("bytes_rcvd >= 4000 and packets_sent < 4")]
#[case("packets != 8")]
#[case("!overflow and !idle")]
#[case("not not tcp")]
#[case("src_addr 198.18.0.0/24 and dst_addr = 198.18.7.2")]
#[case("src_port 0 and dst_port https")]
#[case("ip_version 4 and ip_protocol tcp")]
#[case("ip_version 6,4")]
#[case("direction_evidence handshake and direction_confidence high")]
#[case("tcp_flags syn+ack")]
#[case("udp or tcp and port 443")]
fn these_take_the_https_flow(#[case] text: &str) {
    assert!(filter(text).matches("eth0", &https()), "{text}");
}

#[rstest]
#[case("host 198.18.0.2")]
#[case("dst 198.18.0.1")]
#[case("not host 198.18.0.1")]
#[case("host != 198.18.0.1,10.0.0.1")]
#[case("port != 443")]
#[case("src port 443")]
#[case("port < 443")]
#[case("sport < 1024")]
#[case("udp port 443")]
#[case("ip6")]
#[case("dir uni")]
#[case("dir in,out")]
#[case("dir rcvd,sent")]
#[case("dir inbound or dir outbound")]
#[case("ip_version != 4")]
#[case("direction_confidence low")]
#[case("iface eth")]
#[case("iface != eth0")]
#[case("evidence low")]
#[case("flags rst")]
#[case("flags none")]
#[case("bytes > 5200")]
#[case("packets < 7")]
#[case("overflow")]
#[case("idle")]
#[case("(udp or tcp) and port 80")]
fn these_do_not(#[case] text: &str) {
    assert!(!filter(text).matches("eth0", &https()), "{text}");
}

#[rstest]
#[case("icmp6 and dir out", true)]
#[case("ip_version 6 and dir sent", true)]
#[case("ip6 net fd00::/16", true)]
#[case("src net fd00::/32 and dst net fd00:1::/32", true)]
#[case("port 0", false)]
#[case("port < 100", false)]
#[case("net 0.0.0.0/0", false)]
#[case("net ::/0", true)]
#[case("flags none", false)]
#[case("flags syn,none", false)]
#[case("not flags none and dir uni", true)]
fn the_ping_has_no_ports(#[case] text: &str, #[case] expected: bool) {
    assert_eq!(filter(text).matches("eth0", &ping()), expected, "{text}");
}

#[test]
fn flags_are_asked_of_tcp_alone() {
    let with = |ip_protocol, tcp_flags| FlowRow {
        ip_protocol,
        flow: Flow {
            tcp_flags,
            ..https().flow
        },
        ..https()
    };
    let takes = |text: &str, row: &FlowRow| filter(text).matches("eth0", row);
    let null_scan = with(6, 0);
    assert!(takes("flags none", &null_scan) && takes("flags rst,none", &null_scan));
    assert!(!takes("flags syn", &null_scan));
    assert!(!takes("flags none", &with(6, 0x02)));
    for ip_protocol in [0, 1, 17, 58, 132] {
        let row = with(ip_protocol, 0);
        assert!(!takes("flags none", &row), "protocol {ip_protocol}");
        assert!(takes("not flags none", &row), "protocol {ip_protocol}");
    }
}

/// The text, the column, and the sentence.
#[rstest]
#[case(
    "port htps",
    6,
    "expected a port from 0 to 65535, a range such as 6000-6008, or a service (did you mean `https`?), found `htps`"
)]
#[case(
    "hots 1.2.3.4",
    1,
    "expected a test such as `host 192.0.2.1` or `tcp`, found `hots`; did you mean `host`?"
)]
#[case(
    "prto tcp",
    1,
    "expected a test such as `host 192.0.2.1` or `tcp`, found `prto`; did you mean `ip_protocol`?"
)]
#[case(
    "tcp 443",
    5,
    "expected `and`, `or` or the end, found `443`; did you mean `and port 443`?"
)]
#[case(
    "tcp adn udp",
    5,
    "expected `and`, `or` or the end, found `adn`; did you mean `and`?"
)]
#[case(
    "443",
    1,
    "expected a test such as `host 192.0.2.1` or `tcp`, found `443`; did you mean `port 443`?"
)]
#[case(
    "tcp and",
    8,
    "expected a test such as `host 192.0.2.1`, `port 443` or `tcp`, found the end"
)]
#[case("(tcp or udp", 12, "expected `)`, found the end")]
#[case(
    "tcp)",
    4,
    "expected `and`, `or` or the end, found `)`; no parenthesis is open"
)]
#[case(
    "host example.com",
    6,
    "expected an address such as 192.0.2.1 or fd00::/8 (names of hosts are not resolved), found `example.com`"
)]
#[case(
    "net 10.0.0.0/33",
    5,
    "expected a prefix length from 0 to 32 behind the /, found `10.0.0.0/33`"
)]
#[case(
    "port 70000",
    6,
    "expected a port from 0 to 65535, a range such as 6000-6008, or a service, found `70000`"
)]
#[case("port 10-5", 6, "expected the smaller port first: 5-10, found `10-5`")]
#[case(
    "port > 65535",
    8,
    "expected a port that leaves some (they go from 1 to 65535), found `65535`"
)]
#[case("bytes 100", 7, "expected one of = != < <= > >=, found `100`")]
#[case(
    "bytes > 1X",
    9,
    "expected a number, with a unit if you like: 1500, 10k, 1.5M, 1GiB, found `1X`"
)]
#[case(
    "bytes > 99E",
    9,
    "expected a number up to 18446744073709551615, found `99E`"
)]
#[case("iface /(/", 7, "expected a regex (unclosed group), found `/(/`")]
#[case("iface /abc", 7, "expected a second / further on, found the end")]
#[case(
    "proto tpc",
    7,
    "expected a protocol such as tcp, or its number from 0 to 255 (did you mean `tcp`?), found `tpc`"
)]
#[case(
    "dir sideways",
    5,
    "expected rcvd, sent, uni (one way only) or bi (both ways), found `sideways`"
)]
#[case("ip_version 5", 12, "expected 4 or 6, found `5`")]
#[case("direction_confidence sure", 22, "expected high or low, found `sure`")]
#[case(
    "tcp[13] & 2 != 0",
    1,
    "flows keep no headers to read; TCP flags are asked for as `tcp_flags syn+ack`"
)]
#[case(
    "überport 1",
    1,
    "expected a test such as `host 192.0.2.1` or `tcp`, found `überport`"
)]
#[case(
    "host 1.2.3.4 or port é",
    22,
    "expected a port from 0 to 65535, a range such as 6000-6008, or a service, found `é`"
)]
fn errors_point_at_the_place(#[case] text: &str, #[case] column: usize, #[case] message: &str) {
    let error = text.parse::<Filter>().expect_err(text);
    assert_eq!((error.message(), error.column()), (message, column));
}

#[test]
fn the_place_is_marked_below_the_text() {
    let error = "tcp and port htps or udp".parse::<Filter>().unwrap_err();
    let text = error.to_string();
    let lines: Vec<_> = text.lines().skip(1).collect();
    assert_eq!(lines, ["  tcp and port htps or udp", "               ^^^^"]);

    // A long text is shown around the place, and nothing of it is obeyed by a terminal.
    let long = "tcp or ".repeat(100) + "\x1b[31mhots";
    let error = long.parse::<Filter>().unwrap_err();
    assert_eq!(error.column(), 701);
    let text = error.to_string();
    assert!(!text.contains('\x1b'), "{text}");
    let [_, shown, marks] = text.lines().collect::<Vec<_>>()[..] else {
        panic!("{text}");
    };
    assert!(shown.ends_with("tcp or ?[31mhots"), "{text}");
    assert!(shown.chars().count() < 80, "{text}");
    let place = shown.chars().position(|char| char == '?');
    assert_eq!(marks.chars().position(|char| char == '^'), place, "{text}");
}

#[test]
fn depth_and_length_are_bounded() {
    let nested = |depth| format!("{}tcp{}", "(".repeat(depth), ")".repeat(depth));
    filter(&nested(MAX_DEPTH));
    for text in [
        nested(MAX_DEPTH + 1),
        "(".repeat(MAX_LENGTH),
        "!".repeat(MAX_LENGTH),
        "not(".repeat(MAX_LENGTH / 4),
    ] {
        let error = text.parse::<Filter>().unwrap_err();
        assert!(error.message().starts_with("more than 64 "), "{error}");
    }
    let error = "é".repeat(MAX_LENGTH).parse::<Filter>().unwrap_err();
    assert_eq!(error.column(), MAX_LENGTH / 2 + 1);
    assert_eq!(
        error.message(),
        "a filter has up to 4096 octets, this has 8192"
    );
    // Accepted as they stand, these would be refused as they are shown.
    let many = |count| vec!["tcp"; count].join("|");
    assert_eq!(filter(&filter(&many(200)).to_string()), filter(&many(200)));
    let error = many(1000).parse::<Filter>().unwrap_err();
    assert_eq!(
        error.message(),
        "a filter has up to 4096 octets, this has 18996 in the form in which it is shown"
    );
    let and_in_or = |depth| {
        format!(
            "{}tcp{}",
            "(".repeat(depth),
            " and ip or udp)".repeat(depth)
        )
    };
    let not_and = |depth| format!("{}tcp port 443", "not ".repeat(depth));
    for text in [and_in_or(32), not_and(MAX_DEPTH - 1)] {
        assert_eq!(filter(&filter(&text).to_string()), filter(&text));
    }
    for text in [and_in_or(33), not_and(MAX_DEPTH)] {
        let error = text.parse::<Filter>().unwrap_err();
        assert!(error.message().starts_with("more than 64 "), "{error}");
    }
    // Regexes that would take gigabytes.
    for large in [
        r"iface /(\w{100}){100}/",
        "iface /(((((a{100}){100}){100}){100}){100})/",
        r"iface /[\w\W]{9999}/",
    ] {
        let error = large.parse::<Filter>().unwrap_err();
        assert!(
            error.message().contains("bytes that a regex may take"),
            "{error}"
        );
    }
}

/// What is asked of the interface is the same for all its flows, and asked once.
#[rstest]
#[case("iface /^veth/ or port 443")]
#[case("not iface eth0,/^veth/ and not (iface eth1 or iface veth1 and tcp)")]
#[case("iface != veth1")]
fn a_filter_for_one_interface_lets_the_same_pass(#[case] text: &str) {
    let filter = filter(text);
    for iface in ["eth0", "eth1", "veth1", ""] {
        let of_iface = filter.of_iface(iface);
        for row in [https(), ping()] {
            let passes = filter.matches(iface, &row);
            assert_eq!(of_iface.matches("other", &row), passes, "{iface}");
        }
    }
}

/// As many as fit into the length would take half a gigabyte.
#[test]
fn regexes_are_bounded() {
    let of = |count, regex| format!("iface {}", vec![regex; count].join(","));
    let with = |count| of(count, r"/^\w/");
    filter(&with(MAX_REGEXES));
    // One alone may be as large as four of many.
    filter(&of(1, r"/\w{9}/"));
    let large = of(MAX_REGEXES, r"/\w{9}/").parse::<Filter>().unwrap_err();
    assert!(
        large.message().contains("bytes that each of 16 regexes"),
        "{large}"
    );
    assert_eq!(large.column(), 7, "the first one is refused");
    let error = with(MAX_REGEXES + 1).parse::<Filter>().unwrap_err();
    assert_eq!(
        error.message(),
        "a filter has up to 16 regexes, this has more"
    );
    assert_eq!(error.column(), with(MAX_REGEXES).len() + 2);
}

#[rstest]
#[case(
    "sip=10.1.2.3/8 & !(port dhcp)",
    "src_addr 10.0.0.0/8 and not port 67,68"
)]
#[case(
    "tcp port 443 or udp",
    "(ip_protocol tcp and port 443) or ip_protocol udp"
)]
#[case("dip 192.0.2.1 and dport 22", "dst_addr 192.0.2.1 and dst_port 22")]
#[case("src or dst host 192.0.2.1", "host 192.0.2.1")]
#[case("host 10/8", "net 10.0.0.0/8")]
#[case("sport 53", "src_port 53")]
#[case("iface eth0 | flags 0x12", "iface \"eth0\" or tcp_flags syn+ack")]
#[case("bytes != 1.5k", "not bytes = 1500")]
#[case("evidence low", "direction_evidence none,ports")]
#[case("direction_confidence low", "direction_evidence none,ports")]
#[case("dir in", "dir rcvd")]
#[case("ip6", "ip_version 6")]
#[case("ip_version 4,6", "ip_version 4,6")]
#[case("tcp # and udp", "ip_protocol tcp")]
#[case("# all\n tcp # web\n and port 80 #", "ip_protocol tcp and port 80")]
#[case("# nothing", "")]
#[case("iface \"#a\"", "iface \"#a\"")]
fn a_filter_is_shown_in_one_form(#[case] text: &str, #[case] shown: &str) {
    let filter = filter(text);
    assert_eq!(filter.to_string(), shown);
    assert_eq!(shown.parse(), Ok(filter));
}

#[test]
fn every_example_of_the_manual_is_a_filter() {
    let manual = include_str!("../../../../docs/FILTER.md");
    let mut is_example = false;
    let mut count = 0;
    for line in manual.lines() {
        if line.starts_with("```") {
            is_example = line == "```filter";
        } else if is_example {
            // As it is pasted: with the comment behind it.
            filter(line);
            count += 1;
        }
    }
    assert!(count >= 20, "{count} examples were found");
}
