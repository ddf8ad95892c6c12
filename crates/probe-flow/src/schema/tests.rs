use std::net::{IpAddr, Ipv4Addr};

use probe_common::classify::Evidence;

use super::{FIELDS, Field, FlowView, field};
use crate::{
    flow::{Flow, FlowCounters, FlowRow},
    interval::Bounds,
    ticks::TickClock,
};

const ROW: FlowRow = FlowRow {
    src_addr: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 1)),
    src_port: 0,
    dst_addr: IpAddr::V4(Ipv4Addr::new(198, 18, 0, 2)),
    dst_port: 443,
    ip_protocol: 6,
    flow: Flow {
        counters: FlowCounters {
            bytes_rcvd: 400,
            bytes_sent: 120,
            packets_rcvd: 4,
            packets_sent: 3,
        },
        first: 250,
        last: 4_999,
        tcp_flags: 0x1b,
        evidence: Evidence::Handshake,
        is_overflow: false,
    },
};

fn bounds() -> Bounds {
    Bounds {
        start: "2026-03-01T00:00:00Z".parse().unwrap(),
        end: "2026-03-01T01:05:00.25+01:00".parse().unwrap(),
    }
}

fn json(bounds: Option<Bounds>) -> String {
    let view = FlowView {
        iface: "eth0",
        bounds,
        host: bounds.map(|_| "server-1"),
        row: &ROW,
        tick_clock: &TickClock::default(),
    };
    serde_json::to_string(&view.line()).unwrap()
}

/// Readers depend on every name and value.
#[test]
fn a_stored_flow_has_all_fields_in_order() {
    assert_eq!(
        json(Some(bounds())),
        concat!(
            r#"{"type":"flow","iface":"eth0","interval_start":"2026-03-01T00:00:00Z","#,
            r#""interval_end":"2026-03-01T00:05:00.25Z","ip_version":4,"ip_protocol":6,"#,
            r#""src_addr":"198.18.0.1","src_port":0,"dst_addr":"198.18.0.2","dst_port":443,"#,
            r#""packets_rcvd":4,"packets_sent":3,"bytes_rcvd":400,"bytes_sent":120,"#,
            r#""tcp_flags":27,"direction_evidence":"handshake","direction_confidence":"high","#,
            r#""overflow":false,"first_seen":"1970-01-01T00:00:00.250Z","#,
            r#""last_seen":"1970-01-01T00:00:04.999Z","host":"server-1"}"#,
        )
    );
}

#[test]
fn a_live_flow_lacks_only_the_interval_and_the_host() {
    let stored = json(Some(bounds()));
    let (head, rest) = stored.split_once(r#""interval_start""#).unwrap();
    let (_, tail) = rest.split_once(r#""ip_version""#).unwrap();
    let tail = tail.replace(r#","host":"server-1""#, "");
    assert_eq!(json(None), format!(r#"{head}"ip_version"{tail}"#));
}

#[test]
fn cells_are_the_values_of_the_line() {
    let view = FlowView {
        iface: "eth0",
        bounds: Some(bounds()),
        host: Some("server-1"),
        row: &ROW,
        tick_clock: &TickClock::default(),
    };
    let cells = serde_json::to_value(view.cells()).unwrap();
    let line = serde_json::to_value(view.line()).unwrap();
    let values: Vec<_> = FIELDS
        .iter()
        .map(|field| line[field.name].clone())
        .collect();
    assert_eq!(cells, serde_json::Value::from(values));
}

#[test]
fn names_and_headings_are_unique_and_meanings_are_there() {
    for (position, field) in FIELDS.iter().enumerate() {
        let Field { name, meaning, .. } = field;
        let is_word = |char: char| char.is_ascii_lowercase() || char == '_';
        assert!(name.chars().all(is_word), "{name}");
        assert!(!meaning.is_empty(), "{name}");
        let heading = |field: &Field| (field.unit, field.heading);
        assert!(!field.heading.is_empty(), "{name}");
        for other in &FIELDS[..position] {
            assert_ne!(other.name, *name);
            assert_ne!(heading(other), heading(field), "{name}");
        }
    }
}

#[test]
fn a_field_is_found_by_its_whole_name() {
    assert_eq!(field("bytes_sent").name, "bytes_sent");
    for name in ["bytes", "bytes_sent_", ""] {
        assert!(std::panic::catch_unwind(|| field(name)).is_err(), "{name}");
    }
}
