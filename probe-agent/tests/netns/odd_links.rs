//! Links with texts that are no UTF-8, which the kernel takes: none of them hides another.

use std::{ffi::OsStr, os::unix::ffi::OsStrExt as _, process::Command};

use super::{
    agent::{Agent, Installation, built_binary},
    eventually,
    netns::Namespace,
    reload::configured,
    run, skip,
    supervision::{NOTICED, detach},
    testbed::{LINK, Offloads, Testbed},
    within,
};

/// "Büro" in Latin-1.
pub(crate) const LATIN_1: &[u8] = b"B\xfcro";

/// As it is shown, which is a name that a link may have, too.
pub(crate) const LATIN_1_SHOWN: &[u8] = br"B\xfcro";

/// `ip` with words that need not be text.
pub(crate) fn ip(namespace: &Namespace, words: &[&[u8]]) {
    let mut ip = Command::new("ip");
    ip.args(["-netns", namespace.name()]);
    run(ip.args(words.iter().map(|word| OsStr::from_bytes(word))));
}

fn set_alias(namespace: &Namespace, alias: &[u8]) {
    ip(namespace, &[b"link", b"set", b"odd0", b"alias", alias]);
}

pub(crate) fn add_odd_texts(namespace: &Namespace) {
    set_alias(namespace, LATIN_1);
    let words: [&[u8]; 6] = [b"link", b"property", b"add", b"dev", b"odd0", b"altname"];
    ip(namespace, &[&words[..], &[LATIN_1]].concat());
}

fn is_captured(agent: &Agent, iface: &str) -> bool {
    let exposition = agent.exposition();
    exposition.contains(&format!("probe_flows{{iface=\"{iface}\"}}"))
}

#[track_caller]
fn succeeds(namespace: &Namespace, installation: &Installation, command: &str) {
    let mut probe = namespace.command(built_binary());
    probe.arg(command);
    if command != "detach" {
        probe.arg("-c").arg(installation.path().join("probe.yaml"));
    }
    let output = probe.output().expect("the binary runs");
    assert!(output.status.success(), "{command}: {output:?}");
}

#[test]
fn a_link_with_odd_texts_hides_no_other() {
    if !skip::kernel_or_skip(&["ip", "ethtool", "bpftool"]) {
        return;
    }
    let testbed = Testbed::new(Offloads::Off);
    testbed.host.ip("link add odd0 type bridge\n");
    add_odd_texts(&testbed.host);
    let installation = Installation::new(&format!("{{ {LINK}: {{}}, '/^n/': {{}} }}"), "1d");
    for command in ["plan", "detach", "expedite"] {
        succeeds(&testbed.host, &installation, command);
    }
    let agent = installation.start(&testbed.host);
    assert!(is_captured(&agent, LINK));
    // And where the text comes later.
    set_alias(&testbed.host, b"");
    set_alias(&testbed.host, b"\xff\xfe");
    testbed.host.ip("link add n1 type bridge\n");
    within(NOTICED, "a link that comes later is captured", || {
        is_captured(&agent, "n1").then_some(())
    });
    for link in agent.attached().links {
        detach(link);
    }
    within(NOTICED, "the loss is noticed and mended", || {
        (agent.metrics().sum("probe_reattached_total", "") == 2).then_some(())
    });
    assert!(agent.terminate().success(), "the agent's exit code");
}

#[test]
fn a_link_whose_name_is_no_text_is_captured_under_the_octets() {
    if !skip::kernel_or_skip(&["ip", "bpftool"]) {
        return;
    }
    let testbed = Testbed::with_bridges(&["n1", "n2"]);
    let installation = configured("{ '/^n/': {}, '/^B/': { hook: tc } }", "");
    ip(&testbed.host, &[b"link", b"set", b"n2", b"name", LATIN_1]);
    succeeds(&testbed.host, &installation, "plan");
    let agent = installation.start(&testbed.host);
    // A backslash is written twice in a label.
    assert!(is_captured(&agent, r"B\\xfcro") && is_captured(&agent, "n1"));
    // What another link is called belongs to that link.
    ip(
        &testbed.host,
        &[b"link", b"set", b"n1", b"name", LATIN_1_SHOWN],
    );
    eventually("one of the two is told", || {
        installation
            .log()
            .contains("its name is no plain text, and another link is called")
            .then_some(())
    });
    // The plan says what the status says, each once.
    let mut plan = testbed.host.command(built_binary());
    plan.arg("plan").arg("--config");
    plan.arg(installation.path().join("probe.yaml"));
    let plan = plan.output().expect("it runs");
    let (exit, status) = agent.command(&["status"]);
    assert_eq!((exit.code(), plan.status.code()), (Some(5), Some(1)));
    let flat = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let told = r"its name is no plain text, and another link is called B\xfcro as it would be. Remedy: give";
    for said in [flat(&status), flat(&String::from_utf8_lossy(&plan.stdout))] {
        assert!(said.contains(told), "{said}");
    }
    assert!(agent.terminate().success(), "the agent's exit code");
}

/// A colour for the terminal of who reads the log, in the name of a link.
#[test]
fn control_octets_of_names_reach_nobody() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let testbed = Testbed::with_bridges(&["n1"]);
    ip(
        &testbed.host,
        &[b"link", b"set", b"n1", b"name", b"n\x1b[31m\x01"],
    );
    let installation = configured("{ '/^n/': {} }", "");
    let agent = installation.start(&testbed.host);
    assert!(is_captured(&agent, r"n\\x1b[31m\\x01"));
    let (_, said) = agent.command(&["status", "--json"]);
    let texts = [agent.exposition(), said, installation.log()];
    for text in texts {
        let is_plain = |octet: u8| octet == b'\n' || !octet.is_ascii_control();
        assert!(text.bytes().all(is_plain), "{}", text.escape_debug());
    }
    assert!(agent.terminate().success(), "the agent's exit code");
}
