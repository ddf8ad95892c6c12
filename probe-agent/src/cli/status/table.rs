//! The captured interfaces as a table: `status` and `top` show the same.

use std::time::Duration;

use crate::term::{
    human,
    page::Colour,
    text_table::{Column, lay_out},
};
use probe_api::v1::{
    ledger::LedgerCounts,
    status::{InterfaceStatus, StatusReport},
};
use probe_flow::{
    ledger::{Identity, remarks},
    schema::field,
};

const COLUMNS: [Column; 9] = [
    Column::of_text_field(field("iface")).shortened_to(6),
    Column::text("state"),
    Column::text("hooks in/out").left_out(3),
    // Rates of both.
    Column::number(field("bytes_rcvd").heading),
    Column::number(field("bytes_sent").heading),
    Column::number("packets").left_out(4),
    Column::number("flows").left_out(2),
    Column::number("lost").left_out(1),
    Column::number("coverage").left_out(5),
];

/// The head, and a line for each interface, with its state.
pub(in crate::cli) fn lines(
    width: Option<usize>,
    earlier: &StatusReport,
    now: &StatusReport,
) -> (String, Vec<(String, String)>) {
    let over = now.at.duration_since(earlier.at).unsigned_abs();
    let interfaces = now.interfaces.iter();
    let rows: Vec<_> = interfaces
        .clone()
        .map(|(iface, it)| row(iface, it, earlier.interfaces.get(iface), over))
        .collect();
    let layout = lay_out(&COLUMNS, &rows, width);
    let states = interfaces.map(|(_, it)| it.state.clone());
    let lines = states
        .zip(&rows)
        .map(|(state, row)| (state, layout.line(&COLUMNS, row)));
    (layout.header_line(&COLUMNS), lines.collect())
}

fn row(
    iface: &str,
    it: &InterfaceStatus,
    earlier: Option<&InterfaceStatus>,
    over: Duration,
) -> Vec<String> {
    let rate = |read: fn(&InterfaceStatus) -> u64| {
        let before = earlier.map_or_else(|| read(it), read);
        human::bit_rate(read(it).saturating_sub(before), over)
    };
    let lost: u64 = lost(&it.ledger);
    vec![
        iface.to_owned(),
        it.state.clone(),
        format!("{}/{}", it.attachment.ingress, it.attachment.egress),
        rate(|it| it.bytes_rcvd),
        rate(|it| it.bytes_sent),
        human::count(it.processed_total),
        human::count(it.flows),
        human::count(lost),
        coverage(it),
    ]
}

/// That of a row, by the state of its interface.
pub(in crate::cli) fn colour(state: &str) -> Colour {
    match state {
        "ok" | "idle" => Colour::None,
        "partial" | "down" => Colour::Yellow,
        _ => Colour::Red,
    }
}

/// Packets that are in no flow because the agent did not keep up.
fn lost(ledger: &LedgerCounts) -> u64 {
    Identity::Records
        .losses()
        .filter_map(|loss| ledger.losses.get(loss.name()))
        .sum()
}

/// Coverage of the worse direction, in percent. A direction that idles has none now: what the last packets
/// in it had may be long ago.
fn coverage(it: &InterfaceStatus) -> String {
    let directions = [&it.coverage.rcvd, &it.coverage.sent];
    let ratios = directions
        .into_iter()
        .filter_map(|it| it.ratio.filter(|_| it.state != "idle"));
    let worst = ratios.min_by(f64::total_cmp);
    worst.map_or_else(|| "-".to_owned(), |ratio| human::percent(ratio.min(1.0)))
}

/// `seen 12 = flows 10 + non_ip 2 (residue 0)`, as the ledger itself is written, with what it says
/// of fragments, of overflow flows and of lengths beyond the frame.
pub(in crate::cli) fn ledger_line(ledger: &LedgerCounts) -> String {
    let losses = ledger.losses.iter().filter(|(_, packets)| **packets > 0);
    let losses: Vec<_> = losses
        .map(|(name, packets)| format!(" + {name} {packets}"))
        .collect();
    let losses = losses.concat();
    let LedgerCounts {
        seen,
        flows,
        residue,
        unattributed_fragments: fragments,
        overflow_packets: overflow,
        lengths_beyond_frame: lengths,
        beyond_frame_bytes: octets,
        ..
    } = ledger;
    let remarks = remarks(*fragments, *overflow, *lengths, *octets);
    format!("seen {seen} = flows {flows}{losses} (residue {residue}){remarks}")
}

#[cfg(test)]
pub(in crate::cli) mod tests {
    use serde_json::json;

    use super::{coverage, ledger_line, lines};
    use probe_api::v1::status::StatusReport;

    /// A healthy capture of one interface, as an agent answers.
    pub(in crate::cli) fn report() -> StatusReport {
        let direction = json!({
            "state": "ok", "ratio": 1.0, "link": 100, "frames": 100, "packets": 100, "cause": null,
        });
        let ledger = json!({
            "seen": 100, "recorded": 98, "flows": 98, "losses": { "non_ip": 2, "ring_full": 0 },
            "residue": 0, "violations": {}, "later_fragments": 0, "unattributed_fragments": 0,
            "short_transports": 0, "seen_bytes": 9000, "recorded_bytes": 8000,
            "flow_bytes": 8000, "loss_bytes": {},
        });
        serde_json::from_value(json!({
            "at": "2026-03-01T12:00:00Z", "started_at": "2026-03-01T11:00:00Z",
            "last_rotation": "2026-03-01T11:55:00Z", "waiting_for": [],
            "interfaces": { "eth0": {
                "ifindex": 2, "state": "ok", "started_at": "2026-03-01T11:00:00Z",
                "received_total": 100, "processed_total": 98, "dropped_total": 0,
                "parsing_errors": {}, "packets_rcvd": 50, "packets_sent": 48,
                "bytes_rcvd": 5000, "bytes_sent": 3000, "flows": 7,
                "local_buffer_usage": 0.0,
                "attachment": { "ingress": "tcx", "egress": "tcx", "reason": "tcx: attached" },
                "lost_hooks": [], "reattached": 0, "detached_ms": 0,
                "coverage": { "rcvd": direction, "sent": direction },
                "ledger": ledger,
            } },
            "unknown_interface_packets": 0, "undecodable_records": 0, "sinks": {},
            "memory": {
                "resident_bytes": 20_000_000, "maps_bytes": 18_000_000,
                "local_buffers_free_bytes": 0,
            },
        }))
        .expect("it is a report")
    }

    #[test]
    fn rates_come_from_two_readings() {
        let earlier = report();
        let mut now = report();
        now.at = "2026-03-01T12:00:02Z".parse().expect("a time");
        now.interfaces
            .get_mut("eth0")
            .expect("it is there")
            .bytes_rcvd += 2_500_000;
        let (head, rows) = lines(None, &earlier, &now);
        assert_eq!(
            head,
            "iface state hooks in/out        rcvd    sent packets flows lost coverage"
        );
        assert_eq!(
            rows,
            [(
                "ok".to_owned(),
                "eth0  ok    tcx/tcx      10.0 Mbit/s 0 bit/s      98     7    0    100 %"
                    .to_owned()
            )]
        );
        for width in 1..100 {
            let (head, rows) = lines(Some(width), &earlier, &now);
            assert!(head.chars().count() <= width, "{width}: {head}");
            assert!(rows[0].1.chars().count() <= width, "{width}: {rows:?}");
        }
    }

    #[test]
    fn a_direction_that_idles_has_no_coverage_now() {
        let mut report = report();
        let eth0 = report.interfaces.get_mut("eth0").unwrap();
        eth0.coverage.sent.ratio = Some(0.0);
        assert_eq!(coverage(eth0), "0 %");
        eth0.coverage.sent.state = "idle".to_owned();
        assert_eq!(coverage(eth0), "100 %");
        eth0.coverage.rcvd.state = "idle".to_owned();
        assert_eq!(coverage(eth0), "-");
    }

    #[test]
    fn the_ledger_is_one_line() {
        let mut report = report();
        let ledger = &mut report.interfaces.get_mut("eth0").unwrap().ledger;
        assert_eq!(
            ledger_line(ledger),
            "seen 100 = flows 98 + non_ip 2 (residue 0)"
        );
        ledger.unattributed_fragments = 3;
        ledger.overflow_packets = 7;
        (ledger.lengths_beyond_frame, ledger.beyond_frame_bytes) = (2, 900);
        assert_eq!(
            ledger_line(ledger),
            "seen 100 = flows 98 + non_ip 2 (residue 0); 3 fragments without ports; \
             7 packets in overflow flows; \
             2 lengths beyond the frame, by 900 octets"
        );
    }
}
