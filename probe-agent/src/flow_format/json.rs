//! JSON lines: `{"type":"flow",…}` per flow, at the end `{"type":"ledger",…}`.

use std::io::{self, Write};

use serde::{Serialize, Serializer, ser::SerializeMap};

use super::{InterfaceFlows, fields::FlowFields, total_ledger};
use crate::ledger::{Ledger, Loss};

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum Line<'a> {
    Flow(FlowFields<'a>),
    Ledger {
        #[serde(flatten)]
        total: LedgerFields,
        interfaces: ByInterface<'a>,
    },
}

/// `seen = flows + Σ losses + residue`, in packets.
#[derive(Serialize)]
struct LedgerFields {
    seen: u64,
    flows: u64,
    losses: Losses,
    residue: i64,
    /// Of the packets in flows: fragments without ports.
    later_fragments: u64,
    /// Of the packets in flows: those whose transport header was cut.
    short_transports: u64,
}

/// All losses by name, those of 0 too.
struct Losses(Ledger);

/// Ledgers by name of the interface.
struct ByInterface<'a>(&'a [InterfaceFlows]);

pub(super) fn write(out: &mut impl Write, interfaces: &[InterfaceFlows]) -> io::Result<()> {
    for InterfaceFlows { iface, flows, .. } in interfaces {
        for row in flows {
            write_line(out, &Line::Flow(FlowFields::new(iface, row)))?;
        }
    }
    let ledger = Line::Ledger {
        total: LedgerFields::from(total_ledger(interfaces)),
        interfaces: ByInterface(interfaces),
    };
    write_line(out, &ledger)
}

fn write_line(out: &mut impl Write, line: &Line<'_>) -> io::Result<()> {
    // `From` keeps the kind of an I/O error, such as a closed pipe.
    serde_json::to_writer(&mut *out, line).map_err(io::Error::from)?;
    out.write_all(b"\n")
}

impl From<Ledger> for LedgerFields {
    fn from(ledger: Ledger) -> Self {
        Self {
            seen: ledger.seen.packets,
            flows: ledger.flows.packets,
            losses: Losses(ledger),
            residue: ledger.residue(),
            later_fragments: ledger.later_fragments,
            short_transports: ledger.short_transports,
        }
    }
}

impl Serialize for Losses {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(Loss::COUNT))?;
        for loss in Loss::ALL {
            map.serialize_entry(loss.name(), &self.0.loss(loss).packets)?;
        }
        map.end()
    }
}

impl Serialize for ByInterface<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for interface in self.0 {
            map.serialize_entry(&interface.iface, &LedgerFields::from(interface.ledger))?;
        }
        map.end()
    }
}
