//! Random filters and flows: what is shown reads back, nothing panics, and what passes is what a
//! second, slow reading of the language says.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::{collection::vec, prelude::*, sample::select};

use super::super::{
    Comparison, Expr, Filter, IfacePattern, IpVersion, Measure, Net, Side, Test, Traffic, ast,
};
use crate::flow::{Flow, FlowCounters, FlowRow};

/// Few values, so that filters and flows meet.
fn addr() -> impl Strategy<Value = IpAddr> {
    prop_oneof![
        (0..4_u8, 0..4_u8).prop_map(|(c, d)| Ipv4Addr::new(198, 18, c, d).into()),
        (0..4_u16, 0..4_u16)
            .prop_map(|(c, d)| { IpAddr::from(Ipv6Addr::new(0xfd00, c << 14, 0, 0, 0, 0, 0, d)) }),
        any::<[u8; 4]>().prop_map(IpAddr::from),
        any::<[u8; 16]>().prop_map(IpAddr::from),
    ]
}

fn net() -> impl Strategy<Value = Net> {
    (addr(), any::<u8>()).prop_map(|(addr, random)| {
        let bits = if addr.is_ipv4() { 32 } else { 128 };
        Net::new(addr, random % (bits + 1)).expect("the prefix is short enough")
    })
}

fn port() -> impl Strategy<Value = u16> {
    prop_oneof![0..4_u16, select(vec![53, 80, 443, 65535]), any::<u16>()]
}

fn side() -> impl Strategy<Value = Side> {
    select(vec![Side::Either, Side::Src, Side::Dst])
}

fn word<T: Clone + std::fmt::Debug + 'static>(
    table: &'static [(&'static str, T)],
) -> impl Strategy<Value = T> {
    (0..table.len()).prop_map(|position| table[position].1.clone())
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![0..4_u64, any::<u64>()]
}

fn pattern() -> impl Strategy<Value = IfacePattern> {
    prop_oneof![
        "[a-z][a-z0-9.@-]{0,6}".prop_map(IfacePattern::Name),
        select(vec!["eth0", "and", "(odd) name", "/x/"])
            .prop_map(|name| IfacePattern::Name(name.to_owned())),
        select(vec!["^eth", r"a\/b", "[0-9]$", "and|or"])
            .prop_map(|regex| IfacePattern::Regex(regex::Regex::new(regex).expect("a regex"))),
    ]
}

fn test() -> impl Strategy<Value = Test> {
    let measure = select(Measure::all().collect::<Vec<_>>());
    let range = (port(), port()).prop_map(|(a, b)| (a.min(b), a.max(b)));
    prop_oneof![
        (side(), vec(net(), 1..3)).prop_map(|(side, nets)| Test::Address(side, nets)),
        (side(), vec(range, 1..3)).prop_map(|(side, ranges)| Test::Port(side, ranges)),
        vec(any::<u8>(), 1..3).prop_map(Test::Protocol),
        vec(word(&IpVersion::ALL), 1..3).prop_map(Test::Version),
        vec(word(&Traffic::ALL), 1..3).prop_map(Test::Traffic),
        vec(pattern(), 1..3).prop_map(Test::Iface),
        vec(word(&ast::EVIDENCE), 1..3).prop_map(Test::Evidence),
        vec(any::<u8>(), 1..3).prop_map(Test::Flags),
        (measure, word(&Comparison::ALL), number())
            .prop_map(|(measure, comparison, number)| Test::Count(measure, comparison, number)),
        Just(Test::Overflow),
        Just(Test::Idle),
    ]
}

fn expr() -> impl Strategy<Value = Expr> {
    test()
        .prop_map(Expr::Test)
        .prop_recursive(4, 24, 4, |inner| {
            prop_oneof![
                vec(inner.clone(), 2..4).prop_map(Expr::And),
                vec(inner.clone(), 2..4).prop_map(Expr::Or),
                inner.prop_map(|expr| Expr::Not(Box::new(expr))),
            ]
        })
}

fn row() -> impl Strategy<Value = FlowRow> {
    let counters = (number(), number(), 0..4_u64, 0..4_u64).prop_map(
        |(bytes_rcvd, bytes_sent, packets_rcvd, packets_sent)| FlowCounters {
            bytes_rcvd: bytes_rcvd / 2,
            bytes_sent: bytes_sent / 2,
            packets_rcvd,
            packets_sent,
        },
    );
    let flow = (counters, any::<u8>(), word(&ast::EVIDENCE), any::<bool>()).prop_map(
        |(counters, tcp_flags, evidence, is_overflow)| Flow {
            counters,
            tcp_flags,
            evidence,
            is_overflow,
            ..Flow::default()
        },
    );
    let protocol = prop_oneof![select(vec![1, 6, 17, 58, 132]), any::<u8>()];
    ((addr(), addr()), (port(), port()), protocol, flow).prop_map(
        |((src_addr, dst_addr), (src_port, dst_port), ip_protocol, flow)| FlowRow {
            src_addr,
            src_port,
            dst_addr,
            dst_port,
            ip_protocol,
            flow,
        },
    )
}

/// The language once more, as simple and slow as can be: sets of strings, bits as text.
fn model(expr: &Expr, iface: &str, row: &FlowRow) -> bool {
    match expr {
        Expr::And(parts) => !parts.iter().any(|part| !model(part, iface, row)),
        Expr::Or(parts) => parts.iter().filter(|part| model(part, iface, row)).count() > 0,
        Expr::Not(part) => !model(part, iface, row),
        Expr::Test(test) => model_of_test(test, iface, row),
    }
}

fn bits(addr: IpAddr) -> String {
    match addr {
        IpAddr::V4(addr) => format!("4:{:032b}", addr.to_bits()),
        IpAddr::V6(addr) => format!("6:{:0128b}", addr.to_bits()),
    }
}

fn ends<T>(side: Side, src: T, dst: T) -> Vec<T> {
    match side {
        Side::Either => vec![src, dst],
        Side::Src => vec![src],
        Side::Dst => vec![dst],
    }
}

fn model_of_test(test: &Test, iface: &str, row: &FlowRow) -> bool {
    let counters = row.flow.counters;
    match test {
        Test::Address(side, nets) => {
            ends(*side, row.src_addr, row.dst_addr)
                .into_iter()
                .any(|addr| {
                    nets.iter().any(|net| {
                        let prefix = &bits(net.addr())[..2 + usize::from(net.prefix_len())];
                        bits(addr).starts_with(prefix)
                    })
                })
        }
        Test::Port(side, ranges) => {
            let ports = ends(*side, row.src_port, row.dst_port);
            let wanted = |port| {
                ranges
                    .iter()
                    .any(|(low, high)| port >= *low && port <= *high)
            };
            [6, 17, 132].contains(&row.ip_protocol) && ports.into_iter().any(wanted)
        }
        Test::Protocol(numbers) => numbers.contains(&row.ip_protocol),
        Test::Version(versions) => versions
            .iter()
            .any(|version| bits(row.src_addr).starts_with('4') == (*version == IpVersion::V4)),
        Test::Traffic(ways) => {
            let mut words = match (counters.packets_rcvd, counters.packets_sent) {
                (0, 0) => vec![],
                (_, 0) => vec![Traffic::Rcvd, Traffic::Uni],
                (0, _) => vec![Traffic::Sent, Traffic::Uni],
                _ => vec![Traffic::Bi],
            };
            words.retain(|way| ways.contains(way));
            !words.is_empty()
        }
        Test::Iface(patterns) => patterns.iter().any(|pattern| match pattern {
            IfacePattern::Name(name) => name == iface,
            IfacePattern::Regex(regex) => regex.find(iface).is_some(),
        }),
        Test::Evidence(any) => any
            .iter()
            .any(|evidence| evidence.name() == row.flow.evidence.name()),
        Test::Flags(masks) => masks.iter().any(|mask| {
            let wanted = format!("{mask:08b}");
            let seen = format!("{:08b}", row.flow.tcp_flags);
            let has_all = wanted.chars().zip(seen.chars()).all(|it| it != ('1', '0'));
            row.ip_protocol == 6 && has_all && (*mask != 0 || row.flow.tcp_flags == 0)
        }),
        Test::Count(measure, comparison, number) => {
            let count = match measure.name() {
                "bytes" => counters.bytes_rcvd + counters.bytes_sent,
                "bytes_rcvd" => counters.bytes_rcvd,
                "bytes_sent" => counters.bytes_sent,
                "packets" => counters.packets_rcvd + counters.packets_sent,
                "packets_rcvd" => counters.packets_rcvd,
                "packets_sent" => counters.packets_sent,
                other => panic!("the model lacks {other}"),
            };
            let wanted: &[i32] = match comparison {
                Comparison::Equal => &[0],
                Comparison::Less => &[-1],
                Comparison::AtMost => &[-1, 0],
                Comparison::Greater => &[1],
                Comparison::AtLeast => &[0, 1],
            };
            wanted.contains(&(count.cmp(number) as i32))
        }
        Test::Overflow => row.flow.is_overflow,
        Test::Idle => counters.packets_rcvd + counters.packets_sent == 0,
    }
}

/// The same filter as somebody else would type it, chosen by the bits of `habits`.
fn typed(expr: &Expr, habits: &mut u64) -> String {
    let mut choose = |options: &[&'static str]| {
        let pick = usize::try_from(*habits % 7).expect("it is small") % options.len();
        *habits = habits.rotate_right(3).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 1;
        options[pick]
    };
    match expr {
        Expr::And(parts) | Expr::Or(parts) => {
            let sign = match expr {
                Expr::And(_) => choose(&[" and ", " && ", "&", " AND "]),
                _ => choose(&[" or ", "||", " | ", " Or "]),
            };
            let space = choose(&["", " "]);
            let parts: Vec<_> = parts
                .iter()
                .map(|part| match part {
                    Expr::Test(_) => typed(part, habits),
                    _ => format!("({}{space})", typed(part, habits)),
                })
                .collect();
            parts.join(sign)
        }
        Expr::Not(part) => {
            let not = choose(&["not ", "!", "! "]);
            format!("{not}({})", typed(part, habits))
        }
        Expr::Test(test) => {
            let words: &[(&str, &str)] = match choose(&["", "=", "goprobe", "tcpdump"]) {
                "=" => &[
                    ("port ", "port = "),
                    ("host ", "host="),
                    ("addr ", "addr ="),
                ],
                "goprobe" => &[
                    ("src_addr ", "sip "),
                    ("dst_addr ", "dnet "),
                    ("src_port ", "sport "),
                    ("dst_port ", "dport "),
                    ("ip_protocol ", "proto "),
                ],
                "tcpdump" => &[
                    ("src_addr ", "src net "),
                    ("dst_addr ", "dst host "),
                    ("src_port ", "src port "),
                    ("dst_port ", "dst port "),
                    ("ip_protocol ", "protocol "),
                    ("tcp_flags ", "flags "),
                    ("direction_evidence ", "evidence "),
                ],
                _ => &[],
            };
            let text = words.iter().fold(test.to_string(), |text, (shown, typed)| {
                text.replacen(shown, typed, 1)
            });
            format!("{}{text}", choose(&["", " ", "\t"]))
        }
    }
}

/// Words in any order: more often near a filter than random characters are.
fn soup() -> impl Strategy<Value = String> {
    let words = [
        "host",
        "net",
        "src",
        "dst",
        "port",
        "sport",
        "src_addr",
        "ip_version",
        "direction_confidence",
        "tcp",
        "ip6",
        "proto",
        "dir",
        "iface",
        "evidence",
        "flags",
        "bytes",
        "overflow",
        "and",
        "or",
        "not",
        "(",
        ")",
        "!",
        "=",
        "!=",
        "<",
        ">=",
        ",",
        "&",
        "||",
        "443",
        "https",
        "10.0.0.0/8",
        "fd00::1",
        "1-2",
        "/x/",
        "\"",
        "/",
        "in",
        "rcvd",
        "syn+ack",
        "1.5M",
        "é",
        "/ı",
        "0x",
    ];
    vec(select(words.to_vec()), 0..12).prop_map(|words| words.join(" "))
}

proptest! {
    #[test]
    fn what_is_shown_reads_back(expr in expr()) {
        let filter = Filter::new(expr);
        let text = filter.to_string();
        prop_assert_eq!(text.parse(), Ok(filter), "{}", text);
    }

    #[test]
    fn there_is_more_than_one_way_to_type_it(expr in expr(), mut habits in any::<u64>()) {
        let text = typed(&expr, &mut habits);
        prop_assert_eq!(text.parse(), Ok(Filter::new(expr)), "{}", text);
    }

    #[test]
    fn what_passes_is_what_the_model_says(
        expr in expr(),
        rows in vec(row(), 1..8),
        iface in select(vec!["eth0", "and", "a/b", "veth"]),
    ) {
        let filter = Filter::new(expr.clone());
        for row in rows {
            let passes = filter.matches(iface, &row);
            prop_assert_eq!(passes, model(&expr, iface, &row), "{} on {:?}", filter, row);
        }
    }

    #[test]
    fn nothing_panics(text in prop_oneof![any::<String>(), soup(), "[ -~]{0,40}"]) {
        match text.parse::<Filter>() {
            Ok(filter) => {
                // What was understood is understood again in its own form.
                prop_assert_eq!(filter.to_string().parse(), Ok(filter));
            }
            Err(error) => {
                let characters = text.chars().count();
                prop_assert!(error.column() <= characters + 1, "{}", error);
                prop_assert!(error.to_string().lines().count() == 3, "{}", error);
            }
        }
    }
}

#[test]
fn the_model_and_the_strategies_reach_both_answers() {
    use proptest::{strategy::ValueTree, test_runner::TestRunner};
    let mut runner = TestRunner::deterministic();
    let mut passed = 0;
    for _ in 0..1000 {
        let case = (test(), row())
            .new_tree(&mut runner)
            .expect("a case")
            .current();
        let filter = Filter::new(Expr::Test(case.0));
        passed += usize::from(filter.matches("eth0", &case.1));
    }
    assert!(
        (100..900).contains(&passed),
        "{passed} of 1000 flows passed"
    );
}
