//! The filter language: what is accepted reads back from what it is shown as.

use std::net::{Ipv4Addr, Ipv6Addr};

use probe_flow::{
    filter::{Filter, FilterError},
    flow::{Flow, FlowRow},
};

/// Reads a filter. One that is accepted must read back from what it is shown as, and both must let
/// the same flows pass; one that is refused must be told where and why.
pub fn check(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    match text.parse::<Filter>() {
        Ok(filter) => check_accepted(&text, &filter),
        Err(error) => check_refused(&text, &error),
    }
}

fn check_accepted(text: &str, filter: &Filter) {
    let shown = filter.to_string();
    let again: Filter = match shown.parse() {
        Ok(again) => again,
        Err(error) => panic!("{text:?} is shown as {shown:?}, which is refused: {error}"),
    };
    assert_eq!(again, *filter, "{text:?} is shown as {shown:?}");
    assert_eq!(again.to_string(), shown, "{text:?}");
    for row in flows() {
        for iface in ["eth0", ""] {
            let passes = filter.matches(iface, &row);
            assert_eq!(again.matches(iface, &row), passes, "{text:?}");
        }
    }
}

fn check_refused(text: &str, error: &FilterError) {
    super::assert_printable(error.message());
    let columns = 1..=text.chars().count() + 1;
    assert!(
        columns.contains(&error.column()),
        "column {} of {text:?}",
        error.column()
    );
    // Two lines below the sentence: the text and the marks.
    assert_eq!(error.to_string().lines().count(), 3, "{error}");
}

fn flows() -> [FlowRow; 2] {
    let mut flow = Flow {
        tcp_flags: 0x12,
        ..Flow::default()
    };
    flow.counters.packets_rcvd = 7;
    flow.counters.bytes_rcvd = 1500;
    let v4 = FlowRow {
        src_addr: Ipv4Addr::new(198, 18, 0, 1).into(),
        src_port: 40_000,
        dst_addr: Ipv4Addr::new(198, 18, 0, 2).into(),
        dst_port: 443,
        ip_protocol: 6,
        flow,
    };
    let v6 = FlowRow {
        src_addr: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1).into(),
        src_port: 0,
        dst_addr: Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).into(),
        dst_port: 0,
        ip_protocol: 58,
        flow: Flow::default(),
    };
    [v4, v6]
}
