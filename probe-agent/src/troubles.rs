//! What the states of interfaces, sinks and the agent say is wrong, in sentences: one list for `status`, the API
//! and the metrics.

use crate::term::human::percent;
use probe_api::v1::status::{DirectionCoverage, InterfaceStatus, StatusReport};
use probe_capture::{
    status,
    trouble::{Trouble, TroubleKind},
};
use probe_flow::text;

mod sinks;
mod space;

pub(crate) use sinks::of_sink;

/// All that a report says is wrong now, but for what its own list has.
pub(crate) fn of_report(report: &StatusReport) -> Vec<Trouble> {
    let waiting = report.waiting_for.iter();
    let mut found: Vec<_> = waiting.map(|what| not_ready(what)).collect();
    for (iface, it) in &report.interfaces {
        found.extend(of_interface(iface, it));
    }
    found.extend(undecodable(report.undecodable_records));
    for (sink, it) in &report.sinks {
        found.extend(of_sink(sink, it, report.at));
    }
    found
}

pub(crate) fn not_ready(waits_for: &str) -> Trouble {
    Trouble::new(
        TroubleKind::NotReady,
        None,
        &format_args!("the agent is not ready: it waits for {waits_for}"),
        "wait; if it stays so, the agent's log tells why (`journalctl -u probe-agent`)",
    )
}

/// Entries of the rings that were no records.
pub(crate) fn undecodable(records: u64) -> Option<Trouble> {
    let places = text::counted(records, "place");
    (records > 0).then(|| {
        Trouble::new(
            TroubleKind::UndecodableRecords,
            None,
            &format_args!("the rings had {places} without a record: a defect of the agent"),
            "please report it",
        )
    })
}

/// Whether [`of_interface`] may find something. Cheap.
pub(crate) fn may_be_of(it: &status::InterfaceStatus) -> bool {
    !matches!(it.watch.state(), "ok" | "idle" | "down") || it.ledger.residue() < 0
}

/// What is wrong with an interface.
pub(crate) fn of_interface(iface: &str, it: &InterfaceStatus) -> Vec<Trouble> {
    let lost = it.lost_hooks.iter().map(|lost| {
        let occupant = match &lost.occupant {
            Some(occupant) => format!(", where {occupant} is now"),
            None => String::new(),
        };
        Trouble::new(
            TroubleKind::Detached,
            Some(iface),
            &format_args!(
                "our program was removed from {} ({}){occupant}",
                lost.hook, lost.direction
            ),
            &format!(
                "the agent attaches it again, at growing intervals; `bpftool net show dev {iface}` and \
                 `probe-agent plan` tell who else is there"
            ),
        )
    });
    let mut found: Vec<_> = lost.collect();
    let directions = [("received", &it.coverage.rcvd), ("sent", &it.coverage.sent)];
    found.extend(
        directions
            .into_iter()
            .filter_map(|(way, coverage)| uncovered(iface, way, coverage)),
    );
    found.extend((it.ledger.residue < 0).then(|| unbalanced(iface, it.ledger.residue)));
    found
}

/// The ledger of an interface does not balance.
pub(crate) fn unbalanced(iface: &str, residue: i64) -> Trouble {
    Trouble::new(
        TroubleKind::Unbalanced,
        Some(iface),
        &format_args!(
            "the ledger does not balance, its residue is {residue}, not 0: a defect of the agent"
        ),
        "please report it with `probe-agent status --json`",
    )
}

fn uncovered(iface: &str, way: &str, coverage: &DirectionCoverage) -> Option<Trouble> {
    let (kind, what) = match coverage.state.as_str() {
        "blind" => (
            TroubleKind::Blind,
            format!("blind, {way} packets pass and none is seen"),
        ),
        "partial" => {
            let share = percent(coverage.ratio.unwrap_or_default());
            (
                TroubleKind::Partial,
                format!("only {share} of the {way} packets are seen"),
            )
        }
        _ => return None,
    };
    let cause = coverage.cause.as_deref();
    let cause = cause.unwrap_or("the cause is not known");
    Some(Trouble::new(
        kind,
        Some(iface),
        &format_args!("{what}: {cause}"),
        &format!(
            "find out what takes them: `bpftool net show dev {iface}` and `probe-agent plan` show what else is \
             attached"
        ),
    ))
}
