//! `status` says "good" when it is, and what is wrong until it is over.

use super::{
    agent::Agent,
    eventually,
    reload::{configure, configured, reload},
    skip,
    testbed::Testbed,
};

const TOOLS: [&str; 1] = ["ip"];

/// How `status` ends, and what it says on one line.
fn status(agent: &Agent) -> (i32, String) {
    let (code, said) = agent.command(&["status"]);
    let words: Vec<_> = said.split_whitespace().collect();
    (code.code().expect("an exit code"), words.join(" "))
}

#[track_caller]
fn is_wrong(agent: &Agent, kind: &str, parts: &[&str]) {
    let label = format!("kind=\"{kind}\"");
    eventually(kind, || {
        (agent.metrics().sum("probe_troubles", &label) == 1).then_some(())
    });
    let (code, said) = status(agent);
    assert_eq!(code, 5, "{said}");
    for part in parts {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[track_caller]
fn is_good(agent: &Agent) {
    eventually("nothing is wrong", || {
        (agent.metrics().sum("probe_troubles", "") == 0).then_some(())
    });
    let (code, said) = status(agent);
    let is_good = said.contains(" good: ") || said.contains(" good now: ");
    assert!(is_good, "{said}");
    assert_eq!(code, 0, "{said}");
    assert!(is_ready(agent));
}

fn is_ready(agent: &Agent) -> bool {
    let answer = agent.request("/readyz").expect("the agent answers");
    answer.starts_with("HTTP/1.1 200")
}

#[test]
fn what_is_wrong_is_told_until_it_is_over() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::with_bridges(&["one", "two"]);
    let good = "{ one: {}, two: {} }";
    let installation = configured(good, "");
    let agent = installation.start(&testbed.host);
    is_good(&agent);

    // A name without a link: the agent is in service, and yet not all is well.
    testbed.host.ip("link set two name elsewhere\n");
    is_wrong(
        &agent,
        "interface_missing",
        &["two: it is configured by name", "Remedy: add the link"],
    );
    assert!(is_ready(&agent));
    testbed.host.ip("link set elsewhere name two\n");
    is_good(&agent);

    // A file that is refused, and one that wants a restart.
    let restart = "capture: { ring_buffer: 128KiB }\n";
    for (interfaces, rest, remedy) in [
        ("{ one: { hoook: tc } }", "", "Remedy: correct the file"),
        (good, restart, "Remedy: restart the agent"),
    ] {
        configure(&installation, interfaces, rest);
        reload(&agent, &installation);
        is_wrong(&agent, "reload_refused", &["is not that of", remedy]);
        configure(&installation, good, "");
        reload(&agent, &installation);
        is_good(&agent);
    }

    // A configuration that is not the file's: a note, until the file is read again.
    let text = std::fs::read_to_string(installation.path().join("probe.yaml")).expect("the file");
    let answer = agent.send("PUT", "/api/v1/config", &text);
    let answer = answer.expect("the agent answers");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let (code, said) = status(&agent);
    let told = "the configuration in force was given over the API";
    assert!(code == 0 && said.contains(told), "{code}: {said}");
    reload(&agent, &installation);
    is_good(&agent);

    // New settings that the kernel refuses: a bridge does not take native XDP.
    configure(&installation, "{ one: { hook: xdp-native }, two: {} }", "");
    reload(&agent, &installation);
    let parts = ["one: it is captured with its former settings", "EOPNOTSUPP"];
    is_wrong(&agent, "interface_refused", &parts);
    configure(&installation, good, "");
    reload(&agent, &installation);
    is_good(&agent);
    // Its programs were off for a moment.
    let (_, said) = status(&agent);
    for part in [
        "one: its settings were changed; nothing was seen for ",
        " good now: ",
    ] {
        assert!(said.contains(part), "{said}");
    }
    assert!(agent.terminate().success(), "the agent's exit code");
}

#[test]
fn an_agent_that_captures_nothing_is_not_ready() {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let testbed = Testbed::without_links();
    let installation = configured("{ '/^on/': { hook: xdp-native } }", "");
    let agent = installation.start(&testbed.host);
    // No link is wanted.
    let parts = ["no link of this host is one that `interfaces` or `autodetection` wants"];
    is_wrong(&agent, "nothing_captured", &parts);
    assert!(!is_ready(&agent));
    testbed.host.ip("link add one type bridge\n");
    let parts = [
        "no interface that is wanted can be captured",
        "one: it is not captured: no hook",
    ];
    is_wrong(&agent, "nothing_captured", &parts);
    assert!(!is_ready(&agent));
    configure(&installation, "{ one: {} }", "");
    reload(&agent, &installation);
    is_good(&agent);
    assert!(agent.terminate().success(), "the agent's exit code");
}
