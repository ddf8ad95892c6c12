use std::time::Duration;

use ratatui::{
    Terminal,
    backend::TestBackend,
    buffer::Cell,
    crossterm::event::{KeyCode, KeyEvent},
};
use rstest::rstest;
use serde_json::json;

use super::{
    super::model::{Reading, Top},
    draw,
};
use crate::{
    cli::{captures, status::table::tests::report},
    term::captures::assert_capture,
};
use probe_api::v1::{
    flows::Flows,
    status::{SinkStatus, SinkTrouble, StoreStatus},
};
use probe_flow::{filter::Filter, ledger::Loss};

/// `seconds` after the first reading, with so many bytes of each flow.
fn reading(seconds: u64, bytes: u64) -> Reading {
    let mut status = report();
    status.at += Duration::from_secs(seconds);
    let eth0 = status.interfaces.get_mut("eth0").expect("it is there");
    eth0.bytes_rcvd += bytes;
    let flow = |src_addr: &str, dst_addr: &str, dst_port: u16, factor: u64| {
        json!({
            "iface": "eth0", "ip_version": 4, "ip_protocol": 6, "src_addr": src_addr,
            "src_port": 0, "dst_addr": dst_addr, "dst_port": dst_port,
            "packets_rcvd": seconds * factor, "packets_sent": 0, "bytes_rcvd": bytes * factor,
            "bytes_sent": 0, "tcp_flags": 27, "direction_evidence": "handshake",
            "direction_confidence": "high", "overflow": false,
            "first_seen": status.at, "last_seen": status.at,
        })
    };
    let flows: Flows = serde_json::from_value(json!({
        "at": status.at,
        "interfaces": [{ "iface": "eth0", "since": status.started_at, "flows": 2, "matched": 2 }],
        "matched": 2, "truncated": false,
        "total": { "packets_rcvd": 0, "packets_sent": 0, "bytes_rcvd": 0, "bytes_sent": 0 },
        "flows": [
            flow("198.18.0.1", "198.18.0.2", 443, 1),
            flow("2001:db8:1234:5678:9abc:def0:1234:5678", "2001:db8::1", 22, 3),
        ],
    }))
    .expect("they are flows");
    Reading {
        filter: Filter::default(),
        status,
        flows,
    }
}

fn top() -> Top {
    let mut top = Top::new(Duration::from_secs(2), Filter::default());
    top.on_reading(reading(0, 1000));
    top.on_reading(reading(2, 5000));
    top
}

fn screen(top: &Top, width: u16, height: u16) -> Vec<String> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).expect("a terminal");
    terminal.draw(|frame| draw(frame, top)).expect("drawn");
    let buffer = terminal.backend().buffer().clone();
    let lines = buffer.content().chunks(usize::from(width));
    lines
        .map(|line| line.iter().map(Cell::symbol).collect())
        .collect()
}

fn press(top: &mut Top, keys: &str) {
    for char in keys.chars() {
        let code = match char {
            '\n' => KeyCode::Enter,
            '\x1b' => KeyCode::Esc,
            char => KeyCode::Char(char),
        };
        top.on_key(KeyEvent::from(code));
    }
}

#[test]
fn rates_are_those_since_the_last_reading() {
    let lines = screen(&top(), 80, 24);
    assert!(lines[0].starts_with("probe-agent  up 1h 0m"), "{lines:#?}");
    assert!(
        lines[2].starts_with("eth0  ok    tcx/tcx      16.0 kbit/s"),
        "{lines:#?}"
    );
    assert!(lines[3].starts_with("seen 100 = flows 98 + non_ip 2 (residue 0)"));
    assert!(lines[4].starts_with("2 flows by bytes, a second"));
    // 3 * 4000 octets in two seconds.
    let expected = "* [2001:db8:1234…ef0:1234:5678]:* → [2001:db8::1]:22 tcp 48000 0 3 0";
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(words(&lines[7]), words(expected), "{lines:#?}");
    assert!(lines[8].contains("198.18.0.2:443"), "{lines:#?}");
    assert!(lines[23].starts_with("q quit  p pause"), "{lines:#?}");
}

#[rstest]
fn every_size_is_drawn(
    #[values(1, 20, 40, 79, 80, 200)] width: u16,
    #[values(1, 3, 8, 24, 50)] height: u16,
) {
    let mut top = top();
    top.on_failure("the agent is gone".to_owned());
    for keys in ["", "t", "f", "hots\n", "\x1b", "?"] {
        press(&mut top, keys);
        assert_eq!(screen(&top, width, height).len(), usize::from(height));
    }
}

#[test]
fn keys_change_what_is_shown() {
    let mut top = top();
    press(&mut top, "t");
    let lines = screen(&top, 80, 24);
    assert!(
        lines[4].starts_with("4 talkers by bytes, a second"),
        "{lines:#?}"
    );
    press(&mut top, "trs");
    let lines = screen(&top, 80, 24);
    assert!(
        lines[4].starts_with("2 flows by packets, since the last rotation"),
        "{lines:#?}"
    );
    press(&mut top, "p");
    assert!(screen(&top, 80, 24)[0].contains("PAUSED"));
    press(&mut top, "?");
    assert!(
        screen(&top, 80, 24)
            .iter()
            .any(|line| line.contains("pause, and go on"))
    );
    press(&mut top, "q");
    assert!(!top.has_ended(), "it closed the help");
    press(&mut top, "q");
    assert!(top.has_ended());
}

#[test]
fn a_filter_is_typed_and_its_errors_are_shown() {
    let mut top = top();
    press(&mut top, "fport htps\n");
    let lines = screen(&top, 80, 24);
    assert!(
        lines[19].starts_with("column 6: expected a port"),
        "{lines:#?}"
    );
    assert!(lines[23].starts_with("filter: port htps_"), "{lines:#?}");
    assert!(top.filter().is_empty());
    top.on_reading(reading(4, 9000));
    assert_eq!(
        screen(&top, 80, 24)[19..],
        lines[19..],
        "a refresh leaves it"
    );
    let message = lines[19..21].concat();
    let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(message.ends_with("found `htps`"), "all of it: {message}");
    press(&mut top, "\x1b");
    assert!(screen(&top, 80, 24)[22].trim().is_empty());
    press(&mut top, "/tcp port https\n");
    assert_eq!(top.filter().to_string(), "ip_protocol tcp and port 443");
    assert!(top.takes_refresh());
    press(&mut top, "c");
    assert!(top.filter().is_empty());
}

#[test]
fn an_agent_that_does_not_answer_leaves_the_last_reading() {
    let mut top = top();
    top.on_failure("no agent answers on unix:/run/probe/probe.sock".to_owned());
    let lines = screen(&top, 80, 24);
    assert!(lines[22].starts_with("no agent answers"), "{lines:#?}");
    assert!(lines[8].contains("198.18.0.2:443"), "{lines:#?}");
    let title = "NO ANSWER since 12:00:02Z, for 0s; probe-agent";
    assert!(lines[0].starts_with(title), "{lines:#?}");
    top.on_reading(reading(6, 9000));
    assert!(screen(&top, 80, 24)[0].starts_with("probe-agent  up"));
}

/// 60 interfaces, of which the last by name is the busiest, and the longest addresses there are.
fn crowded() -> Top {
    let mut top = Top::new(Duration::from_secs(2), Filter::default());
    for seconds in [0, 2] {
        top.on_reading(Reading {
            filter: Filter::default(),
            status: captures::status(seconds),
            flows: captures::flows(seconds),
        });
    }
    top
}

#[rstest]
#[case::small(80, 24)]
#[case::large(200, 50)]
fn screens_are_as_captured(#[case] width: u16, #[case] height: u16) {
    let capture = |name: &str, top: &Top| {
        let name = format!("top-{name}-{width}x{height}");
        assert_capture(&name, width, &screen(top, width, height));
    };
    let mut top = crowded();
    capture("rates", &top);
    press(&mut top, "r");
    capture("counts", &top);
    press(&mut top, "rt");
    capture("talkers", &top);
    press(&mut top, "t?");
    capture("help", &top);
    press(
        &mut top,
        "xfport htps and src net 2001:db8:1234:5678:9abc:def0:1234:5678/128\n",
    );
    capture("mistake", &top);
    press(&mut top, "\x1b");
    top.on_failure(
        "no agent answers on unix:/run/probe/probe.sock: Connection refused (os error 111); is it \
         running (`systemctl status probe-agent`), and is this its api.addr?"
            .to_owned(),
    );
    capture("dead", &top);
}

#[test]
fn the_busiest_interface_comes_first() {
    let lines = screen(&crowded(), 80, 24);
    assert!(lines[2].starts_with("eth59 "), "{lines:#?}");
    let rest = "and 52 with less traffic; name some to see only those";
    assert!(lines[10].starts_with(rest), "{lines:#?}");
}

/// Counts of flows that the reading before did not ask for are no rates.
#[test]
fn another_filter_begins_with_counts() {
    let mut top = top();
    let mut other = reading(4, 9000);
    other.filter = "tcp".parse().expect("a filter");
    top.on_reading(other);
    assert!(screen(&top, 80, 24)[4].starts_with("2 flows by bytes, since the last rotation"));
}

#[test]
fn troubles_have_what_the_list_leaves_and_are_not_cut_silently() {
    let mut full = StoreStatus {
        is_filling: true,
        ..StoreStatus::default()
    };
    let mut now = reading(4, 5000);
    full.full_at = Some(now.status.at + Duration::from_hours(1));
    for number in 0..6 {
        let sink = SinkStatus {
            store: Some(full.clone()),
            trouble: (number == 5).then(|| SinkTrouble {
                kind: "failing".to_owned(),
                error: "cannot write /flows: it is away".to_owned(),
                remedy: "mount it".to_owned(),
                ..SinkTrouble::default()
            }),
            ..SinkStatus::default()
        };
        now.status.sinks.insert(format!("sink{number}"), sink);
    }
    let mut top = top();
    top.on_reading(now);
    let shown = screen(&top, 80, 24).join("\n");
    let first = shown.find("it is away").expect("what is wrong now");
    assert!(
        first < shown.find("is full").expect("a forecast"),
        "{shown}"
    );
    let empty = screen(&top, 80, 24)
        .into_iter()
        .filter(|line| line.trim().is_empty());
    assert!(empty.count() < 5, "{shown}");
    assert!(
        shown.contains("more; `probe-agent status` tells all"),
        "{shown}"
    );
}

#[test]
fn a_trouble_is_shown_to_its_end_or_said_to_be_cut() {
    let of = |lengths: &[usize]| {
        let troubles = lengths.iter().map(|lines| vec!["x".to_owned(); *lines]);
        troubles.collect::<Vec<_>>()
    };
    for (lengths, room, lines, last) in [
        (&[2, 2][..], 4, 4, "x"),
        (&[2, 2], 3, 3, "and 1 more; `probe-agent status` tells all"),
        (
            &[5, 2],
            4,
            4,
            "… and 1 more; `probe-agent status` tells all",
        ),
        (&[5], 4, 4, "… `probe-agent status` tells the rest"),
        (
            &[2, 2],
            1,
            1,
            "… and 1 more; `probe-agent status` tells all",
        ),
        (&[], 1, 0, ""),
    ] {
        let shown = super::fitted(&of(lengths), room);
        assert_eq!(shown.len(), lines, "{lengths:?} in {room}");
        assert_eq!(shown.last().map_or("", String::as_str), last);
    }
}

#[test]
fn a_long_ledger_is_shown_to_its_end() {
    let mut now = reading(4, 5000);
    let eth0 = now.status.interfaces.get_mut("eth0").expect("it is there");
    for loss in Loss::ALL {
        eth0.ledger.losses.insert(loss.name().to_owned(), 123_456);
    }
    let mut top = top();
    top.on_reading(now);
    let shown = screen(&top, 80, 40).join("\n");
    assert!(shown.contains("(residue 0)"), "{shown}");
}
