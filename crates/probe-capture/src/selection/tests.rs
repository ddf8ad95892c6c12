use std::collections::BTreeMap;

use super::{Choice, InterfaceSelector, select};
use crate::interface::{HostLink, Interface, InterfaceConfig};

fn link(ifindex: u32, name: &str, kind: &str) -> HostLink {
    HostLink {
        kind: kind.into(),
        ..HostLink::from(Interface {
            name: name.into(),
            ifindex,
        })
    }
}

fn of(link: HostLink, master: u32) -> HostLink {
    HostLink {
        master: Some(master),
        ..link
    }
}

fn on(link: HostLink, lower: u32) -> HostLink {
    HostLink {
        lower: Some(lower),
        ..link
    }
}

fn detecting(excluded: &[&str]) -> InterfaceSelector {
    let excluded: Vec<_> = excluded.iter().map(|&rule| rule.to_owned()).collect();
    InterfaceSelector::new(&BTreeMap::new(), Some(&excluded)).unwrap()
}

/// Names of what is captured, and of what is left out with those that count its packets.
fn chosen(selector: &InterfaceSelector, links: &[HostLink]) -> (String, Vec<String>) {
    let choices = selector.choices(links);
    let both = || links.iter().zip(&choices);
    let captured = both().filter(|(_, choice)| choice.config().is_some());
    let captured: Vec<_> = captured.map(|(link, _)| &*link.interface.name).collect();
    let left_out = both().filter_map(|(link, choice)| match choice {
        Choice::Stacked(on) => Some(format!("{}: {}", link.interface.name, on.join(" "))),
        _ => None,
    });
    let wanted = select(selector, links).wanted;
    assert_eq!(wanted.len(), captured.len());
    (captured.join(" "), left_out.collect())
}

fn rules(rules: &[(&str, bool)]) -> InterfaceSelector {
    let rules = rules.iter().map(|&(rule, disable)| {
        let config = InterfaceConfig {
            disable,
            ..InterfaceConfig::default()
        };
        (rule.to_owned(), config)
    });
    InterfaceSelector::new(&rules.collect(), None).unwrap()
}

#[test]
fn kinds_select_and_exclude_as_patterns_do() {
    let selector = rules(&[
        ("cali7", false),
        ("kind:veth", true),
        ("kind:bond", false),
        ("/^eth/", false),
    ]);
    let why = |name, kind| selector.explain(name, kind).to_string();
    assert_eq!(why("cali7", "veth"), "captured: configured by name");
    assert_eq!(
        why("eth0", "veth"),
        "not captured: disabled by kind:veth",
        "inside a container"
    );
    assert_eq!(why("eth1", "bond"), "captured: matched by /^eth/");
    assert_eq!(why("up", "bond"), "captured: matched by kind:bond");
    assert_eq!(why("bond", "physical"), "not captured: no rule matches");
    let selector = detecting(&["kind:veth", "kind:loopback"]);
    assert_eq!(
        selector.explain("lxc9", "veth"),
        Choice::Excluded("kind:veth")
    );
    assert!(selector.explain("veth0", "physical").config().is_some());
    assert_eq!(selector.names().count(), 0);
}

#[test]
fn what_captured_links_below_count_is_left_out() {
    let links = [
        link(1, "eth0", "physical"),
        of(link(2, "eth1", "physical"), 4),
        of(link(3, "eth2", "physical"), 4),
        link(4, "bond0", "bond"),
        on(link(5, "bond0.7", "vlan"), 4),
        of(on(link(6, "eth0.8", "vlan"), 1), 7),
        link(7, "br0", "bridge"),
        of(link(8, "vnet0", "tun"), 7),
        on(link(9, "mac0", "macvlan"), 1),
        link(10, "tun0", "tun"),
        link(11, "wg0", "wireguard"),
        on(link(12, "vxlan0", "vxlan"), 1),
        on(link(13, "sec0", "macsec"), 1),
        of(link(14, "enP1s0", "physical"), 1),
    ];
    let (captured, left_out) = chosen(&detecting(&[]), &links);
    assert_eq!(captured, "eth0 eth1 eth2 tun0 wg0 vxlan0 sec0");
    assert_eq!(
        left_out,
        [
            "bond0: eth1 eth2",
            "bond0.7: eth1 eth2",
            "eth0.8: eth0",
            "br0: eth0",
            "vnet0: eth0",
            "mac0: eth0",
            "enP1s0: eth0",
        ]
    );
    // In any order of the list.
    let mut reversed = links.to_vec();
    reversed.reverse();
    let (_, mut other_way) = chosen(&detecting(&[]), &reversed);
    other_way.reverse();
    assert_eq!(other_way.len(), left_out.len());

    let all = detecting(&[]).with_stacked(true);
    assert_eq!(chosen(&all, &links).1, [""; 0]);
    let twice = select(&all, &links).counted_twice;
    let twice: Vec<_> = twice
        .iter()
        .map(|it| format!("{}: {}", it.link, it.on.join(" ")))
        .collect();
    assert_eq!(
        twice,
        [
            "bond0: eth1 eth2",
            "bond0.7: bond0",
            "eth0.8: eth0",
            "br0: eth0.8",
            "vnet0: eth0.8 br0",
            "mac0: eth0",
            "enP1s0: eth0",
        ]
    );
    assert_eq!(select(&detecting(&[]), &links).counted_twice, []);
}

#[test]
fn what_nothing_else_counts_in_full_is_captured() {
    let links = [
        of(link(1, "eth0", "physical"), 3),
        of(link(2, "eth1", "physical"), 3),
        link(3, "bond0", "bond"),
        of(link(4, "veth0", "veth"), 5),
        link(5, "docker0", "bridge"),
        of(link(6, "vnet0", "tun"), 7),
        link(7, "virbr0", "bridge"),
        // Parents in other namespaces.
        link(8, "mac0", "macvlan"),
        link(9, "eth7.1", "vlan"),
        link(10, "bond1", "bond"),
    ];
    let (captured, left_out) = chosen(&detecting(&["eth1", "kind:veth"]), &links);
    assert_eq!(captured, "eth0 bond0 docker0 virbr0 mac0 eth7.1 bond1");
    assert_eq!(left_out, ["vnet0: virbr0"]);
    let excluded = detecting(&["/^eth./", "kind:veth", "kind:bridge"]);
    let (captured, left_out) = chosen(&excluded, &links);
    assert_eq!(captured, "bond0 vnet0 mac0 bond1");
    assert_eq!(left_out, [""; 0]);
}

#[test]
fn a_parent_that_ignores_vlans_leaves_them_to_their_links() {
    let mut interfaces = BTreeMap::new();
    let config = |ignore_vlans| InterfaceConfig {
        ignore_vlans,
        ..InterfaceConfig::default()
    };
    let links = [
        link(1, "eth0", "physical"),
        on(link(2, "eth0.7", "vlan"), 1),
        on(link(3, "mac0", "macvlan"), 1),
    ];
    for (ignore_vlans, expected) in [(true, "eth0 eth0.7"), (false, "eth0")] {
        interfaces.insert("eth0".to_owned(), config(ignore_vlans));
        let selector = InterfaceSelector::new(&interfaces, Some(&[])).unwrap();
        assert_eq!(chosen(&selector, &links).0, expected);
    }
}

#[test]
fn links_far_below_that_ignore_vlans_leave_them_too() {
    let ignoring = |names: &[&str]| {
        let config = InterfaceConfig {
            ignore_vlans: true,
            ..InterfaceConfig::default()
        };
        let names = names.iter().map(|&name| (name.to_owned(), config.clone()));
        InterfaceSelector::new(&names.collect(), Some(&[])).unwrap()
    };
    let links = [
        of(link(1, "eth0", "physical"), 3),
        of(link(2, "eth1", "physical"), 3),
        link(3, "bond0", "bond"),
        on(link(4, "bond0.7", "vlan"), 3),
        of(link(5, "eth2", "physical"), 6),
        link(6, "br0", "bridge"),
        on(link(7, "br0.7", "vlan"), 6),
        on(link(8, "mac0", "macvlan"), 6),
        on(link(9, "mac7", "macvlan"), 4),
    ];
    let (captured, left_out) = chosen(&ignoring(&["eth0", "eth1", "eth2"]), &links);
    assert_eq!(captured, "eth0 eth1 bond0.7 eth2 br0.7");
    let others = ["bond0: eth0 eth1", "br0: eth2", "mac0: eth2"];
    assert_eq!(left_out[..3], others);
    assert_eq!(left_out[3..], ["mac7: bond0.7"]);
    // One that does is enough.
    let (captured, _) = chosen(&ignoring(&["eth1"]), &links);
    assert_eq!(captured, "eth0 eth1 bond0.7 eth2");
    assert_eq!(chosen(&ignoring(&[]), &links).0, "eth0 eth1 eth2");
}

#[test]
fn what_is_named_is_captured_and_told_to_count_twice() {
    let selector = rules(&[("/./", false)]);
    let links = [
        link(1, "eth0", "physical"),
        on(link(2, "eth0.7", "vlan"), 1),
        on(link(3, "veth0", "veth"), 4),
        on(link(4, "veth1", "veth"), 3),
        of(link(5, "eth1", "physical"), 6),
        link(6, "bond0", "bond"),
    ];
    assert_eq!(chosen(&selector, &links).1, [""; 0]);
    let twice = select(&selector, &links).counted_twice.into_iter();
    let twice: Vec<_> = twice.map(|it| (it.link, it.on.join(" "))).collect();
    let expected = [("eth0.7", "eth0"), ("veth0", "veth1"), ("bond0", "eth1")];
    assert_eq!(
        twice,
        expected.map(|(link, on)| (link.to_owned(), on.to_owned()))
    );
}

/// Links that change while they are listed may seem to stand on each other.
#[test]
fn a_loop_ends() {
    let links = [
        of(on(link(1, "a", "vlan"), 2), 3),
        on(link(2, "b", "vlan"), 1),
        of(link(3, "c", "bridge"), 3),
        on(link(4, "d", "macvlan"), 4),
    ];
    let (captured, left_out) = chosen(&detecting(&[]), &links);
    assert_eq!(captured, "a d");
    assert_eq!(left_out, ["b: a", "c: a"]);
    assert_eq!(
        select(&rules(&[("/./", false)]), &links)
            .counted_twice
            .len(),
        3
    );
}
