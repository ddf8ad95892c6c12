//! What the agent cannot do, it says: the object, the cause and the remedy, in time, and with an
//! exit code. What it can do besides, it does.

use std::{
    fs,
    net::TcpListener,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use super::{
    agent::{Installation, built_binary, programs_on_links},
    flows::{assert_nothing_lost, stored_flows},
    generators::ping,
    netns::Namespace,
    skip,
    testbed::{LINK, Offloads, PEER_V4, Testbed},
};

const TOOLS: [&str; 6] = ["ip", "tc", "ethtool", "ping", "bpftool", "setpriv"];

/// The exit codes of `probe-agent --help`.
const FAILED: i32 = 1;
const WRONG_CONFIGURATION: i32 = 2;

/// Starts an agent that must give up, and returns its exit code and what it said.
#[track_caller]
fn give_up(
    installation: &Installation,
    namespace: &Namespace,
    wrapper: &[&str],
    binary: &Path,
) -> (Option<i32>, String) {
    let before = programs_on_links(namespace);
    let mut agent = installation.spawn(namespace, wrapper, binary);
    let status = agent.wait("the agent gives up");
    assert_eq!(programs_on_links(namespace), before);
    let socket = installation.path().join("probe.sock");
    assert!(!socket.exists(), "the socket is left behind");
    (status.code(), installation.log())
}

#[track_caller]
fn assert_says(said: &str, expected: &[&str]) {
    for part in expected {
        assert!(said.contains(part), "no {part:?} in:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
}

#[test]
fn an_interface_that_does_not_exist_is_named_and_the_others_go_on() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ absent0: {{}}, {LINK}: {{}} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let log = installation.log_that_says("there is no such interface");
    assert_says(&log, &["absent0"]);
    assert_eq!(agent.metrics().sum("probe_interfaces_capturing", ""), 1);
    ping(&testbed.host, PEER_V4, 200);
    assert!(agent.terminate().success(), "the agent's exit code");
    let flows = stored_flows(&installation.json());
    assert_eq!(flows.values().map(|it| it.packets_sent).sum::<u64>(), 5);
}

/// Everything that is wrong is told at once, and nothing is captured meanwhile.
#[test]
fn a_port_in_use_and_a_directory_that_cannot_be_written() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let taken = testbed
        .host
        .enter(|| TcpListener::bind("127.0.0.1:0").expect("a listener"));
    let addr = taken.local_addr().expect("bound");
    let installation = Installation::empty();
    let folder = installation.path().display();
    fs::write(installation.path().join("file"), "not a directory").expect("written");
    installation.configure(&format!(
        "interfaces: {{ {LINK}: {{}} }}\n\
         writeout: [{{ type: parquet, path: {folder}/file/flows }}]\n\
         api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: \"{addr}\" }}\n"
    ));
    let (code, said) = give_up(&installation, &testbed.host, &[], &built_binary());
    assert_eq!(code, Some(FAILED), "{said}");
    let port =
        format!("cannot listen on {addr}: another process (`ss -lxtp` tells which) already does");
    let directory = format!("the parquet sink cannot store files below {folder}/file/flows");
    let remedies = ["change api.metrics_addr", "set another `path`"];
    assert_says(&said, &[&port, &directory, remedies[0], remedies[1]]);
}

#[test]
fn a_wrong_configuration_is_told_with_every_mistake() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::empty();
    installation.configure(
        "interfaces: { \"/probe[/\": {}, eth0: { hook: fast } }\n\
         autodetection: { enabled: true }\n\
         rotation: { interval: 0s }\n\
         colour: red\n",
    );
    let (code, said) = give_up(&installation, &testbed.host, &[], &built_binary());
    assert_eq!(code, Some(WRONG_CONFIGURATION), "{said}");
    let expected = [
        "probe.yaml:1:15: interfaces",
        "is not a regex",
        "interfaces.eth0.hook: must be one of",
        "rotation.interval: ",
        "colour: unknown key",
        "autodetection",
    ];
    assert_says(&said, &expected);
}

#[test]
fn without_privilege_it_says_which_it_needs() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let installation = Installation::new(&format!("{{ {LINK}: {{}} }}"), "1d");
    // The build may lie where nobody else may read.
    let binary = copy_for_everybody(&installation);
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let (code, said) = give_up(&installation, &testbed.host, &nobody, &binary);
    assert_eq!(code, Some(FAILED), "{said}");
    assert_says(&said, &["CAP_BPF", "root"]);
}

fn copy_for_everybody(installation: &Installation) -> PathBuf {
    let binary = installation.path().join("probe-agent");
    fs::copy(built_binary(), &binary).expect("copied");
    let open_to_all = fs::Permissions::from_mode(0o777);
    fs::set_permissions(installation.path(), open_to_all).expect("our folder");
    binary
}

/// The second agent cannot have the XDP hook, leaves the first one's program alone and says so.
#[test]
fn a_hook_that_is_taken_is_left_alone() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    let first = Installation::new(&format!("{{ {LINK}: {{ hook: xdp-native }} }}"), "1d");
    let second = Installation::new(
        &format!("{{ {LINK}: {{ hook: xdp-native }}, lo: {{ hook: tc }} }}"),
        "1d",
    );
    let third = Installation::new(&format!("{{ {LINK}: {{ hook: auto }} }}"), "1d");
    let agents = [&first, &second, &third].map(|it| it.start(&testbed.host));
    assert_says(&second.log(), &[LINK, "interface is not captured"]);
    let capturing =
        |metrics: super::metrics::Metrics| metrics.sum("probe_interfaces_capturing", "");
    assert_eq!(
        agents.each_ref().map(|it| capturing(it.metrics())),
        [1, 1, 1]
    );
    ping(&testbed.host, PEER_V4, 200);
    for agent in agents {
        assert!(agent.terminate().success(), "the agent's exit code");
    }
    for installation in [&first, &third] {
        let flows = stored_flows(&installation.json());
        let counts = flows.values().next().expect("a flow");
        assert_eq!((counts.packets_sent, counts.packets_rcvd), (5, 5));
        assert_nothing_lost(&installation.json());
    }
}
