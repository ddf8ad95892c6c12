//! Other people's packets on a real link: what the hooks make of every frame of the corpus equals
//! what `replay` makes of the same frames, and `replay` equals the corpus' oracle (tests/replay).

use std::{collections::BTreeMap, fs, path::Path, process::Command, time::Duration};

use probe_common::{
    headers::ETHERNET_LEN,
    parse::{ParseError, link::parse_ethernet},
};
use rstest::rstest;
use serde_json::Value;

use super::{
    agent::{Installation, built_binary},
    captures::{ethernet_frames, write_pcap},
    eventually,
    flows::stored_intervals,
    packets, run,
    sender::Sender,
    skip,
    testbed::{LINK, PEER_LINK, Testbed, quiet_testbed},
};

const TOOLS: [&str; 3] = ["ip", "tc", "ethtool"];
/// The most that a veth takes. Behind it there is room for the Ethernet header and one tag.
const MTU: usize = 65_535;
/// Least length of a tagged frame: the kernel takes a tag off together with the EtherType behind
/// it, before TC, and drops a frame that ends there (`skb_vlan_untag` in net/core/skbuff.c, 6.18).
const SHORTEST_TAGGED_LEN: usize = ETHERNET_LEN + 6;

#[rstest]
#[case::tc("tc")]
#[case::native_xdp("xdp-native")]
#[case::generic_xdp("xdp-generic")]
fn the_corpus_on_a_wire_equals_its_replay(#[case] hook: &str) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let Some(corpus) = skip::corpus_or_skip() else {
        return;
    };
    let frames = corpus_frames(&corpus);
    compare(hook, &frames, 50_000);
}

#[rstest]
#[case::tc("tc")]
#[case::native_xdp("xdp-native")]
#[case::generic_xdp("xdp-generic")]
fn hand_built_packets_on_a_wire_equal_their_replay(#[case] hook: &str) {
    if !skip::kernel_or_skip(&TOOLS) {
        return;
    }
    let cases = packets::cases().into_iter();
    let mut frames: Vec<_> = cases.map(|case| case.frame).collect();
    if hook == "tc" {
        frames.retain(|frame| !is_deeper_by_its_tag(frame));
    }
    compare(hook, &frames, 100);
}

/// Every frame of the Ethernet captures, as far as it was captured.
fn corpus_frames(corpus: &Path) -> Vec<Vec<u8>> {
    let captures = fs::read_dir(corpus.join("captures")).expect("captures");
    let mut captures: Vec<_> = captures.flatten().map(|entry| entry.path()).collect();
    captures.sort();
    captures
        .iter()
        .flat_map(|path| ethernet_frames(path))
        .collect()
}

/// Sends the frames past an agent's hook, and compares with the replay of those that were sent.
#[track_caller]
fn compare(hook: &str, frames: &[Vec<u8>], at_least: usize) {
    let testbed = jumbo_testbed();
    let installation = Installation::new(&format!("{{ {LINK}: {{ hook: {hook} }} }}"), "1d");
    let agent = installation.start(&testbed.host);
    let sent = Sender::start(&testbed, frames, 1, Duration::ZERO).finish(Duration::from_mins(1));
    let mut on_the_wire = Vec::new();
    for (number, frame) in frames.iter().enumerate() {
        if let Some((_, why)) = sent.refused.iter().find(|(refused, _)| *refused == number) {
            let len = frame.len();
            let is_known = !(ETHERNET_LEN..=ETHERNET_LEN + MTU).contains(&len);
            assert!(is_known, "frame {number} of {len} bytes: {why}");
            eprintln!("the kernel does not send frame {number} of {len} bytes: {why}");
        } else if hook == "tc" && ends_in_its_tag(frame) {
            let len = frame.len();
            eprintln!("the kernel drops frame {number} of {len} bytes, which ends in its tag");
        } else {
            on_the_wire.push(frame.clone());
        }
    }
    assert!(on_the_wire.len() > at_least, "{} frames", on_the_wire.len());
    let all = i64::try_from(on_the_wire.len()).expect("a small number");
    eventually("all frames are seen", || {
        (agent.metrics().sum("probe_packets_seen_total", "") >= all).then_some(())
    });
    agent.settled_metrics();
    assert!(agent.terminate().success(), "the agent's exit code");

    let capture = installation.path().join("sent.pcap");
    write_pcap(&capture, &on_the_wire);
    let mut replay = Command::new(built_binary());
    let replayed = run(replay.args(["replay", "--format", "json"]).arg(capture));
    let replayed = replayed
        .lines()
        .map(|it| serde_json::from_str(it).expect("JSON"));
    let live = stored_intervals(&installation.json());
    let live = live
        .into_iter()
        .flat_map(|it| it.flows.into_iter().chain([it.ledger]));
    assert_same(&by_key(live), &by_key(replayed));
    eprintln!("{hook}: {all} frames agree");
}

/// Tags and labels are one more than the parser follows. TC sees the first tag beside the frame, not
/// in it, so there the rest can be followed.
fn is_deeper_by_its_tag(frame: &[u8]) -> bool {
    let untagged = || [&frame[..12], &frame[16..]].concat();
    parse_ethernet(frame) == Err(ParseError::TooManyHeaders)
        && is_tagged(frame)
        && parse_ethernet(&untagged()[..]).is_ok()
}

fn is_tagged(frame: &[u8]) -> bool {
    matches!(frame.get(12..14), Some([0x81, 0x00] | [0x88, 0xa8]))
}

fn ends_in_its_tag(frame: &[u8]) -> bool {
    is_tagged(frame) && frame.len() < SHORTEST_TAGGED_LEN
}

/// Frames of any length, in the order in which they are sent: with several queues two flows may
/// overtake each other.
fn jumbo_testbed() -> Testbed {
    let testbed = quiet_testbed();
    for (namespace, link) in [(&testbed.host, LINK), (&testbed.peer, PEER_LINK)] {
        namespace.ip(&format!("link set {link} mtu {MTU}\n"));
        let mut ethtool = namespace.command("ethtool");
        run(ethtool.args(["-L", link, "rx", "1", "tx", "1"]));
    }
    testbed
}

/// Flows by their key, and the ledger, each with all that is said of it.
fn by_key(lines: impl IntoIterator<Item = Value>) -> BTreeMap<String, Value> {
    let mut by_key = BTreeMap::new();
    for mut line in lines {
        let fields = line.as_object_mut().expect("an object");
        // Where and when is another matter, and a file has no hooks and no link.
        let place = [
            "iface",
            "interval_start",
            "interval_end",
            "start",
            "end",
            "interfaces",
            "first_seen",
            "last_seen",
        ];
        let watched = ["hooks", "coverage", "detached_ms", "reattached"];
        for field in place.into_iter().chain(watched) {
            fields.remove(field);
        }
        forget_who_was_first(fields);
        let ends = ["src_addr", "src_port", "dst_addr", "dst_port"];
        let key = ["type", "ip_protocol", "overflow"].into_iter().chain(ends);
        let key = key.map(|field| fields.get(field).map(Value::to_string).unwrap_or_default());
        let key: Vec<_> = key.collect();
        let twice = by_key.insert(key.join(" "), line);
        assert!(twice.is_none(), "stored twice: {twice:?}");
    }
    by_key
}

/// Where nothing but the order of the packets tells the client, that is lost where a record is
/// displaced and overtakes one that is still open (ARCHITECTURE.md, Open records).
fn forget_who_was_first(flow: &mut serde_json::Map<String, Value>) {
    let is_told = match flow.get("direction_evidence").and_then(Value::as_str) {
        Some("none") => false,
        Some("ports") => flow.get("src_port") != flow.get("dst_port"),
        _ => true,
    };
    if is_told {
        return;
    }
    let end = |flow: &serde_json::Map<String, Value>, [addr, port]: [&str; 2]| {
        (flow[addr].to_string(), flow[port].to_string())
    };
    if end(flow, ["src_addr", "src_port"]) > end(flow, ["dst_addr", "dst_port"]) {
        for (one, other) in [("src_addr", "dst_addr"), ("src_port", "dst_port")] {
            let (a, b) = (flow[one].clone(), flow[other].clone());
            flow.insert(one.to_owned(), b);
            flow.insert(other.to_owned(), a);
        }
    }
}

/// Whether every field that a replay has is the same on the wire. A wire has more of them in its
/// ledger: hooks and the link's own counters.
fn says_all_of(live: &Value, replayed: &Value) -> bool {
    let mut fields = replayed.as_object().expect("an object").iter();
    fields.all(|(name, value)| live.get(name) == Some(value))
}

/// Fails with what differs, and only that.
#[track_caller]
fn assert_same(live: &BTreeMap<String, Value>, replayed: &BTreeMap<String, Value>) {
    let mut differences = Vec::new();
    for (key, line) in live {
        if !replayed.get(key).is_some_and(|it| says_all_of(line, it)) {
            differences.push(format!("live     {line}\nreplayed {:?}", replayed.get(key)));
        }
    }
    for (key, line) in replayed {
        if !live.contains_key(key) {
            differences.push(format!("not live {line}"));
        }
    }
    let count = differences.len();
    differences.truncate(20);
    assert!(
        count == 0,
        "{count} differences\n{}",
        differences.join("\n")
    );
}
