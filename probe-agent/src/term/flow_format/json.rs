//! JSON lines: `{"type":"flow",…}` per flow, at the end one `{"type":"ledger",…}` for all
//! interfaces, with theirs under `interfaces`.

use std::{
    io::{self, Write},
    time::Duration,
};

use serde::{Serialize, Serializer};

use super::{InterfaceFlows, RatedFlow, total_ledger};
use probe_flow::flow_json::LedgerCounts;

#[derive(Serialize)]
struct TotalLine<'a> {
    r#type: &'static str,
    #[serde(flatten)]
    counts: LedgerCounts,
    #[serde(serialize_with = "by_interface")]
    interfaces: &'a [InterfaceFlows],
}

#[derive(Serialize)]
struct RatedLine {
    r#type: &'static str,
    #[serde(flatten)]
    flow: RatedFlow,
}

pub(super) fn write(
    out: &mut impl Write,
    over: Option<Duration>,
    interfaces: &[InterfaceFlows],
) -> io::Result<()> {
    for interface in interfaces {
        for row in &interface.flows {
            let line = interface.view(row).line();
            match over {
                None => write_line(out, &line)?,
                Some(over) => {
                    let flow = RatedFlow::new(&line, &row.flow.counters, over)?;
                    let r#type = "flow";
                    write_line(out, &RatedLine { r#type, flow })?;
                }
            }
        }
    }
    write_ledgers(out, interfaces)
}

pub(super) fn write_ledgers(out: &mut impl Write, interfaces: &[InterfaceFlows]) -> io::Result<()> {
    let total = TotalLine {
        r#type: "ledger",
        counts: LedgerCounts::new(&total_ledger(interfaces)),
        interfaces,
    };
    write_line(out, &total)
}

fn write_line(out: &mut impl Write, line: &impl Serialize) -> io::Result<()> {
    // `From` keeps the kind of an I/O error, such as a closed pipe.
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

fn by_interface<S: Serializer>(
    interfaces: &[InterfaceFlows],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    let counts = |ledger| LedgerCounts::new(ledger);
    serializer.collect_map(
        interfaces
            .iter()
            .map(|one| (&one.iface, counts(&one.ledger))),
    )
}
