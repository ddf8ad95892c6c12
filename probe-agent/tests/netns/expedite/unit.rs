//! What systemd does for an agent that may not.

use std::{fs, process::Command};

use super::{
    super::{agent::BINARY, skip},
    SETTING, Setting,
};

const UNIT: &str = include_str!("../../../../deploy/systemd/probe-agent.service");
const DROP_IN: &str = include_str!("../../../../deploy/systemd/expedite.conf");

/// The commands of a setting of the drop-in, as the shell gets them.
fn drop_in(name: &str) -> String {
    let prefix = format!("{name}=-+/bin/sh -c '");
    let mut lines = DROP_IN.lines();
    let command = lines.find_map(|line| line.strip_prefix(&prefix)?.strip_suffix('\''));
    command.expect("one command").to_owned()
}

#[test]
fn the_drop_in_puts_back_what_it_set_and_leaves_what_others_did() {
    if !skip::kernel_or_skip(&["sh", "grep"]) {
        return;
    }
    let Some(_setting) = Setting::take() else {
        return;
    };
    let setting_after = |name| {
        // It fails where it does nothing, which the dash in front makes good.
        let mut shell = Command::new("sh");
        let status = shell.args(["-c", &drop_in(name)]).status();
        status.expect("the shell runs");
        Setting::read()
    };
    for (set, put_back) in [
        ("ExecStartPre", "ExecStartPost"),
        ("ExecStartPre", "ExecStopPost"),
        ("ExecStop", "ExecStopPost"),
    ] {
        assert_eq!((setting_after(set), setting_after(put_back)), (2, 0));
        fs::write(SETTING, "1").expect("root may");
        assert_eq!((setting_after(set), setting_after(put_back)), (1, 1));
        fs::write(SETTING, "0").expect("root may");
    }
}

#[test]
fn systemd_understands_the_drop_in() {
    if !skip::kernel_or_skip(&["systemd-analyze"]) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let unit = folder.path().join("probe-agent.service");
    let drop_ins = folder.path().join("probe-agent.service.d");
    fs::create_dir(&drop_ins).expect("a folder");
    // It looks for the programs.
    let installed = UNIT.replace("/usr/local/bin/probe-agent", BINARY);
    fs::write(&unit, installed).expect("written");
    fs::write(drop_ins.join("expedite.conf"), DROP_IN).expect("written");
    let mut analyze = Command::new("systemd-analyze");
    let output = analyze.arg("verify").arg(&unit).output();
    let output = output.expect("systemd-analyze runs");
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    assert!(!told.contains("expedite.conf"), "{told}");
}
