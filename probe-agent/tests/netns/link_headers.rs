//! What frames start with: no link header under many names, unknown headers, VLAN tags in
//! the frame and beside it.

use rstest::rstest;

use super::{
    agent::{Agent, Installation},
    eventually,
    flows::{assert_nothing_lost, assert_same_flows, stored_flows, stored_intervals},
    link_kinds::drive,
    netns::Namespace,
    sender::send_frame,
    skip,
    testbed::{HOST_MAC, LINK, LinkLayer, Offloads, PEER_LINK, PEER_MAC, Testbed},
    topology,
};

/// Devices that this kernel does not have are played by tun: it takes any ARPHRD number
/// (`TUNSETLINK`), and at the hooks its packets are like those of the others.
#[rstest]
#[case::ppp(512)]
#[case::rawip(519)]
#[case::ipip(768)]
#[case::ip6tnl(769)]
#[case::sit(776)]
#[case::gre(778)]
#[case::ip6gre(823)]
#[case::wireguard_and_tun(65534)]
fn links_without_header_are_captured(#[case] arphrd: u16) {
    if !skip::kernel_or_skip(&["ip", "ping", "python3"]) {
        return;
    }
    let testbed = Testbed::without_links();
    let _pump = topology::pump(&testbed, "tun", arphrd);
    testbed.connect(LinkLayer::None);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let expected = drive(&testbed, &[4, 6]);
    agent.settled_metrics();
    assert!(agent.terminate().success(), "the agent's exit code");
    assert_same_flows(&stored_flows(&installation.json()), &expected);
    assert_nothing_lost(&installation.json());
}

/// Skipped with a warning, and no hindrance for the others.
#[rstest]
#[case::can(280)]
#[case::nlmon(824)]
#[case::monitoring_80211(803)]
fn links_with_unknown_header_are_skipped(#[case] arphrd: u16) {
    if !skip::kernel_or_skip(&["ip", "ping", "python3"]) {
        return;
    }
    let testbed = Testbed::without_links();
    let _pump = topology::pump(&testbed, "tun", arphrd);
    testbed.connect(LinkLayer::None);
    let installation = Installation::new(&format!("{{ {LINK}: {{}}, lo: {{}} }}"), "1d");
    let agent = installation.start(&testbed.host);
    assert_eq!(agent.metrics().sum("probe_interfaces_capturing", ""), 1);
    drive(&testbed, &[4, 6]);
    assert!(agent.terminate().success(), "the agent's exit code");
    let log = installation.log();
    let warning = log
        .lines()
        .find(|line| line.contains("WARN") && line.contains(LINK));
    let warning = warning.unwrap_or_else(|| panic!("no warning: {log}"));
    assert!(
        warning.contains(&format!("type {arphrd} (ARPHRD)")),
        "{warning}"
    );
}

/// How the tag comes to the hook.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Tag {
    /// Received: the network stack has moved it out of the frame when TC sees it.
    BesideTheFrame,
    /// Received by XDP, or sent: it is where it is on the wire.
    InTheFrame,
}

#[rstest]
#[case::stripped("tc", Tag::BesideTheFrame)]
#[case::sent("tc", Tag::InTheFrame)]
#[case::generic_xdp("xdp-generic", Tag::InTheFrame)]
#[case::native_xdp("xdp-native", Tag::InTheFrame)]
fn tags_are_seen_and_can_be_ignored(
    #[case] hook: &str,
    #[case] tag: Tag,
    #[values(false, true)] ignore_vlans: bool,
) {
    if !skip::kernel_or_skip(&["ip", "ethtool", "python3"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let config = format!("{{ {LINK}: {{ hook: {hook}, ignore_vlans: {ignore_vlans} }} }}");
    let installation = Installation::new(&config, "1d");
    let agent = installation.start(&testbed.host);
    let is_sent = tag == Tag::InTheFrame && hook == "tc";
    let (namespace, link) = if is_sent {
        (&testbed.host, LINK)
    } else {
        (&testbed.peer, PEER_LINK)
    };
    // C-tag, S-tag, an S-tag of before 802.1ad, two tags; and one without, which always counts.
    let tags = ["81000005", "88a80005", "91000005", "88a8000581000006", ""];
    for (frames, tag) in (1..).zip(tags) {
        send(namespace, link, tag, is_sent);
        let seen = agent.metrics().sum("probe_packets_seen_total", "");
        assert!(seen <= frames, "{seen} packets");
        wait_for_seen(&agent, frames);
    }
    agent.settled_metrics();
    assert!(agent.terminate().success(), "the agent's exit code");

    let [interval] = &stored_intervals(&installation.json())[..] else {
        panic!("more than one interval");
    };
    let filtered = interval.ledger["losses"]["filtered"].as_i64().unwrap_or(0);
    let mut flows = stored_flows(&installation.json()).into_iter();
    let (_, counts) = flows.next().expect("a flow");
    assert_eq!(flows.next(), None, "one flow, with any tag");
    let (packets, octets) = if is_sent {
        (counts.packets_sent, counts.bytes_sent)
    } else {
        (counts.packets_rcvd, counts.bytes_rcvd)
    };
    let expected = if ignore_vlans { (1, 4) } else { (5, 0) };
    assert_eq!((packets, filtered), expected);
    assert_eq!(octets, packets * 128, "octets of the IP packets");
    assert_eq!(interval.ledger("residue"), 0);
}

fn wait_for_seen(agent: &Agent, frames: i64) {
    eventually("the frame is seen", || {
        let seen = agent.metrics().sum("probe_packets_seen_total", "");
        (seen >= frames).then_some(())
    });
}

/// Sends a UDP datagram of 100 octets with these tags, which no host expects.
fn send(namespace: &Namespace, link: &str, tag: &str, is_sent: bool) {
    let hex = |mac: &str| mac.replace(':', "");
    let (to, from) = if is_sent {
        (PEER_MAC, HOST_MAC)
    } else {
        (HOST_MAC, PEER_MAC)
    };
    let (src, dst) = if is_sent {
        ("c6120001", "c6120002")
    } else {
        ("c6120002", "c6120001")
    };
    let ip = format!("45000080000140004011{}{src}{dst}", "0000");
    let udp = format!("9c401b58006c0000{}", "5a".repeat(100));
    let frame = format!("{}{}{tag}0800{ip}{udp}", hex(to), hex(from));
    let digits = frame.as_bytes().chunks(2);
    let octets = digits.map(|digits| {
        let digits = std::str::from_utf8(digits).expect("digits");
        u8::from_str_radix(digits, 16).expect("hexadecimal")
    });
    let octets: Vec<u8> = octets.collect();
    namespace.enter(|| send_frame(link, &octets));
}
