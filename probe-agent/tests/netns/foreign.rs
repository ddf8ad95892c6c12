//! Programs of others: they stay and work before, during and after, and ours captures beside them.

use std::{process::Command, sync::Arc};

use probe_capture::{
    interface::{Hook, Interface, InterfaceConfig},
    source::{Hooks, RecordSource},
};
use probe_datapath::{
    cache_parts::CacheParts, load::LoadOptions, ring_parts::RingParts, source::EbpfSource,
};

use super::{
    agent::{Agent, Installation},
    eventually,
    flows::{assert_nothing_lost, stored_intervals, stored_total},
    generators::ping,
    netns::Namespace,
    run, skip,
    supervision::{NOTICED, PINGS, TOOLS, detach, ifindex, wait_for_state},
    testbed::{LINK, Offloads, PEER_V4, Testbed},
};

/// A program of somebody else that has taken the hook meanwhile stays there.
#[test]
fn a_taken_hook_is_left_alone_until_it_is_free() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: xdp-native }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let mut foreign = Foreign::load(&testbed.host, LINK, Hook::XdpNative);
    for link in agent.attached().links {
        if is_xdp(link) {
            detach(link);
        }
    }
    foreign.attach(&testbed.host);
    wait_for_state(&agent, "detached", NOTICED);
    eventually("the refusal is told", || {
        let log = installation.log();
        let refused = log.contains("another XDP program is attached");
        (refused && log.contains("next_attempt_s")).then_some(())
    });
    ping(&testbed.host, PEER_V4, 200);
    assert_eq!(foreign.received(), PINGS, "the foreign program runs");
    assert_eq!(
        packets(&agent, "sent"),
        PINGS,
        "ours still sees what is sent"
    );
    assert_eq!(packets(&agent, "rcvd"), 0);

    drop(foreign);
    eventually("ours takes its place again", || {
        (agent.metrics().sum("probe_reattached_total", "") == 1).then_some(())
    });
    ping(&testbed.host, PEER_V4, 200);
    assert!(agent.terminate().success(), "the agent's exit code");
    let stored = stored_total(&installation.json());
    assert_eq!(
        [stored.packets_rcvd, stored.packets_sent],
        [PINGS, 2 * PINGS]
    );
    let interval = &stored_intervals(&installation.json())[0];
    assert_eq!(interval.ledger("residue"), 0);
    // The link knows what we did not see.
    let rcvd = &interval.ledger["coverage"]["rcvd"];
    assert_eq!((&rcvd["link"], &rcvd["packets"]), (&10.into(), &5.into()));
}

#[test]
fn a_foreign_xdp_program_stays_before_during_and_after() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let mut foreign = Foreign::load(&testbed.host, LINK, Hook::XdpNative);
    foreign.attach(&testbed.host);
    ping(&testbed.host, PEER_V4, 200);
    assert_eq!(foreign.received(), PINGS);

    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: auto }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    ping(&testbed.host, PEER_V4, 200);
    assert_eq!(foreign.received(), 2 * PINGS);
    assert!(agent.terminate().success(), "the agent's exit code");
    ping(&testbed.host, PEER_V4, 200);
    assert_eq!(foreign.received(), 3 * PINGS);

    let json = installation.json();
    assert_nothing_lost(&json);
    let stored = stored_total(&json);
    assert_eq!([stored.packets_rcvd, stored.packets_sent], [PINGS; 2]);
}

#[test]
fn foreign_filters_stay_before_during_and_after() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    testbed
        .host
        .ip("link add copies0 type veth peer name copies1\nlink set copies0 up\n");
    tc(&testbed.host, &format!("qdisc add dev {LINK} clsact"));
    let ends = ["ingress", "egress"];
    for end in ends {
        // Copies every IPv4 packet, and counts them.
        tc(
            &testbed.host,
            &format!(
                "filter add dev {LINK} {end} protocol ip u32 match u32 0 0 \
                 action mirred egress mirror dev copies0"
            ),
        );
    }
    // `Sent 1234 bytes 5 pkt`, by end.
    let passed = || {
        ends.map(|end| {
            let shown = tc(&testbed.host, &format!("-s filter show dev {LINK} {end}"));
            let packets = shown
                .split(" pkt")
                .next()
                .and_then(|it| it.rsplit(' ').next());
            packets
                .and_then(|it| it.parse::<u64>().ok())
                .expect("a number")
        })
    };
    ping(&testbed.host, PEER_V4, 200);
    assert_eq!(passed(), [PINGS; 2]);

    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: tc }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    ping(&testbed.host, PEER_V4, 200);
    assert_eq!(passed(), [2 * PINGS; 2]);
    assert!(agent.terminate().success(), "the agent's exit code");
    ping(&testbed.host, PEER_V4, 200);
    assert_eq!(passed(), [3 * PINGS; 2]);

    let json = installation.json();
    assert_nothing_lost(&json);
    let stored = stored_total(&json);
    assert_eq!([stored.packets_rcvd, stored.packets_sent], [PINGS; 2]);
}

/// An XDP program that is not the agent's, and counts what it passes on.
pub(crate) struct Foreign {
    source: EbpfSource,
    interface: Interface,
    hook: Hook,
}

impl Foreign {
    /// For a hook of a link in the namespace.
    pub(crate) fn load(namespace: &Namespace, link: &str, hook: Hook) -> Self {
        let options = LoadOptions {
            rings: RingParts::one(1 << 16),
            cache: CacheParts::NONE,
            interfaces: 1,
        };
        let mut source = EbpfSource::with_options(options).expect("it can be loaded");
        // The verifier takes its time, which the test does not have later.
        let program = "probe_xdp_ingress";
        source
            .object()
            .program(program)
            .expect("it passes the verifier");
        Self {
            source,
            interface: Interface {
                name: Arc::from(link),
                ifindex: namespace.enter(|| ifindex(link)),
            },
            hook,
        }
    }

    #[track_caller]
    pub(crate) fn attach(&mut self, namespace: &Namespace) {
        let Self {
            source,
            interface,
            hook,
        } = self;
        let config = InterfaceConfig {
            hook: *hook,
            ..InterfaceConfig::default()
        };
        let attached = namespace.enter(|| source.attach(interface, &config));
        attached.expect("the hook is free");
    }

    fn received(&self) -> u64 {
        let counters = self.source.counters(self.interface.ifindex);
        counters.expect("it is attached")[0][0].seen.packets
    }
}

pub(crate) fn is_xdp(link: u32) -> bool {
    let shown = run(Command::new("bpftool").args(["link", "show", "id", &link.to_string()]));
    shown.contains("xdp")
}

fn tc(namespace: &Namespace, words: &str) -> String {
    run(namespace.command("tc").args(words.split_whitespace()))
}

fn packets(agent: &Agent, direction: &str) -> u64 {
    let label = format!("direction=\"{direction}\"");
    let packets = agent.settled_metrics().sum("probe_packets_total", &label);
    packets.try_into().expect("a count")
}
