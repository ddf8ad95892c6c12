//! The command behind `replay`: file to manager to flows.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Output, Stdio},
};

use probe_agent::{
    cli::{
        group::GroupArgs,
        replay::{ReplayArgs, Replayed, replay},
        select::{FormatArgs, SelectArgs},
    },
    term::{
        flow_format::{FlowFormat, total_ledger, write_flows},
        page::TableStyle,
    },
};
use probe_common::classify::Evidence;
use probe_flow::{flow::FlowRow, flow_log::FlowLogOptions, schema::FlowView};
use probe_pcap::Playback;
use serde_json::Value;

use crate::{
    differences,
    oracle::{self, Oracle},
    packets::frame,
    play::{Count, Key, Table},
    write::{ETHERNET, Folder, Order, PcapNg},
};

pub(crate) fn replayed(path: &Path, raw: bool) -> Replayed {
    let args = ReplayArgs {
        file: path.to_owned(),
        output: FormatArgs::default(),
        raw,
        local: Vec::new(),
        max_flows: FlowLogOptions::default().max_flows,
        words: Vec::new(),
        select: SelectArgs::default(),
        group: GroupArgs::default(),
    };
    replay(&args, &Playback::default()).unwrap_or_else(|error| panic!("{error}"))
}

/// A TCP segment between a client and port 443 of a server.
fn segment(to_server: bool, client_port: u16, flags: u8) -> Vec<u8> {
    let mut tcp = frame::tcp(flags);
    let (src, dst) = if to_server {
        (client_port, 443)
    } else {
        (443, client_port)
    };
    tcp[..2].copy_from_slice(&src.to_be_bytes());
    tcp[2..4].copy_from_slice(&dst.to_be_bytes());
    let mut packet = frame::Ipv4::of(frame::TCP).packet(&tcp);
    if !to_server {
        packet[12..16].copy_from_slice(&frame::DST_V4);
        packet[16..20].copy_from_slice(&frame::SRC_V4);
    }
    frame::ethernet(frame::IPV4, &packet)
}

/// Two connections, each with a request that was sent and an answer that was received.
fn conversation(folder: &Folder) -> std::path::PathBuf {
    let file = PcapNg::new(Order::Little)
        .named(ETHERNET, "wan")
        .named(ETHERNET, "idle")
        .directed(0, 2, &segment(true, 40000, 0x02))
        .directed(0, 1, &segment(false, 40000, 0x12))
        .directed(0, 2, &segment(true, 40001, 0x02))
        .directed(0, 1, &segment(false, 40001, 0x12))
        .directed(0, 1, &frame::ethernet(frame::ARP, &[0; 28]));
    folder.file("talk.pcapng", &file.bytes)
}

#[test]
fn connections_to_one_service_are_one_flow() {
    let folder = Folder::new();
    let replayed = replayed(&conversation(&folder), false);
    let names: Vec<_> = replayed
        .interfaces
        .iter()
        .map(|found| found.iface.as_str())
        .collect();
    assert_eq!(names, ["wan", "idle"], "in the order of the file");
    let [row] = replayed.interfaces[0].flows[..] else {
        panic!("{:?}", replayed.interfaces[0].flows);
    };
    assert_eq!((row.src_port, row.dst_port, row.ip_protocol), (0, 443, 6));
    assert_eq!(row.src_addr.to_string(), "198.18.0.1");
    let counters = row.flow.counters;
    assert_eq!((counters.packets_rcvd, counters.packets_sent), (2, 2));
    assert_eq!((counters.bytes_rcvd, counters.bytes_sent), (80, 80));
    assert_eq!(row.flow.evidence, Evidence::Handshake);
    assert_eq!(row.flow.tcp_flags, 0x12);
    assert!(replayed.interfaces[1].flows.is_empty());
    assert!(replayed.ending.is_complete() && replayed.warnings.is_empty());
}

#[test]
fn raw_flows_keep_directions_and_ports_apart() {
    let folder = Folder::new();
    let replayed = replayed(&conversation(&folder), true);
    let mut ports: Vec<_> = replayed.interfaces[0]
        .flows
        .iter()
        .map(|row| (row.src_port, row.dst_port, row.flow.counters.packets()))
        .collect();
    ports.sort_unstable();
    assert_eq!(
        ports,
        [
            (443, 40000, 1),
            (443, 40001, 1),
            (40000, 443, 1),
            (40001, 443, 1)
        ]
    );
}

#[test]
fn json_ends_with_a_ledger_that_balances() {
    let folder = Folder::new();
    let replayed = replayed(&conversation(&folder), false);
    let mut out = Vec::new();
    write_flows(
        &mut out,
        FlowFormat::Json,
        TableStyle::default(),
        None,
        &replayed.interfaces,
    )
    .unwrap();
    let text = String::from_utf8(out).unwrap();
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(
        (&lines[1]["seen"], &lines[1]["flows"]),
        (&5.into(), &4.into())
    );
    assert_eq!(lines[1]["losses"]["non_ip"], 1);
    assert_eq!(lines[1]["interfaces"]["idle"]["seen"], 0);
}

/// Out of order, as files merged from several interfaces are, and not in the time of the replay.
#[test]
fn flows_have_the_times_of_the_file() {
    const MICROSECONDS: u64 = 1_772_323_200_000_000; // 2026-03-01
    let frame = segment(true, 40000, 0x02);
    let at = |file: PcapNg, millis: u64| {
        file.packet(0, MICROSECONDS + millis * 1000, &frame, frame.len(), &[])
    };
    let file = PcapNg::new(Order::Little).named(ETHERNET, "wan");
    let file = [2500, 1250, 61_750, 3000].into_iter().fold(file, at);
    let folder = Folder::new();
    let replayed = replayed(&folder.file("times.pcapng", &file.bytes), false);
    let wan = &replayed.interfaces[0];
    let [row] = wan.flows[..] else {
        panic!("{:?}", wan.flows);
    };
    let [first, last] = [row.flow.first, row.flow.last].map(|tick| wan.tick_clock.time_of(tick));
    assert_eq!(replayed.time_range, Some((first, last)));
    let view = FlowView {
        iface: "wan",
        bounds: None,
        host: None,
        row: &row,
        tick_clock: &wan.tick_clock,
    };
    let line = serde_json::to_value(view.line()).unwrap();
    assert_eq!(line["first_seen"], "2026-03-01T00:00:01.250Z");
    assert_eq!(line["last_seen"], "2026-03-01T00:01:01.750Z");
}

#[test]
fn what_does_not_fit_under_max_flows_is_still_counted() {
    let folder = Folder::new();
    let args = ReplayArgs {
        file: conversation(&folder),
        output: FormatArgs::default(),
        raw: true,
        local: Vec::new(),
        max_flows: 1,
        words: Vec::new(),
        select: SelectArgs::default(),
        group: GroupArgs::default(),
    };
    let replayed = replay(&args, &Playback::default()).unwrap();
    let rows = &replayed.interfaces[0].flows;
    let folded = rows.iter().filter(|row| row.flow.is_overflow);
    let folded: u64 = folded.map(|row| row.flow.counters.packets()).sum();
    assert!(folded > 0, "{rows:?}");
    assert_eq!(total_ledger(&replayed.interfaces).overflow_packets, folded);
    assert_eq!(
        rows.iter()
            .map(|row| row.flow.counters.packets())
            .sum::<u64>(),
        4
    );
    assert_eq!(total_ledger(&replayed.interfaces).residue(), 0);
}

#[test]
fn a_filter_chooses_flows_and_leaves_the_ledger() {
    let folder = Folder::new();
    let path = conversation(&folder);
    let path = path.to_str().unwrap();
    let lines = |filter: &str| {
        let arguments = ["--raw", "--format", "json", "--filter", filter, path];
        let output = probe_agent(&arguments, Stdio::null());
        assert!(output.status.success(), "{output:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
        lines.collect::<Vec<Value>>()
    };
    assert_eq!(lines("").len(), 5);
    let chosen = lines("iface wan and tcp dst port 40001");
    assert_eq!(chosen.len(), 2);
    assert_eq!(chosen[0]["dst_port"], 40001);
    assert_eq!(chosen[1]["seen"], 5, "the ledger is that of all traffic");
    assert_eq!(lines("iface idle or udp").len(), 1);
}

#[test]
fn a_wrong_filter_is_a_wrong_command_line() {
    let output = probe_agent(&["--filter", "tcp and port htps", "x.pcap"], Stdio::null());
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(
        text.contains("\n  tcp and port htps\n               ^^^^\n"),
        "{text}"
    );
    assert!(text.contains("did you mean `https`?"), "{text}");
}

pub(crate) fn probe_agent(arguments: &[&str], stdin: Stdio) -> Output {
    Command::new(env!("CARGO_BIN_EXE_probe-agent"))
        .arg("replay")
        .args(arguments)
        .stdin(stdin)
        .output()
        .expect("the binary runs")
}

#[test]
fn exit_codes_tell_whole_cut_and_foreign_files_apart() {
    let folder = Folder::new();
    let whole = conversation(&folder);
    let mut bytes = fs::read(&whole).unwrap();
    bytes.pop();
    let cut = folder.file("cut.pcapng", &bytes);
    let foreign = folder.file("notes.txt", b"no capture");
    for (path, code, stdout, stderr) in [
        (&whole, 0, "seen 5 = flows 4 + non_ip 1 (residue 0)", ""),
        (
            &cut,
            3,
            "seen 4 = flows 4 (residue 0)",
            "cut in the middle of the packet or block at byte",
        ),
        (&foreign, 1, "", "looks like text"),
    ] {
        let output = probe_agent(&[path.to_str().unwrap()], Stdio::null());
        assert_eq!(output.status.code(), Some(code), "{path:?}");
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(stdout) && !text.contains('\x1b'), "{text}");
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(
            text.contains(stderr) && text.is_empty() == stderr.is_empty(),
            "{text}"
        );
    }
}

#[test]
fn standard_input_is_as_good_as_a_file() {
    let folder = Folder::new();
    let file = fs::File::open(conversation(&folder)).unwrap();
    let output = probe_agent(&["-", "--format", "csv"], file.into());
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.lines()
            .nth(1)
            .unwrap()
            .starts_with("wan,4,6,198.18.0.1,0,198.18.0.2,443,2,2,80,80,")
    );
    let ledger = String::from_utf8(output.stderr).unwrap();
    assert!(
        ledger.contains("residue 0"),
        "the ledger goes to stderr: {ledger}"
    );
}

#[test]
fn a_reader_that_has_had_enough_is_no_failure() {
    // More than the pipe holds, so that writing fails for sure.
    let mut file = PcapNg::new(Order::Little).named(ETHERNET, "eth0");
    for port in 1..4000 {
        file = file.whole(0, &segment(true, port, 2));
    }
    let folder = Folder::new();
    let path = folder.file("x.pcapng", &file.bytes);
    for format in ["json", "csv", "table"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_probe-agent"))
            .args(["replay", "--raw", "--format", format])
            .arg(&path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        let output = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && !stderr.contains("panicked"),
            "{format}: {stderr}"
        );
    }
}

/// The corpus once more, through manager, flow log and rotation.
#[test]
fn raw_replay_of_the_corpus_equals_the_oracle() {
    let Some(corpus) = oracle::corpus() else {
        return;
    };
    for (name, path) in oracle::captures(&corpus) {
        let mut expected = Oracle::read(&corpus, &name);
        differences::apply(&name, &mut expected);
        let replayed = replayed(&path, true);
        assert!(replayed.ending.is_complete(), "{name}: {}", replayed.ending);
        let ledger = total_ledger(&replayed.interfaces);
        assert_eq!(ledger.seen.packets, expected.packets, "{name}");
        assert_eq!(ledger.residue(), 0, "{name}: {ledger}");

        let mut ours = Table::new();
        for row in replayed
            .interfaces
            .iter()
            .flat_map(|interface| &interface.flows)
        {
            add(
                &mut ours,
                key(row),
                row.flow.counters.packets(),
                row.flow.counters.bytes(),
            );
        }
        let theirs = with_fragments(&expected);
        let ours = fold(ours, &expected.fragments);
        assert_eq!(ours, fold(theirs, &expected.fragments), "{name}");
    }
}

fn key(row: &FlowRow) -> Key {
    Key {
        src: row.src_addr,
        dst: row.dst_addr,
        src_port: row.src_port,
        dst_port: row.dst_port,
        ip_protocol: row.ip_protocol,
    }
}

fn add(table: &mut Table, key: Key, packets: u64, octets: u64) {
    table.entry(key).or_default().add(packets, octets);
}

fn with_fragments(oracle: &Oracle) -> Table {
    let mut table = oracle.flows.clone();
    for (key, Count { packets, octets }) in &oracle.fragments {
        add(&mut table, *key, *packets, *octets);
    }
    table
}

/// Takes the ports away where two addresses exchanged fragments, which may be counted with their
/// flow or apart from it.
fn fold(table: Table, fragments: &Table) -> Table {
    let portless = |key: Key| Key {
        src_port: 0,
        dst_port: 0,
        ..key
    };
    let mut folded = Table::new();
    for (key, Count { packets, octets }) in table {
        let has_fragments = fragments.contains_key(&portless(key));
        let key = if has_fragments { portless(key) } else { key };
        add(&mut folded, key, packets, octets);
    }
    folded
}
