//! What systemd does for an agent that may not.

use std::{
    fs,
    process::{Command, ExitStatus},
};

use super::{
    super::{
        agent::{Installation, built_binary},
        skip,
        testbed::Testbed,
    },
    LINKS, SETTING, Setting, installation, prepare,
};

const UNIT: &str = include_str!("../../../../deploy/systemd/probe-agent.service");
const INSTALLED: &str = "/usr/local/bin/probe-agent";

/// What the unit has the command write; to the kernel the same as 1.
const OF_SERVICE: u32 = 2;

/// The only command of a setting of the unit that has full rights, and may fail.
fn words(setting: &str) -> Vec<&'static str> {
    let prefix = format!("{setting}=-+{INSTALLED} ");
    let mut lines = UNIT.lines().filter_map(|line| line.strip_prefix(&prefix));
    let command = lines.next().expect("a command");
    assert_eq!(lines.next(), None);
    command.split(' ').collect()
}

/// Runs such a command: how it ended, and how the setting is then.
fn after(setting: &str, installation: &Installation, testbed: &Testbed) -> (ExitStatus, u32) {
    let config = installation.path().join("probe.yaml");
    let config = config.to_str().expect("a path");
    let words = words(setting).into_iter().map(|word| match word {
        "/etc/probe/probe.yaml" => config,
        word => word,
    });
    let mut command = testbed.host.command(built_binary());
    let status = command.args(words).status().expect("it runs");
    (status, Setting::read())
}

#[test]
fn the_unit_puts_back_what_it_set_and_leaves_what_others_did() {
    let Some((_setting, testbed)) = prepare() else {
        return;
    };
    let by_default = Installation::new(LINKS, "1d");
    let after = |setting| {
        let (status, value) = after(setting, &by_default, &testbed);
        assert!(status.success(), "{setting}");
        value
    };
    for (set, put_back) in [
        ("ExecStartPre", "ExecStartPost"),
        ("ExecStartPre", "ExecStopPost"),
        ("ExecStop", "ExecStopPost"),
    ] {
        assert_eq!((after(set), after(put_back)), (OF_SERVICE, 0));
        fs::write(SETTING, "1").expect("root may");
        assert_eq!((after(set), after(put_back)), (1, 1));
        fs::write(SETTING, "0").expect("root may");
    }
}

#[test]
fn the_unit_does_nothing_for_few_interfaces_or_where_it_is_not_wanted() {
    let Some((_setting, testbed)) = prepare() else {
        return;
    };
    let few = Installation::new("{ '/^c[0-9]a$/': {} }", "1d");
    for unwanted in [few, installation("false")] {
        let (status, value) = after("ExecStartPre", &unwanted, &testbed);
        assert_eq!((status.code(), value), (Some(0), 0));
    }
    let broken = Installation::empty();
    broken.configure("captur: {}\n");
    let (status, value) = after("ExecStartPre", &broken, &testbed);
    assert_eq!((status.code(), value), (Some(2), 0));
}

#[test]
fn an_agent_leaves_what_the_unit_has_set() {
    let Some((_setting, testbed)) = prepare() else {
        return;
    };
    let by_default = Installation::new(LINKS, "1d");
    after("ExecStartPre", &by_default, &testbed);
    let agent = by_default.start(&testbed.host);
    assert_eq!(Setting::read(), OF_SERVICE);
    assert_eq!(after("ExecStartPost", &by_default, &testbed).1, 0);
    after("ExecStop", &by_default, &testbed);
    assert_eq!(agent.terminate().code(), Some(0));
    assert_eq!(Setting::read(), OF_SERVICE);
    assert_eq!(after("ExecStopPost", &by_default, &testbed).1, 0);
}

#[test]
fn systemd_understands_the_unit() {
    if !skip::kernel_or_skip(&["systemd-analyze"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("probe-agent.service");
    // The agent searches for the programs.
    fs::write(
        &unit,
        UNIT.replace(INSTALLED, &built_binary().display().to_string()),
    )
    .expect("written");
    let mut analyze = Command::new("systemd-analyze");
    let output = analyze.arg("verify").arg(&unit).output();
    let output = output.expect("systemd-analyze runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("probe-agent.service"), "{told}");
}
