//! Which links of a host the default configuration captures, whatever they are called, and that no
//! packet is then counted on two of them under the same key.

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::{
    agent::{Agent, Installation, built_binary},
    eventually,
    netns::Namespace,
    reload, skip,
    testbed::Testbed,
    topology::is_known,
};

const DEFAULT: &str = include_str!("../../../../config/probe.yaml");

/// The ends of containers, by the names that runtimes give them, and nothing else.
const ENDS: [&str; 5] = ["both0", "both1", "cali123", "lxc1", "vethabc"];

/// Containers, virtual machines and their bridges, one of which has an uplink. A namespace has no hardware:
/// ends of tunnels stand in for it.
fn add_guests(testbed: &Testbed) {
    let pods = testbed.peer.name();
    testbed.host.ip(&format!(
        "link add up0 type vxlan id 1 dstport 4789\n\
         link add up1 type vxlan id 2 dstport 4789\n\
         link add link up0 name mac0 type macvlan mode bridge\n\
         link add br0 type bridge\n\
         link set up1 master br0\n\
         link add lxc1 type veth peer name eth0 netns {pods}\n\
         link set lxc1 master br0\n\
         tuntap add vnet0 mode tap\n\
         link set vnet0 master br0\n\
         link add docker0 type bridge\n\
         link add vethabc type veth peer name eth1 netns {pods}\n\
         link set vethabc master docker0\n\
         link add cali123 type veth peer name eth2 netns {pods}\n\
         link add both0 type veth peer name both1\n\
         tuntap add vpn0 mode tun\n"
    ));
}

/// Links on top of uplinks.
fn add_stacked(testbed: &Testbed) {
    testbed.host.ip("link add up0 type dummy\n\
         link add up1 type dummy\n\
         link add up2 type dummy\n\
         link add bond0 type bond\n\
         link set up1 master bond0\n\
         link set up2 master bond0\n\
         link add link up0 name up0.7 type vlan id 7\n\
         link add link bond0 name bond0.8 type vlan id 8\n\
         link add cali123 type veth peer name lxc1\n");
}

/// The section of the configuration as it comes, with this value of `stacked`.
fn configure(installation: &Installation, stacked: bool) {
    let begin = DEFAULT.find("autodetection:").expect("the section");
    let section = DEFAULT[begin..].split("\n\n").next().expect("its lines");
    assert!(section.contains("  stacked: false"), "{section}");
    let section = section.replace("  stacked: false", &format!("  stacked: {stacked}"));
    let folder = installation.path().display();
    installation.configure(&format!(
        "{section}\n\
         writeout: []\n\
         api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: none }}\n"
    ));
}

fn plan(namespace: &Namespace, installation: &Installation) -> Value {
    let mut plan = namespace.command(built_binary());
    plan.args(["plan", "--json", "-c"])
        .arg(installation.path().join("probe.yaml"));
    let output = plan.output().expect("the binary runs");
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

/// What the plan says of each of these links: its kind, and why it is captured or not.
#[track_caller]
fn assert_rules(plan: &Value, expected: &[(&str, &str, &str)]) {
    for (name, kind, rule) in expected {
        let mut interfaces = plan["interfaces"].as_array().expect("a list").iter();
        let link = interfaces.find(|link| link["name"] == *name);
        let link = link.unwrap_or_else(|| panic!("no {name} in {plan:#}"));
        assert_eq!(
            (&link["kind"], &link["rule"]),
            (&(*kind).into(), &(*rule).into()),
            "{name}"
        );
    }
    let warnings = plan["warnings"].to_string();
    assert!(!warnings.contains("see the same packets"), "{warnings}");
}

#[track_caller]
fn eventually_captured(agent: &Agent, expected: &[&str]) {
    let expected: BTreeSet<_> = expected.iter().map(|&name| name.to_owned()).collect();
    eventually(&format!("{expected:?} are captured"), || {
        (captured(agent) == expected).then_some(())
    });
}

fn captured(agent: &Agent) -> BTreeSet<String> {
    let (code, status) = agent.command(&["status", "--json"]);
    assert!(code.success(), "{status}");
    let status: Value = serde_json::from_str(&status).expect("JSON");
    let interfaces = status["interfaces"].as_object().expect("a mapping");
    interfaces.keys().cloned().collect()
}

fn counted_twice(agent: &Agent) -> i64 {
    let metrics = agent.metrics();
    metrics.sum("probe_troubles", "kind=\"counted_twice\"")
}

#[test]
fn no_end_of_a_container_is_captured_whatever_its_name() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let testbed = Testbed::without_links();
    add_guests(&testbed);
    let installation = Installation::empty();
    configure(&installation, false);
    let plan = plan(&testbed.host, &installation);
    let of_veth = ENDS.map(|end| (end, "veth", "excluded from auto-detection by kind:veth"));
    assert_rules(&plan, &of_veth);
    let detected = "found by auto-detection";
    let excluded = "excluded from auto-detection by kind:loopback";
    assert_rules(
        &plan,
        &[
            ("lo", "loopback", excluded),
            ("mac0", "macvlan", "its packets count on up0"),
            ("br0", "bridge", "its packets count on up1"),
            ("vnet0", "tun", "its packets count on up1"),
            ("docker0", "bridge", detected),
            ("vpn0", "tun", detected),
            ("up0", "vxlan", detected),
        ],
    );

    let agent = installation.start(&testbed.host);
    let captured = ["docker0", "up0", "up1", "vpn0"];
    eventually_captured(&agent, &captured);
    assert_eq!(counted_twice(&agent), 0);

    // The bridge loses its uplink, and gets it back.
    testbed.host.ip("link set up1 nomaster\n");
    eventually_captured(&agent, &[&captured[..], &["br0"]].concat());
    testbed.host.ip("link set up1 master br0\n");
    eventually_captured(&agent, &captured);

    // A reload of `autodetection.stacked`, and a note about it.
    configure(&installation, true);
    let told = reload::reload(&agent, &installation);
    assert!(told.contains("3 enabled"), "{told}");
    eventually_captured(&agent, &[&captured[..], &["br0", "mac0", "vnet0"]].concat());
    assert_eq!(counted_twice(&agent), 1);
    let (code, text) = agent.command(&["status"]);
    assert!(code.success(), "a note is no trouble: {text}");
    assert!(text.contains("see the same packets"), "{text}");
    assert!(agent.terminate().success());
}

#[test]
fn links_on_top_of_captured_ones_are_left_out() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let testbed = Testbed::without_links();
    for kind in ["dummy", "bond", "vlan"] {
        if !is_known(&testbed.host, kind) {
            skip::not_in_this_kernel(&format!("links of type {kind}"));
            return;
        }
    }
    add_stacked(&testbed);
    let installation = Installation::empty();
    configure(&installation, false);
    let plan = plan(&testbed.host, &installation);
    assert_rules(
        &plan,
        &[
            ("up0", "dummy", "found by auto-detection"),
            ("bond0", "bond", "its packets count on up1, up2"),
            ("bond0.8", "vlan", "its packets count on up1, up2"),
            ("up0.7", "vlan", "its packets count on up0"),
            (
                "cali123",
                "veth",
                "excluded from auto-detection by kind:veth",
            ),
            ("lxc1", "veth", "excluded from auto-detection by kind:veth"),
        ],
    );
    let agent = installation.start(&testbed.host);
    eventually_captured(&agent, &["up0", "up1", "up2"]);
    configure(&installation, true);
    reload::reload(&agent, &installation);
    eventually_captured(&agent, &["bond0", "bond0.8", "up0", "up0.7", "up1", "up2"]);
    assert_eq!(counted_twice(&agent), 1);
    assert!(agent.terminate().success());
}
