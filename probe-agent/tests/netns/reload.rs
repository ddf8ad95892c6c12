//! Reloads of a running agent.

use std::fs;

use rustix::process::Signal;

use super::{
    agent::{Agent, Installation},
    eventually, skip,
    testbed::Testbed,
};

/// Writes the configuration that [`Installation::new`] would, with other interfaces and something
/// at its end.
pub(crate) fn configure(installation: &Installation, interfaces: &str, rest: &str) {
    let folder = installation.path().display();
    installation.configure(&format!(
        "interfaces: {interfaces}\n\
         writeout: [{{ type: json, path: {folder}/json }}]\n\
         api: {{ addr: \"unix:{folder}/probe.sock\", metrics_addr: none }}\n{rest}"
    ));
}

/// An installation that [`configure`] has written the configuration of.
#[track_caller]
pub(crate) fn configured(interfaces: &str, rest: &str) -> Installation {
    let installation = Installation::empty();
    configure(&installation, interfaces, rest);
    installation
}

/// What the log says about a reload by a signal.
#[track_caller]
pub(crate) fn reload(agent: &Agent, installation: &Installation) -> String {
    let before = lines_about_reloads(installation).len();
    agent.signal(Signal::HUP);
    eventually("the reload is told", || {
        lines_about_reloads(installation).get(before).cloned()
    })
}

/// The lines about reloads.
fn lines_about_reloads(installation: &Installation) -> Vec<String> {
    let log = installation.log();
    let lines = log.lines().filter(|line| line.contains("reloaded"));
    lines.map(str::to_owned).collect()
}

#[test]
fn a_reload_changes_what_differs_or_nothing() {
    if !skip::kernel_or_skip(&["ip", "bpftool"]) {
        return;
    }
    let testbed = Testbed::with_bridges(&["one", "two", "three"]);
    let installation = configured("{ one: {}, two: {} }", "");
    let agent = installation.start(&testbed.host);
    let links = agent.attached().links;
    assert_eq!(links.len(), 4, "received and sent packets of two links");

    configure(&installation, "{ one: {}, three: {} }", "");
    let told = reload(&agent, &installation);
    let expected = "1 enabled, 0 updated, 1 disabled, 1 untouched";
    assert!(told.contains(expected), "{told}");
    let kept = agent.attached().links;
    assert_eq!(links.intersection(&kept).count(), 2, "those of one");

    // A bridge does not take native XDP: it goes on as it was.
    let picky = "{ one: { hook: xdp-native }, three: { hook: tc } }";
    configure(&installation, picky, "");
    let told = reload(&agent, &installation);
    let expected = "0 enabled, 1 updated, 0 disabled, 0 untouched, 1 failed";
    assert!(told.contains("reloaded in part"), "{told}");
    assert!(told.contains(expected), "{told}");
    let metrics = agent.metrics();
    assert_eq!(metrics.sum("probe_attached_interfaces", "iface=\"one\""), 1);
    installation.log_that_says("restored=true");

    let before = agent.attached();
    configure(
        &installation,
        "{ one: {} }",
        "capture: { ring_buffer: 1MiB }\n",
    );
    let told = reload(&agent, &installation);
    let expected = "not reloaded: capture.ring_buffer needs a restart";
    assert!(told.contains(expected), "{told}");
    // Without such an interface the agent has given the right back at its start.
    configure(&installation, "{ one: { promisc: true }, three: {} }", "");
    let told = reload(&agent, &installation);
    let expected = "not reloaded: interfaces.one.promisc needs a restart";
    assert!(told.contains(expected), "{told}");
    installation.configure("interfaces: { one: {}, one: {} }\n");
    let told = reload(&agent, &installation);
    assert!(
        told.contains("not reloaded: ") && told.contains("is given twice"),
        "{told}"
    );
    assert_eq!(agent.attached(), before, "nothing was applied");
    let lines = lines_about_reloads(&installation);
    let (code, answer) = command(&agent, &[]);
    assert_eq!(code, 2, "{answer}");
    let now = lines_about_reloads(&installation);
    assert_eq!(now.len(), lines.len() + 1, "the log has it for the API too");
    assert!(
        now.last()
            .is_some_and(|line| line.contains("not reloaded: "))
    );

    let rest = "rotation: { interval: 1s }\nlogging: { level: debug }\n";
    configure(&installation, "{ one: {} }", rest);
    let told = reload(&agent, &installation);
    assert!(told.contains("1 disabled, 1 untouched"), "{told}");
    installation.log_that_says("rotated");
    assert!(agent.terminate().success(), "the agent's exit code");
}

/// Runs `probe-agent reload` with these words: its exit code, and all that it says.
fn command(agent: &Agent, words: &[&str]) -> (i32, String) {
    let mut all = vec!["reload"];
    all.extend(words);
    let (status, out) = agent.command(&all);
    (status.code().expect("an exit code"), out)
}

#[test]
fn the_command_shows_what_differs_and_applies_it() {
    if !skip::kernel_or_skip(&["ip", "bpftool"]) {
        return;
    }
    let testbed = Testbed::with_bridges(&["one", "two", "three"]);
    let installation = configured("{ one: {}, two: {} }", "");
    let agent = installation.start(&testbed.host);
    let (code, told) = command(&agent, &["--dry-run"]);
    assert_eq!(code, 0, "{told}");
    assert!(
        told.contains("nothing would change; 2 interfaces are untouched"),
        "{told}"
    );

    configure(&installation, "{ one: {}, three: { hook: tc } }", "");
    let before = agent.attached();
    let (code, told) = command(&agent, &["--dry-run"]);
    assert_eq!(code, 0, "{told}");
    for line in [
        "interfaces.three.hook: (none) -> tc",
        "three  would be enabled",
        "two    would be disabled",
        "nothing was changed: a dry run; 1 interface is untouched",
    ] {
        assert!(told.contains(line), "{line} is not in {told}");
    }
    assert_eq!(agent.attached(), before, "nothing was applied");

    let (code, told) = command(&agent, &[]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("three  enabled"), "{told}");
    let log = installation.log_that_says("reloaded");
    let told: Vec<_> = log.lines().filter(|it| it.contains("reloaded")).collect();
    assert_eq!(told.len(), 1, "a reload is logged once: {log}");
    assert!(told[0].contains("cause=\"POST /api/v1/reload\""), "{log}");
    let kept = agent.attached();
    assert_ne!(kept, before);

    // A bridge does not take native XDP.
    configure(
        &installation,
        "{ one: { hook: xdp-native }, three: { hook: tc } }",
        "",
    );
    let (code, told) = command(&agent, &[]);
    assert_eq!(code, 5, "{told}");
    assert!(
        told.contains("one  failed, goes on as it was: not updated"),
        "{told}"
    );
    let (code, told) = command(&agent, &["--json"]);
    assert_eq!(code, 5, "a second call tries again: {told}");
    assert!(told.contains("\"outcome\": \"restored\""), "{told}");

    let before = agent.attached();
    configure(
        &installation,
        "{ one: {} }",
        "capture: { ring_buffer: 1MiB }\n",
    );
    for words in [&["--dry-run"][..], &[]] {
        let (code, told) = command(&agent, words);
        assert_eq!(code, 2, "{told}");
        assert!(told.contains("capture.ring_buffer"), "{told}");
    }
    installation.configure("interfaces: { one: {}, one: {} }\n");
    let (code, told) = command(&agent, &[]);
    assert_eq!(code, 2, "{told}");
    assert!(
        told.contains("probe.yaml:1:") && told.contains("is given twice"),
        "{told}"
    );
    assert_eq!(agent.attached(), before, "nothing was applied");
    assert!(agent.terminate().success(), "the agent's exit code");
}

#[test]
fn an_edit_of_a_watched_file_is_a_reload() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let testbed = Testbed::with_bridges(&["one", "two"]);
    let installation = configured("{ one: {} }", "reload: { watch: true }\n");
    let agent = installation.start(&testbed.host);
    configure(
        &installation,
        "{ one: {}, two: {} }",
        "reload: { watch: true }\n",
    );
    // Put in its place as editors do it.
    let file = installation.path().join("probe.yaml");
    let aside = installation.path().join("aside");
    fs::copy(&file, &aside).expect("a copy");
    fs::rename(&aside, &file).expect("renamed");
    eventually("the second link is captured", || {
        (agent.metrics().sum("probe_interfaces_capturing", "") == 2).then_some(())
    });
    assert!(agent.terminate().success(), "the agent's exit code");
}

#[test]
fn a_document_that_is_refused_is_logged() {
    if !skip::kernel_or_skip(&["ip"]) {
        return;
    }
    let testbed = Testbed::with_bridges(&["one"]);
    let installation = configured("{ one: {} }", "");
    let agent = installation.start(&testbed.host);
    for (query, is_told) in [("?dry_run=true", false), ("", true)] {
        let path = format!("/api/v1/config{query}");
        let answer = agent.send("PUT", &path, "interfaces: {}\n");
        let answer = answer.expect("an answer");
        assert!(answer.starts_with("HTTP/1.1 422 "), "{answer}");
        let told = lines_about_reloads(&installation);
        assert_eq!(told.len(), usize::from(is_told), "{told:?}");
        assert!(
            told.iter()
                .all(|it| it.contains("not reloaded: ")
                    && it.contains("cause=\"PUT /api/v1/config\"")),
            "{told:?}"
        );
    }
    assert!(agent.terminate().success(), "the agent's exit code");
}
