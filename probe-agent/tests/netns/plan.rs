//! `plan`: right about every kind of link, harmless, and borne out by the agent.

mod selection;

use std::{
    os::unix::process::CommandExt,
    process::{Command, Output},
};

use serde_json::Value;

use super::{
    agent::{Installation, built_binary, programs_on_links},
    netns::Namespace,
    run, skip,
    testbed::{LINK, Offloads, Testbed},
};

const TOOLS: [&str; 4] = ["ip", "ethtool", "tc", "bpftool"];
const NOBODY: u32 = 65534;

/// The links that [`add_links`] makes, each with its hook and the program that is to see what it
/// receives.
const WANTED: [(&str, &str, &str, &str); 6] = [
    (LINK, "veth", "tcx", "probe_tc_ingress"),
    ("br0", "bridge", "tcx", "probe_tc_ingress"),
    ("port0", "veth", "xdp-generic", "probe_xdp_ingress"),
    ("mac0", "macvlan", "tcx", "probe_tc_ingress"),
    ("tun0", "tun", "tcx", "probe_tc_ingress_l3"),
    ("lo", "loopback", "tcx", "probe_tc_ingress"),
];
const INTERFACES: &str =
    "{ probe0: {}, br0: {}, port0: { hook: xdp-generic }, mac0: {}, tun0: {}, lo: {} }";

fn add_links(testbed: &Testbed) {
    let peer = testbed.peer.name();
    testbed.host.ip(&format!(
        "link add br0 type bridge\n\
         link add port0 type veth peer name port1 netns {peer}\n\
         link set port0 master br0 up\n\
         link set br0 up\n\
         link add link {LINK} name mac0 type macvlan mode bridge\n\
         link set mac0 up\n\
         tuntap add tun0 mode tun\n"
    ));
}

fn plan(namespace: &Namespace, installation: &Installation, more: &[&str]) -> Output {
    let mut plan = namespace.command(built_binary());
    plan.args(["plan", "-c"])
        .arg(installation.path().join("probe.yaml"));
    plan.args(more).output().expect("the binary runs")
}

/// The plan and the exit code.
#[track_caller]
fn json(namespace: &Namespace, installation: &Installation) -> (Value, i32) {
    let output = plan(namespace, installation, &["--json"]);
    let plan = serde_json::from_slice(&output.stdout);
    let plan = plan.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (plan, output.status.code().expect("an exit code"))
}

#[track_caller]
fn interface<'a>(plan: &'a Value, name: &str) -> &'a Value {
    let interfaces = plan["interfaces"].as_array().expect("a list");
    let found = interfaces.iter().find(|link| link["name"] == name);
    found.unwrap_or_else(|| panic!("no {name} in {plan:#}"))
}

/// The first hook that is tried.
fn first_hook(steps: &Value) -> &str {
    let mut steps = steps.as_array().expect("a list").iter();
    let first = steps.find(|step| step["skipped"].is_null());
    first.expect("one is tried")["hook"].as_str().expect("text")
}

#[test]
fn the_plan_is_what_the_agent_then_does() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    add_links(&testbed);
    let installation = Installation::new(INTERFACES, "1d");
    let before = programs_on_links(&testbed.host);
    let (plan, code) = json(&testbed.host, &installation);
    assert_eq!(
        programs_on_links(&testbed.host),
        before,
        "nothing was touched"
    );
    assert_eq!(
        (code, &plan["can_attach"]),
        (0, &Value::Bool(true)),
        "{plan:#}"
    );
    assert_eq!(plan["not_checked"], Value::Array(Vec::new()));
    for (name, kind, hook, program) in WANTED {
        let link = interface(&plan, name);
        assert_eq!(link["kind"], kind, "{name}");
        assert_eq!(first_hook(&link["ingress"]), hook, "{name}");
        let step = link["ingress"].as_array().and_then(|steps| steps.last());
        assert_eq!(step.expect("a step")["program"], program, "{name}");
        assert_eq!(link["programs"], Value::Array(Vec::new()), "{name}");
    }

    let agent = installation.start(&testbed.host);
    let metrics = agent.metrics();
    for (name, ..) in WANTED {
        let link = interface(&plan, name);
        let [ingress, egress] = ["ingress", "egress"].map(|side| first_hook(&link[side]));
        // As in the exposition: labels in the order of their names.
        let labels = format!(r#"egress="{egress}",iface="{name}",ingress="{ingress}""#);
        assert_eq!(
            metrics.sum("probe_attached_interfaces", &labels),
            1,
            "{name}"
        );
    }

    assert_about(&plan["memory"]["bytes"], agent.map_bytes());

    let (plan, code) = json(&testbed.host, &installation);
    assert_eq!(
        code, 0,
        "what the agent itself holds is no obstacle: {plan:#}"
    );
    for (name, _, hook, program) in WANTED {
        let programs = interface(&plan, name)["programs"]
            .as_array()
            .expect("a list");
        assert_eq!(programs.len(), 2, "{name}: {programs:?}");
        assert!(programs.iter().all(|it| it["ours"] == true), "{programs:?}");
        let on_hook = |it: &&Value| it["hook"].as_str().is_some_and(|at| at.starts_with(hook));
        let ours = programs.iter().find(on_hook).expect("it is there");
        let known = ours["name"].as_str().expect("a name");
        assert!(program.starts_with(known), "{known}, as the kernel cuts it");
        assert_eq!(ours["held_by"][0]["command"], "probe-agent");
    }
    assert!(agent.terminate().success());
}

/// The plan leaves out the maps' own structures.
#[track_caller]
fn assert_about(planned: &Value, real: u64) {
    let planned = planned.as_u64().expect("a number");
    let tolerance = real / 50;
    assert!(
        planned.abs_diff(real) <= tolerance,
        "planned {planned}, taken {real}"
    );
}

#[test]
fn links_that_share_packets_are_shown() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    add_links(&testbed);
    let installation = Installation::new(INTERFACES, "1d");
    let (plan, _) = json(&testbed.host, &installation);
    for (name, relation, other) in [
        ("br0", "member", "port0"),
        ("port0", "master", "br0"),
        ("port0", "peer", ""),
        ("mac0", "lower", LINK),
        (LINK, "upper", "mac0"),
        (LINK, "peer", ""),
    ] {
        let stacked = interface(&plan, name)["stacked"]
            .as_array()
            .expect("a list");
        let is_shown = stacked
            .iter()
            .any(|it| it["relation"] == relation && it["name"] == other);
        assert!(is_shown, "{name}: {relation} {other}: {stacked:?}");
    }
    let tun0 = interface(&plan, "tun0");
    assert_eq!(tun0["stacked"], Value::Array(Vec::new()));
    assert_eq!(
        (&tun0["arphrd"], &tun0["header"]),
        (&65534.into(), &"none".into())
    );
    let warnings = plan["warnings"].to_string();
    assert!(
        warnings.contains("br0 and port0 are both captured"),
        "{warnings}"
    );
}

#[test]
fn what_cannot_be_attached_is_told_by_name_and_exit_code() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    add_links(&testbed);
    let installation = Installation::new("{ gone0: {}, tun0: { hook: xdp } }", "1d");
    let output = plan(&testbed.host, &installation, &[]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for told in [
        "gone0: configured by name, but this host has no such link",
        "not xdp-native: XDP needs Ethernet headers",
        "not everything that is wanted can be attached",
    ] {
        assert!(text.contains(told), "{told} is not in\n{text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 80),
        "{text}"
    );
    assert!(!text.contains('\x1b'), "no colours without a terminal");

    installation.configure("interfaces: { eth0: { hok: xdp } }\n");
    let output = plan(&testbed.host, &installation, &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(output.stdout.is_empty(), "{output:?}");
}

#[test]
fn foreign_filters_are_shown_and_in_nobodys_way() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let name = testbed.host.name();
    run(Command::new("tc").args(["-netns", name, "qdisc", "add", "dev", LINK, "clsact"]));
    let mut filter = Command::new("tc");
    filter.args(["-netns", name, "filter", "add", "dev", LINK, "egress"]);
    run(filter.args(["bpf", "bytecode", "1,6 0 0 0,"]));
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1d");
    let (plan, code) = json(&testbed.host, &installation);
    assert_eq!(code, 0, "{plan:#}");
    let programs = interface(&plan, LINK)["programs"]
        .as_array()
        .expect("a list");
    assert_eq!(programs.len(), 1, "{programs:?}");
    assert_eq!(programs[0]["hook"], "clsact egress");
    assert_eq!(
        (&programs[0]["kind"], &programs[0]["ours"]),
        (&"bpf".into(), &false.into())
    );
}

#[test]
fn without_privileges_it_says_what_it_could_not_see() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    // Neither the folder of the build nor that of an installation may be open to everybody.
    let config = "interfaces: { probe0: {} }\n";
    let folder = tempfile::tempdir().expect("a folder");
    let (binary, file) = (
        folder.path().join("agent"),
        folder.path().join("probe.yaml"),
    );
    std::fs::copy(built_binary(), &binary).expect("a copy");
    std::fs::write(&file, config).expect("written");
    let everybody = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(folder.path(), everybody).expect("readable");
    let output = testbed.host.enter(|| {
        let mut plan = Command::new(&binary);
        plan.args(["plan", "--json", "-c"]).arg(&file);
        plan.uid(NOBODY).gid(NOBODY).output().expect("it runs")
    });
    let plan: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    assert_eq!(output.status.code(), Some(1), "{plan:#}");
    let link = interface(&plan, LINK);
    assert_eq!(first_hook(&link["ingress"]), "tcx");
    assert_eq!(link["driver"], "veth");
    let hidden = plan["not_checked"].to_string();
    assert!(hidden.contains("TCX programs"), "{hidden}");
    let problems = plan["problems"].to_string();
    assert!(problems.contains("the agent lacks CAP_BPF"), "{problems}");
}
