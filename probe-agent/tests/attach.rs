//! Attaching to real links in a network namespace of our own, and leaving nothing behind.

#![expect(
    clippy::unwrap_used,
    reason = "a failing unwrap is how a test fails, also in a function of its own"
)]

use std::{collections::HashMap, error::Error as _, process::Command, sync::Arc};

use probe_capture::{
    interface::{Hook, Interface, InterfaceConfig},
    source::{Hooks, LinkState, RecordSource},
};
use probe_common::{loss::Loss, record::Record};
use probe_datapath::{
    attach::{self, AttachError},
    cache_parts::CacheParts,
    link,
    load::LoadOptions,
    ring_parts::RingParts,
    source::EbpfSource,
};
use probe_testkit::{
    netns::Namespace,
    sender::{Way, send_frame, send_frame_as},
    skip,
};

#[path = "attach/clsact.rs"]
mod clsact;

const TOOLS: [&str; 4] = ["ip", "tc", "ping", "python3"];

/// A pair of namespaces with a veth between them. The test's thread lives in the first.
struct Namespaces {
    _here: Namespace,
    peer: Namespace,
}

impl Namespaces {
    fn enter() -> Self {
        let (here, peer) = (Namespace::new("attach"), Namespace::new("attach-peer"));
        here.ip(&format!(
            "link add v0 type veth peer name v1 netns {}\n\
             address add 198.18.3.1/24 dev v0\n\
             link set v0 up\n",
            peer.name()
        ));
        peer.ip("address add 198.18.3.2/24 dev v1\nlink set v1 up\n");
        // Of this thread only: the test harness has one a test.
        here.move_in().unwrap();
        Self { _here: here, peer }
    }

    fn interface(name: &str) -> Interface {
        let shown = output(&format!("ip -o link show dev {name}"));
        Interface {
            name: Arc::from(name),
            ifindex: shown.split(':').next().unwrap().trim().parse().unwrap(),
        }
    }
}

/// Runs a command in the namespace of this thread.
fn output(command: &str) -> String {
    let mut words = command.split_whitespace();
    let done = Command::new(words.next().unwrap())
        .args(words)
        .output()
        .unwrap();
    assert!(done.status.success(), "{command}: {done:?}");
    String::from_utf8(done.stdout).unwrap()
}

fn run(command: &str) {
    drop(output(command));
}

fn load() -> EbpfSource {
    EbpfSource::with_options(OPTIONS).unwrap()
}

const OPTIONS: LoadOptions = LoadOptions {
    rings: RingParts::one(1 << 16),
    cache: CacheParts::NONE,
    interfaces: 4,
};

fn with(hook: Hook) -> InterfaceConfig {
    InterfaceConfig {
        hook,
        ..InterfaceConfig::default()
    }
}

/// What is attached to v0, in the words of the tools, and of the kernel for TCX.
fn attached_to_v0() -> String {
    let xdp = output("ip -d link show dev v0");
    let xdp = xdp.lines().filter(|line| line.contains("prog/xdp"));
    let filters = ["ingress", "egress"].map(|direction| {
        // Fails where there is no qdisc, hence no filter.
        let shown = Command::new("tc")
            .args(["filter", "show", "dev", "v0", direction])
            .output()
            .unwrap();
        String::from_utf8(shown.stdout).unwrap()
    });
    let tcx = attach::tcx_programs("v0").join(" ");
    format!("{}{}{tcx}", xdp.collect::<String>(), filters.concat())
}

/// An IPv4 packet with a UDP header.
fn udp4_packet(len: u16) -> Vec<u8> {
    let mut packet = vec![0x45, 0];
    packet.extend(len.to_be_bytes());
    packet.extend([0, 1, 0, 0, 64, 17, 0, 0, 198, 18, 3, 9, 198, 18, 3, 8]);
    packet.extend([0x9c, 0x40, 0x13, 0x88]);
    packet.extend((len - 20).to_be_bytes());
    packet.resize(usize::from(len), 0);
    packet
}

/// Behind broadcast Ethernet addresses and these bytes: tags and the EtherType.
fn frame(tags_and_type: &[u8], packet: &[u8]) -> Vec<u8> {
    let addresses = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2, 0, 0, 0, 0, 9];
    [&addresses, tags_and_type, packet].concat()
}

fn seen(source: &EbpfSource, ifindex: u32) -> [u64; 2] {
    let [bank, _] = source.counters(ifindex).unwrap();
    bank.map(|counters| counters.seen.packets)
}

#[test]
fn preparing_loads_the_programs_of_the_first_hook_and_attaches_none() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let _namespaces = Namespaces::enter();
    let v0 = Namespaces::interface("v0");
    for hook in [Hook::Tc, Hook::XdpGeneric] {
        let loaded = |source: &mut EbpfSource| source.object().program_costs().len();
        let mut source = load();
        let others = loaded(&mut source);
        source.prepare(&v0, &with(hook));
        assert_eq!(loaded(&mut source), others + 2, "{hook:?}");
        assert_eq!(attached_to_v0(), "", "{hook:?}");
        source.attach(&v0, &with(hook)).unwrap();
        let attaching_loads = loaded(&mut source) - others - 2;
        assert_eq!(attaching_loads, 0, "{hook:?}");
    }
}

#[test]
fn each_hook_sees_both_directions_and_leaves_nothing() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let _namespaces = Namespaces::enter();
    let v0 = Namespaces::interface("v0");
    for (hook, ingress) in [
        (Hook::Auto, &["tcx", "clsact"][..]),
        (Hook::Tc, &["tcx", "clsact"]),
        (Hook::Xdp, &["xdp-native"]),
        (Hook::XdpNative, &["xdp-native"]),
        (Hook::XdpGeneric, &["xdp-generic"]),
    ] {
        let mut source = load();
        let attachment = source.attach(&v0, &with(hook)).unwrap();
        assert!(
            ingress.contains(&attachment.ingress),
            "{hook:?}: {attachment:?}"
        );
        assert_ne!(attached_to_v0(), "", "{hook:?}");
        run("ping -q -c 3 -i 0.01 198.18.3.2");
        let seen_in = seen(&source, v0.ifindex);
        assert!(seen_in[0] >= 3 && seen_in[1] >= 3, "{hook:?}: {seen_in:?}");

        source.detach(&[v0.ifindex]).unwrap();
        assert_eq!(attached_to_v0(), "", "{hook:?}, after detach");
        let last = seen(&source, v0.ifindex);
        run("ping -q -c 1 198.18.3.2");
        assert_eq!(
            seen(&source, v0.ifindex),
            last,
            "{hook:?}: counted after detach"
        );
        source.release(v0.ifindex);

        source.attach(&v0, &with(hook)).unwrap();
        assert_ne!(attached_to_v0(), "", "{hook:?}, again");
        drop(source);
        assert_eq!(attached_to_v0(), "", "{hook:?}, after drop");
    }
}

#[test]
fn a_foreign_xdp_program_stays_and_tc_is_used() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let _namespaces = Namespaces::enter();
    let v0 = Namespaces::interface("v0");
    let mut foreign = load();
    foreign.attach(&v0, &with(Hook::XdpNative)).unwrap();

    let mut source = load();
    for hook in [Hook::Xdp, Hook::XdpNative, Hook::XdpGeneric] {
        let error = source.attach(&v0, &with(hook)).unwrap_err();
        let cause = error.source().and_then(|it| it.downcast_ref());
        assert!(
            matches!(cause, Some(AttachError::NoHook { .. })),
            "{error:?}"
        );
        let error = error.to_string();
        assert!(error.contains("another XDP program is attached"), "{error}");
        assert!(error.starts_with("interface v0: "), "{error}");
    }
    source.attach(&v0, &with(Hook::Auto)).unwrap();
    run("ping -q -c 2 -i 0.01 198.18.3.2");
    assert!(
        seen(&foreign, v0.ifindex)[0] >= 2,
        "the foreign program still runs"
    );
    assert!(seen(&source, v0.ifindex)[0] >= 2);
}

/// Few are asked for one by one, many with all that there are.
#[test]
fn a_link_is_the_same_by_itself_and_among_all() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let _namespaces = Namespaces::enter();
    let v0 = Namespaces::interface("v0").ifindex;
    let nobody = u32::MAX / 2;
    let few = link::states(&[v0, nobody]).unwrap();
    assert_eq!(few.keys().collect::<Vec<_>>(), [&v0], "one is not there");
    let many: Vec<_> = (nobody..nobody + 1000).collect();
    let all = link::states(&many).unwrap();
    assert!(all.len() > 1, "the loopback is there, too");
    let facts = |of: &HashMap<u32, LinkState>| {
        let link = &of[&v0];
        let has_counters = link.counts.is_some();
        (link.name.clone(), has_counters, link.xdp_programs.clone())
    };
    assert_eq!(facts(&few), ("v0".to_owned(), true, vec![]));
    assert_eq!(facts(&few), facts(&all));
}

#[test]
fn devices_without_link_header_are_captured() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let _namespaces = Namespaces::enter();
    run("ip tuntap add dev t0 mode tun");
    run("ip link set t0 up");
    let t0 = Namespaces::interface("t0");
    let mut source = load();
    let attachment = source.attach(&t0, &with(Hook::Auto)).unwrap();
    assert!(
        attachment.reason.contains("not a physical device"),
        "{attachment:?}"
    );
    let before = source.counters(t0.ifindex).unwrap()[0][0];
    send_frame_as(Way::Tun, None, "t0", &udp4_packet(500));
    let after = source.counters(t0.ifindex).unwrap()[0][0];
    assert_eq!(after.seen.bytes - before.seen.bytes, 500);
    assert_eq!(after.recorded.bytes - before.recorded.bytes, 500);
    assert_eq!(after.recorded.packets - before.recorded.packets, 1);

    let error = source.attach(&t0, &with(Hook::Tc)).unwrap_err().to_string();
    assert!(error.contains("captured already"), "{error}");
    source.detach(&[t0.ifindex]).unwrap();
    source.release(t0.ifindex);
    let error = source
        .attach(&t0, &with(Hook::Xdp))
        .unwrap_err()
        .to_string();
    assert!(error.contains("XDP needs Ethernet headers"), "{error}");
}

#[test]
fn stripped_vlan_tags_are_seen_and_filtered() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let namespaces = Namespaces::enter();
    let v0 = Namespaces::interface("v0");
    let tagged = frame(&[0x81, 0x00, 0, 7, 0x08, 0x00], &udp4_packet(500));
    for ignore_vlans in [false, true] {
        let config = InterfaceConfig {
            ignore_vlans,
            ..InterfaceConfig::default()
        };
        let mut source = load();
        source.attach(&v0, &config).unwrap();
        let before = source.counters(v0.ifindex).unwrap()[0][0];
        // The kernel takes the tag out of received frames before TC sees them.
        namespaces.peer.enter(|| send_frame("v1", &tagged));
        let after = source.counters(v0.ifindex).unwrap()[0][0];
        let frame_len = tagged.len() as u64;
        assert!(after.seen.bytes - before.seen.bytes >= frame_len);
        let filtered = after.loss(Loss::Filtered).bytes - before.loss(Loss::Filtered).bytes;
        let recorded = after.recorded.bytes - before.recorded.bytes;
        if ignore_vlans {
            assert_eq!(filtered, frame_len, "with the tag");
        } else {
            assert_eq!(filtered, 0);
            assert!(recorded >= 500);
        }
    }
}

#[test]
fn headers_in_fragments_of_an_skb_are_read() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let namespaces = Namespaces::enter();
    let peer = &namespaces.peer;
    run("ip link set v0 mtu 9000");
    peer.ip("link set v1 mtu 9000\n");
    let v0 = Namespaces::interface("v0");
    let mut source = load();
    source.attach(&v0, &with(Hook::Tc)).unwrap();
    let before = source.counters(v0.ifindex).unwrap()[0];
    let jumbo = frame(&[0x08, 0x00], &udp4_packet(6000));
    send_frame_as(Way::Split, None, "v0", &jumbo);
    send_frame_as(Way::Split, Some(peer), "v1", &jumbo);
    let after = source.counters(v0.ifindex).unwrap()[0];
    for (after, before) in after.into_iter().zip(before) {
        assert_eq!(after.loss(Loss::Truncated).packets, 0, "{after:?}");
        assert_eq!(after.short_transports, 0);
        assert!(
            after.recorded.bytes - before.recorded.bytes >= 6000,
            "{after:?}"
        );
    }
    let mut ports = Vec::new();
    for mut stream in source.take_streams() {
        stream
            .drain(&mut |records| {
                ports.extend(records.iter().filter_map(|record| match record {
                    Record::V4(it) if it.octets == 6000 => {
                        Some((it.key.src_port(), it.key.dst_port()))
                    }
                    _ => None,
                }));
            })
            .unwrap();
    }
    assert_eq!(ports, [(40000, 5000), (40000, 5000)]);
}

#[test]
fn promiscuous_mode_ends_with_the_capture() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let _namespaces = Namespaces::enter();
    let v0 = Namespaces::interface("v0");
    let config = InterfaceConfig {
        promisc: true,
        ..InterfaceConfig::default()
    };
    let is_promiscuous = || output("ip -d link show dev v0").contains("promiscuity 1");
    let mut source = load();
    assert!(!is_promiscuous());
    source.attach(&v0, &config).unwrap();
    assert!(is_promiscuous());
    source.detach(&[v0.ifindex]).unwrap();
    assert!(!is_promiscuous());
}
