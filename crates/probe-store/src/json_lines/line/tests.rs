use std::{
    io::{Read as _, Seek},
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use probe_flow::{
    flow::{FlowMap, FlowRow},
    interval::Interval,
    schema::FlowView,
    ticks::{TickClock, TickTableBuilder},
};
use proptest::prelude::*;

use crate::{file_sink::FileFormat, fixture, host, json_lines::JsonLines, ledger::ledger_line};

fn encoded(interval: &Interval) -> String {
    let mut file = tempfile::tempfile().unwrap();
    JsonLines::new().encode(interval, &mut file).unwrap();
    file.rewind().unwrap();
    let mut text = String::new();
    file.read_to_string(&mut text).unwrap();
    text
}

/// The file as serde renders it, which knows nothing of parts that are shared.
fn serialized(interval: &Interval) -> String {
    let host = host::name();
    let line =
        |row: FlowRow| serde_json::to_string(&FlowView::stored(interval, &host, &row).line());
    let flows = interval.flows.rows().map(|row| line(row).unwrap() + "\n");
    flows.collect::<String>() + &serde_json::to_string(&ledger_line(interval)).unwrap() + "\n"
}

fn time() -> impl Strategy<Value = Timestamp> {
    let (first, last) = (Timestamp::MIN.as_second(), Timestamp::MAX.as_second());
    let second = prop_oneof![first..=last, -200_000_i64..200_000];
    let nanosecond = prop_oneof![Just(0), 0..1_000_000_000];
    (second, nanosecond)
        .prop_map(|(second, nanosecond)| Timestamp::new(second, nanosecond).unwrap())
}

/// Every kind of name: plain, to be escaped, beyond ASCII.
fn iface() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("eth0".to_owned()),
        "[a\"\\\\\n\t\u{1}\u{7f}/é]{0,8}",
        any::<String>()
    ]
}

fn tick_clock() -> impl Strategy<Value = TickClock> {
    let length = prop_oneof![Just(1), Just(4), Just(10)].prop_map(Duration::from_millis);
    let even = (any::<u32>(), time(), length)
        .prop_map(|(tick, at, length)| TickClock::even(tick, at, length));
    // A table of no times at all.
    let unknown = TickClock::of_table(Arc::new(TickTableBuilder::default().build()));
    prop_oneof![3 => even, 1 => Just(unknown)]
}

fn interval() -> impl Strategy<Value = Interval> {
    let parts = (iface(), time(), time(), tick_clock(), fixture::flows(0..30));
    parts.prop_map(|(iface, start, end, tick_clock, flows)| Interval {
        iface: Arc::from(iface),
        start,
        end,
        tick_clock,
        flows,
        ..fixture::interval("", "2026-03-01T00:00:00Z", 0)
    })
}

proptest! {
    #[test]
    fn a_file_is_octet_for_octet_what_serde_renders(interval in interval()) {
        prop_assert_eq!(encoded(&interval), serialized(&interval));
    }
}

/// Ticks on both sides of a midnight, of the end of 1969, and of a leap day.
#[test]
fn times_go_on_across_days() {
    for midnight in [
        "2026-03-01T00:00:00Z",
        "1970-01-01T00:00:00Z",
        "2024-02-29T00:00:00Z",
    ] {
        let at: Timestamp = midnight.parse().unwrap();
        let mut interval = fixture::interval("eth0", midnight, 1);
        let (key, flow) = interval.flows.v4[0];
        let ticks = [0, 1, 999, 1000, 86_399_999, 86_400_000, 86_400_001];
        let both_sides = ticks
            .into_iter()
            .flat_map(|tick: u32| [tick, tick.wrapping_neg()]);
        interval.tick_clock = TickClock::even(0, at, Duration::from_millis(1));
        let flow = |first: u32| probe_flow::flow::Flow {
            first,
            last: first.wrapping_add(1),
            ..flow
        };
        let v4 = both_sides.map(|first| (key, flow(first))).collect();
        interval.flows = FlowMap { v4, v6: Vec::new() };
        assert_eq!(encoded(&interval), serialized(&interval));
    }
}

/// More lines than one write takes.
#[test]
fn a_large_file_is_written_to_its_end() {
    let interval = fixture::interval("eth0", "2026-03-01T00:00:00Z", 1000);
    assert_eq!(encoded(&interval), serialized(&interval));
}
