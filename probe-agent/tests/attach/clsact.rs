//! Filters of the clsact qdisc, where the kernel has no TCX.

use std::process::Command;

use probe_capture::interface::Hook;
use probe_datapath::{
    attach, detach_stale_filters,
    link::{self, Link},
    load::Object,
};

use super::{Namespaces, OPTIONS, TOOLS, attached_to_v0, output, run, skip, with};

/// Where the agent's clsact filters are.
const OUR_FILTER: &str = "pref 1 handle 0x70720001";

#[test]
fn clsact_filters_of_a_dead_agent_are_recognised() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let _namespaces = Namespaces::enter();
    let v0 = Namespaces::interface("v0");
    let link = Link::by_index(v0.ifindex).unwrap();
    let mut object = Object::load(OPTIONS).unwrap();
    let (attached, attachment) = attach::attach_clsact(&mut object, &link).unwrap();
    assert_eq!(
        (attachment.ingress, attachment.egress),
        ("clsact", "clsact")
    );
    assert!(attached_to_v0().contains("probe_tc_egress"));
    drop(attached);
    assert_eq!(attached_to_v0(), "", "after a clean end");

    let (attached, _) = attach::attach_clsact(&mut object, &link).unwrap();
    // As after SIGKILL: nothing takes the filters away.
    std::mem::forget(attached);
    run("tc qdisc add dev lo clsact");
    let foreign = [
        "filter",
        "add",
        "dev",
        "lo",
        "ingress",
        "bpf",
        "bytecode",
        "1,6 0 0 0,",
    ];
    assert!(Command::new("tc").args(foreign).status().unwrap().success());
    let detach = || {
        let output = Command::new(env!("CARGO_BIN_EXE_probe-agent"))
            .arg("detach")
            .output();
        let output = output.unwrap();
        let told = [output.stdout, output.stderr].concat();
        String::from_utf8(told).unwrap()
    };
    let refused = detach();
    assert!(
        refused.contains("is capturing with these programs: stop it first"),
        "this test holds them still: {refused}"
    );
    drop(object);
    assert_eq!(detach(), "removed 2 filters of an earlier run\n");
    assert_eq!(attached_to_v0(), "");
    let foreign = output("tc filter show dev lo ingress");
    assert!(
        foreign.contains("bytecode"),
        "somebody else's filter stays: {foreign}"
    );
    assert_eq!(detach_stale_filters().unwrap(), 0);
}

/// The place of ours is taken by a foreign filter, which stays.
#[test]
fn clsact_filters_that_are_deleted_or_replaced_are_missed() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let _namespaces = Namespaces::enter();
    let v0 = Namespaces::interface("v0");
    let link = Link::by_index(v0.ifindex).unwrap();
    let mut object = Object::load(OPTIONS).unwrap();
    let (mut attached, _) = attach::attach_clsact(&mut object, &link).unwrap();
    let check = |attached: &attach::Attached| {
        let links = link::states(&[v0.ifindex]).unwrap();
        attached.check(v0.ifindex, &links[&v0.ifindex]).unwrap()
    };
    assert_eq!(check(&attached).lost, []);

    run("tc filter del dev v0 ingress");
    run(&format!("tc filter del dev v0 egress {OUR_FILTER} bpf"));
    let foreign = format!("filter add dev v0 egress {OUR_FILTER} bpf bytecode");
    let words = foreign.split_whitespace().chain(["1,6 0 0 0,"]);
    assert!(Command::new("tc").args(words).status().unwrap().success());
    let lost = check(&attached).lost;
    assert_eq!(lost.len(), 2, "{lost:?}");
    assert_eq!(
        lost[0].to_string(),
        "ingress clsact: our program was detached, no program is there now"
    );

    let again = attach::reattach(&mut object, &mut attached, &lost, &with(Hook::Tc), &link);
    assert!(again.unwrap().reason.starts_with("attached again: "));
    assert_eq!(check(&attached).lost, []);
    drop(attached);
    let foreign = output("tc filter show dev v0 egress");
    assert!(foreign.contains("bytecode"), "it stays: {foreign}");
}

#[test]
fn an_ingress_qdisc_is_not_mistaken_for_clsact() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let _namespaces = Namespaces::enter();
    run("tc qdisc add dev v0 ingress");
    let link = Link::by_index(Namespaces::interface("v0").ifindex).unwrap();
    let mut object = Object::load(OPTIONS).unwrap();
    let error = attach::attach_clsact(&mut object, &link)
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("qdisc ingress in the place of clsact"),
        "{error}"
    );
    assert!(output("tc qdisc show dev v0").contains("ingress"));
}
