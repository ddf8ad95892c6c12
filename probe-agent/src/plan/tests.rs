//! The plan for hosts that are made up.

use rstest::rstest;

use super::{Plan, Relation, write_text};
use crate::{
    config::Config,
    term::{captures::assert_capture, page::TableStyle},
};
use probe_datapath::{
    inventory::{
        AttachedProgram, Holder, Host, HostInventory, InventoryLink, LowerLink, ProgramHook,
    },
    link::{Link, LinkHeader},
    map_memory::{MapMemory, MapSize},
};

fn link(ifindex: u32, name: &str, kind: Option<&str>) -> InventoryLink {
    InventoryLink {
        link: Link {
            ifindex,
            name: name.to_owned(),
            odd_name: None,
            header: LinkHeader::Ethernet,
            kind: kind.map(str::to_owned),
            is_loopback: false,
            is_virtio: false,
            has_xdp: false,
        },
        arphrd: 1,
        arphrd_name: "ETHER".to_owned(),
        mtu: Some(1500),
        is_up: true,
        driver: None,
        vlan_id: None,
        master: None,
        lower: None,
        clsact: None,
        programs: Vec::new(),
    }
}

fn with_xdp(mut link: InventoryLink, name: &str) -> InventoryLink {
    link.link.has_xdp = true;
    link.programs.push(AttachedProgram {
        hook: ProgramHook::XdpNative,
        kind: "bpf".to_owned(),
        id: Some(7),
        name: Some(name.to_owned()),
        holders: vec![Holder {
            pid: 42,
            command: "other".to_owned(),
        }],
    });
    link
}

fn plan(yaml: &str, links: Vec<InventoryLink>, host: Host) -> Plan {
    let config = Config::parse(yaml).expect("a good configuration");
    let selector = config.selector().expect("good rules");
    let inventory = HostInventory {
        host,
        links,
        unreadable: Vec::new(),
        not_checked: Vec::new(),
    };
    let map_memory = MapMemory {
        cpus: 2,
        rings: 2,
        maps: vec![MapSize {
            map: "RECORDS".to_owned(),
            entries: 1 << 20,
            bytes_per_cpu: None,
            bytes: 1 << 20,
        }],
    };
    Plan::from_inventory(&config, &selector, &inventory, &map_memory)
}

fn modern() -> Host {
    Host {
        release: "6.18.0".to_owned(),
        has_tcx: true,
        ..Host::default()
    }
}

#[test]
fn a_program_that_the_kernel_refuses_is_a_problem_of_its_links() {
    let mut host = modern();
    let refused = "the kernel refuses the eBPF program";
    host.refused_programs.insert(
        "probe_tc_ingress_l3",
        format!("{refused} probe_tc_ingress_l3"),
    );
    let mut tun = link(2, "tun0", Some("tun"));
    tun.link.header = LinkHeader::None;
    let links = vec![link(1, "veth0", Some("veth")), tun];
    let plan = plan("interfaces: { veth0: {}, tun0: {} }", links, host);
    assert!(!plan.can_attach);
    assert_eq!(plan.interfaces[0].problem, None);
    assert_eq!(plan.problems.len(), 1, "{:?}", plan.problems);
    assert!(
        plan.problems[0].starts_with("tun0: "),
        "{:?}",
        plan.problems
    );
    assert!(plan.problems[0].contains(refused), "{:?}", plan.problems);
}

fn hooks(plan: &Plan, link: usize) -> Vec<(&'static str, bool)> {
    let steps = plan.interfaces[link].ingress.iter();
    steps
        .map(|step| (step.hook, step.skipped.is_none()))
        .collect()
}

#[test]
fn rules_decide_and_are_named() {
    let links = vec![link(1, "eth0", None), link(2, "veth1", Some("veth"))];
    let plan = plan("interfaces: { /^eth/: {} }", links, modern());
    assert!(plan.can_attach, "{:?}", plan.problems);
    assert_eq!(plan.interfaces[0].rule, "matched by /^eth/");
    assert!(!plan.interfaces[1].captured);
    assert_eq!(plan.interfaces[1].rule, "no rule matches");
    assert!(plan.interfaces[1].ingress.is_empty());
}

#[test]
fn in_a_container_the_veth_is_named_as_the_way_out() {
    let mut lo = link(1, "lo", None);
    lo.link.is_loopback = true;
    let links = vec![lo, link(2, "eth0", Some("veth"))];
    let plan = plan("autodetection: { enabled: true }", links, modern());
    assert!(plan.interfaces.iter().all(|link| !link.captured));
    assert_eq!(
        plan.warnings,
        [
            "no link of this host is to be captured; in a container the way out is a veth: name it, \
          `interfaces: { eth0: {} }`"
        ]
    );
}

#[test]
fn a_name_without_a_link_is_a_problem() {
    let plan = plan("interfaces: { eth7: {} }", Vec::new(), modern());
    assert!(!plan.can_attach);
    assert_eq!(plan.missing, ["eth7"]);
    assert!(
        plan.problems[0].starts_with("eth7: "),
        "{:?}",
        plan.problems
    );
}

#[test]
fn an_unknown_link_header_is_a_problem() {
    let mut can0 = link(1, "can0", Some("can"));
    can0.link.header = LinkHeader::Unknown(280);
    let plan = plan("interfaces: { can0: {} }", vec![can0], modern());
    assert!(!plan.can_attach);
    assert!(plan.problems[0].contains("280"), "{:?}", plan.problems);
}

#[test]
fn kernels_without_tcx_take_clsact() {
    let host = Host {
        has_tcx: false,
        ..modern()
    };
    let plan = plan(
        "interfaces: { v: {hook: tc} }",
        vec![link(1, "v", None)],
        host,
    );
    assert_eq!(hooks(&plan, 0), [("tcx", false), ("clsact", true)]);
    assert!(plan.can_attach);
}

#[test]
fn an_ingress_qdisc_is_in_the_way_of_clsact() {
    let mut taken = link(1, "v", None);
    taken.clsact = Some("ingress".to_owned());
    let host = Host {
        has_tcx: false,
        ..modern()
    };
    let plan = plan("interfaces: { v: {hook: tc} }", vec![taken], host);
    assert!(!plan.can_attach);
    assert!(plan.problems[0].contains("tc qdisc replace dev v clsact"));
}

#[test]
fn a_foreign_xdp_program_is_in_the_way_and_ours_is_not() {
    let yaml = "interfaces: { e: { hook: xdp-native } }";
    let foreign = with_xdp(link(1, "e", None), "xdp_dispatcher");
    let plan_of_foreign = plan(yaml, vec![foreign], modern());
    assert!(!plan_of_foreign.can_attach);
    assert!(plan_of_foreign.problems[0].contains("another XDP program"));

    // As the kernel cuts the name.
    let ours = with_xdp(link(1, "e", None), "probe_xdp_ingre");
    let plan_of_ours = plan(yaml, vec![ours], modern());
    assert!(plan_of_ours.can_attach, "{:?}", plan_of_ours.problems);
    assert!(plan_of_ours.interfaces[0].programs[0].ours);
}

#[test]
fn forcing_a_hook_that_costs_is_a_warning() {
    let veth = || vec![link(1, "v", Some("veth"))];
    let forced = plan("interfaces: { v: { hook: xdp } }", veth(), modern());
    assert!(forced.can_attach);
    assert!(forced.warnings[0].starts_with("v: xdp-native is forced, and on veth"));
    let left_to_auto = plan("interfaces: { v: {} }", veth(), modern());
    assert_eq!(left_to_auto.warnings, [""; 0]);
}

#[test]
fn links_that_share_packets_are_named_on_both_sides() {
    let mut port = link(2, "v0", Some("veth"));
    port.master = Some(1);
    port.lower = Some(LowerLink {
        ifindex: 9,
        is_elsewhere: true,
    });
    let mut vlan = link(3, "br0.7", Some("vlan"));
    vlan.vlan_id = Some(7);
    vlan.lower = Some(LowerLink {
        ifindex: 1,
        is_elsewhere: false,
    });
    // Not v0's peer: that has this index elsewhere.
    let bystander = link(9, "v9", Some("veth"));
    let links = vec![link(1, "br0", Some("bridge")), port, vlan, bystander];
    let plan = plan("interfaces: { br0: {}, v0: {} }", links, modern());
    let relations = |link: usize| {
        let stacked = plan.interfaces[link].stacked.iter();
        stacked
            .map(|other| (other.relation, other.name.as_str(), other.captured))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        relations(0),
        [
            (Relation::Member, "v0", true),
            (Relation::Upper, "br0.7", false)
        ]
    );
    assert_eq!(
        relations(1),
        [(Relation::Master, "br0", true), (Relation::Peer, "", false)]
    );
    assert_eq!(relations(2), [(Relation::Lower, "br0", true)]);
    assert_eq!(relations(3), []);
    assert_eq!(
        plan.warnings,
        ["br0 and v0 are both captured and see the same packets"]
    );
    assert!(plan.interfaces[2].stacked[0].meaning.contains("VLAN 7"));
}

#[test]
fn what_forbids_loading_is_a_problem() {
    let host = Host {
        obstacle: Some("the agent lacks CAP_BPF".to_owned()),
        ..modern()
    };
    let plan = plan("interfaces: { v: {} }", vec![link(1, "v", None)], host);
    assert_eq!(plan.problems, ["the agent lacks CAP_BPF"]);
}

#[test]
fn lines_fit_the_terminal_and_nothing_controls_it() {
    let mut evil = with_xdp(link(1, "v\x1b[31m", Some("veth")), "xdp_pass");
    evil.programs[0].holders[0].command = "\x07bell".to_owned();
    let links = vec![evil, link(2, "lo", None)];
    let plan = plan("interfaces: { /^v/: {}, eth7: {} }", links, modern());
    let text = |style| {
        let mut text = Vec::new();
        write_text(&mut text, style, &plan).expect("a vector takes all");
        String::from_utf8(text).expect("UTF-8")
    };
    let plain = text(TableStyle::default());
    assert!(
        plain.lines().all(|line| line.chars().count() <= 80),
        "{plain}"
    );
    assert!(!plain.contains(['\x1b', '\x07']), "{plain}");
    assert!(plain.contains(" on 2 CPUs with 2 rings"), "{plain}");
    assert!(plain.contains("xdp-native: xdp_pass (program 7), held by ?bell (42)"));
    assert!(plain.ends_with("not everything that is wanted can be attached\n"));
    let narrow = text(TableStyle {
        width: Some(50),
        colour: false,
    });
    assert!(
        narrow.lines().all(|line| line.chars().count() <= 50),
        "{narrow}"
    );
    let coloured = text(TableStyle {
        width: Some(80),
        colour: true,
    });
    assert!(coloured.contains("\x1b[31mnot everything"), "{coloured}");
}

/// 60 links, of which one has an IPv6 tunnel's long name and one another's program.
#[rstest]
#[case::small(80, 24)]
#[case::large(200, 50)]
fn a_plan_is_as_captured(#[case] width: u16, #[case] height: u16) {
    let veths = (1..=58).map(|index| link(index, &format!("veth{index}"), Some("veth")));
    let taken = with_xdp(link(59, "eth0", None), "xdp_dispatcher");
    let tunnel = link(60, "ip6tnl-fd00-198", Some("ip6tnl"));
    let links = veths.chain([taken, tunnel]).collect();
    let yaml = "interfaces: { eth0: { hook: xdp-native }, ip6tnl-fd00-198: {}, eth7: {} }";
    let plan = plan(yaml, links, modern());
    let style = TableStyle {
        width: Some(width.into()),
        colour: false,
    };
    let mut text = Vec::new();
    write_text(&mut text, style, &plan).expect("a vector takes all");
    let text = String::from_utf8(text).expect("UTF-8");
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    assert_capture(&format!("plan-{width}x{height}"), width, &lines);
}

/// A host of a container has nothing but a veth, which auto-detection leaves out.
#[test]
fn a_plan_that_captures_nothing_is_not_called_good() {
    let links = vec![link(2, "eth0", Some("veth"))];
    let yaml = "autodetection: { enabled: true, exclude: [kind:veth] }";
    let plan = plan(yaml, links, modern());
    assert!(plan.can_attach, "{:?}", plan.problems);
    let style = TableStyle {
        width: Some(80),
        colour: false,
    };
    let mut text = Vec::new();
    write_text(&mut text, style, &plan).expect("a vector takes all");
    let text = String::from_utf8(text).expect("UTF-8");
    let last = "nothing would be captured: no link that is there is wanted\n";
    assert!(text.ends_with(last) && !text.contains("good"), "{text}");
}

#[test]
fn hundreds_of_warnings_are_cut_short_in_the_text_only() {
    let down = (1..=300).map(|index| {
        let mut link = link(index, &format!("v{index}"), None);
        link.is_up = false;
        link
    });
    let plan = plan("interfaces: { /^v/: {} }", down.collect(), modern());
    assert_eq!(plan.warnings.len(), 300);
    let mut text = Vec::new();
    write_text(&mut text, TableStyle::default(), &plan).expect("a vector takes all");
    let text = String::from_utf8(text).expect("UTF-8");
    assert!(
        text.contains("  - and 280 more (--json has all)\n"),
        "{text}"
    );
}
