//! Commands that ask a running agent: the binary, and an API with traffic that is known.

use std::{
    process::Command,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    thread,
};

use crate::flows::Testbed;

/// Exit code, standard output, standard error.
fn command(testbed: &Testbed, words: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_probe-agent"))
        .args(words)
        .args(["--addr", &testbed.addr])
        .output()
        .expect("the binary runs");
    let [stdout, stderr] =
        [output.stdout, output.stderr].map(|it| String::from_utf8(it).expect("text"));
    (output.status.code().expect("no signal"), stdout, stderr)
}

#[test]
fn a_wrong_word_ends_each_command_with_2() {
    let testbed = Testbed::new();
    for (words, told) in [
        (
            &["status", "NOPE"][..],
            "`NOPE` is no interface that is captured (eth0, eth1)",
        ),
        (&["status", "eth0", "NOPE"], "`NOPE` is no interface"),
        (
            &["flows", "NOPE"],
            "`NOPE` is no interface that is captured (eth0, eth1), and begins no filter",
        ),
        (
            &["flows", "port"],
            "`port` is no interface that is captured",
        ),
        (&["flows", "-f", "port"], "column 5"),
        (
            &["flows", "eth0", "-f", "tcp", "udp"],
            "the filter is given twice",
        ),
        (
            &["flows", "--by", "src", "--sort", "proto"],
            "--sort ip_protocol",
        ),
        (&["flows", "--by", "size"], "invalid value 'size'"),
    ] {
        let (code, stdout, stderr) = command(&testbed, words);
        assert_eq!(code, 2, "{words:?}: {stdout}{stderr}");
        assert!(stderr.contains(told), "{words:?}: {stderr}");
    }
}

/// Whether packets are being lost shows only in two readings.
#[test]
fn status_ends_the_same_however_it_is_shown() {
    let testbed = Testbed::new();
    let ended = |words: &[&str]| command(&testbed, words);
    for words in [&["status"][..], &["status", "--json"]] {
        assert_eq!(ended(words).0, 0, "{words:?}");
        let script = &testbed.running.script;
        let is_over = AtomicBool::new(false);
        let (code, stdout, _) = thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    script.lose(1);
                    thread::yield_now();
                }
            });
            let ended = ended(words);
            is_over.store(true, Relaxed);
            ended
        });
        assert_eq!(code, 5, "{words:?}: {stdout}");
    }
}

#[test]
fn a_table_without_rows_says_why() {
    let testbed = Testbed::new();
    for (words, told) in [
        (&["flows", "-n", "0"][..], "0 of 5 flows; received 1000 B"),
        (
            &["flows", "udp"],
            "none of 5 flows passes the filter; received 0 B",
        ),
        (
            &["flows", "--by", "src", "udp"],
            "none of 5 flows passes the filter",
        ),
        (
            &["flows", "--by", "src", "-n", "0"],
            "0 of 1 group, of 5 flows; received",
        ),
    ] {
        let (code, stdout, stderr) = command(&testbed, words);
        assert_eq!(code, 0, "{stderr}");
        assert!(stdout.starts_with(told), "{words:?}: {stdout}");
    }
}

#[test]
fn flows_are_grouped() {
    let testbed = Testbed::new();
    let (code, stdout, stderr) = command(&testbed, &["flows", "--by", "dst,iface", "-n", "2"]);
    assert_eq!(code, 0, "{stderr}");
    for line in [
        "destination iface flows  rcvd    sent rcvd sent",
        "198.18.1.1  eth1      1   0 B 8.7 KiB    0    1",
        "198.18.1.4  eth0      1 400 B     0 B    4    0",
        "2 of 5 groups, of 5 flows; received 1000 B, sent 8.7 KiB",
    ] {
        assert!(stdout.contains(line), "{line}: {stdout}");
    }
    let words = ["flows", "--by", "proto", "--csv", "eth0"];
    let (_, stdout, _) = command(&testbed, &words);
    assert_eq!(
        stdout,
        "ip_protocol,flows,packets_rcvd,packets_sent,bytes_rcvd,bytes_sent\n6,4,10,0,1000,0\n"
    );
    let words = ["flows", "--by", "dst", "--sort", "dst", "--json", "-n", "1"];
    let (_, stdout, _) = command(&testbed, &words);
    let lines: Vec<serde_json::Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert_eq!(lines.len(), 2, "{stdout}");
    assert_eq!(lines[0]["type"], "group");
    assert_eq!(lines[0]["dst_addr"], "198.18.1.1");
    assert_eq!(
        (&lines[0]["flows"], &lines[0]["bytes_sent"]),
        (&2.into(), &9000.into())
    );
    assert_eq!(
        (&lines[1]["type"], &lines[1]["matched"]),
        (&"flows".into(), &5.into())
    );
}

#[test]
fn rates_are_over_the_running_interval() {
    let testbed = Testbed::new();
    let (code, stdout, stderr) = command(&testbed, &["flows", "--rate"]);
    assert_eq!(code, 0, "{stderr}");
    for part in [
        "bit/s packets/s",
        "5 of 5 flows; received ",
        "bit/s\nsince ",
    ] {
        assert!(stdout.contains(part), "{part}: {stdout}");
    }
    let (_, stdout, _) = command(&testbed, &["flows", "--rate", "--json", "-n", "1"]);
    let line = stdout.lines().next().expect("a flow");
    let flow: serde_json::Value = serde_json::from_str(line).expect("JSON");
    assert_eq!(flow["type"], "flow");
    assert!(flow["bits_sent_per_second"].is_u64(), "{line}");
    assert!(flow["packets_rcvd"].is_null(), "{line}");
    let (_, stdout, _) = command(&testbed, &["flows", "--rate", "--csv", "-n", "1"]);
    let cells: Vec<_> = stdout.lines().map(|line| line.split(',').count()).collect();
    assert_eq!(cells, [17, 17], "{stdout}");
}

/// Sums over the largest flows would be no sums.
#[test]
fn more_flows_than_an_answer_has_are_grouped() {
    let testbed = Testbed::new();
    testbed.running.script.many_flows(1, 100_000);
    let (code, stdout, stderr) = command(&testbed, &["flows", "--by", "proto"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("1 of 1 group, of 100005 flows"), "{stdout}");
    let (code, stdout, stderr) = command(&testbed, &["flows", "--by", "src,dst"]);
    assert_eq!((code, stdout.as_str()), (1, ""), "{stderr}");
    assert!(
        stderr.contains("makes more than 100000 groups; name fewer fields"),
        "{stderr}"
    );
    let (code, stdout, stderr) = command(&testbed, &["flows", "--by", "iface", "eth1"]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("1 of 1 group, of 1 flow;"), "{stdout}");
}
