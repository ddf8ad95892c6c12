//! `probe-agent check` as a user meets it: what it tells, where, and its exit code.

use std::{
    fs,
    os::unix::{
        fs::{MetadataExt as _, PermissionsExt as _},
        process::CommandExt as _,
    },
    path::Path,
    process::Command,
};

use super::{probe_agent, text};

#[test]
fn check_accepts_the_annotated_file() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/probe.yaml");
    let output = probe_agent(&["check", "-c", file.to_str().expect("a path")]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    // Only root may write below /var/lib, and the disk of this host may be small.
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    let is_warning = |line: &str| line.contains(": warning: writeout[0].");
    assert!(told.lines().all(is_warning), "{told}");
    let is_good = said.ends_with("config/probe.yaml: good\n");
    assert_eq!(is_good, told.is_empty(), "{said}{told}");
    assert!(
        is_good || said.contains("probe.yaml: no errors, "),
        "{said}"
    );
}

#[test]
fn check_finds_sinks_that_could_not_be_opened_and_makes_nothing() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("probe.yaml");
    let fine = dir.path().join("flows");
    let check = |path: &str, age: &str| {
        let sinks = format!("[{{ type: json, path: {path}, retention: {{ max_age: {age} }} }}]");
        let config = format!("interfaces: {{ eth0: {{}} }}\nwriteout: {sinks}\n");
        fs::write(&file, config).expect("written");
        let output = probe_agent(&["check", "-c", file.to_str().expect("a path")]);
        (output.status.code(), text(&output.stderr))
    };
    let fine_text = fine.to_str().expect("a path");
    assert_eq!(check(fine_text, "90d"), (Some(0), String::new()));
    let (code, told) = check("/dev/null", "90d");
    assert_eq!(code, Some(2), "{told}");
    let expected =
        ":2:32: writeout[0].path: the json sink cannot store files below /dev/null: cannot";
    assert!(told.contains(expected), "{told}");
    let (code, told) = check(fine_text, "90M");
    assert_eq!(code, Some(0), "{told}");
    let expected =
        "warning: writeout[0].retention.max_age: `90M` is read as months, 2739 days; write days";
    assert!(told.contains(expected), "{told}");
    assert!(!fine.exists(), "a check makes nothing");
}

/// Keys that others can read, and files of the kernel.
#[test]
fn check_refuses_what_surely_fails() {
    let dir = tempfile::tempdir().expect("a directory");
    let (file, key) = (dir.path().join("probe.yaml"), dir.path().join("key"));
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    let keys = format!(
        "interfaces: {{ eth0: {{}} }}\napi: {{ addr: \"127.0.0.1:9999\", metrics_addr: none, keys: [ \
         {{ role: admin, file: {} }} ] }}\n",
        key.display()
    );
    let missing = keys.replace("/key }", "/kez }");
    let of_short = dir.path().join("short");
    fs::write(&of_short, "short\n").expect("written");
    fs::set_permissions(&of_short, fs::Permissions::from_mode(0o600)).expect("set");
    let short = keys.replace("/key }", "/short }");
    for (config, told) in [
        (keys.as_str(), "holds a secret (api.keys[].file)"),
        (
            &missing,
            "api.keys[0].file: cannot read api.keys[].file from",
        ),
        (
            &short,
            "short holds no key: it must have 32 to 256 characters",
        ),
        (
            "interfaces: { eth0: {} }\nwriteout: [ { type: json, path: /proc/probe } ]\n",
            "writeout[0].path: the json sink cannot store files below /proc/probe",
        ),
    ] {
        fs::write(&file, config).expect("written");
        let output = probe_agent(&["check", "-c", file.to_str().expect("a path")]);
        let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
        assert_eq!(output.status.code(), Some(2), "{stdout}{stderr}");
        assert!(stderr.contains(told), "{stderr}");
        assert!(!stdout.contains("good"), "{stdout}");
    }
}

/// Exclusions that leave no usual name, and keys that only the agent's user may read.
#[test]
fn check_warns_of_what_another_user_or_host_may_do() {
    let dir = tempfile::tempdir().expect("a directory");
    let open_to_all = fs::Permissions::from_mode(0o755);
    fs::set_permissions(dir.path(), open_to_all).expect("set");
    let [binary, file, key] = ["probe-agent", "probe.yaml", "key"].map(|it| dir.path().join(it));
    // The build may lie where nobody else may read.
    fs::copy(env!("CARGO_BIN_EXE_probe-agent"), &binary).expect("copied");
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("written");
    let config = format!(
        "autodetection: {{ enabled: true, exclude: [ \"/.*/\" ] }}\nwriteout: []\napi: {{ addr: \"127.0.0.1:9999\", \
         metrics_addr: none, keys: [ {{ role: admin, file: {} }} ] }}\n",
        key.display()
    );
    fs::write(&file, config).expect("written");
    let mut check = Command::new(&binary);
    check.arg("check").arg("-c").arg(&file);
    let is_root = fs::metadata("/proc/self").expect("ours").uid() == 0;
    if is_root {
        check.uid(65_534).gid(65_534);
    }
    let mode = if is_root { 0o600 } else { 0 };
    fs::set_permissions(&key, fs::Permissions::from_mode(mode)).expect("set");
    let output = check.output().expect("it runs");
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{told}");
    let unread = ": warning: api.keys[0].file: as this user, cannot read api.keys[].file from ";
    assert!(told.contains(unread), "{told}");
    let all = "autodetection.exclude: /.*/ leaves no usual name of an interface";
    assert!(told.contains(all), "{told}");
    assert_eq!(told.lines().count(), 2, "{told}");
}

#[test]
fn check_reads_a_pipe() {
    let script = "exec \"$0\" check -c <(echo 'interfaces: { eth0: {} }')";
    let output = Command::new("bash")
        .args(["-c", script, env!("CARGO_BIN_EXE_probe-agent")])
        .output()
        .expect("bash runs");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(text(&output.stdout).ends_with(": good\n"), "{output:?}");
}

/// Each value is judged by itself, and each line has the place as compilers write it.
#[test]
fn check_tells_everything_at_once_each_with_its_place() {
    let dir = tempfile::tempdir().expect("a directory");
    let [file, key, flows] = ["probe.yaml", "key", "flows"].map(|it| dir.path().join(it));
    fs::write(&key, "0123456789abcdef0123456789abcdef\n").expect("written");
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).expect("set");
    let (key, flows) = (key.display(), flows.display());
    let config = format!(
        "\
interfaces:
  \"eth*\": {{ hok: auto }}
  kind:vteh: {{}}
capture: {{ max_flows: 9, max_flows_total: 8 }}
rotation: {{ interval: 90M }}
writeout:
  - {{ type: jsno, path: /dev/null }}
  - type: json
    path: {flows}
    retention: {{ max_age: 90M, max_size: 900TiB }}
  - type: json
    path: {flows}/in
api:
  addr: localhost:123456
  keys: [ {{ role: god, file: {key} }} ]
  tls: {{ cert: /nonexistent/cert, key: {key} }}
autodetection: {{ enabled: maybe }}
"
    );
    fs::write(&file, config).expect("written");
    let output = probe_agent(&["check", "-c", file.to_str().expect("a path")]);
    let told = text(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{told}");
    let path = format!("{}:", file.display());
    let places = told.lines().filter_map(|line| line.strip_prefix(&path));
    let places: Vec<_> = places
        .map(|line| {
            line.split(' ')
                .take_while(|word| word.ends_with(':') && !word.starts_with('`'))
        })
        .map(|words| words.collect::<Vec<_>>().join(" "))
        .collect();
    assert_eq!(
        places,
        [
            "2:3: warning: interfaces.\"eth*\":",
            "2:13: interfaces.\"eth*\".hok:",
            "3:3: warning: interfaces.\"kind:vteh\":",
            "4:23: warning: capture.max_flows:",
            "5:23: rotation.interval:",
            "7:13: writeout[0].type:",
            "7:25: writeout[0].path:",
            "10:27: warning: writeout[1].retention.max_age:",
            "10:42: warning: writeout[1].retention.max_size:",
            "12:11: writeout[2].path:",
            "14:9: api.addr:",
            "15:19: api.keys[0].role:",
            "15:30: api.keys[0].file:",
            "16:16: api.tls.cert:",
            "16:40: api.tls.key:",
            "17:27: autodetection.enabled:",
        ],
        "{told}"
    );
    assert!(
        told.ends_with("\n11 problems in the configuration, and 5 warnings\n"),
        "{told}"
    );
    assert_eq!(text(&output.stdout), "");
}

/// What is only doubted lets the agent start, and is not called good.
#[test]
fn check_does_not_call_good_what_it_warns_of() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("probe.yaml");
    fs::write(&file, "interfaces: { eth*: {} }\nwriteout: []\n").expect("written");
    let output = probe_agent(&["check", "-c", file.to_str().expect("a path")]);
    let (said, told) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{told}");
    let place = format!("{}:1:15: warning: interfaces.\"eth*\": ", file.display());
    assert!(
        told.starts_with(&place) && told.contains("`/^eth/`"),
        "{told}"
    );
    assert!(
        said.ends_with("probe.yaml: no errors, 1 warning\n"),
        "{said}"
    );
}
